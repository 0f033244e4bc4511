/* backup, restore: the bytes of a central store between a file here and a server, in pieces over
 * one connection. What the server does with them is in server/src/hub_transfer.c. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CHUNK_BYTES ((size_t)1 << 20)
#define PARTIAL_SUFFIX ".partial"
#define SQL_FORMAT "SELECT format FROM satchel_workspace"

enum { WORDS_MAX = 3, NUMBER_BYTES = 24, HASH_BYTES = 32, PATH_BYTES = 4096 };

struct transfer {
    const char *workspace, *path;
    const char *said; /* the verb that is answered next */
    int fd;
    uint64_t bytes, done_bytes; /* of the file; moved */
    uint64_t entry_count;
    uint8_t hash[HASH_BYTES]; /* as the server says, or as the file is */
    crypto_generichash_state hashing;
    char *replaced; /* by a restore, in the data directory; owned */
    uint8_t *chunk; /* CHUNK_BYTES */
    char number[NUMBER_BYTES];
    struct satchel_value words[WORDS_MAX];
    bool shows_progress;
};

static enum satchel_status io_error(struct satchel_error *error, const char *path)
{
    return satchel_error_set(error, SATCHEL_IO, "%s: %s", path, strerror(errno));
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static void show(const struct transfer *transfer, const char *what, uint64_t done, uint64_t total)
{
    if (transfer->shows_progress)
        fprintf(stderr, "\r\033[K%s %d %%", what, total ? (int)(done * 100 / total) : 0);
}

/* ---- what is asked ---- */

static struct satchel_value text(const char *words)
{
    return satchel_value_text(satchel_span_text(words));
}

static void ask(struct transfer *transfer, struct satchel_admin_request *request, const char *verb,
                uint32_t argument_count)
{
    transfer->said = verb;
    transfer->words[0] = text(verb);
    request->arguments = transfer->words;
    request->argument_count = 1 + argument_count;
}

static struct satchel_value number(struct transfer *transfer, uint64_t value)
{
    snprintf(transfer->number, sizeof transfer->number, "%" PRIu64, value);
    return text(transfer->number);
}

/* ---- what is answered ---- */

static const struct satchel_value *answered(const struct satchel_message_admin_result *answer,
                                            const char *name, enum satchel_value_type type)
{
    for (uint32_t i = 0; answer->row_count == 1 && i < answer->column_count; i++)
        if (satchel_span_equal(answer->columns[i], satchel_span_text(name)) &&
            answer->values[i].type == type)
            return &answer->values[i];
    return NULL;
}

static enum satchel_status not_understood(struct satchel_error *error)
{
    return satchel_error_set(error, SATCHEL_VERSION,
                             "the server's answer is not understood: is it of this version?");
}

/* A step that takes long says how far it is: the rest is waited for. */
static enum satchel_status check_answer(struct transfer *transfer, const char *what,
                                        const struct satchel_message_admin_result *answer,
                                        struct satchel_admin_request *request,
                                        struct satchel_error *error)
{
    const struct satchel_value *state = answered(answer, "state", SATCHEL_TEXT);
    const struct satchel_value *done = answered(answer, "done", SATCHEL_INTEGER);
    const struct satchel_value *total = answered(answer, "total", SATCHEL_INTEGER);
    const char *verb = transfer->said;
    if (!state)
        return not_understood(error);
    if (satchel_span_equal(state->bytes, satchel_span_text("ready")))
        return SATCHEL_OK;
    if (done && total && done->integer >= 0)
        show(transfer, what, (uint64_t)done->integer, (uint64_t)total->integer);
    ask(transfer, request, "transfer.wait", 0);
    transfer->said = verb;
    return SATCHEL_OK;
}

/* ---- backup ---- */

static enum satchel_status take_snapshot(struct transfer *transfer,
                                         const struct satchel_message_admin_result *answer,
                                         struct satchel_error *error)
{
    const struct satchel_value *bytes = answered(answer, "bytes", SATCHEL_INTEGER);
    const struct satchel_value *hash = answered(answer, "hash", SATCHEL_BLOB);
    const struct satchel_value *entries = answered(answer, "entries", SATCHEL_INTEGER);
    if (!bytes || bytes->integer <= 0 || !hash || hash->bytes.size != HASH_BYTES || !entries)
        return not_understood(error);
    transfer->bytes = (uint64_t)bytes->integer;
    transfer->entry_count = (uint64_t)entries->integer;
    memcpy(transfer->hash, hash->bytes.data, HASH_BYTES);
    return SATCHEL_OK;
}

static enum satchel_status take_chunk(struct transfer *transfer,
                                      const struct satchel_message_admin_result *answer,
                                      struct satchel_error *error)
{
    const struct satchel_value *chunk = answered(answer, "chunk", SATCHEL_BLOB);
    if (!chunk || chunk->bytes.size == 0 ||
        chunk->bytes.size > transfer->bytes - transfer->done_bytes)
        return not_understood(error);
    for (size_t done = 0; done < chunk->bytes.size;) {
        ssize_t count = write(transfer->fd, chunk->bytes.data + done, chunk->bytes.size - done);
        if (count < 0 && errno != EINTR)
            return io_error(error, transfer->path);
        done += count > 0 ? (size_t)count : 0;
    }
    crypto_generichash_update(&transfer->hashing, chunk->bytes.data, chunk->bytes.size);
    transfer->done_bytes += chunk->bytes.size;
    show(transfer, "received", transfer->done_bytes, transfer->bytes);
    return SATCHEL_OK;
}

static enum satchel_status next_of_backup(void *context,
                                          const struct satchel_message_admin_result *answer,
                                          struct satchel_admin_request *request,
                                          struct satchel_error *error)
{
    struct transfer *transfer = context;
    if (!answer) {
        transfer->words[1] = text(transfer->workspace);
        ask(transfer, request, "backup.begin", 1);
        return SATCHEL_OK;
    }
    enum satchel_status status = check_answer(transfer, "snapshot", answer, request, error);
    if (status != SATCHEL_OK || request->argument_count > 0)
        return status;
    status = strcmp(transfer->said, "backup.begin") == 0 ? take_snapshot(transfer, answer, error)
                                                         : take_chunk(transfer, answer, error);
    if (status == SATCHEL_OK && transfer->done_bytes < transfer->bytes) {
        transfer->words[1] = number(transfer, transfer->done_bytes);
        ask(transfer, request, "backup.read", 1);
    }
    return status;
}

static enum satchel_status check_hash(struct transfer *transfer, struct satchel_error *error)
{
    uint8_t hash[HASH_BYTES];
    crypto_generichash_final(&transfer->hashing, hash, sizeof hash);
    return memcmp(hash, transfer->hash, sizeof hash) == 0
               ? SATCHEL_OK
               : satchel_error_set(error, SATCHEL_CORRUPT,
                                   "what was received is not what was sent: back up again");
}

static enum satchel_status sync_directory_of(const char *path, struct satchel_error *error)
{
    char copy[PATH_BYTES];
    snprintf(copy, sizeof copy, "%s", path);
    const char *directory = dirname(copy);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum satchel_status status = fd < 0 || fsync(fd) != 0 ? io_error(error, directory) : SATCHEL_OK;
    if (fd >= 0)
        close(fd);
    return status;
}

static enum satchel_status refuse_existing(const char *path, bool may_replace,
                                           struct satchel_error *error)
{
    struct stat found;
    if (may_replace || (lstat(path, &found) != 0 && errno == ENOENT))
        return SATCHEL_OK;
    return satchel_error_set(error, SATCHEL_EXISTS,
                             "%s exists already: choose another name, or --force to replace it",
                             path);
}

/* The file that becomes `path`: of its owner alone, and of this process alone for now. */
static enum satchel_status open_partial(struct transfer *transfer, const char *path,
                                        struct satchel_error *error)
{
    transfer->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (transfer->fd < 0)
        return io_error(error, path);
    if (flock(transfer->fd, LOCK_EX | LOCK_NB) != 0) {
        close(transfer->fd);
        transfer->fd = -1;
        return satchel_error_set(error, SATCHEL_BUSY, "%s: another backup is writing it", path);
    }
    return fchmod(transfer->fd, 0600) == 0 && ftruncate(transfer->fd, 0) == 0
               ? SATCHEL_OK
               : io_error(error, path);
}

static enum satchel_status back_up(struct transfer *transfer, const struct arguments *arguments,
                                   struct satchel_error *error)
{
    char partial[PATH_BYTES];
    const char *path = transfer->path;
    bool may_replace = (arguments->given & OPTION_FORCE) != 0;
    struct satchel_admin_talk talk = {transfer, next_of_backup};
    int size = snprintf(partial, sizeof partial, "%s" PARTIAL_SUFFIX, path);
    if (size < 0 || (size_t)size >= sizeof partial)
        return satchel_error_set(error, SATCHEL_LIMIT, "%.80s...: the name is too long", path);
    enum satchel_status status = refuse_existing(path, may_replace, error);
    if (status == SATCHEL_OK)
        status = open_partial(transfer, partial, error);
    if (transfer->fd < 0)
        return status;
    if (status == SATCHEL_OK)
        status = satchel_admin_run(arguments->server, arguments->token_file, &talk, error);
    if (status == SATCHEL_OK)
        status = check_hash(transfer, error);
    if (status == SATCHEL_OK && fsync(transfer->fd) != 0)
        status = io_error(error, partial);
    if (status == SATCHEL_OK)
        status = refuse_existing(path, may_replace, error);
    if (status == SATCHEL_OK && rename(partial, path) != 0)
        status = io_error(error, path);
    if (status != SATCHEL_OK)
        unlink(partial);
    return status == SATCHEL_OK ? sync_directory_of(path, error) : status;
}

/* ---- restore ---- */

static enum satchel_status read_chunk(struct transfer *transfer, size_t *size,
                                      struct satchel_error *error)
{
    uint64_t left = transfer->bytes - transfer->done_bytes;
    size_t wanted = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
    *size = 0;
    while (*size < wanted) {
        ssize_t count = read(transfer->fd, transfer->chunk + *size, wanted - *size);
        if (count == 0)
            return satchel_error_set(error, SATCHEL_IO, "%s became shorter while it was sent",
                                     transfer->path);
        if (count < 0 && errno != EINTR)
            return io_error(error, transfer->path);
        *size += count > 0 ? (size_t)count : 0;
    }
    crypto_generichash_update(&transfer->hashing, transfer->chunk, *size);
    return SATCHEL_OK;
}

static enum satchel_status take_restored(struct transfer *transfer,
                                         const struct satchel_message_admin_result *answer,
                                         struct satchel_error *error)
{
    const struct satchel_value *entries = answered(answer, "entries", SATCHEL_INTEGER);
    const struct satchel_value *replaced = answered(answer, "replaced", SATCHEL_TEXT);
    if (!entries || !replaced)
        return not_understood(error);
    transfer->entry_count = (uint64_t)entries->integer;
    transfer->replaced = strndup(replaced->bytes.size ? (const char *)replaced->bytes.data : "",
                                 replaced->bytes.size);
    return transfer->replaced ? SATCHEL_OK : satchel_error_set(error, SATCHEL_NOMEM, "no memory");
}

static enum satchel_status send_more(struct transfer *transfer,
                                     struct satchel_admin_request *request,
                                     struct satchel_error *error)
{
    size_t size = 0;
    if (transfer->done_bytes == transfer->bytes) {
        crypto_generichash_final(&transfer->hashing, transfer->hash, sizeof transfer->hash);
        transfer->words[1] =
            satchel_value_text(satchel_span_of(transfer->hash, sizeof transfer->hash));
        ask(transfer, request, "restore.finish", 1);
        return SATCHEL_OK;
    }
    enum satchel_status status = read_chunk(transfer, &size, error);
    if (status != SATCHEL_OK)
        return status;
    transfer->words[1] = number(transfer, transfer->done_bytes);
    transfer->words[2] = satchel_value_text(satchel_span_of(transfer->chunk, size));
    ask(transfer, request, "restore.write", 2);
    transfer->done_bytes += size;
    show(transfer, "sent", transfer->done_bytes, transfer->bytes);
    return SATCHEL_OK;
}

static enum satchel_status next_of_restore(void *context,
                                           const struct satchel_message_admin_result *answer,
                                           struct satchel_admin_request *request,
                                           struct satchel_error *error)
{
    struct transfer *transfer = context;
    if (!answer) {
        transfer->words[1] = text(transfer->workspace);
        transfer->words[2] = number(transfer, transfer->bytes);
        ask(transfer, request, "restore.begin", 2);
        return SATCHEL_OK;
    }
    enum satchel_status status = check_answer(transfer, "checking", answer, request, error);
    if (status != SATCHEL_OK || request->argument_count > 0)
        return status;
    return strcmp(transfer->said, "restore.finish") == 0 ? take_restored(transfer, answer, error)
                                                         : send_more(transfer, request, error);
}

/* Reads it as it is: nothing is written beside it. NULL: no memory. */
static char *uri_of(const char *path)
{
    static const char hex[] = "0123456789ABCDEF";
    static const char before[] = "file:", after[] = "?immutable=1";
    char *uri = malloc(sizeof before + 3 * strlen(path) + sizeof after);
    if (!uri)
        return NULL;
    memcpy(uri, before, sizeof before - 1);
    char *end = uri + sizeof before - 1;
    for (const char *c = path; *c; c++) {
        if (*c == '%' || *c == '?' || *c == '#') {
            *end++ = '%';
            *end++ = hex[(unsigned char)*c >> 4];
            *end++ = hex[(unsigned char)*c & 15];
        } else {
            *end++ = *c;
        }
    }
    memcpy(end, after, sizeof after);
    return uri;
}

/* A glance before anything is sent; the server looks closely. */
static enum satchel_status check_store(const char *path, struct satchel_error *error)
{
    sqlite3 *db = NULL;
    char *uri = uri_of(path);
    enum satchel_status status = SATCHEL_OK;
    if (!uri ||
        sqlite3_open_v2(uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL) != SQLITE_OK)
        status = satchel_error_set(error, SATCHEL_IO, "%s: cannot be opened", path);
    else if (sqlite3_exec(db, SQL_FORMAT, NULL, NULL, NULL) != SQLITE_OK)
        status = satchel_error_set(error, SATCHEL_MISMATCH, "%s is no backup of a workspace (%s)",
                                   path, sqlite3_errmsg(db));
    sqlite3_close(db);
    free(uri);
    return status;
}

static enum satchel_status check_alone(const char *path, struct satchel_error *error)
{
    static const char *const beside[] = {"-wal", "-journal"};
    char name[PATH_BYTES];
    struct stat found;
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
        snprintf(name, sizeof name, "%s%s", path, beside[i]);
        if (stat(name, &found) == 0 && found.st_size > 0)
            return satchel_error_set(error, SATCHEL_STATE,
                                     "%s is not whole without %s: `sqlite3 %s 'PRAGMA "
                                     "journal_mode=DELETE'` makes it so",
                                     path, name, path);
    }
    return SATCHEL_OK;
}

