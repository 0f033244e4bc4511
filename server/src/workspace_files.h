/* The files of a data directory that belong to workspaces: NAME.db with what SQLite keeps beside
 * it, NAME.db.new* while one is being made, NAME.db.replaced-TIME for what a restore set aside.
 * Knows nothing of what is in them. */
#ifndef SATCHEL_WORKSPACE_FILES_H
#define SATCHEL_WORKSPACE_FILES_H

#include <satchel/status.h>

#include <stdbool.h>
#include <stdint.h>

#define WORKSPACE_PATH_BYTES_MAX 4096
/* In the names of files in the making, none of which outlives a start. */
#define WORKSPACE_NEW_SUFFIX ".db.new"

/* DIRECTORY/NAME and a suffix. LIMIT. */
enum satchel_status workspace_path(char out[WORKSPACE_PATH_BYTES_MAX], const char *directory,
                                   const char *name, const char *suffix,
                                   struct satchel_error *error) SATCHEL_MUST_USE;
/* IO in words for the errno at hand. */
enum satchel_status workspace_io_error(struct satchel_error *error, const char *path);
/* What was renamed in the directory stays so. */
enum satchel_status workspace_sync_directory(const char *path,
                                             struct satchel_error *error) SATCHEL_MUST_USE;
/* Removes a database that nobody has open, with what SQLite keeps beside it. */
void workspace_remove_file(const char *path);
/* Closing the only connection moves the WAL into the file and removes it; it says nothing if it
 * could not (a full disk), and without its WAL the file is not what was committed. IO then. */
enum satchel_status workspace_check_whole(const char *path,
                                          struct satchel_error *error) SATCHEL_MUST_USE;
/* IO: a file of that size would leave the disk without room for the workspaces to go on. */
enum satchel_status workspace_check_room(const char *directory, uint64_t bytes,
                                         struct satchel_error *error) SATCHEL_MUST_USE;

/* Puts the whole, closed database at `path` in the place of NAME.db, which nobody here has open;
 * what was there is called `replaced` from now on (empty: nothing was). On failure NAME.db is what
 * it was, or *is_replaced and only the last fsync failed. IO. */
enum satchel_status workspace_replace_file(const char *directory, const char *name,
                                           const char *path, int64_t now_ms, bool *is_replaced,
                                           char replaced[WORKSPACE_PATH_BYTES_MAX],
                                           struct satchel_error *error) SATCHEL_MUST_USE;

#endif
