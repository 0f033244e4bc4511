/* Owns the writer thread's transactions: one for all the PUSH jobs taken together (group commit),
 * one for each other job. A job is completed only after its commit; whatever fails is rolled back
 * whole, told to the jobs concerned, and the next job starts clean. */
#include "incarnation.h"
#include "lines.h"
#include "own_changes.h"

#include <satchel/mutation.h>

/* ---- PUSH ---- */

struct push_group {
    struct satchel_workspace *workspace;
    struct satchel_arena arena;
    struct satchel_incoming *incoming;
    struct satchel_incoming_outcome *outcomes;
    size_t count;
    struct satchel_error error;
};

/* After a restore, what a device pushes may be held as another one's, of which another file was
 * that had it pending, too (lines.h). What follows one that is not held is not held either. */
static enum satchel_status meet_lines(struct push_group *group, struct satchel_incoming *incoming,
                                      size_t count)
{
    struct lines lines;
    uint8_t hash[SATCHEL_HASH_BYTES];
    bool is_elsewhere = true;
    enum satchel_status status = SATCHEL_OK;
    lines_init(&lines, group->workspace, &group->arena, &group->error);
    for (size_t i = 0; status == SATCHEL_OK && is_elsewhere && i < count; i++) {
        if (satchel_changeset_hash(incoming[i].body, incoming[i].secret, hash) != SATCHEL_OK)
            break; /* the merge says what is wrong with it */
        status = lines_meet(&lines, incoming[i].number, hash, &incoming[i].device, &is_elsewhere,
                            &incoming[i].is_copys);
    }
    lines_deinit(&lines);
    return status;
}

/* Whether the job's session has said a copy's change set before it. */
static bool is_behind_copys(const struct push_group *group, const struct satchel_job *jobs,
                            const struct satchel_job *job)
{
    size_t end = 0;
    for (; jobs != job; jobs = jobs->next) {
        end += jobs->request.push.item_count;
        if (jobs->owner_number == job->owner_number && job->owner_number != 0 &&
            group->incoming[end - 1].is_copys)
            return true;
    }
    return false;
}

/* Behind a copy's change set all that its session says is that copy's, though the number may be in
 * turn for the device by whose name it is said. */
static void follow_copys(struct satchel_incoming *incoming, size_t count, bool is_copys)
{
    for (size_t i = 0; i < count; i++)
        is_copys = incoming[i].is_copys = is_copys || incoming[i].is_copys;
}

static enum satchel_status was_restored(struct push_group *group, bool *out)
{
    struct incarnations known;
    enum satchel_status status = group->workspace->store->ops->load_incarnations(
        group->workspace->store, &group->arena, &known, &group->error);
    *out = status == SATCHEL_OK && known.lineage.count > 0;
    return status;
}

static enum satchel_status gather(struct push_group *group, struct satchel_job *jobs)
{
    struct satchel_store *store = group->workspace->store;
    struct role_known known = {0};
    size_t total = 0;
    for (struct satchel_job *job = jobs; job; job = job->next)
        total += job->request.push.item_count;
    group->incoming = SATCHEL_ARENA_ARRAY(&group->arena, struct satchel_incoming, total);
    group->outcomes = SATCHEL_ARENA_ARRAY(&group->arena, struct satchel_incoming_outcome, total);
    bool is_restored = false;
    if (!group->incoming || !group->outcomes)
        return satchel_error_set(&group->error, SATCHEL_NOMEM, "no memory to merge %zu change sets",
                                 total);
    enum satchel_status status = was_restored(group, &is_restored);
    if (status != SATCHEL_OK)
        return status;
    for (struct satchel_job *job = jobs; job; job = job->next) {
        struct satchel_store_device device = {.id = job->device};
        size_t first = group->count;
        status = store->ops->load_devices(store, &device, 1, &group->arena, &group->error);
        if (status != SATCHEL_OK)
            return status;
        for (uint32_t i = 0; i < job->request.push.item_count; i++) {
            const struct satchel_push_item *item = &job->request.push.items[i];
            struct satchel_incoming *incoming = &group->incoming[group->count++];
            incoming->device = job->device;
            incoming->user = device.user;
            incoming->number = item->number;
            incoming->stamp = item->stamp;
            memcpy(incoming->secret, item->secret, SATCHEL_SECRET_BYTES);
            incoming->body = item->body;
            status = role_check(satchel_store_sqlite_db(store), incoming, &known, &group->arena,
                                &group->error);
            if (status == SATCHEL_OK)
                status = revoke_check(satchel_store_sqlite_db(store), incoming, &group->error);
            if (status != SATCHEL_OK)
                return status;
        }
        if (is_restored)
            status = meet_lines(group, group->incoming + first, group->count - first);
        if (status != SATCHEL_OK)
            return status;
        if (is_restored)
            follow_copys(group->incoming + first, group->count - first,
                         is_behind_copys(group, jobs, job));
    }
    return SATCHEL_OK;
}

