/* Owns jobs: requests and answers with the memory they live in. */
#include "workspace_internal.h"

#include <stdarg.h>
#include <stdio.h>

struct satchel_job *satchel_job_new(enum satchel_job_kind kind)
{
    struct satchel_job *job = satchel_alloc_zero(NULL, sizeof *job);
    if (!job)
        return NULL;
    job->kind = kind;
    satchel_arena_init(&job->arena, WORKSPACE_JOB_BYTES_MAX, NULL);
    return job;
}

void satchel_job_free(struct satchel_job *job)
{
    if (!job)
        return;
    stream_batch_release(job->batch);
    satchel_arena_deinit(&job->arena);
    satchel_free(NULL, job);
}

static bool take(struct satchel_arena *arena, struct satchel_span *span)
{
    *span = satchel_arena_copy(arena, *span);
    return span->data != NULL;
}

static bool take_vector(struct satchel_arena *arena, struct satchel_vector *vector)
{
    if (vector->count == 0)
        return true;
    struct satchel_position *items =
        SATCHEL_ARENA_ARRAY(arena, struct satchel_position, vector->count);
    if (!items)
        return false;
    memcpy(items, vector->items, vector->count * sizeof *items);
    vector->items = items;
    return true;
}

static bool take_push(struct satchel_arena *arena, struct satchel_message_push *push)
{
    struct satchel_push_item *items =
        SATCHEL_ARENA_ARRAY(arena, struct satchel_push_item, push->item_count);
    if (!items)
        return false;
    for (uint32_t i = 0; i < push->item_count; i++) {
        items[i] = push->items[i];
        struct satchel_span secret = satchel_span_of(items[i].secret, SATCHEL_SECRET_BYTES);
        if (!take(arena, &items[i].body) || !take(arena, &secret))
            return false;
        items[i].secret = secret.data;
    }
    push->items = items;
    return true;
}

static bool take_forward(struct satchel_arena *arena, struct satchel_message_forward *forward)
{
    struct satchel_entry *entries =
        SATCHEL_ARENA_ARRAY(arena, struct satchel_entry, forward->entry_count);
    if (!entries)
        return false;
    for (uint32_t i = 0; i < forward->entry_count; i++) {
        struct satchel_entry *entry = &entries[i];
        *entry = forward->entries[i];
        struct satchel_span secret = satchel_span_of(entry->secret, SATCHEL_SECRET_BYTES);
        if (!take(arena, &entry->user) || !take(arena, &secret) || !take(arena, &entry->body) ||
            !take(arena, &entry->notes) || !take(arena, &entry->positions))
            return false;
        entry->secret = secret.data;
    }
    forward->entries = entries;
    return true;
}

static bool take_rows(struct satchel_arena *arena, struct satchel_message_rows_request *request)
{
    struct satchel_row_request *rows =
        SATCHEL_ARENA_ARRAY(arena, struct satchel_row_request, request->row_count);
    if (!rows)
        return false;
    for (uint32_t i = 0; i < request->row_count; i++) {
        rows[i] = request->rows[i];
        if (!take(arena, &rows[i].name))
            return false;
    }
    request->rows = rows;
    return true;
}

static bool take_repairs(struct satchel_arena *arena,
                         struct satchel_message_digest_request *request)
{
    struct satchel_table_repair *repairs =
        SATCHEL_ARENA_ARRAY(arena, struct satchel_table_repair, request->repair_count);
    if (!repairs)
        return false;
    if (request->repair_count > 0)
        memcpy(repairs, request->repairs, request->repair_count * sizeof *repairs);
    request->repairs = repairs;
    return true;
}

static bool take_admin(struct satchel_arena *arena, struct satchel_message_admin *admin)
{
    struct satchel_value *arguments =
        SATCHEL_ARENA_ARRAY(arena, struct satchel_value, admin->argument_count);
    if (!arguments || !take(arena, &admin->token))
        return false;
    for (uint32_t i = 0; i < admin->argument_count; i++)
        if (satchel_value_copy(arena, &admin->arguments[i], &arguments[i]) != SATCHEL_OK)
            return false;
    admin->arguments = arguments;
    return true;
}

