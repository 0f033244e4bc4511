/* Snapshots (docs/bootstrap.md): all rows that a device's user may see at one cursor, in pages that
 * the device asks for one by one. They are kept in a temporary file of the reader's, which is gone
 * when that is closed: with the server, or because the store was restored. The first pages are
 * answered while others are still to be read. */
#ifndef SATCHEL_SERVER_SNAPSHOT_H
#define SATCHEL_SERVER_SNAPSHOT_H

#include "workspace_internal.h"

struct snapshots;

void snapshots_free(struct snapshots *snapshots);

/* Between jobs: reads a page more of a snapshot that is not whole. False: there is none. */
bool snapshots_go_on(struct workspace_reader *reader);

/* Answers a SNAPSHOT job: the page asked for; or the first one of a new snapshot; or that there is
 * none of that id any more, as where the user's role or the masks are others now. What has left the
 * scope meanwhile is taken out of a page. AGAIN: the device has change sets here by now, so that it
 * must hear of them in the stream; BUSY: no room for it. */
enum satchel_status snapshot_read(struct workspace_reader *reader,
                                  struct satchel_job *job) SATCHEL_MUST_USE;

#endif