static enum satchel_status open_file(struct transfer *transfer, struct satchel_error *error)
{
    struct stat facts;
    transfer->fd = open(transfer->path, O_RDONLY | O_CLOEXEC);
    if (transfer->fd < 0 || fstat(transfer->fd, &facts) != 0)
        return io_error(error, transfer->path);
    if (!S_ISREG(facts.st_mode))
        return satchel_error_set(error, SATCHEL_INVALID, "%s is no file", transfer->path);
    transfer->bytes = (uint64_t)facts.st_size;
    return SATCHEL_OK;
}

static enum satchel_status restore(struct transfer *transfer, const struct arguments *arguments,
                                   struct satchel_error *error)
{
    struct satchel_admin_talk talk = {transfer, next_of_restore};
    enum satchel_status status = check_alone(transfer->path, error);
    if (status == SATCHEL_OK)
        status = open_file(transfer, error);
    if (status == SATCHEL_OK)
        status = check_store(transfer->path, error);
    return status == SATCHEL_OK
               ? satchel_admin_run(arguments->server, arguments->token_file, &talk, error)
               : status;
}

/* ---- the commands ---- */

static int run(const struct arguments *arguments, bool is_restore)
{
    struct satchel_error error = {0};
    struct timespec start;
    struct transfer transfer = {.workspace = arguments->positional[0],
                                .path = arguments->positional[1],
                                .fd = -1,
                                .shows_progress = isatty(STDERR_FILENO)};
    if (!command_has_server(arguments))
        return EXIT_USAGE;
    clock_gettime(CLOCK_MONOTONIC, &start);
    transfer.chunk = malloc(CHUNK_BYTES);
    enum satchel_status status = SATCHEL_OK;
    if (!transfer.chunk || sodium_init() < 0 ||
        crypto_generichash_init(&transfer.hashing, NULL, 0, HASH_BYTES) != 0)
        status = satchel_error_set(&error, SATCHEL_NOMEM, "no memory");
    if (status == SATCHEL_OK)
        status = is_restore ? restore(&transfer, arguments, &error)
                            : back_up(&transfer, arguments, &error);
    if (transfer.shows_progress)
        fputs("\r\033[K", stderr);
    if (status == SATCHEL_OK) {
        printf("workspace %s %s %s: %" PRIu64 " entries, %" PRIu64 " bytes, %.2f s",
               transfer.workspace, is_restore ? "restored from" : "backed up to", transfer.path,
               transfer.entry_count, transfer.bytes, seconds_since(&start));
        if (transfer.replaced && *transfer.replaced)
            printf("; what was there is %s", transfer.replaced);
        putchar('\n');
    }
    if (transfer.fd >= 0)
        close(transfer.fd);
    free(transfer.replaced);
    free(transfer.chunk);
    return status == SATCHEL_OK ? EXIT_DONE : command_fail(&error);
}

int run_backup(const struct command *command, const struct arguments *arguments)
{
    (void)command;
    return run(arguments, false);
}

int run_restore(const struct command *command, const struct arguments *arguments)
{
    (void)command;
    return run(arguments, true);
}