/* ---- sessions that are over ----
 *
 * A device says its change sets without waiting for answers. Where one was refused, what its
 * session said behind it must not be merged: the number that was refused may be held meanwhile, of
 * another file with this device's id, and the next ones would be in turn. */

static void note_session(struct workspace_sessions *sessions, const struct satchel_job *job)
{
    sessions->numbers[sessions->next++ % WORKSPACE_REFUSED_MAX] = job->owner_number;
}

static bool is_among(const struct workspace_sessions *sessions, const struct satchel_job *job)
{
    uint64_t count =
        sessions->next < WORKSPACE_REFUSED_MAX ? sessions->next : WORKSPACE_REFUSED_MAX;
    for (uint64_t i = 0; i < count && job->owner_number != 0; i++)
        if (sessions->numbers[i] == job->owner_number)
            return true;
    return false;
}

/* The jobs without those of such sessions, which get their answer. */
static struct satchel_job *drop_refused(struct satchel_workspace *workspace,
                                        struct satchel_job *jobs)
{
    struct satchel_job *kept = NULL, **end = &kept;
    while (jobs) {
        struct satchel_job *job = jobs;
        jobs = job->next;
        job->next = NULL;
        if (is_among(&workspace->refused, job)) {
            workspace_complete(workspace, job,
                               satchel_error_set(&job->error, SATCHEL_AGAIN,
                                                 "a change set before these was refused"));
        } else {
            *end = job;
            end = &job->next;
        }
    }
    return kept;
}

/* ---- a group ---- */

static void log_quarantined(struct satchel_workspace *workspace,
                            const struct satchel_incoming_outcome *outcome, const char *device,
                            uint64_t number)
{
    struct satchel_error error = {0};
    struct satchel_arena arena;
    struct satchel_span reason;
    uint32_t part;
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    if (satchel_quarantine_reason(workspace->store, outcome->cursor, &arena, &part, &reason,
                                  &error) != SATCHEL_OK)
        reason = satchel_span_text(error.message);
    workspace_log(workspace, "quarantined %u parts of change set %llu of device %s: %.*s",
                  outcome->quarantined_count, (unsigned long long)number, device, (int)reason.size,
                  (const char *)reason.data);
    satchel_arena_deinit(&arena);
}

/* What a committed group says to one job, whose change sets are those from `first` on. A copy that
 * hears, in what is sent to it, that it is one is told nothing else. */
static enum satchel_status settle(const struct push_group *group, struct satchel_job *job,
                                  size_t first)
{
    struct satchel_workspace *workspace = group->workspace;
    const struct satchel_incoming_outcome *outcomes = group->outcomes + first;
    char device[SATCHEL_ID_TEXT_BYTES];
    satchel_id_text(&job->device, device);
    for (uint32_t i = 0; i < job->request.push.item_count; i++) {
        if (outcomes[i].result == SATCHEL_INCOMING_REFUSED) {
            job->error = outcomes[i].error;
            workspace_log(workspace, "refused a change set of device %s: %s", device,
                          job->error.message);
            note_session(&workspace->refused, job);
            return group->incoming[first + i].is_copys ? SATCHEL_OK : job->error.status;
        }
        if (outcomes[i].quarantined_count > 0)
            log_quarantined(workspace, &outcomes[i], device, job->request.push.items[i].number);
        job->acked_number = job->request.push.items[i].number;
    }
    return SATCHEL_OK;
}

