/* Owns backup and restore as an administrator sees them: verbs on one connection, which has at most
 * one transfer and ends it with itself.
 *
 *   backup.begin W           -> ready, bytes, hash, entries    a snapshot is taken
 *   backup.read OFFSET       -> ready, chunk
 *   restore.begin W BYTES    -> ready
 *   restore.write OFFSET CHUNK  -> ready                       in order
 *   restore.finish HASH      -> ready, entries, replaced       checked; takes W's place
 *   transfer.wait            -> what the step in hand comes to
 *
 * Each is a step of a clerk. One that takes longer than ANSWER_MS is answered `working, done,
 * total`, and the peer waits for the rest with transfer.wait; so a silent connection is a lost one.
 *
 * A restore has the name of its workspace claimed from begin to end, a backup while its snapshot is
 * taken. Nothing of a workspace changes before the upload is checked; then the loop takes it out of
 * the table and sends its sessions away (1001: they come again), a clerk closes it, puts the file
 * in place and opens what is there, and the loop puts that into the table. This last step is the
 * only one that goes on when its session ends. */
#include "hub_internal.h"
#include "store_file.h"

#include "logging.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ANSWER_MS = 1000, ANSWER_COLUMNS_MAX = 4, NUMBER_DIGITS_MAX = 19 };
enum { OPEN_ATTEMPTS_MAX = 60, OPEN_PAUSE_MS = 500 };

enum step { STEP_NONE, STEP_TAKE, STEP_READ, STEP_EXPECT, STEP_WRITE, STEP_CHECK, STEP_SWITCH };

struct hub_transfer {
    struct hub_errand errand; /* first: the step in hand */
    struct satchel_hub *hub;
    struct hub_claim claim;
    char name[65];
    struct hub_session *session; /* NULL: it has gone */
    bool is_restore;
    bool is_taken;     /* backup: there is a snapshot to read */
    bool is_busy;      /* the errand is with a clerk */
    bool is_asked;     /* the session waits for an answer */
    bool is_unclaimed; /* the step has ended and nobody has asked what it came to */
    int64_t asked_ms;

    /* the step's, from hub_clerks_ask until it is done */
    enum step step;
    bool has_run;
    uint64_t offset;
    struct satchel_buffer chunk;
    uint8_t hash[STORE_FILE_HASH_BYTES];
    struct satchel_store_file file;
    struct satchel_workspace *closing; /* STEP_SWITCH: NULL if there was none */
    struct hub_workspace *before, *after;
    bool is_replaced;
    char replaced[WORKSPACE_PATH_BYTES_MAX];
    enum satchel_status status;
    struct satchel_error error;
};

/* ---- steps, on a clerk's thread ---- */

/* Nobody else will open it: what is short for a moment, descriptors or room on the disk, is waited
 * for. */
static enum satchel_status open_after(struct hub_transfer *transfer, struct satchel_error *error)
{
    const struct timespec pause = {.tv_nsec = OPEN_PAUSE_MS * 1000000L};
    struct satchel_workspace_callbacks callbacks = hub_workspace_callbacks(transfer->after);
    enum satchel_status status = SATCHEL_IO;
    for (int i = 0; i < OPEN_ATTEMPTS_MAX && (status == SATCHEL_IO || status == SATCHEL_NOMEM);
         i++) {
        if (i > 0)
            nanosleep(&pause, NULL);
        status = satchel_workspace_open(&transfer->after->workspace, transfer->hub->directory->path,
                                        transfer->name, &callbacks, error);
    }
    return status;
}

/* On failure too there is a workspace to open: the one that was there. */
static enum satchel_status switch_workspace(struct hub_transfer *transfer)
{
    const char *directory = transfer->hub->directory->path;
    struct satchel_error error = {0};
    bool was_open = transfer->closing != NULL;

    satchel_workspace_close(transfer->closing);
    enum satchel_status status =
        workspace_replace_file(directory, transfer->name, transfer->file.path, hub_now().utc_ms,
                               &transfer->is_replaced, transfer->replaced, &transfer->error);
    if (!transfer->is_replaced && !was_open)
        return status;
    enum satchel_status opened = open_after(transfer, &error);
    if (opened == SATCHEL_OK)
        return status;
    satchel_log_error("workspace %s does not open: %s", transfer->name, error.message);
    if (status == SATCHEL_OK)
        status = satchel_error_set(&transfer->error, opened,
                                   "the file is in place but does not open, start satcheld again: "
                                   "%s",
                                   error.message);
    return status;
}

