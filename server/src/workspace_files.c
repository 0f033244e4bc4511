/* Owns the names of workspaces' files and the steps in which one file takes the place of another;
 * see workspace_files.h.
 *
 * A restore must never leave NAME.db missing, nor beside the WAL of another database, whenever the
 * process or the machine stops:
 *
 *   1. NAME.db gets a second name, NAME.db.replaced-TIME. So does its WAL, which is there only if
 *      somebody outside had the file open when it was closed, or there was no room to move it in.
 *   2. The first names of the WAL and its index go.
 *   3. The new file is renamed over NAME.db. The second names are now the only ones of the old.
 *
 * The directory is synced after each. Before the rename of 3, NAME.db and NAME.db.replaced-TIME are
 * one file: that is how the next start knows that the restore was not done, gives the WAL its name
 * back and removes the second ones. After it they are two, and there is nothing to do. */
#define _POSIX_C_SOURCE 200809L
#include "workspace_files.h"

#include "workspace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define REPLACED_SUFFIX ".db.replaced-"
/* For the WALs of the workspaces, which grow while a backup reads. */
#define ROOM_BYTES_MIN ((uint64_t)16 << 20)

enum { NAMES_TRIED_MAX = 100, TIME_TEXT_BYTES = 32 };

enum satchel_status workspace_path(char out[WORKSPACE_PATH_BYTES_MAX], const char *directory,
                                   const char *name, const char *suffix,
                                   struct satchel_error *error)
{
    int size = snprintf(out, WORKSPACE_PATH_BYTES_MAX, "%s/%s%s", directory, name, suffix);
    return size > 0 && size < WORKSPACE_PATH_BYTES_MAX
               ? SATCHEL_OK
               : satchel_error_set(error, SATCHEL_LIMIT,
                                   "the path of the data directory is too long");
}

enum satchel_status workspace_io_error(struct satchel_error *error, const char *path)
{
    int code = errno;
    enum satchel_status status =
        satchel_error_set(error, SATCHEL_IO, "%s: %s", path, strerror(code));
    if (error)
        error->native_code = code;
    return status;
}

enum satchel_status workspace_sync_directory(const char *path, struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        status = workspace_io_error(error, path);
    if (fd >= 0)
        close(fd);
    return status;
}

void workspace_remove_file(const char *path)
{
    static const char *const beside[] = {"", "-wal", "-shm", "-journal"};
    char name[WORKSPACE_PATH_BYTES_MAX + 16];
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
        snprintf(name, sizeof name, "%s%s", path, beside[i]);
        unlink(name); /* usually there is none */
    }
}

enum satchel_status workspace_check_whole(const char *path, struct satchel_error *error)
{
    char wal[WORKSPACE_PATH_BYTES_MAX + 16];
    struct stat found;
    snprintf(wal, sizeof wal, "%s-wal", path);
    if (stat(wal, &found) != 0 && errno == ENOENT)
        return SATCHEL_OK;
    return satchel_error_set(error, SATCHEL_IO,
                             "%s could not be completed: is there room on the disk?", path);
}

enum satchel_status workspace_check_room(const char *directory, uint64_t bytes,
                                         struct satchel_error *error)
{
    struct statvfs facts;
    if (statvfs(directory, &facts) != 0)
        return workspace_io_error(error, directory);
    uint64_t free_bytes = (uint64_t)facts.f_bavail * facts.f_frsize;
    if (free_bytes >= ROOM_BYTES_MIN && free_bytes - ROOM_BYTES_MIN >= bytes)
        return SATCHEL_OK;
    return satchel_error_set(error, SATCHEL_IO,
                             "the disk of the server's data directory has %llu MiB free: this "
                             "needs %llu MiB, and the workspaces %llu MiB to go on",
                             (unsigned long long)(free_bytes >> 20),
                             (unsigned long long)(bytes >> 20) + 1,
                             (unsigned long long)(ROOM_BYTES_MIN >> 20));
}

/* ---- one file in the place of another ---- */

/* A second name for the file at `path`; OK also if there is no such file. */
static enum satchel_status link_file(const char *path, const char *second,
                                     struct satchel_error *error)
{
    return link(path, second) == 0 || errno == ENOENT ? SATCHEL_OK
                                                      : workspace_io_error(error, second);
}

/* The first free name NAME.db.replaced-TIME; two restores may fall into one second. */
static enum satchel_status name_replaced(const char *directory, const char *name, int64_t now_ms,
                                         char out[WORKSPACE_PATH_BYTES_MAX],
                                         struct satchel_error *error)
{
    char at[TIME_TEXT_BYTES], suffix[TIME_TEXT_BYTES + 32];
    struct tm utc;
    struct stat found;
    time_t seconds = (time_t)(now_ms / 1000);
    if (!gmtime_r(&seconds, &utc) || strftime(at, sizeof at, "%Y%m%dT%H%M%SZ", &utc) == 0)
        return satchel_error_set(error, SATCHEL_INVALID, "the system's clock is out of range");
    for (int i = 1; i <= NAMES_TRIED_MAX; i++) {
        if (i == 1)
            snprintf(suffix, sizeof suffix, REPLACED_SUFFIX "%s", at);
        else
            snprintf(suffix, sizeof suffix, REPLACED_SUFFIX "%s-%d", at, i);
        enum satchel_status status = workspace_path(out, directory, name, suffix, error);
        if (status != SATCHEL_OK)
            return status;
        if (lstat(out, &found) != 0)
            return errno == ENOENT ? SATCHEL_OK : workspace_io_error(error, out);
    }
    return satchel_error_set(error, SATCHEL_EXISTS, "%s and others like it exist already", out);
}

