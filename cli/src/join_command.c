/* join, rejoin: a device comes in with an invite or with what an application's login gave out. */
#include "command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The token in the file, or on standard input for "-", without the white space around it. */
static enum satchel_status read_jwt(const char *path, char text[SATCHEL_JWT_BYTES_MAX + 1],
                                    struct satchel_error *error)
{
    static const char white[] = " \t\r\n";
    char bytes[SATCHEL_JWT_BYTES_MAX + 64];
    bool is_input = strcmp(path, "-") == 0;
    FILE *file = is_input ? stdin : fopen(path, "re");
    if (!file)
        return satchel_error_set(error, SATCHEL_IO, "cannot read %s: %s", path, strerror(errno));
    size_t size = fread(bytes, 1, sizeof bytes - 1, file);
    bool has_failed = ferror(file) != 0;
    if (!is_input)
        fclose(file);
    if (has_failed)
        return satchel_error_set(error, SATCHEL_IO, "cannot read %s", path);
    bytes[size] = '\0';
    const char *token = bytes + strspn(bytes, white);
    size_t token_size = strcspn(token, white);
    size_t behind = token_size + strspn(token + token_size, white);
    if (token_size == 0 || token_size > SATCHEL_JWT_BYTES_MAX || token + behind != bytes + size)
        return satchel_error_set(error, SATCHEL_INVALID,
                                 "%s: a JWT is one word of at most %d bytes, and nothing else",
                                 is_input ? "standard input" : path, SATCHEL_JWT_BYTES_MAX);
    memcpy(text, token, token_size);
    text[token_size] = '\0';
    return SATCHEL_OK;
}

int run_join(const struct command *command, const struct arguments *arguments)
{
    char jwt[SATCHEL_JWT_BYTES_MAX + 1];
    struct satchel_error error = {0};
    struct satchel_join_options options = {.size = sizeof options,
                                           .server = arguments->server,
                                           .workspace = arguments->workspace,
                                           .invite = arguments->invite,
                                           .jwt = arguments->jwt ? jwt : NULL,
                                           .pin = arguments->pin};
    if (!arguments->server || !arguments->workspace || !arguments->invite == !arguments->jwt)
        return command_usage(command,
                             "--server, --workspace and one of --invite and --jwt are needed");
    if (arguments->jwt && read_jwt(arguments->jwt, jwt, &error) != SATCHEL_OK)
        return command_fail(&error);
    if (satchel_join(arguments->positional[0], &options, &error) != SATCHEL_OK)
        return command_fail(&error);
    printf("joined workspace %s; `satchel sync %s` brings the data\n", arguments->workspace,
           arguments->positional[0]);
    return EXIT_DONE;
}

int run_rejoin(const struct command *command, const struct arguments *arguments)
{
    char jwt[SATCHEL_JWT_BYTES_MAX + 1];
    struct satchel_error error = {0};
    struct satchel_join_options options = {
        .size = sizeof options, .invite = arguments->invite, .jwt = arguments->jwt ? jwt : NULL};
    if (!arguments->invite == !arguments->jwt)
        return command_usage(command, "one of --invite and --jwt is needed");
    if (arguments->jwt && read_jwt(arguments->jwt, jwt, &error) != SATCHEL_OK)
        return command_fail(&error);
    if (satchel_rejoin(arguments->positional[0], &options, &error) != SATCHEL_OK)
        return command_fail(&error);
    printf("joined again; `satchel sync %s` goes on\n", arguments->positional[0]);
    return EXIT_DONE;
}
