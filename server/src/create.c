/* Owns the making of a workspace: built whole under a name that nothing opens, then renamed, so
 * that a crash leaves either a complete central store or leftovers that are swept away. */
#define _POSIX_C_SOURCE 200809L
#include "workspace_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEW_SUFFIX ".db.new"

static enum satchel_status sync_directory(const char *path, struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        int code = errno;
        status = satchel_error_set(error, SATCHEL_IO, "%s: %s", path, strerror(code));
        if (error)
            error->native_code = code;
    }
    if (fd >= 0)
        close(fd);
    return status;
}

/* A file that is being made, with what SQLite keeps beside it. */
static void remove_file(const char *path)
{
    static const char *const beside[] = {"", "-wal", "-shm", "-journal"};
    char name[WORKSPACE_PATH_BYTES_MAX + 16];
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
        snprintf(name, sizeof name, "%s%s", path, beside[i]);
        unlink(name); /* usually there is none */
    }
}

enum satchel_status satchel_workspace_sweep(const char *data_directory, struct satchel_error *error)
{
    DIR *directory = opendir(data_directory);
    if (!directory)
        return satchel_error_set(error, SATCHEL_IO, "%s: %s", data_directory, strerror(errno));
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        char path[WORKSPACE_PATH_BYTES_MAX];
        const char *suffix = strstr(entry->d_name, NEW_SUFFIX);
        if (!suffix || suffix == entry->d_name)
            continue;
        int size = snprintf(path, sizeof path, "%s/%s", data_directory, entry->d_name);
        if (size > 0 && (size_t)size < sizeof path)
            unlink(path);
    }
    closedir(directory);
    return SATCHEL_OK;
}

/* Closing the only connection moves the WAL into the file and removes it; it says nothing if it
 * could not (a full disk), and without its WAL the file is not what was committed. */
static enum satchel_status check_whole(const char *path, struct satchel_error *error)
{
    char wal[WORKSPACE_PATH_BYTES_MAX + 16];
    struct stat found;
    snprintf(wal, sizeof wal, "%s-wal", path);
    if (stat(wal, &found) != 0 && errno == ENOENT)
        return SATCHEL_OK;
    return satchel_error_set(error, SATCHEL_IO,
                             "%s could not be completed: is there room on the disk?", path);
}

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
    return status == SATCHEL_OK ? check_whole(path, error) : status;
}

static enum satchel_status check_new(const char *path, const char *name,
                                     struct satchel_error *error)
{
    struct stat found;
    if (stat(path, &found) == 0)
        return satchel_error_set(error, SATCHEL_EXISTS, "there is a workspace %s already", name);
    if (errno != ENOENT)
        return satchel_error_set(error, SATCHEL_IO, "%s: %s", path, strerror(errno));
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
    int size = snprintf(path, sizeof path, "%s/%s.db", data_directory, name);
    int size_new = snprintf(path_new, sizeof path_new, "%s/%s" NEW_SUFFIX, data_directory, name);
    if (size < 0 || size_new < 0 || (size_t)size_new >= sizeof path_new)
        return satchel_error_set(error, SATCHEL_LIMIT,
                                 "the path of the data directory is too long");
    enum satchel_status status = check_new(path, name, error);
    if (status != SATCHEL_OK)
        return status;
    remove_file(path_new);
    status = build(path_new, name, migrations, migration_count, notice, arena, error);
    if (status == SATCHEL_OK && rename(path_new, path) != 0)
        status = satchel_error_set(error, SATCHEL_IO, "%s: %s", path, strerror(errno));
    if (status == SATCHEL_OK)
        status = sync_directory(data_directory, error);
    if (status != SATCHEL_OK) {
        remove_file(path_new);
        return status;
    }
    return satchel_workspace_open(out, data_directory, name, callbacks, error);
}