static void run_step(struct hub_errand *errand)
{
    struct hub_transfer *transfer = (struct hub_transfer *)(void *)errand;
    struct satchel_store_file *file = &transfer->file;
    struct satchel_error *error = &transfer->error;
    enum satchel_status status = SATCHEL_OK;

    switch (transfer->step) {
    case STEP_NONE: store_file_deinit(file); break; /* given up */
    case STEP_TAKE: status = store_file_take(file, transfer->name, error); break;
    case STEP_READ:
        status = store_file_read(file, transfer->offset, &transfer->chunk, error);
        break;
    case STEP_EXPECT: status = store_file_expect(file, transfer->offset, error); break;
    case STEP_WRITE:
        status =
            store_file_write(file, transfer->offset, satchel_buffer_span(&transfer->chunk), error);
        break;
    case STEP_CHECK: status = store_file_check(file, transfer->name, transfer->hash, error); break;
    case STEP_SWITCH: status = switch_workspace(transfer); break;
    }
    transfer->status = status;
    transfer->has_run = true;
}

/* ---- the end of a transfer ---- */

static void free_transfer(struct hub_transfer *transfer)
{
    hub_claim_release(transfer->hub, &transfer->claim);
    if (transfer->before)
        hub_workspace_free(transfer->before);
    if (transfer->after)
        hub_workspace_free(transfer->after);
    store_file_deinit(&transfer->file);
    satchel_buffer_deinit(&transfer->chunk);
    free(transfer);
}

static void drop_step(struct hub_errand *errand)
{
    struct hub_transfer *transfer = (struct hub_transfer *)(void *)errand;

    if (transfer->session)
        transfer->session->transfer = NULL;
    if (!transfer->has_run)
        satchel_workspace_close(transfer->closing);
    free_transfer(transfer);
}

static void start(struct hub_transfer *transfer, enum step step)
{
    transfer->step = step;
    transfer->is_busy = true;
    transfer->has_run = false;
    transfer->status = SATCHEL_OK;
    memset(&transfer->error, 0, sizeof transfer->error);
    hub_clerks_ask(transfer->hub, &transfer->errand);
}

/* Nobody wants it any more. A large file takes a while to remove. */
static void give_up(struct hub_transfer *transfer)
{
    hub_claim_release(transfer->hub, &transfer->claim);
    transfer->hub->transfer_count--;
    start(transfer, STEP_NONE);
}

void hub_transfer_leave(struct hub_session *session)
{
    struct hub_transfer *transfer = session->transfer;

    if (!transfer)
        return;
    session->transfer = NULL;
    transfer->session = NULL;
    atomic_store(&transfer->file.is_cancelled, true);
    if (!transfer->is_busy)
        give_up(transfer);
}

void hub_transfer_cancel(struct hub_session *session)
{
    if (session->transfer)
        atomic_store(&session->transfer->file.is_cancelled, true);
}

/* ---- answers ---- */

struct answer {
    const char *name;
    struct satchel_value value;
};

static enum satchel_status fill_answer(struct satchel_job *job, const struct answer *values,
                                       uint32_t count)
{
    struct satchel_message *message = &job->answers[0];
    struct satchel_message_admin_result *result = &message->admin_result;

    memset(message, 0, sizeof *message);
    message->kind = SATCHEL_MESSAGE_ADMIN_RESULT;
    job->answer_count = 1;
    result->columns = SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_span, count);
    result->values = SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_value, count);
    if (!result->columns || !result->values)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < count; i++) {
        result->columns[i] = satchel_span_text(values[i].name);
        enum satchel_status status =
            satchel_value_copy(&job->arena, &values[i].value, &result->values[i]);
        if (status != SATCHEL_OK)
            return status;
    }
    result->column_count = count;
    result->row_count = 1;
    return SATCHEL_OK;
}

static void say(struct hub_transfer *transfer, const struct answer *values, uint32_t count)
{
    struct hub_session *session = transfer->session;
    struct satchel_job *job = hub_session_job(session, SATCHEL_JOB_QUERY);

    transfer->is_asked = false;
    if (!job)
        return;
    job->status = fill_answer(job, values, count);
    if (job->status != SATCHEL_OK)
        (void)satchel_error_set(&job->error, job->status, "the server is out of memory");
    hub_session_complete(session, NULL, job); /* may end the session, and this with it */
}