enum satchel_status satchel_job_take_request(struct satchel_job *job,
                                             const struct satchel_message *message)
{
    struct satchel_arena *arena = &job->arena;
    bool is_taken = false;
    job->request = *message;
    switch (message->kind) {
    case SATCHEL_MESSAGE_JOIN: {
        struct satchel_message_join *join = &job->request.join;
        is_taken = take(arena, &join->workspace) && take(arena, &join->invite) &&
                   take(arena, &join->token) && take(arena, &join->jwt);
        break;
    }
    case SATCHEL_MESSAGE_HELLO: {
        struct satchel_message_hello *hello = &job->request.hello;
        is_taken = take(arena, &hello->workspace) && take(arena, &hello->token) &&
                   take(arena, &hello->software) && take(arena, &hello->user) &&
                   take_vector(arena, &hello->lineage) && take_vector(arena, &hello->receipts);
        break;
    }
    case SATCHEL_MESSAGE_COPY:
        is_taken = take(arena, &job->request.copy.hash) && take(arena, &job->request.copy.token);
        break;
    case SATCHEL_MESSAGE_ROTATE: is_taken = take(arena, &job->request.rotate.token); break;
    case SATCHEL_MESSAGE_PUSH: is_taken = take_push(arena, &job->request.push); break;
    case SATCHEL_MESSAGE_FORWARD: is_taken = take_forward(arena, &job->request.forward); break;
    case SATCHEL_MESSAGE_ROWS_REQUEST:
        is_taken = take_rows(arena, &job->request.rows_request);
        break;
    case SATCHEL_MESSAGE_DIGEST_REQUEST:
        is_taken = take_repairs(arena, &job->request.digest_request);
        break;
    case SATCHEL_MESSAGE_PAST_REQUEST:
    case SATCHEL_MESSAGE_SNAPSHOT_REQUEST: is_taken = true; break; /* it borrows nothing */
    case SATCHEL_MESSAGE_RANGES_REQUEST:
        is_taken = take(arena, &job->request.ranges_request.after) &&
                   take(arena, &job->request.ranges_request.until);
        break;
    case SATCHEL_MESSAGE_ADMIN: is_taken = take_admin(arena, &job->request.admin); break;
    default: return SATCHEL_INVALID; /* no other message is a request */
    }
    if (is_taken)
        return SATCHEL_OK;
    return arena->used_bytes >= arena->bytes_max / 2 ? SATCHEL_LIMIT : SATCHEL_NOMEM;
}

enum satchel_status job_argument(struct satchel_job *job, uint32_t index, const char *what,
                                 struct satchel_span *out)
{
    const struct satchel_message_admin *admin = &job->request.admin;
    if (index >= admin->argument_count || admin->arguments[index].type != SATCHEL_TEXT)
        return satchel_error_set(&job->error, SATCHEL_INVALID, "%s is missing from the request",
                                 what);
    *out = admin->arguments[index].bytes;
    return SATCHEL_OK;
}

enum satchel_status job_answer_text(struct satchel_job *job, const char *format, ...)
{
    char text[SATCHEL_ERROR_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct satchel_message *answer = &job->answers[0];
    memset(answer, 0, sizeof *answer);
    answer->kind = SATCHEL_MESSAGE_ADMIN_RESULT;
    answer->admin_result.text = satchel_arena_copy(&job->arena, satchel_span_text(text));
    if (!answer->admin_result.text.data)
        return SATCHEL_NOMEM;
    job->answer_count = 1;
    return SATCHEL_OK;
}

bool satchel_verb_is_writing(struct satchel_span verb)
{
    static const char *const writing[] = {"workspace.deploy", "workspace.set",   "workspace.branch",
                                          "user.add",         "invite",          "resolve",
                                          "quarantine.retry", "quarantine.drop", "device.revoke",
                                          "workspace.pack"};
    for (size_t i = 0; i < sizeof writing / sizeof *writing; i++)
        if (satchel_span_equal(verb, satchel_span_text(writing[i])))
            return true;
    return false;
}

bool satchel_workspace_name_is_valid(struct satchel_span name)
{
    if (name.size == 0 || name.size > 64 || name.data[0] == '-')
        return false;
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        bool is_allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (!is_allowed)
            return false;
    }
    return true;
}
