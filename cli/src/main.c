/* satchel: the command line for devices and administration. Owns the table of commands and finding
 * the right one; what they do is in the *_command(s).c files. */
#include "command.h"

#include <stdio.h>
#include <string.h>

#define SERVER_HELP                                                                  \
    "The server is --server URL (or SATCHEL_SERVER), the admin token is read from\n" \
    "--token-file FILE (or SATCHEL_TOKEN_FILE)."

static const struct command commands[] = {
    {"join", "REPLICA --server URL --workspace W (--invite CODE | --jwt FILE) [--pin PIN]",
     "Enrols this device: makes the replica file, uses the invite up, fetches the schema. With "
     "--jwt the\n"
     "token in FILE (- is standard input) stands for an invite, where the server takes such.\n"
     "--pin names the server's public key (satcheld logs it), which is then asked for in every "
     "sync, in\n"
     "the place of a certificate that this system trusts.\n"
     "After that `satchel sync REPLICA` brings the data.",
     OPTION_SERVER | OPTION_WORKSPACE | OPTION_INVITE | OPTION_JWT | OPTION_PIN, 1, 1, run_join},
    {"sync", "REPLICA [--watch] [--rotate] [--pin PIN] [--json]",
     "Sends what was written here, applies what others wrote, until both sides have everything.\n"
     "With --watch it goes on, sending and receiving changes as they are committed, and connects "
     "again\n"
     "when the server was lost, until SIGINT or SIGTERM. --rotate gives the device another token; "
     "copies of\n"
     "this file, and whoever has read the token in one, are not let in any more. --pin takes "
     "another public key of the "
     "server, or\n"
     "\"none\", and keeps it when such a server has let the device in.",
     OPTION_WATCH | OPTION_ROTATE | OPTION_PIN | OPTION_JSON, 1, 1, run_sync},
    {"rejoin", "REPLICA (--invite CODE | --jwt FILE)",
     "Lets a replica in again whose token was replaced from a copy of its file, or that is such a "
     "copy: an\n"
     "invite or JWT of its user gives it another, and takes it from whoever has the present one. "
     "What is\n"
     "in the file stays, and what waits to be sent is sent by the next sync.",
     OPTION_INVITE | OPTION_JWT, 1, 1, run_rejoin},
    {"sql", "REPLICA [\"SQL\"] [--json]",
     "Runs SQL statements (or standard input) on the replica; what they write is captured.\n"
     "Stops at the first error and rolls an open transaction back.",
     OPTION_JSON, 1, 2, run_sql},
    {"import", "REPLICA TABLE FILE.csv",
     "Inserts the rows of a CSV file whose first line names the columns, in one transaction. A "
     "key\n"
     "column that is missing or empty is filled with a new id. An empty field is NULL, \"\" is an\n"
     "empty text.",
     0, 3, 3, run_import},
    {"status", "REPLICA [--json]",
     "Who this replica is, how far it has come, what waits to be sent.", OPTION_JSON, 1, 1,
     run_status},
    {"history", "REPLICA TABLE KEY [--field F] [--json]  |  history --workspace W TABLE KEY [...]",
     "Every write to a row: when, who, on which device, the old and the new value, and what became "
     "of\n"
     "it. With --workspace the server is asked.\n" SERVER_HELP,
     OPTION_SERVER | OPTION_WORKSPACE | OPTION_FIELD | OPTION_JSON, 2, 3, run_history},
    {"conflicts", "REPLICA [--open] [--json]  |  conflicts --workspace W [--open] [--json]",
     "Writes that lost against another one, with both values. On a replica: what its user lost, "
     "and\n"
     "what needs a person. With --workspace the server is asked for all.\n" SERVER_HELP,
     OPTION_SERVER | OPTION_WORKSPACE | OPTION_OPEN | OPTION_JSON, 0, 1, run_conflicts},
    {"undo", "REPLICA HISTORY_ID", "Writes the value that a write replaced back, as a new change.",
     0, 2, 2, run_undo},
    {"verify", "REPLICA [--repair] [--json]",
     "Syncs, then compares a digest of every table with the server's. Exit status 1 on a "
     "difference.\n"
     "With --repair rows that differ become what the server has first; what is not sent yet stays.",
     OPTION_REPAIR | OPTION_JSON, 1, 1, run_verify},
    {"workspace create", "NAME --schema DIR",
     "Makes a workspace from the migrations 001_*.sql, 002_*.sql, ... in DIR.\n" SERVER_HELP,
     OPTION_SERVER | OPTION_SCHEMA, 1, 1, run_workspace_schema},
    {"workspace deploy", "NAME --schema DIR",
     "Deploys the migrations in DIR that the workspace has not got; deployed ones must be "
     "unchanged.\n" SERVER_HELP,
     OPTION_SERVER | OPTION_SCHEMA, 1, 1, run_workspace_schema},
    {"workspace list", "[--json]", "The workspaces of the server.\n" SERVER_HELP,
     OPTION_SERVER | OPTION_JSON, 0, 0, run_workspace_list},
    {"workspace sql", "NAME \"SELECT ...\" [--json]",
     "Runs one reading statement on the central store.\n" SERVER_HELP, OPTION_SERVER | OPTION_JSON,
     2, 2, run_workspace_sql},
    {"workspace set", "NAME TABLE KEY FIELD=VALUE...",
     "Writes fields of a row as the server; FIELD alone stands for NULL. This is how @server "
     "fields\n"
     "are written.\n" SERVER_HELP,
     OPTION_SERVER, 4, POSITIONALS_MAX, run_workspace_set},
    {"workspace branch", "NAME CODE",
     "The short name of this server in document numbers ({branch}); HQ until it is "
     "given.\n" SERVER_HELP,
     OPTION_SERVER, 2, 2, run_workspace_branch},
    {"workspace pack", "NAME",
     "Packs the workspace's history now. The server does so by itself with what is no longer "
     "new.\n" SERVER_HELP,
     OPTION_SERVER, 1, 1, run_workspace_pack},
    {"user add", "LOGIN --workspace W [--role R] [--grant VALUE]...",
     "Adds a user where the schema defines no satchel_users view.\n" SERVER_HELP,
     OPTION_SERVER | OPTION_WORKSPACE | OPTION_ROLE | OPTION_GRANT, 1, 1, run_user_add},
    {"invite", "--workspace W --user LOGIN",
     "Prints a one-time code, valid 24 hours, with which LOGIN enrols a device.\n" SERVER_HELP,
     OPTION_SERVER | OPTION_WORKSPACE | OPTION_USER, 0, 0, run_invite},
    {"device list", "--workspace W [--json]",
     "The devices of a workspace: user, last seen, cursor, clock error, software.\n" SERVER_HELP,
     OPTION_SERVER | OPTION_WORKSPACE | OPTION_JSON, 0, 0, run_device_list},
    {"quarantine list", "--workspace W [--json]",
     "Rows that were set aside because they broke a rule, with the reason.\n" SERVER_HELP,
     OPTION_SERVER | OPTION_WORKSPACE | OPTION_JSON, 0, 0, run_quarantine_list},
    {"quarantine retry", "[ID]... --workspace W [--json]",
     "Merges what was set aside now, in its author's name: the parts named, with the writes that "
     "wait for\n"
     "them, or all. What is refused again stays where it was; the new reason is "
     "shown.\n" SERVER_HELP,
     OPTION_SERVER | OPTION_WORKSPACE | OPTION_JSON, 0, POSITIONALS_MAX, run_quarantine_settle},
    {"quarantine drop", "ID... --workspace W",
     "Gives up what was set aside. It stays in the list, as dropped, and in the log.\n" SERVER_HELP,
     OPTION_SERVER | OPTION_WORKSPACE, 1, POSITIONALS_MAX, run_quarantine_settle},
    {"device revoke", "ID --workspace W",
     "A lost phone, or one that is given to somebody else: when it comes again it uploads what "
     "waits "
     "on it,\n"
     "wipes what it has of the workspace, and is refused from then on.\n" SERVER_HELP,
     OPTION_SERVER | OPTION_WORKSPACE, 1, 1, run_device_revoke},
    {"resolve",
     "REPLICA ID --take winner|loser|VALUE  |  resolve ID --take winner|loser|VALUE --workspace W",
     "Closes a conflict: writes what won again, or what lost, or another value, knowing both. A "
     "lost\n"
     "delete: winner keeps the row, loser deletes it. Two rows with one key: winner leaves them "
     "one,\n"
     "loser sets them apart. On a replica the write is the user's own; with --workspace the "
     "server's.\n" SERVER_HELP,
     OPTION_SERVER | OPTION_WORKSPACE | OPTION_TAKE, 1, 2, run_resolve},
    {"backup", "W FILE [--force]",
     "Writes workspace W as it is at one moment to FILE, here, while the server goes on. FILE is "
     "an\n"
     "SQLite database and appears only when it is whole; one that exists is left alone without\n"
     "--force. It holds everybody's data and the workspace's secret: keep it as "
     "such.\n" SERVER_HELP,
     OPTION_SERVER | OPTION_FORCE, 2, 2, run_backup},
    {"restore", "W FILE",
     "Makes workspace W of the server what FILE, a backup, holds. Nothing changes before FILE is "
     "sent\n"
     "and checked; a workspace W that is there is set aside in the server's data directory, its\n"
     "devices come again by themselves. Without one W is made.\n" SERVER_HELP,
     OPTION_SERVER, 2, 2, run_restore},
    {"pack export", "REPLICA FILE", "", 0, 0, 8, run_unbuilt},
    {"pack import", "TARGET FILE", "", 0, 0, 8, run_unbuilt},
};

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static void print_overview(FILE *out)
{
    fputs("satchel " SATCHEL_VERSION_TEXT
          ": SQLite replicas that work offline and sync.\n\nusage:\n",
          out);
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (commands[i].run != run_unbuilt)
            fprintf(out, "  satchel %s %s\n", commands[i].name, commands[i].usage);
    fputs("\n`satchel COMMAND --help` explains one of them. Not built yet:", out);
    for (int i = 0, found = 0; i < COMMAND_COUNT; i++)
        if (commands[i].run == run_unbuilt)
            fprintf(out, "%s %s", found++ ? "," : "", commands[i].name);
    fputs(".\n", out);
}

