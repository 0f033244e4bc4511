/* A scenario as its file says it: who does what when, who syncs, and what must come of it.
 * tests/scenarios/README.md describes the format. */
#ifndef SATCHEL_TEST_SCENARIO_H
#define SATCHEL_TEST_SCENARIO_H

#include <satchel/memory.h>
#include <satchel/status.h>
#include <stdbool.h>
#include <stdint.h>

enum { SCENARIO_DEVICES_MAX = 12, SCENARIO_STEPS_MAX = 256 };

enum scenario_step_kind {
    SCENARIO_WRITE,     /* a device runs `text` in one transaction */
    SCENARIO_SET,       /* the server writes: each line of `text` is TABLE KEY FIELD=VALUE... */
    SCENARIO_SYNC,      /* those who take part come back, in any order */
    SCENARIO_EXPECT,    /* `text`, a SELECT, gives `rows` */
    SCENARIO_CONFLICTS, /* the open conflicts are `rows` */
};

struct scenario_step {
    enum scenario_step_kind kind;
    const char *file;
    int line;
    int64_t at_ms;
    unsigned device;                       /* WRITE */
    const char *text;                      /* WRITE, SET, EXPECT */
    const char *refusal;                   /* WRITE: what the refusal must say; NULL: it succeeds */
    const char *rows;                      /* EXPECT, CONFLICTS: one a line, each with its '\n' */
    bool takes_part[SCENARIO_DEVICES_MAX]; /* SYNC; EXPECT and CONFLICTS that name devices */
    bool is_named;                         /* the latter: of these devices, and not of the server */
    bool is_all_but; /* while the file is read: takes_part are those who stay away */
    bool is_base;    /* of the file that the scenario starts from: played once */
};

struct scenario_device {
    const char *name; /* of the user, with /2 behind it for the second device */
    const char *login;
    int64_t clock_error_ms;
};

struct scenario {
    struct satchel_arena arena;
    struct scenario_device devices[SCENARIO_DEVICES_MAX];
    unsigned device_count;
    struct scenario_step steps[SCENARIO_STEPS_MAX];
    unsigned step_count;
};

/* Reads `folder`/`name`. INVALID with FILE:LINE and the reason if it cannot be understood. */
enum satchel_status scenario_read(struct scenario *scenario, const char *folder, const char *name,
                                  struct satchel_error *error) SATCHEL_MUST_USE;
void scenario_free(struct scenario *scenario);

#endif
