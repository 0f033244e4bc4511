/* Owns the files behind backup and restore; see store_file.h. */
#define _POSIX_C_SOURCE 200809L
#include "store_file.h"

#include "incarnation.h"
#include "store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SQL_MOMENT "BEGIN; SELECT cursor FROM satchel_workspace"
#define SQL_WHOLE "PRAGMA synchronous=OFF; PRAGMA journal_mode=DELETE;"
#define SQL_CHECK "PRAGMA integrity_check(1)"
#define SQL_COUNT                                 \
    "SELECT (SELECT count(*) FROM satchel_entry)" \
    " + (SELECT ifnull(sum(entries), 0) FROM satchel_segment)"
#define SQL_NAME "UPDATE satchel_workspace SET name=?1"

enum {
    PAGES_A_STEP = 1024,
    CHECK_STEPS = 100000, /* of SQLite's machine, between two looks at is_cancelled */
    STORE_BYTES_MIN = 512
};

struct satchel_store_file_hash {
    crypto_generichash_state state;
};

static enum satchel_status cancelled(struct satchel_error *error)
{
    return satchel_error_set(error, SATCHEL_STATE,
                             "given up: the server is stopping, or nobody waits for it");
}

static bool is_cancelled(struct satchel_store_file *file)
{
    return atomic_load(&file->is_cancelled);
}

/* ---- life ---- */

enum satchel_status store_file_init(struct satchel_store_file *file, const char *directory,
                                    const char *name, uint64_t number, struct satchel_error *error)
{
    char suffix[sizeof WORKSPACE_NEW_SUFFIX + 24];
    memset(file, 0, sizeof *file);
    file->fd = -1;
    snprintf(suffix, sizeof suffix, WORKSPACE_NEW_SUFFIX "-%llu", (unsigned long long)number);
    enum satchel_status status = workspace_path(file->path, directory, name, suffix, error);
    if (status == SATCHEL_OK)
        status = workspace_path(file->directory, directory, "", "", error);
    if (status != SATCHEL_OK)
        return status;
    file->hashing = satchel_alloc_zero(NULL, sizeof *file->hashing);
    if (!file->hashing ||
        crypto_generichash_init(&file->hashing->state, NULL, 0, STORE_FILE_HASH_BYTES) != 0) {
        store_file_deinit(file);
        return satchel_error_set(error, SATCHEL_NOMEM, "out of memory");
    }
    return SATCHEL_OK;
}