/* Whether the words begin with the command's one- or two-word name; `*used` of them then. */
static bool names(const struct command *command, int count, char **words, int *used)
{
    const char *space = strchr(command->name, ' ');
    size_t first = space ? (size_t)(space - command->name) : strlen(command->name);
    if (count < 1 || strlen(words[0]) != first || memcmp(words[0], command->name, first) != 0)
        return false;
    *used = space ? 2 : 1;
    return !space || (count >= 2 && strcmp(words[1], space + 1) == 0);
}

static const struct command *find(int count, char **words, int *used)
{
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (names(&commands[i], count, words, used))
            return &commands[i];
    return NULL;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static bool asks_help(int count, char **words)
{
    for (int i = 0; i < count && strcmp(words[i], "--") != 0; i++)
        if (is_help(words[i]))
            return true;
    return false;
}

static void print_help(const struct command *command)
{
    printf("usage: satchel %s %s\n\n%s\n", command->name, command->usage,
           command->run == run_unbuilt ? "Not built yet." : command->help);
}

/* The commands that begin with `word`, as in `satchel workspace`; how many there are. */
static int print_group(FILE *out, const char *word)
{
    size_t length = strlen(word);
    int found = 0;
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strncmp(commands[i].name, word, length) != 0 || commands[i].name[length] != ' ')
            continue;
        if (out)
            fprintf(out, "%s satchel %s %s%s\n", found ? "      " : "usage:", commands[i].name,
                    commands[i].usage, commands[i].run == run_unbuilt ? " (not built yet)" : "");
        found++;
    }
    return found;
}

