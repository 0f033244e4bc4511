/* Administration: each command is one request to the server, its answer a table or a line. */
#include "output.h"
#include "schema_files.h"

#include <stdio.h>

#define ANSWER_BYTES_MAX ((size_t)64 << 20)

bool command_has_server(const struct arguments *arguments)
{
    if (arguments->server && arguments->token_file)
        return true;
    fputs("satchel: --server URL and --token-file FILE (or SATCHEL_SERVER and SATCHEL_TOKEN_FILE) "
          "are needed\n",
          stderr);
    return false;
}

/* Sends the words (NULL stands for an absent one) and prints the answer; `shown` as in struct
 * output. */
static int ask(const struct arguments *arguments, const struct satchel_value *words, uint32_t count,
               enum output_style style, const char *const *shown)
{
    struct satchel_error error = {0};
    struct satchel_arena arena;
    struct satchel_message_admin_result result;
    if (!command_has_server(arguments))
        return EXIT_USAGE;
    memset(&result, 0, sizeof result);
    satchel_arena_init(&arena, ANSWER_BYTES_MAX, NULL);
    enum satchel_status status = satchel_admin(arguments->server, arguments->token_file, words,
                                               count, &arena, &result, &error);
    if (status == SATCHEL_OK && result.text.size) {
        fwrite(result.text.data, 1, result.text.size, stdout);
        putchar('\n');
    }
    if (status == SATCHEL_OK && result.column_count) {
        const char *names[2000];
        struct output output = {0};
        for (uint32_t i = 0; i < result.column_count && i < 2000; i++) {
            names[i] = (const char *)satchel_arena_copy(&arena, result.columns[i]).data;
            if (!names[i])
                status = SATCHEL_NOMEM;
        }
        if (result.column_count > 2000)
            status = SATCHEL_LIMIT;
        if (status == SATCHEL_OK)
            status = output_init(&output, names, result.column_count);
        for (uint32_t row = 0; status == SATCHEL_OK && row < result.row_count; row++)
            status = output_row(&output, result.values + (size_t)row * result.column_count);
        output.shown = shown;
        if (status == SATCHEL_OK)
            status = output_print(&output, arguments->json ? OUTPUT_JSON : style);
        if (status != SATCHEL_OK)
            satchel_error_set(&error, status, "the answer cannot be printed");
        output_deinit(&output);
    }
    satchel_arena_deinit(&arena);
    return status == SATCHEL_OK ? EXIT_DONE : command_fail(&error);
}

static struct satchel_value word(const char *text)
{
    return text ? satchel_value_text(satchel_span_text(text)) : satchel_value_null();
}

int run_workspace_schema(const struct command *command, const struct arguments *arguments)
{
    if (!arguments->schema)
        return command_usage(command, "--schema is missing");
    struct satchel_error error = {0};
    struct satchel_arena arena;
    struct schema_file *files = NULL;
    uint32_t count = 0;
    satchel_arena_init(&arena, ANSWER_BYTES_MAX, NULL);
    enum satchel_status status =
        schema_files_read(arguments->schema, &arena, &files, &count, &error);
    struct satchel_value *words =
        status == SATCHEL_OK ? SATCHEL_ARENA_ARRAY(&arena, struct satchel_value, 2 + 2 * count)
                             : NULL;
    if (status == SATCHEL_OK && !words)
        status = satchel_error_set(&error, SATCHEL_NOMEM, "no memory");
    int exit_status = EXIT_FAILED;
    if (status != SATCHEL_OK) {
        exit_status = command_fail(&error);
    } else {
        words[0] = word(strcmp(command->name, "workspace create") == 0 ? "workspace.create"
                                                                       : "workspace.deploy");
        words[1] = word(arguments->positional[0]);
        for (uint32_t i = 0; i < count; i++) {
            words[2 + 2 * i] = satchel_value_text(files[i].name);
            words[3 + 2 * i] = satchel_value_text(files[i].text);
        }
        exit_status = ask(arguments, words, 2 + 2 * count, OUTPUT_ALIGNED, NULL);
    }
    satchel_arena_deinit(&arena);
    return exit_status;
}

int run_workspace_list(const struct command *command, const struct arguments *arguments)
{
    (void)command;
    const struct satchel_value words[] = {word("workspace.list")};
    return ask(arguments, words, 1, OUTPUT_ALIGNED, NULL);
}

