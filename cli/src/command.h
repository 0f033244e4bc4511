/* What the commands of `satchel` share: their table, their arguments, their exit statuses. */
#ifndef SATCHEL_COMMAND_H
#define SATCHEL_COMMAND_H

#include <satchel.h>

/* Exit statuses of the interface. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* Options, as bits of what a command takes. */
enum option_bit {
    OPTION_SERVER = 1u << 0, /* --server and --token-file, or their environment variables */
    OPTION_WORKSPACE = 1u << 1,
    OPTION_JSON = 1u << 2,
    OPTION_SCHEMA = 1u << 3,
    OPTION_USER = 1u << 4,
    OPTION_ROLE = 1u << 5,
    OPTION_GRANT = 1u << 6,
    OPTION_INVITE = 1u << 7,
    OPTION_WATCH = 1u << 8,
    OPTION_FIELD = 1u << 9,
    OPTION_OPEN = 1u << 10,
    OPTION_TAKE = 1u << 11,
    OPTION_FORCE = 1u << 12,
    OPTION_JWT = 1u << 13,
    OPTION_PIN = 1u << 14,
    OPTION_ROTATE = 1u << 15,
    OPTION_REPAIR = 1u << 16
};

enum { GRANTS_MAX = 64, POSITIONALS_MAX = 64 };

struct arguments {
    unsigned given; /* option bits that stood on the line */
    const char *server, *token_file, *workspace, *schema, *user, *role, *invite, *field, *take;
    const char *jwt, *pin;
    const char *grants[GRANTS_MAX];
    int grant_count;
    bool json;
    const char *positional[POSITIONALS_MAX];
    int positional_count;
};

struct command {
    const char *name;  /* "workspace create" */
    const char *usage; /* what follows the name */
    const char *help;  /* sentences for --help */
    unsigned options;  /* option bits */
    int positional_min, positional_max;
    int (*run)(const struct command *command, const struct arguments *arguments);
};

/* Prints one line on stderr and returns the exit status it names. */
int command_fail(const struct satchel_error *error);
int command_usage(const struct command *command, const char *problem);
/* Whether it is known which server to ask; if not, a line on stderr has said so. */
bool command_has_server(const struct arguments *arguments);

/* Reads options and positionals behind the command's name. EXIT_DONE to go on, else the exit
 * status. */
int arguments_read(const struct command *command, int count, char **words, struct arguments *out);

int run_join(const struct command *command, const struct arguments *arguments);
int run_rejoin(const struct command *command, const struct arguments *arguments);
int run_sync(const struct command *command, const struct arguments *arguments);
int run_verify(const struct command *command, const struct arguments *arguments);
int run_sql(const struct command *command, const struct arguments *arguments);
int run_import(const struct command *command, const struct arguments *arguments);
int run_status(const struct command *command, const struct arguments *arguments);
int run_history(const struct command *command, const struct arguments *arguments);
int run_conflicts(const struct command *command, const struct arguments *arguments);
int run_undo(const struct command *command, const struct arguments *arguments);
int run_workspace_schema(const struct command *command, const struct arguments *arguments);
int run_workspace_list(const struct command *command, const struct arguments *arguments);
int run_workspace_sql(const struct command *command, const struct arguments *arguments);
int run_user_add(const struct command *command, const struct arguments *arguments);
int run_invite(const struct command *command, const struct arguments *arguments);
int run_device_list(const struct command *command, const struct arguments *arguments);
int run_quarantine_list(const struct command *command, const struct arguments *arguments);
int run_quarantine_settle(const struct command *command, const struct arguments *arguments);
int run_device_revoke(const struct command *command, const struct arguments *arguments);
int run_workspace_set(const struct command *command, const struct arguments *arguments);
int run_workspace_pack(const struct command *command, const struct arguments *arguments);
int run_workspace_branch(const struct command *command, const struct arguments *arguments);
int run_resolve(const struct command *command, const struct arguments *arguments);
int run_backup(const struct command *command, const struct arguments *arguments);
int run_restore(const struct command *command, const struct arguments *arguments);
int run_unbuilt(const struct command *command, const struct arguments *arguments);

/* history, conflicts and resolve of a server: the same commands with --workspace. */
int server_history(const struct arguments *arguments);
int server_conflicts(const struct arguments *arguments);
int server_resolve(const struct arguments *arguments);

#endif