/* A failed step fails the session, and this with it. */
static void say_failure(struct hub_transfer *transfer)
{
    struct hub_session *session = transfer->session;
    struct satchel_job *job = hub_session_job(session, SATCHEL_JOB_QUERY);

    transfer->is_asked = false;
    if (!job)
        return;
    job->status = transfer->status;
    job->error = transfer->error;
    (void)satchel_error_default(&job->error, job->status, "%s", satchel_status_text(job->status));
    hub_session_complete(session, NULL, job);
}

static struct satchel_value number(uint64_t value)
{
    return satchel_value_integer((int64_t)value);
}

static void say_result(struct hub_transfer *transfer)
{
    const struct satchel_store_file *file = &transfer->file;
    const char *replaced = strrchr(transfer->replaced, '/');
    struct answer values[ANSWER_COLUMNS_MAX] = {
        {"state", satchel_value_text(satchel_span_text("ready"))}};
    uint32_t count = 1;

    transfer->is_unclaimed = false;
    switch (transfer->step) {
    case STEP_TAKE:
        values[count++] = (struct answer){"bytes", number(file->bytes)};
        values[count++] = (struct answer){
            "hash", satchel_value_blob(satchel_span_of(file->hash, sizeof file->hash))};
        values[count++] = (struct answer){"entries", number(file->entry_count)};
        break;
    case STEP_READ:
        values[count++] =
            (struct answer){"chunk", satchel_value_blob(satchel_buffer_span(&transfer->chunk))};
        break;
    case STEP_SWITCH:
        values[count++] = (struct answer){"entries", number(file->entry_count)};
        values[count++] = (struct answer){
            "replaced", satchel_value_text(satchel_span_text(replaced ? replaced + 1 : ""))};
        break;
    default: break;
    }
    if (transfer->status == SATCHEL_OK)
        say(transfer, values, count);
    else
        say_failure(transfer);
}

void hub_transfer_tick(struct hub_session *session, struct satchel_now now)
{
    struct hub_transfer *transfer = session->transfer;

    if (!transfer || !transfer->is_busy || !transfer->is_asked ||
        now.monotonic_ms - transfer->asked_ms < ANSWER_MS)
        return;
    const struct answer values[] = {
        {"state", satchel_value_text(satchel_span_text("working"))},
        {"done", number(atomic_load(&transfer->file.done))},
        {"total", number(atomic_load(&transfer->file.total))},
    };
    say(transfer, values, sizeof values / sizeof *values);
}

/* ---- a step is done, on the loop's thread ---- */

/* The upload is a store that opens. Whether it may take its place: its workspace is no other than
 * the one that has the name, and not open under another. */
static enum satchel_status check_identity(struct hub_transfer *transfer)
{
    struct satchel_hub *hub = transfer->hub;
    bool is_other = false;

    if (hub->is_stopping)
        return satchel_error_set(&transfer->error, SATCHEL_STATE, "the server is stopping");
    for (const struct hub_claim *claim = hub->claims; claim; claim = claim->next)
        if (claim->is_switching && satchel_id_equal(&claim->id, &transfer->file.workspace_id))
            return satchel_error_set(&transfer->error, SATCHEL_EXISTS,
                                     "the same workspace is being restored as %s", claim->name);
    for (const struct hub_workspace *w = hub->workspaces; w; w = w->next) {
        struct satchel_id id = satchel_workspace_id(w->workspace);
        const char *name = satchel_workspace_name(w->workspace);
        bool is_same = satchel_id_equal(&id, &transfer->file.workspace_id);
        if (is_same && strcmp(name, transfer->name) != 0)
            return satchel_error_set(&transfer->error, SATCHEL_EXISTS,
                                     "the file is a backup of workspace %s, which this server "
                                     "has: restore it as %s, or on another server",
                                     name, name);
        is_other = is_other || (!is_same && strcmp(name, transfer->name) == 0);
    }
    if (is_other)
        return satchel_error_set(&transfer->error, SATCHEL_MISMATCH,
                                 "the file is a backup of another workspace than %s: restore it "
                                 "under a name of its own",
                                 transfer->name);
    return SATCHEL_OK;
}

static enum satchel_status begin_switch(struct hub_transfer *transfer)
{
    struct satchel_hub *hub = transfer->hub;
    enum satchel_status status = check_identity(transfer);

    if (status != SATCHEL_OK)
        return status;
    transfer->after = hub_workspace_new(hub);
    if (!transfer->after)
        return satchel_error_set(&transfer->error, SATCHEL_NOMEM, "the server is out of memory");
    transfer->claim.is_switching = true;
    transfer->claim.id = transfer->file.workspace_id;
    transfer->before = hub_workspace_find(hub, satchel_span_text(transfer->name));
    if (transfer->before) {
        hub_workspace_remove(transfer->before);
        transfer->closing = transfer->before->workspace;
        transfer->before->workspace = NULL;
    }
    start(transfer, STEP_SWITCH);
    return SATCHEL_OK;
}

