/* Making a snapshot (docs/bootstrap.md): all rows that a device's user may see, as they are at one
 * moment, read page by page in a transaction of a connection of its own, so that others are
 * answered in between. */
#ifndef SATCHEL_SERVER_SNAPSHOT_MAKE_H
#define SATCHEL_SERVER_SNAPSHOT_MAKE_H

#include "workspace_internal.h"

struct snapshot_making;

/* Of the store at `path`, for the user of that device. As SNAPSHOT jobs fail. */
enum satchel_status snapshot_making_new(struct snapshot_making **out, const char *path,
                                        const struct satchel_id *device,
                                        struct satchel_error *error) SATCHEL_MUST_USE;
void snapshot_making_free(struct snapshot_making *making);

/* Reads the next page; at least one there is, if need be without a row. `*notes`, until the next
 * call: empty, there is no more. */
enum satchel_status snapshot_making_page(struct snapshot_making *making, struct satchel_span *notes,
                                         struct satchel_error *error) SATCHEL_MUST_USE;

/* Where it was begun, and how many rows and pages there are so far. Lives as long as it. */
const struct satchel_message_snapshot *snapshot_making_so_far(const struct snapshot_making *making);
const struct satchel_id *snapshot_making_device(const struct snapshot_making *making);
/* That the user has in it. */
struct satchel_span snapshot_making_role(const struct snapshot_making *making);

#endif
