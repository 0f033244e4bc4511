/* Owns the making of a workspace: built whole under a name that nothing opens, then renamed, so
 * that a crash leaves either a complete central store or leftovers that are swept away. */
#include "workspace_internal.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>

/* Everything a new workspace has, in the file at `path`; closed again, its WAL gone. */
static enum satchel_status build(const char *path, const char *name,
                                 const struct satchel_migration *migrations,
                                 uint32_t migration_count, struct satchel_span *notice,
                                 struct satchel_arena *arena, struct satchel_error *error)
{
    struct satchel_store *store = NULL;
    const char *text = NULL;
    int64_t now_ms = workspace_now_ms();
    enum satchel_status status =
        satchel_store_sqlite_create(&store, path, satchel_span_text(name), now_ms, error);
    if (status != SATCHEL_OK)
        return status;
    status = store->ops->begin(store, error);
    if (status == SATCHEL_OK) {
        status = deploy_migrations(store, migrations, migration_count, now_ms, arena, &text, error);
        if (status == SATCHEL_OK)
            status = store->ops->commit(store, error);
        if (status != SATCHEL_OK)
            store->ops->rollback(store);
    }
    store->ops->close(store);
    if (notice)
        *notice = satchel_span_text(text);
    return status == SATCHEL_OK ? workspace_check_whole(path, error) : status;
}

static enum satchel_status check_new(const char *path, const char *name,
                                     struct satchel_error *error)
{
    struct stat found;
    if (stat(path, &found) == 0)
        return satchel_error_set(error, SATCHEL_EXISTS, "there is a workspace %s already", name);
    if (errno != ENOENT)
        return workspace_io_error(error, path);
    return SATCHEL_OK;
}

enum satchel_status satchel_workspace_create(
    struct satchel_workspace **out, const char *data_directory, const char *name,
    const struct satchel_migration *migrations, uint32_t migration_count,
    const struct satchel_workspace_callbacks *callbacks, struct satchel_span *notice,
    struct satchel_arena *arena, struct satchel_error *error)
{
    char path[WORKSPACE_PATH_BYTES_MAX], path_new[WORKSPACE_PATH_BYTES_MAX];
    *out = NULL;
    if (!satchel_workspace_name_is_valid(satchel_span_text(name)))
        return satchel_error_set(error, SATCHEL_INVALID,
                                 "'%.80s' is no name for a workspace: 1-64 of a-z A-Z 0-9 _ -",
                                 name);
    if (sodium_init() < 0)
        return satchel_error_set(error, SATCHEL_IO, "the system gives no random numbers");
    enum satchel_status status = workspace_path(path, data_directory, name, ".db", error);
    if (status == SATCHEL_OK)
        status = workspace_path(path_new, data_directory, name, WORKSPACE_NEW_SUFFIX, error);
    if (status == SATCHEL_OK)
        status = check_new(path, name, error);
    if (status != SATCHEL_OK)
        return status;
    workspace_remove_file(path_new);
    status = build(path_new, name, migrations, migration_count, notice, arena, error);
    if (status == SATCHEL_OK && rename(path_new, path) != 0)
        status = workspace_io_error(error, path);
    if (status == SATCHEL_OK)
        status = workspace_sync_directory(data_directory, error);
    if (status != SATCHEL_OK) {
        workspace_remove_file(path_new);
        return status;
    }
    return satchel_workspace_open(out, data_directory, name, callbacks, error);
}