static void end_switch(struct hub_transfer *transfer)
{
    transfer->closing = NULL;
    if (transfer->before) {
        hub_take_completed(transfer->before);
        hub_workspace_free(transfer->before);
        transfer->before = NULL;
    }
    if (transfer->after->workspace) {
        hub_workspace_add(transfer->hub, transfer->after);
        transfer->after = NULL;
    }
    hub_claim_release(transfer->hub, &transfer->claim);
    if (transfer->is_replaced)
        satchel_log_info("workspace %s is restored%s%s", transfer->name,
                         transfer->replaced[0] ? "; what was there is " : "", transfer->replaced);
}

static void end_take(struct hub_transfer *transfer)
{
    hub_claim_release(transfer->hub, &transfer->claim);
    if (transfer->status != SATCHEL_OK)
        return;
    transfer->is_taken = true;
    satchel_log_info("workspace %s is backed up: %llu entries, %llu bytes", transfer->name,
                     (unsigned long long)transfer->file.entry_count,
                     (unsigned long long)transfer->file.bytes);
}

static void end_step(struct hub_errand *errand)
{
    struct hub_transfer *transfer = (struct hub_transfer *)(void *)errand;

    transfer->is_busy = false;
    if (transfer->step == STEP_NONE) {
        free_transfer(transfer);
        return;
    }
    if (transfer->step == STEP_SWITCH)
        end_switch(transfer);
    if (transfer->step == STEP_TAKE)
        end_take(transfer);
    if (!transfer->session) {
        give_up(transfer);
        return;
    }
    if (transfer->step == STEP_CHECK && transfer->status == SATCHEL_OK) {
        transfer->status = begin_switch(transfer);
        if (transfer->status == SATCHEL_OK)
            return;
    }
    if (transfer->is_asked)
        say_result(transfer);
    else
        transfer->is_unclaimed = true;
}

/* ---- requests ---- */

static bool read_number(struct satchel_span text, uint64_t *out)
{
    *out = 0;
    if (text.size == 0 || text.size > NUMBER_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        *out = *out * 10 + (uint64_t)(text.data[i] - '0');
    }
    return *out <= INT64_MAX;
}

static struct hub_transfer *new_transfer(struct hub_session *session, struct satchel_span name,
                                         bool is_restore)
{
    struct satchel_hub *hub = session->hub;
    struct satchel_error error = {0};
    struct hub_transfer *transfer = calloc(1, sizeof *transfer);

    if (!transfer) {
        hub_session_fail(session, SATCHEL_NOMEM, "the server is out of memory");
        return NULL;
    }
    transfer->hub = hub;
    memcpy(transfer->name, name.data, name.size); /* a valid name fits */
    enum satchel_status status = store_file_init(&transfer->file, hub->directory->path,
                                                 transfer->name, ++hub->transfer_number, &error);
    if (status != SATCHEL_OK) {
        free(transfer);
        hub_session_fail(session, status, error.message);
        return NULL;
    }
    transfer->errand.run = run_step;
    transfer->errand.done = end_step;
    transfer->errand.drop = drop_step;
    transfer->is_restore = is_restore;
    satchel_buffer_init(&transfer->chunk, SATCHEL_FRAME_BYTES_MAX_EARLY, NULL);
    transfer->session = session;
    session->transfer = transfer;
    hub->transfer_count++;
    hub_claim(hub, &transfer->claim, name);
    return transfer;
}

static void begin(struct hub_session *session, const struct satchel_message_admin *admin,
                  bool is_restore)
{
    struct satchel_hub *hub = session->hub;
    struct satchel_span name = hub_admin_argument(admin, 1);
    bool is_open = hub_workspace_find(hub, name) != NULL;
    uint64_t bytes = 0;

    if (session->transfer) {
        hub_session_fail(session, SATCHEL_STATE, "one backup or restore on a connection");
        return;
    }
    if (!hub_admin_may_claim(session, name))
        return;
    if (!is_restore && !is_open)
        hub_session_no_workspace(session, name);
    else if (is_restore && !read_number(hub_admin_argument(admin, 2), &bytes))
        hub_session_fail(session, SATCHEL_INVALID, "restore.begin: the size is missing");
    else if (is_restore && !is_open && hub->workspace_count >= WORKSPACES_MAX)
        hub_session_fail(session, SATCHEL_LIMIT,
                         "this server has as many workspaces as it opens: use another server");
    else if (hub->transfer_count >= TRANSFERS_MAX)
        hub_session_fail(session, SATCHEL_BUSY,
                         "other backups or restores are under way: try again when one is done");
    else {
        struct hub_transfer *transfer = new_transfer(session, name, is_restore);
        if (!transfer)
            return;
        transfer->offset = bytes;
        start(transfer, is_restore ? STEP_EXPECT : STEP_TAKE);
    }
}

