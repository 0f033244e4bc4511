/* The migrations of a folder: 001_name.sql, 002_name.sql, ... read in order. */
#ifndef SATCHEL_SCHEMA_FILES_H
#define SATCHEL_SCHEMA_FILES_H

#include <satchel/memory.h>

struct schema_file {
    struct satchel_span name;
    struct satchel_span text;
};

enum { SCHEMA_FILES_MAX = 999 };

/* `*files` lives in `arena`. NOT_FOUND no such folder or no migration in it; INVALID a gap or a
 * double number; IO, LIMIT. */
enum satchel_status schema_files_read(const char *folder, struct satchel_arena *arena,
                                      struct schema_file **files, uint32_t *count,
                                      struct satchel_error *error) SATCHEL_MUST_USE;

#endif
