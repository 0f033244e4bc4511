/* What the files of the log share. Internal to sql/. */
#ifndef SATCHEL_LOG_INTERNAL_H
#define SATCHEL_LOG_INTERNAL_H

#include <satchel/status.h>

struct sqlite3;

/* Creates satchel_segment where it is missing. */
enum satchel_status satchel_segment_create(struct sqlite3 *db,
                                           struct satchel_error *error) SATCHEL_MUST_USE;

#endif