static void read_chunk(struct hub_transfer *transfer, const struct satchel_message_admin *admin)
{
    if (transfer->is_restore || !transfer->is_taken)
        hub_session_fail(transfer->session, SATCHEL_STATE, "backup.read: no backup has begun");
    else if (!read_number(hub_admin_argument(admin, 1), &transfer->offset))
        hub_session_fail(transfer->session, SATCHEL_INVALID, "backup.read: the offset is missing");
    else
        start(transfer, STEP_READ);
}

static void write_chunk(struct hub_transfer *transfer, const struct satchel_message_admin *admin)
{
    struct satchel_span bytes = hub_admin_argument(admin, 2);

    satchel_buffer_clear(&transfer->chunk);
    if (!transfer->is_restore)
        hub_session_fail(transfer->session, SATCHEL_STATE, "restore.write: no restore has begun");
    else if (!read_number(hub_admin_argument(admin, 1), &transfer->offset) || bytes.size == 0)
        hub_session_fail(transfer->session, SATCHEL_INVALID,
                         "restore.write: an offset and bytes are needed");
    else if (satchel_buffer_append(&transfer->chunk, bytes.data, bytes.size) != SATCHEL_OK)
        hub_session_fail(transfer->session, SATCHEL_NOMEM, "the server is out of memory");
    else
        start(transfer, STEP_WRITE);
}

static void finish(struct hub_transfer *transfer, const struct satchel_message_admin *admin)
{
    struct satchel_span hash = hub_admin_argument(admin, 1);

    if (!transfer->is_restore || transfer->step == STEP_SWITCH)
        hub_session_fail(transfer->session, SATCHEL_STATE, "restore.finish: no restore has begun");
    else if (hash.size != sizeof transfer->hash)
        hub_session_fail(transfer->session, SATCHEL_INVALID, "restore.finish: the hash is missing");
    else {
        memcpy(transfer->hash, hash.data, hash.size);
        start(transfer, STEP_CHECK);
    }
}

/* A verb about the transfer that this connection has. */
static void go_on(struct hub_session *session, struct satchel_span verb,
                  const struct satchel_message_admin *admin)
{
    struct hub_transfer *transfer = session->transfer;
    bool is_waiting = satchel_span_equal(verb, satchel_span_text("transfer.wait"));

    if (!transfer)
        hub_session_fail(session, SATCHEL_STATE, "no backup or restore has begun here");
    else if (is_waiting != (transfer->is_busy || transfer->is_unclaimed))
        hub_session_fail(session, SATCHEL_STATE,
                         is_waiting ? "transfer.wait: there is nothing to wait for"
                                    : "the step before has not been waited for: transfer.wait");
    else if (is_waiting && transfer->is_unclaimed)
        say_result(transfer);
    else if (satchel_span_equal(verb, satchel_span_text("backup.read")))
        read_chunk(transfer, admin);
    else if (satchel_span_equal(verb, satchel_span_text("restore.write")))
        write_chunk(transfer, admin);
    else if (!is_waiting)
        finish(transfer, admin);
}

bool hub_transfer_request(struct hub_session *session, const struct satchel_message *message)
{
    static const char *const verbs[] = {"backup.begin",  "restore.begin",  "backup.read",
                                        "restore.write", "restore.finish", "transfer.wait"};
    enum { BACKUP_BEGIN, RESTORE_BEGIN, COUNT = sizeof verbs / sizeof *verbs };
    struct satchel_span verb = hub_admin_argument(&message->admin, 0);
    int which = 0;

    while (which < COUNT && !satchel_span_equal(verb, satchel_span_text(verbs[which])))
        which++;
    if (which == COUNT)
        return false;
    session->requests_in_flight++;
    if (which == BACKUP_BEGIN || which == RESTORE_BEGIN)
        begin(session, &message->admin, which == RESTORE_BEGIN);
    else
        go_on(session, verb, &message->admin);
    if (session->transfer) {
        session->transfer->is_asked = session->transfer->is_busy;
        session->transfer->asked_ms = hub_monotonic_ms();
    }
    return true;
}
