/* Owns finding and ordering migration files. What is in them is judged by the server. */
#include "schema_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* The number of NNN_name.sql, 0 if the name is not of that form. */
static long migration_number(const char *name)
{
    char *end = NULL;
    size_t length = strlen(name);
    if (name[0] < '0' || name[0] > '9')
        return 0;
    long number = strtol(name, &end, 10);
    bool fits =
        end - name == 3 && *end == '_' && length > 8 && strcmp(name + length - 4, ".sql") == 0;
    return fits ? number : 0;
}

static enum satchel_status read_text(const char *folder, const char *name,
                                     struct satchel_arena *arena, struct satchel_span *out,
                                     struct satchel_error *error)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        return satchel_error_set(error, SATCHEL_IO, "%s: %s", path, strerror(errno));
    enum satchel_status status = SATCHEL_OK;
    long size = -1;
    if (fseek(file, 0, SEEK_END) == 0)
        size = ftell(file);
    if (size < 0 || fseek(file, 0, SEEK_SET) != 0)
        status = satchel_error_set(error, SATCHEL_IO, "%s: %s", path, strerror(errno));
    uint8_t *text = status == SATCHEL_OK ? satchel_arena_alloc(arena, (size_t)size + 1) : NULL;
    if (status == SATCHEL_OK && !text)
        status = satchel_error_set(error, SATCHEL_LIMIT, "%s: too large for a migration", path);
    if (status == SATCHEL_OK && fread(text, 1, (size_t)size, file) != (size_t)size)
        status = satchel_error_set(error, SATCHEL_IO, "%s: cannot be read whole", path);
    if (status == SATCHEL_OK) {
        text[size] = '\0';
        *out = satchel_span_of(text, (size_t)size);
    }
    fclose(file);
    return status;
}

enum satchel_status schema_files_read(const char *folder, struct satchel_arena *arena,
                                      struct schema_file **files, uint32_t *count,
                                      struct satchel_error *error)
{
    DIR *directory = opendir(folder);
    if (!directory)
        return satchel_error_set(error, SATCHEL_NOT_FOUND, "%s: %s", folder, strerror(errno));
    enum satchel_status status = SATCHEL_OK;
    uint32_t highest = 0;
    struct schema_file *found =
        SATCHEL_ARENA_ARRAY(arena, struct schema_file, SCHEMA_FILES_MAX + 1);
    if (!found)
        status = satchel_error_set(error, SATCHEL_NOMEM, "no memory");
    for (struct dirent *item; status == SATCHEL_OK && (item = readdir(directory)) != NULL;) {
        long number = migration_number(item->d_name);
        if (number == 0)
            continue;
        if (found[number - 1].name.data) {
            status = satchel_error_set(error, SATCHEL_INVALID,
                                       "%s: %s and %s have the same number; rename one", folder,
                                       (const char *)found[number - 1].name.data, item->d_name);
            break;
        }
        found[number - 1].name = satchel_arena_copy(arena, satchel_span_text(item->d_name));
        if ((uint32_t)number > highest)
            highest = (uint32_t)number;
        status = read_text(folder, item->d_name, arena, &found[number - 1].text, error);
    }
    closedir(directory);
    if (status == SATCHEL_OK && highest == 0)
        status =
            satchel_error_set(error, SATCHEL_NOT_FOUND,
                              "%s: no migration in it; the first is named 001_NAME.sql", folder);
    for (uint32_t i = 0; status == SATCHEL_OK && i < highest; i++)
        if (!found[i].name.data)
            status = satchel_error_set(
                error, SATCHEL_INVALID,
                "%s: %03u_*.sql is missing; migrations are numbered without gaps", folder, i + 1);
    *files = found;
    *count = highest;
    return status;
}