/* What belongs to a database that was not closed: without it the file is another one. */
static const char *const kept_beside[] = {"-wal", "-journal"};
enum { KEPT_COUNT = sizeof kept_beside / sizeof *kept_beside };

static void name_beside(char out[WORKSPACE_PATH_BYTES_MAX + 16], const char *path, const char *end)
{
    snprintf(out, WORKSPACE_PATH_BYTES_MAX + 16, "%s%s", path, end);
}

/* Steps 1 and 2 back: from the second names to the first. */
static void take_back(const char *path, const char *replaced)
{
    char first[WORKSPACE_PATH_BYTES_MAX + 16], second[WORKSPACE_PATH_BYTES_MAX + 16];
    for (int i = 0; i < KEPT_COUNT; i++) {
        name_beside(first, path, kept_beside[i]);
        name_beside(second, replaced, kept_beside[i]);
        if (rename(second, first) == 0)
            unlink(second); /* a rename between two names of one file does nothing */
    }
    unlink(replaced);
}

static enum satchel_status link_all(const char *path, const char *replaced,
                                    struct satchel_error *error)
{
    char first[WORKSPACE_PATH_BYTES_MAX + 16], second[WORKSPACE_PATH_BYTES_MAX + 16];
    enum satchel_status status = link_file(path, replaced, error);
    for (int i = 0; status == SATCHEL_OK && i < KEPT_COUNT; i++) {
        name_beside(first, path, kept_beside[i]);
        name_beside(second, replaced, kept_beside[i]);
        status = link_file(first, second, error);
    }
    return status;
}

/* Steps 1 and 2; with nothing to set aside only 2, for what lies about beside no file. */
static enum satchel_status set_aside(const char *directory, const char *path, const char *replaced,
                                     struct satchel_error *error)
{
    static const char *const beside[] = {"-wal", "-journal", "-shm"};
    char name[WORKSPACE_PATH_BYTES_MAX + 16];
    enum satchel_status status = SATCHEL_OK;
    if (replaced[0])
        status = link_all(path, replaced, error);
    if (status == SATCHEL_OK)
        status = workspace_sync_directory(directory, error);
    for (size_t i = 0; status == SATCHEL_OK && i < sizeof beside / sizeof *beside; i++) {
        name_beside(name, path, beside[i]);
        if (unlink(name) != 0 && errno != ENOENT)
            status = workspace_io_error(error, name);
    }
    return status == SATCHEL_OK ? workspace_sync_directory(directory, error) : status;
}

enum satchel_status workspace_replace_file(const char *directory, const char *name,
                                           const char *path, int64_t now_ms, bool *is_replaced,
                                           char replaced[WORKSPACE_PATH_BYTES_MAX],
                                           struct satchel_error *error)
{
    char place[WORKSPACE_PATH_BYTES_MAX];
    struct stat found;
    *is_replaced = false;
    replaced[0] = '\0';
    enum satchel_status status = workspace_path(place, directory, name, ".db", error);
    if (status == SATCHEL_OK && lstat(place, &found) == 0)
        status = name_replaced(directory, name, now_ms, replaced, error);
    if (status == SATCHEL_OK)
        status = set_aside(directory, place, replaced, error);
    if (status == SATCHEL_OK && rename(path, place) != 0)
        status = workspace_io_error(error, place);
    if (status != SATCHEL_OK) {
        if (replaced[0])
            take_back(place, replaced);
        return status;
    }
    *is_replaced = true;
    return workspace_sync_directory(directory, error);
}

/* ---- the start ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

/* NAME.db and NAME.db.replaced-TIME are one file: the restore stopped before its rename. */
static void sweep_replaced(const char *directory, const char *file, const char *suffix)
{
    char name[WORKSPACE_PATH_BYTES_MAX];
    char path[WORKSPACE_PATH_BYTES_MAX], replaced[WORKSPACE_PATH_BYTES_MAX];
    struct stat first, second;
    for (int i = 0; i < KEPT_COUNT; i++)
        if (ends_with(file, kept_beside[i]))
            return; /* goes with its file */
    snprintf(name, sizeof name, "%.*s", (int)(suffix - file), file);
    if (workspace_path(path, directory, name, ".db", NULL) == SATCHEL_OK &&
        workspace_path(replaced, directory, file, "", NULL) == SATCHEL_OK &&
        stat(path, &first) == 0 && stat(replaced, &second) == 0 && first.st_dev == second.st_dev &&
        first.st_ino == second.st_ino)
        take_back(path, replaced);
}

enum satchel_status satchel_workspace_sweep(const char *data_directory, struct satchel_error *error)
{
    DIR *directory = opendir(data_directory);
    if (!directory)
        return workspace_io_error(error, data_directory);
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        char path[WORKSPACE_PATH_BYTES_MAX];
        const char *made = strstr(entry->d_name, WORKSPACE_NEW_SUFFIX);
        const char *replaced = strstr(entry->d_name, REPLACED_SUFFIX);
        if (replaced && replaced != entry->d_name)
            sweep_replaced(data_directory, entry->d_name, replaced);
        else if (made && made != entry->d_name &&
                 workspace_path(path, data_directory, entry->d_name, "", NULL) == SATCHEL_OK)
            unlink(path);
    }
    closedir(directory);
    return workspace_sync_directory(data_directory, error);
}