static enum satchel_status merge_group(struct push_group *group, struct satchel_job *jobs,
                                       uint64_t *head)
{
    struct satchel_store *store = group->workspace->store;
    struct satchel_error *error = &group->error;
    struct satchel_store_head after;
    enum satchel_status status = store->ops->begin(store, error);
    if (status != SATCHEL_OK)
        return status;
    status = gather(group, jobs);
    if (status == SATCHEL_OK)
        status = satchel_merge_batch(store, group->incoming, group->count, workspace_now_ms(),
                                     group->outcomes, error);
    if (status == SATCHEL_OK)
        status = store->ops->load_head(store, &after, error);
    if (status == SATCHEL_OK)
        status = store->ops->commit(store, error);
    if (status != SATCHEL_OK)
        store->ops->rollback(store);
    if (SATCHEL_MUTATED(early_ack) && group->outcomes)
        status = SATCHEL_OK;
    for (size_t i = 0; status == SATCHEL_OK && i < group->count; i++)
        if (group->outcomes[i].result == SATCHEL_INCOMING_MERGED)
            *head = after.cursor; /* numbers follow what was pushed */
    return status;
}

static void push(struct satchel_workspace *workspace, struct satchel_job *jobs)
{
    struct push_group group = {.workspace = workspace};
    uint64_t head = 0;
    satchel_arena_init(&group.arena, SIZE_MAX / 2, NULL);
    enum satchel_status status = merge_group(&group, jobs, &head);
    if (status != SATCHEL_OK && jobs->next) {
        /* One of them is at fault, or the machine: each gets its own answer. */
        satchel_arena_deinit(&group.arena);
        while (jobs) {
            struct satchel_job *job = jobs;
            jobs = job->next;
            job->next = NULL;
            push(workspace, job);
        }
        return;
    }
    size_t done = 0;
    while (jobs) {
        struct satchel_job *job = jobs;
        jobs = job->next;
        uint32_t count = job->request.push.item_count;
        enum satchel_status answer = status;
        if (status == SATCHEL_OK) {
            answer = settle(&group, job, done);
        } else {
            job->error = group.error;
            workspace_log(workspace, "a push failed: %s", job->error.message);
        }
        done += count;
        workspace_complete(workspace, job, answer);
    }
    if (head > 0)
        workspace->callbacks.advanced(workspace->callbacks.context, workspace, head);
    satchel_arena_deinit(&group.arena);
}

/* ---- the others ---- */

static const struct {
    const char *verb;
    enum satchel_status (*run)(struct satchel_workspace *workspace, struct satchel_job *job);
} verbs[] = {
    {"workspace.deploy", deploy_job},
    {"workspace.set", set_job},
    {"workspace.branch", branch_job},
    {"workspace.pack", pack_job},
    {"user.add", user_add},
    {"invite", user_invite},
    {"resolve", resolve_job},
    {"quarantine.retry", quarantine_retry_job},
    {"quarantine.drop", quarantine_drop_job},
    {"device.revoke", revoke_job},
};

static enum satchel_status admin(struct satchel_workspace *workspace, struct satchel_job *job)
{
    struct satchel_span verb;
    enum satchel_status status = job_argument(job, 0, "the verb", &verb);
    if (status != SATCHEL_OK)
        return status;
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (satchel_span_equal(verb, satchel_span_text(verbs[i].verb)))
            return verbs[i].run(workspace, job);
    return satchel_error_set(&job->error, SATCHEL_INVALID, "'%.*s' is no command that writes",
                             (int)(verb.size < 80 ? verb.size : 80), (const char *)verb.data);
}

