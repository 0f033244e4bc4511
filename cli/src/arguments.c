/* Owns reading the options and positionals of one command. Options may stand anywhere; `--` ends
 * them. */
#include "command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned bit;
    bool takes_value;
} options_known[] = {
    {"server", OPTION_SERVER, true},
    {"token-file", OPTION_SERVER, true},
    {"workspace", OPTION_WORKSPACE, true},
    {"json", OPTION_JSON, false},
    {"schema", OPTION_SCHEMA, true},
    {"user", OPTION_USER, true},
    {"role", OPTION_ROLE, true},
    {"grant", OPTION_GRANT, true},
    {"invite", OPTION_INVITE, true},
    {"watch", OPTION_WATCH, false},
    {"field", OPTION_FIELD, true},
    {"open", OPTION_OPEN, false},
    {"take", OPTION_TAKE, true},
    {"force", OPTION_FORCE, false},
    {"rotate", OPTION_ROTATE, false},
    {"jwt", OPTION_JWT, true},
    {"pin", OPTION_PIN, true},
    {"repair", OPTION_REPAIR, false},
};
enum { OPTION_COUNT = sizeof options_known / sizeof options_known[0] };

static bool store(struct arguments *out, const char *name, unsigned bit, const char *value)
{
    out->given |= bit;
    switch (bit) {
    case OPTION_SERVER:
        if (strcmp(name, "server") == 0)
            out->server = value;
        else
            out->token_file = value;
        return true;
    case OPTION_WORKSPACE: out->workspace = value; return true;
    case OPTION_JSON: out->json = true; return true;
    case OPTION_SCHEMA: out->schema = value; return true;
    case OPTION_USER: out->user = value; return true;
    case OPTION_ROLE: out->role = value; return true;
    case OPTION_INVITE: out->invite = value; return true;
    case OPTION_JWT: out->jwt = value; return true;
    case OPTION_PIN: out->pin = value; return true;
    case OPTION_FIELD: out->field = value; return true;
    case OPTION_TAKE: out->take = value; return true;
    case OPTION_GRANT:
        if (out->grant_count == GRANTS_MAX)
            return false;
        out->grants[out->grant_count++] = value;
        return true;
    default: return true; /* --watch, --open, --force, --rotate, --repair: `given` says it */
    }
}

/* An option is `--name` or `--name=value`; getopt_long would take SQL that begins with a comment
 * (`-- all of it`), and a key that is a negative number, for options. A single dash before a letter
 * is a slip. */
static bool is_option(const char *word, size_t *name_length)
{
    if (word[0] != '-' || word[1] != '-') {
        *name_length = strlen(word);
        return word[0] == '-' &&
               ((word[1] >= 'a' && word[1] <= 'z') || (word[1] >= 'A' && word[1] <= 'Z'));
    }
    *name_length = 2 + strspn(word + 2, "abcdefghijklmnopqrstuvwxyz-");
    return *name_length > 2 && (word[*name_length] == '\0' || word[*name_length] == '=');
}

/* Reads the option at words[*at], with its value; leaves *at on the last word used. */
static int read_option(const struct command *command, int count, char **words, int *at,
                       size_t name_length, struct arguments *out)
{
    char problem[256];
    const char *word = words[*at], *value = NULL;
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (!(command->options & options_known[i].bit) || word[1] != '-' ||
            strlen(options_known[i].name) != name_length - 2 ||
            memcmp(options_known[i].name, word + 2, name_length - 2) != 0)
            continue;
        bool has_value = word[name_length] == '=';
        if (has_value)
            value = word + name_length + 1;
        else if (options_known[i].takes_value && *at + 1 < count)
            value = words[++*at];
        if (options_known[i].takes_value != (value != NULL)) {
            snprintf(problem, sizeof problem, "--%s %s", options_known[i].name,
                     has_value ? "takes no value" : "needs a value");
            return command_usage(command, problem);
        }
        return store(out, options_known[i].name, options_known[i].bit, value)
                   ? EXIT_DONE
                   : command_usage(command, "too many --grant");
    }
    snprintf(problem, sizeof problem, "%.*s is no option here",
             (int)(name_length < 100 ? name_length : 100), word);
    return command_usage(command, problem);
}

int arguments_read(const struct command *command, int count, char **words, struct arguments *out)
{
    char problem[256];
    bool takes_options = true;
    memset(out, 0, sizeof *out);
    for (int i = 0; i < count; i++) {
        size_t name_length = 0;
        if (takes_options && strcmp(words[i], "--") == 0) {
            takes_options = false;
        } else if (takes_options && is_option(words[i], &name_length)) {
            int status = read_option(command, count, words, &i, name_length, out);
            if (status != EXIT_DONE)
                return status;
        } else if (out->positional_count == command->positional_max ||
                   out->positional_count == POSITIONALS_MAX) {
            snprintf(problem, sizeof problem, "`%.100s` is one argument too many", words[i]);
            return command_usage(command, problem);
        } else {
            out->positional[out->positional_count++] = words[i];
        }
    }
    if (out->positional_count < command->positional_min)
        return command_usage(command, "an argument is missing");
    if (!out->server)
        out->server = getenv("SATCHEL_SERVER");
    if (!out->token_file)
        out->token_file = getenv("SATCHEL_TOKEN_FILE");
    return EXIT_DONE;
}