static void close_file(struct satchel_store_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

void store_file_deinit(struct satchel_store_file *file)
{
    close_file(file);
    if (file->path[0])
        workspace_remove_file(file->path);
    file->path[0] = '\0';
    satchel_free(NULL, file->hashing);
    file->hashing = NULL;
}

/* Everybody's data and the workspace's secret: for the owner alone. */
static enum satchel_status make_file(struct satchel_store_file *file, struct satchel_error *error)
{
    workspace_remove_file(file->path);
    file->fd = open(file->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    return file->fd >= 0 ? SATCHEL_OK : workspace_io_error(error, file->path);
}

/* ---- reading connections ---- */

static bool not_applying(void *context)
{
    (void)context;
    return false;
}

static int64_t now(void *context)
{
    struct timespec time;
    (void)context;
    return timespec_get(&time, TIME_UTC) ? (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000 : 0;
}

static const char *nobody(void *context)
{
    (void)context;
    return NULL;
}

static const struct satchel_identity reader_identity = {NULL,   not_applying, now,
                                                        nobody, nobody,       nobody};

static int look_at_cancelled(void *context)
{
    return is_cancelled(context);
}

/* The one value of a statement: a number, or a text's first bytes in `text`. */
static enum satchel_status read_one(sqlite3 *db, const char *sql, int64_t *number, char *text,
                                    size_t room, struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    enum satchel_status status = satchel_query_open(&query, db, sql, error);
    if (status != SATCHEL_OK)
        return status;
    status = satchel_query_step(&query, &has_row, error);
    if (status == SATCHEL_OK && number)
        *number = has_row ? sqlite3_column_int64(query.statement, 0) : 0;
    if (status == SATCHEL_OK && text)
        snprintf(text, room, "%s",
                 has_row ? (const char *)sqlite3_column_text(query.statement, 0) : "");
    satchel_query_close(&query);
    return status;
}

/* ---- backup ---- */

/* Copies the pages of the source's open transaction: one moment, for as long as it takes. */
static enum satchel_status copy_pages(struct satchel_store_file *file, sqlite3 *source,
                                      sqlite3 *target, struct satchel_error *error)
{
    sqlite3_backup *backup = sqlite3_backup_init(target, "main", source, "main");
    int code = SQLITE_OK;
    if (!backup)
        return satchel_db_error(error, target, "beginning a snapshot");
    while (code == SQLITE_OK && !is_cancelled(file)) {
        code = sqlite3_backup_step(backup, PAGES_A_STEP);
        uint64_t total = (uint64_t)sqlite3_backup_pagecount(backup);
        atomic_store(&file->total, total);
        atomic_store(&file->done, total - (uint64_t)sqlite3_backup_remaining(backup));
    }
    int ended = sqlite3_backup_finish(backup);
    if (code == SQLITE_DONE && ended == SQLITE_OK)
        return SATCHEL_OK;
    if (is_cancelled(file))
        return cancelled(error);
    return satchel_db_error(error, target, "taking a snapshot");
}

static enum satchel_status check_room(const struct satchel_store_file *file, sqlite3 *source,
                                      struct satchel_error *error)
{
    int64_t page_count = 0, page_bytes = 0;
    enum satchel_status status = read_one(source, "PRAGMA page_count", &page_count, NULL, 0, error);
    if (status == SATCHEL_OK)
        status = read_one(source, "PRAGMA page_size", &page_bytes, NULL, 0, error);
    return status == SATCHEL_OK
               ? workspace_check_room(file->directory, (uint64_t)page_count * (uint64_t)page_bytes,
                                      error)
               : status;
}

/* A database without a WAL: one file that any SQLite reads, also where it cannot write. */
static enum satchel_status make_whole(struct satchel_store_file *file, sqlite3 *source,
                                      struct satchel_error *error)
{
    sqlite3 *target = NULL;
    int64_t entry_count = 0;
    enum satchel_status status = SATCHEL_OK;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(file->path, &target, flags, NULL) != SQLITE_OK)
        status = target ? satchel_db_error(error, target, "opening %s", file->path) : SATCHEL_NOMEM;
    if (status == SATCHEL_OK)
        status = satchel_db_exec(target, "PRAGMA synchronous=OFF", error);
    if (status == SATCHEL_OK)
        status = copy_pages(file, source, target, error);
    if (status == SATCHEL_OK)
        status = satchel_db_exec(target, SQL_WHOLE, error);
    if (status == SATCHEL_OK)
        status = read_one(target, SQL_COUNT, &entry_count, NULL, 0, error);
    file->entry_count = (uint64_t)entry_count;
    sqlite3_close_v2(target);
    return status;
}

static enum satchel_status hash_file(struct satchel_store_file *file, struct satchel_error *error)
{
    struct satchel_buffer chunk;
    struct stat facts;
    enum satchel_status status = SATCHEL_OK;
    if (fstat(file->fd, &facts) != 0)
        return workspace_io_error(error, file->path);
    file->bytes = (uint64_t)facts.st_size;
    satchel_buffer_init(&chunk, STORE_FILE_CHUNK_BYTES_MAX, NULL);
    for (uint64_t offset = 0; status == SATCHEL_OK && offset < file->bytes; offset += chunk.size) {
        status =
            is_cancelled(file) ? cancelled(error) : store_file_read(file, offset, &chunk, error);
        if (status == SATCHEL_OK)
            crypto_generichash_update(&file->hashing->state, chunk.data, chunk.size);
    }
    satchel_buffer_deinit(&chunk);
    crypto_generichash_final(&file->hashing->state, file->hash, sizeof file->hash);
    return status;
}

enum satchel_status store_file_take(struct satchel_store_file *file, const char *name,
                                    struct satchel_error *error)
{
    char path[WORKSPACE_PATH_BYTES_MAX];
    sqlite3 *source = NULL;
    enum satchel_status status = workspace_path(path, file->directory, name, ".db", error);
    if (status == SATCHEL_OK)
        status = satchel_store_sqlite_reader(&source, path, &reader_identity, error);
    if (status == SATCHEL_OK)
        status = satchel_db_exec(source, SQL_MOMENT, error);
    if (status == SATCHEL_OK)
        status = check_room(file, source, error);
    if (status == SATCHEL_OK)
        status = make_file(file, error);
    if (status == SATCHEL_OK)
        status = make_whole(file, source, error);
    sqlite3_close_v2(source); /* before the hash: the WAL grows for as long as it is open */
    return status == SATCHEL_OK ? hash_file(file, error) : status;
}

enum satchel_status store_file_read(struct satchel_store_file *file, uint64_t offset,
                                    struct satchel_buffer *out, struct satchel_error *error)
{
    satchel_buffer_clear(out);
    if (offset >= file->bytes)
        return satchel_error_set(error, SATCHEL_INVALID, "the backup has %llu bytes and no %llu",
                                 (unsigned long long)file->bytes, (unsigned long long)offset);
    uint64_t left = file->bytes - offset;
    size_t size = left < STORE_FILE_CHUNK_BYTES_MAX ? (size_t)left : STORE_FILE_CHUNK_BYTES_MAX;
    enum satchel_status status = satchel_buffer_reserve(out, size);
    while (status == SATCHEL_OK && out->size < size) {
        ssize_t count =
            pread(file->fd, out->data + out->size, size - out->size, (off_t)(offset + out->size));
        if (count > 0)
            out->size += (size_t)count;
        else if (count == 0)
            status = satchel_error_set(error, SATCHEL_IO, "%s was cut short", file->path);
        else if (errno != EINTR)
            status = workspace_io_error(error, file->path);
    }
    return status;
}

/* ---- restore ---- */

enum satchel_status store_file_expect(struct satchel_store_file *file, uint64_t bytes,
                                      struct satchel_error *error)
{
    if (bytes < STORE_BYTES_MIN)
        return satchel_error_set(error, SATCHEL_INVALID, "%llu bytes are no central store",
                                 (unsigned long long)bytes);
    enum satchel_status status = workspace_check_room(file->directory, bytes, error);
    if (status == SATCHEL_OK)
        status = make_file(file, error);
    file->bytes = bytes;
    return status;
}

enum satchel_status store_file_write(struct satchel_store_file *file, uint64_t offset,
                                     struct satchel_span bytes, struct satchel_error *error)
{
    if (offset != file->received_bytes || bytes.size > file->bytes - offset)
        return satchel_error_set(
            error, SATCHEL_INVALID, "%zu bytes at %llu do not follow: %llu of %llu have come",
            bytes.size, (unsigned long long)offset, (unsigned long long)file->received_bytes,
            (unsigned long long)file->bytes);
    crypto_generichash_update(&file->hashing->state, bytes.data, bytes.size);
    for (size_t done = 0; done < bytes.size;) {
        ssize_t count = write(file->fd, bytes.data + done, bytes.size - done);
        if (count > 0)
            done += (size_t)count;
        else if (count < 0 && errno != EINTR)
            return workspace_io_error(error, file->path);
    }
    file->received_bytes += bytes.size;
    return SATCHEL_OK;
}

static enum satchel_status check_transfer(struct satchel_store_file *file,
                                          const uint8_t hash[STORE_FILE_HASH_BYTES],
                                          struct satchel_error *error)
{
    if (file->received_bytes != file->bytes)
        return satchel_error_set(error, SATCHEL_INVALID, "only %llu of %llu bytes have come",
                                 (unsigned long long)file->received_bytes,
                                 (unsigned long long)file->bytes);
    crypto_generichash_final(&file->hashing->state, file->hash, sizeof file->hash);
    if (sodium_memcmp(file->hash, hash, sizeof file->hash) != 0)
        return satchel_error_set(error, SATCHEL_CORRUPT,
                                 "what has come is not what was sent: restore it again");
    return SATCHEL_OK;
}

static enum satchel_status check_integrity(struct satchel_store_file *file,
                                           struct satchel_error *error)
{
    sqlite3 *db = NULL;
    struct satchel_error detail = {0};
    char verdict[SATCHEL_ERROR_BYTES / 2] = "";
    enum satchel_status status =
        satchel_store_sqlite_reader(&db, file->path, &reader_identity, &detail);
    if (status == SATCHEL_OK) {
        sqlite3_progress_handler(db, CHECK_STEPS, look_at_cancelled, file);
        status = read_one(db, SQL_CHECK, NULL, verdict, sizeof verdict, &detail);
    }
    sqlite3_close_v2(db);
    if (is_cancelled(file))
        return cancelled(error);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status == SATCHEL_SQL ? SATCHEL_CORRUPT : status,
                                 "the file cannot be read as a database: %s", detail.message);
    if (strcmp(verdict, "ok") != 0)
        return satchel_error_set(error, SATCHEL_CORRUPT, "the file is damaged: %s", verdict);
    return SATCHEL_OK;
}

/* Whose store it is from now on. */
static enum satchel_status rename_store(struct satchel_store *store, const char *name,
                                        struct satchel_error *error)
{
    struct satchel_query query;
    sqlite3 *db = satchel_store_sqlite_db(store);
    enum satchel_status status = satchel_query_open(&query, db, SQL_NAME, error);
    if (status == SATCHEL_OK) {
        satchel_query_text(&query, satchel_span_text(name));
        status = satchel_query_run(&query, error);
        satchel_query_close(&query);
    }
    return status == SATCHEL_OK ? incarnation_begin(db, error) : status;
}

/* Opens it as a workspace would, so that it does when it has taken its place. */
static enum satchel_status prepare(struct satchel_store_file *file, const char *name,
                                   struct satchel_error *error)
{
    struct satchel_store *store = NULL;
    struct satchel_store_head head = {0};
    struct satchel_error detail = {0};
    int64_t entry_count = 0;
    enum satchel_status status = satchel_store_sqlite_open(&store, file->path, &detail);
    if (status == SATCHEL_MISMATCH)
        return satchel_error_set(error, status, "the file is no central store of a workspace");
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "the file cannot be opened: %s", detail.message);
    status = store->ops->begin(store, error);
    if (status == SATCHEL_OK) {
        status = store->ops->load_head(store, &head, error);
        if (status == SATCHEL_OK)
            status = rename_store(store, name, error);
        if (status == SATCHEL_OK)
            status =
                read_one(satchel_store_sqlite_db(store), SQL_COUNT, &entry_count, NULL, 0, error);
        if (status == SATCHEL_OK)
            status = store->ops->commit(store, error);
        if (status != SATCHEL_OK)
            store->ops->rollback(store);
    }
    store->ops->close(store);
    file->workspace_id = head.workspace_id;
    file->entry_count = (uint64_t)entry_count;
    return status == SATCHEL_OK ? workspace_check_whole(file->path, error) : status;
}

enum satchel_status store_file_check(struct satchel_store_file *file, const char *name,
                                     const uint8_t hash[STORE_FILE_HASH_BYTES],
                                     struct satchel_error *error)
{
    enum satchel_status status = check_transfer(file, hash, error);
    if (status == SATCHEL_OK)
        status = check_integrity(file, error);
    if (status == SATCHEL_OK)
        status = prepare(file, name, error);
    if (status == SATCHEL_OK && fsync(file->fd) != 0)
        status = workspace_io_error(error, file->path);
    close_file(file);
    return status;
}