static void fail_all(struct satchel_workspace *workspace, struct satchel_job *jobs,
                     enum satchel_status status, const struct satchel_error *error)
{
    while (jobs) {
        struct satchel_job *job = jobs;
        jobs = job->next;
        job->next = NULL;
        job->error = *error;
        workspace_complete(workspace, job, status);
    }
}

static bool is_deploy(const struct satchel_job *job)
{
    const struct satchel_message_admin *request = &job->request.admin;
    return job->kind == SATCHEL_JOB_ADMIN && request->argument_count > 0 &&
           request->arguments[0].type == SATCHEL_TEXT &&
           satchel_span_equal(request->arguments[0].bytes, satchel_span_text("workspace.deploy"));
}

/* Nothing may be merged by a schema that the store has not. */
static enum satchel_status refresh_schema(struct satchel_workspace *workspace,
                                          struct satchel_error *error)
{
    if (!workspace->is_schema_stale)
        return SATCHEL_OK;
    enum satchel_status status = deploy_reload(workspace->store, error);
    workspace->is_schema_stale = status != SATCHEL_OK;
    if (workspace->is_schema_stale)
        workspace_log(workspace, "the schema could not be read again: %s", error->message);
    return status;
}

static void write_one(struct satchel_workspace *workspace, struct satchel_job *job)
{
    struct satchel_store *store = workspace->store;
    struct satchel_store_head before = {0}, after = {0};
    enum satchel_status status = store->ops->begin(store, &job->error);
    if (status != SATCHEL_OK) {
        workspace_complete(workspace, job, status);
        return;
    }
    status = store->ops->load_head(store, &before, &job->error);
    if (status == SATCHEL_OK) {
        if (job->kind == SATCHEL_JOB_JOIN)
            status = enrol_join(workspace, job);
        else if (job->kind == SATCHEL_JOB_ATTACH)
            status = enrol_attach(workspace, job);
        else if (job->kind == SATCHEL_JOB_FORWARD)
            status = forward_job(workspace, job);
        else if (job->kind == SATCHEL_JOB_COPY)
            status = enrol_copy(workspace, job);
        else if (job->kind == SATCHEL_JOB_WIPED)
            status = revoke_wiped(workspace, job);
        else if (job->kind == SATCHEL_JOB_ROTATE)
            status = token_rotate(workspace, job);
        else
            status = admin(workspace, job);
    }
    if (status == SATCHEL_OK)
        status = store->ops->load_head(store, &after, &job->error);
    if (status == SATCHEL_OK)
        status = store->ops->commit(store, &job->error);
    if (status != SATCHEL_OK) {
        struct satchel_error reload = {0};
        store->ops->rollback(store);
        workspace->is_schema_stale = workspace->is_schema_stale || is_deploy(job);
        enum satchel_status refreshed = refresh_schema(workspace, &reload);
        (void)refreshed; /* the next job tries again */
    }
    if (status == SATCHEL_OK && job->is_copy)
        note_session(&workspace->refused, job);
    if (status != SATCHEL_OK && job->kind == SATCHEL_JOB_FORWARD)
        note_session(&workspace->failed, job);
    workspace_complete(workspace, job, status);
    if (status == SATCHEL_OK && after.cursor > before.cursor)
        workspace->callbacks.advanced(workspace->callbacks.context, workspace, after.cursor);
}

void workspace_write(struct satchel_workspace *workspace, struct satchel_job *jobs)
{
    struct satchel_error error = {0};
    enum satchel_status status = refresh_schema(workspace, &error);
    if (status != SATCHEL_OK) {
        fail_all(workspace, jobs, status, &error);
    } else if (jobs->kind == SATCHEL_JOB_PUSH) {
        jobs = drop_refused(workspace, jobs);
        if (jobs)
            push(workspace, jobs);
    } else if (jobs->kind == SATCHEL_JOB_FORWARD && is_among(&workspace->failed, jobs)) {
        /* It may build on what could not be taken, and would come before that. */
        satchel_error_set(&error, SATCHEL_AGAIN, "what was given back before could not be taken");
        fail_all(workspace, jobs, SATCHEL_AGAIN, &error);
    } else {
        write_one(workspace, jobs);
    }
}