int run_workspace_sql(const struct command *command, const struct arguments *arguments)
{
    (void)command;
    const struct satchel_value words[] = {word("workspace.sql"), word(arguments->positional[0]),
                                          word(arguments->positional[1])};
    return ask(arguments, words, 3, OUTPUT_LIST, NULL);
}

int run_user_add(const struct command *command, const struct arguments *arguments)
{
    if (!arguments->workspace)
        return command_usage(command, "--workspace is missing");
    struct satchel_value words[4 + GRANTS_MAX] = {word("user.add"), word(arguments->workspace),
                                                  word(arguments->positional[0]),
                                                  word(arguments->role)};
    for (int i = 0; i < arguments->grant_count; i++)
        words[4 + i] = word(arguments->grants[i]);
    return ask(arguments, words, 4 + (uint32_t)arguments->grant_count, OUTPUT_ALIGNED, NULL);
}

int run_invite(const struct command *command, const struct arguments *arguments)
{
    if (!arguments->workspace || !arguments->user)
        return command_usage(command, "--workspace and --user are needed");
    const struct satchel_value words[] = {word("invite"), word(arguments->workspace),
                                          word(arguments->user)};
    return ask(arguments, words, 3, OUTPUT_ALIGNED, NULL);
}

/* device list, quarantine list: a verb and the workspace. */
static int ask_about_workspace(const struct command *command, const struct arguments *arguments,
                               const char *verb)
{
    if (!arguments->workspace)
        return command_usage(command, "--workspace is missing");
    const struct satchel_value words[] = {word(verb), word(arguments->workspace)};
    return ask(arguments, words, 2, OUTPUT_ALIGNED, NULL);
}

int run_device_list(const struct command *command, const struct arguments *arguments)
{
    return ask_about_workspace(command, arguments, "device.list");
}

int run_quarantine_list(const struct command *command, const struct arguments *arguments)
{
    return ask_about_workspace(command, arguments, "quarantine.list");
}

/* A verb, the workspace, and the words of the line behind `skipped` of them. */
static int ask_with_words(const struct arguments *arguments, const char *verb,
                          const char *workspace, int skipped)
{
    struct satchel_value words[2 + POSITIONALS_MAX] = {word(verb), word(workspace)};
    uint32_t count = 2;
    for (int i = skipped; i < arguments->positional_count; i++)
        words[count++] = word(arguments->positional[i]);
    return ask(arguments, words, count, OUTPUT_ALIGNED, NULL);
}

int run_workspace_set(const struct command *command, const struct arguments *arguments)
{
    (void)command;
    return ask_with_words(arguments, "workspace.set", arguments->positional[0], 1);
}

int run_workspace_pack(const struct command *command, const struct arguments *arguments)
{
    (void)command;
    return ask_with_words(arguments, "workspace.pack", arguments->positional[0], 1);
}

int run_workspace_branch(const struct command *command, const struct arguments *arguments)
{
    (void)command;
    return ask_with_words(arguments, "workspace.branch", arguments->positional[0], 1);
}

int run_quarantine_settle(const struct command *command, const struct arguments *arguments)
{
    if (!arguments->workspace)
        return command_usage(command, "--workspace is missing");
    bool is_retry = strcmp(command->name, "quarantine retry") == 0;
    return ask_with_words(arguments, is_retry ? "quarantine.retry" : "quarantine.drop",
                          arguments->workspace, 0);
}

int run_device_revoke(const struct command *command, const struct arguments *arguments)
{
    if (!arguments->workspace)
        return command_usage(command, "--workspace is missing");
    return ask_with_words(arguments, "device.revoke", arguments->workspace, 0);
}

int server_resolve(const struct arguments *arguments)
{
    const struct satchel_value words[] = {word("resolve"), word(arguments->workspace),
                                          word(arguments->positional[0]), word(arguments->take)};
    return ask(arguments, words, 4, OUTPUT_ALIGNED, NULL);
}

int server_history(const struct arguments *arguments)
{
    struct satchel_value words[5] = {word("history"), word(arguments->workspace),
                                     word(arguments->positional[0]), word(arguments->positional[1]),
                                     word(arguments->field)};
    return ask(arguments, words, arguments->field ? 5 : 4, OUTPUT_ALIGNED, history_shown);
}

int server_conflicts(const struct arguments *arguments)
{
    const struct satchel_value words[] = {word("conflicts"), word(arguments->workspace),
                                          word("open")};
    return ask(arguments, words, arguments->given & OPTION_OPEN ? 3 : 2, OUTPUT_ALIGNED,
               conflicts_shown);
}