/* The words name no command: help on a group of commands, or one line that says what is wrong. */
static int explain_unknown(int count, char **words, bool wants_help)
{
    int group_size = print_group(NULL, words[0]);
    if (wants_help && group_size) {
        print_group(stdout, words[0]);
        return EXIT_DONE;
    }
    if (group_size)
        fprintf(stderr,
                "satchel: `%s%s%s` is no command; `satchel %s --help` lists what there is\n",
                words[0], count > 1 && words[1][0] != '-' ? " " : "",
                count > 1 && words[1][0] != '-' ? words[1] : "", words[0]);
    else
        fprintf(stderr, "satchel: there is no command `%s%s%s`; `satchel --help` lists them\n",
                words[0], count > 1 && words[1][0] != '-' ? " " : "",
                count > 1 && words[1][0] != '-' ? words[1] : "");
    return EXIT_USAGE;
}

int command_fail(const struct satchel_error *error)
{
    static const char own_name[] =
        "satchel: "; /* messages that come through SQLite begin with it too */
    const char *message = error->message[0] ? error->message : satchel_status_text(error->status);
    bool is_named = strncmp(message, own_name, strlen(own_name)) == 0;
    fprintf(stderr, "%s%s\n", is_named ? "" : own_name, message);
    return EXIT_FAILED;
}

int command_usage(const struct command *command, const char *problem)
{
    fprintf(stderr, "satchel: %s; usage: satchel %s %s\n", problem, command->name, command->usage);
    return EXIT_USAGE;
}

int run_unbuilt(const struct command *command, const struct arguments *arguments)
{
    (void)arguments;
    fprintf(stderr, "satchel: `%s` is not built yet\n", command->name);
    return EXIT_USAGE;
}

int main(int count, char **words)
{
    int used = 0;
    count--;
    words++;
    if (count == 0) {
        print_overview(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(words[0], "--version") == 0) {
        puts("satchel " SATCHEL_VERSION_TEXT);
        return EXIT_DONE;
    }
    bool wants_help = asks_help(count, words);
    if (strcmp(words[0], "help") == 0 || is_help(words[0])) { /* `help sync` is `sync --help` */
        wants_help = true;
        count--;
        words++;
    }
    if (count == 0 || is_help(words[0])) {
        print_overview(stdout);
        return EXIT_DONE;
    }
    const struct command *command = find(count, words, &used);
    if (!command)
        return explain_unknown(count, words, wants_help);
    if (wants_help) {
        print_help(command);
        return EXIT_DONE;
    }
    if (command->run == run_unbuilt)
        return run_unbuilt(command, NULL);
    struct arguments arguments;
    int status = arguments_read(command, count - used, words + used, &arguments);
    if (status == EXIT_DONE)
        status = command->run(command, &arguments);
    if (fflush(stdout) != 0 && status == EXIT_DONE) {
        fputs("satchel: standard output cannot be written\n", stderr);
        status = EXIT_FAILED;
    }
    return status;
}
