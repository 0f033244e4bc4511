/* Owns administration requests: the token from its file, the questions, the answers. What verbs
 * there are is the server's to know. */
#include "transport.h"

#include <stdio.h>

enum {
    TOKEN_FILE_BYTES_MAX = 4096,
    ANSWER_MS_MAX = 60 * 1000 /* a large query takes its time */
};

struct admin {
    const struct satchel_clock *clock;
    struct satchel_session *session;
    struct satchel_span token;
    const struct satchel_admin_talk *talk;
    bool is_done;
};

/* ---- the token ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The file's one line without blanks around it, in `text`. */
static enum satchel_status read_token(const char *path, char text[TOKEN_FILE_BYTES_MAX],
                                      struct satchel_span *out, struct satchel_error *error)
{
    FILE *file = path ? fopen(path, "re") : NULL;
    if (!file)
        return satchel_error_set(
            error, SATCHEL_IO,
            "%s: cannot read the admin token; it is the file admin.token in the "
            "server's data directory",
            path ? path : "(no token file)");
    size_t size = fread(text, 1, TOKEN_FILE_BYTES_MAX, file);
    bool is_whole = !ferror(file) && size < TOKEN_FILE_BYTES_MAX;
    fclose(file);
    size_t begin = 0;
    while (begin < size && is_blank(text[begin]))
        begin++;
    while (size > begin && is_blank(text[size - 1]))
        size--;
    bool is_line = is_whole && size > begin;
    for (size_t i = begin; i < size && is_line; i++)
        is_line = text[i] > ' ' && text[i] <= '~';
    if (!is_line)
        return satchel_error_set(error, SATCHEL_INVALID,
                                 "%s: not an admin token (one line of text)", path);
    *out = satchel_span_of(text + begin, size - begin);
    return SATCHEL_OK;
}

/* ---- the talk ---- */

/* What follows `answer`, if anything does. */
static enum satchel_status ask_next(struct admin *admin,
                                    const struct satchel_message_admin_result *answer,
                                    struct satchel_error *error)
{
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_ADMIN};
    struct satchel_admin_request request = {0};
    enum satchel_status status = admin->talk->next(admin->talk->context, answer, &request, error);
    admin->is_done = status == SATCHEL_OK && request.argument_count == 0;
    if (status != SATCHEL_OK || admin->is_done)
        return status;
    message.admin.token = admin->token;
    /* The message only reads them; its member serves the decoder too. */
    message.admin.arguments = (struct satchel_value *)(uintptr_t)request.arguments;
    message.admin.argument_count = request.argument_count;
    status = satchel_session_send(admin->session, &message);
    if (status == SATCHEL_LIMIT)
        return satchel_error_set(error, status,
                                 "the request is over the server's limit of %u bytes",
                                 SATCHEL_FRAME_BYTES_MAX_EARLY);
    return status == SATCHEL_OK ? SATCHEL_OK
                                : satchel_error_set(error, status, "cannot make the request: %s",
                                                    satchel_status_text(status));
}

static enum satchel_status step(void *context, struct satchel_now now, bool *is_done,
                                struct satchel_error *error)
{
    struct admin *admin = context;
    struct satchel_message message;
    enum satchel_status status = SATCHEL_OK;
    (void)now;
    while (status == SATCHEL_OK && satchel_session_next_event(admin->session, &message))
        if (message.kind == SATCHEL_MESSAGE_ADMIN_RESULT)
            status = ask_next(admin, &message.admin_result, error);
    if (status == SATCHEL_OK)
        status = satchel_session_failed(admin->session, error);
    *is_done = status == SATCHEL_OK && admin->is_done;
    return status;
}

enum satchel_status satchel_admin_run(const char *server, const char *token_file,
                                      const struct satchel_admin_talk *talk,
                                      struct satchel_error *error)
{
    char text[TOKEN_FILE_BYTES_MAX];
    struct satchel_url url;
    struct admin admin = {.clock = satchel_clock_or_system(NULL), .talk = talk};
    struct satchel_session_options options = {
        .size = sizeof options, .side = SATCHEL_SIDE_CLIENT, .silence_ms_max = ANSWER_MS_MAX};
    enum satchel_status status = satchel_url_parse(&url, server, error);
    if (status == SATCHEL_OK)
        status = read_token(token_file, text, &admin.token, error);
    if (status == SATCHEL_OK &&
        satchel_session_new(&admin.session, &options, satchel_transport_now(admin.clock)) !=
            SATCHEL_OK)
        status = satchel_error_set(error, SATCHEL_NOMEM, "no memory for a session");
    if (status == SATCHEL_OK)
        status = ask_next(&admin, NULL, error);
    if (status == SATCHEL_OK && !admin.is_done) {
        struct satchel_transport_options transport = {
            .url = server,
            .session = admin.session,
            .clock = admin.clock,
            .context = &admin,
            .step = step,
        };
        status = satchel_transport_run(&transport, error);
    }
    satchel_session_free(admin.session);
    return status;
}

/* ---- one request ---- */

struct single {
    struct satchel_admin_request request;
    struct satchel_arena *arena;
    struct satchel_message_admin_result *result;
};

static bool copy_span(struct satchel_arena *arena, struct satchel_span from,
                      struct satchel_span *to)
{
    *to = satchel_arena_copy(arena, from);
    return to->data != NULL;
}

static enum satchel_status copy_result(struct satchel_arena *arena,
                                       const struct satchel_message_admin_result *from,
                                       struct satchel_message_admin_result *to,
                                       struct satchel_error *error)
{
    size_t value_count = (size_t)from->column_count * from->row_count;
    *to = *from;
    to->columns = SATCHEL_ARENA_ARRAY(arena, struct satchel_span, from->column_count);
    to->values = SATCHEL_ARENA_ARRAY(arena, struct satchel_value, value_count);
    bool is_copied = to->columns && to->values && copy_span(arena, from->text, &to->text);
    for (uint32_t i = 0; i < from->column_count && is_copied; i++)
        is_copied = copy_span(arena, from->columns[i], &to->columns[i]);
    for (size_t i = 0; i < value_count && is_copied; i++)
        is_copied = satchel_value_copy(arena, &from->values[i], &to->values[i]) == SATCHEL_OK;
    return is_copied ? SATCHEL_OK
                     : satchel_error_set(error, SATCHEL_NOMEM, "no memory for the server's answer");
}

static enum satchel_status next_single(void *context,
                                       const struct satchel_message_admin_result *answer,
                                       struct satchel_admin_request *request,
                                       struct satchel_error *error)
{
    struct single *single = context;
    if (answer)
        return copy_result(single->arena, answer, single->result, error);
    *request = single->request;
    return SATCHEL_OK;
}

enum satchel_status satchel_admin(const char *server, const char *token_file,
                                  const struct satchel_value *arguments, uint32_t argument_count,
                                  struct satchel_arena *arena,
                                  struct satchel_message_admin_result *result,
                                  struct satchel_error *error)
{
    struct single single = {{arguments, argument_count}, arena, result};
    struct satchel_admin_talk talk = {&single, next_single};
    memset(result, 0, sizeof *result);
    return satchel_admin_run(server, token_file, &talk, error);
}
