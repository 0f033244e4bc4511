/* Options and positionals of one command, by getopt_long. */
#include "command.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned bit;
    int has_argument;
} options_known[] = {
    {"server", OPTION_SERVER, required_argument},
    {"token-file", OPTION_SERVER, required_argument},
    {"workspace", OPTION_WORKSPACE, required_argument},
    {"json", OPTION_JSON, no_argument},
    {"schema", OPTION_SCHEMA, required_argument},
    {"user", OPTION_USER, required_argument},
    {"role", OPTION_ROLE, required_argument},
    {"grant", OPTION_GRANT, required_argument},
    {"invite", OPTION_INVITE, required_argument},
    {"watch", OPTION_WATCH, no_argument},
    {"field", OPTION_FIELD, required_argument},
    {"open", OPTION_OPEN, no_argument},
    {"take", OPTION_TAKE, required_argument},
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
    case OPTION_FIELD: out->field = value; return true;
    case OPTION_TAKE: out->take = value; return true;
    case OPTION_GRANT:
        if (out->grant_count == GRANTS_MAX)
            return false;
        out->grants[out->grant_count++] = value;
        return true;
    default: return true; /* --watch, --open: `given` says it */
    }
}

int arguments_read(const struct command *command, int count, char **words, struct arguments *out)
{
    struct option table[OPTION_COUNT + 1];
    int table_count = 0;
    int known_index[OPTION_COUNT];
    char problem[256];
    memset(out, 0, sizeof *out);
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (!(command->options & options_known[i].bit))
            continue;
        known_index[table_count] = i;
        table[table_count].name = options_known[i].name;
        table[table_count].has_arg = options_known[i].has_argument;
        table[table_count].flag = NULL;
        table[table_count].val = 'o';
        table_count++;
    }
    memset(&table[table_count], 0, sizeof table[0]);

    /* getopt_long wants the program's name before the words: the last word of the command stands there. */
    optind = 1;
    opterr = 0;
    int found;
    int index = -1;
    while ((found = getopt_long(count + 1, words - 1, ":", table, &index)) != -1) {
        if (found != 'o') {
            const char *word = (words - 1)[optind - 1];
            snprintf(problem, sizeof problem, found == ':' ? "%s needs a value" : "%s is no option here",
                     word);
            return command_usage(command, problem);
        }
        int known = known_index[index];
        if (!store(out, options_known[known].name, options_known[known].bit, optarg))
            return command_usage(command, "too many --grant");
    }
    for (int i = optind; i <= count; i++) {
        if (out->positional_count == command->positional_max ||
            out->positional_count == POSITIONALS_MAX) {
            snprintf(problem, sizeof problem, "`%.100s` is one argument too many", (words - 1)[i]);
            return command_usage(command, problem);
        }
        out->positional[out->positional_count++] = (words - 1)[i];
    }
    if (out->positional_count < command->positional_min)
        return command_usage(command, "an argument is missing");
    if (!out->server)
        out->server = getenv("SATCHEL_SERVER");
    if (!out->token_file)
        out->token_file = getenv("SATCHEL_TOKEN_FILE");
    return EXIT_DONE;
}
