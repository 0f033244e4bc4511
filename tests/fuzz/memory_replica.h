/* A replica with rows of others and pending writes, the same file before every run in which memory
 * fails, and what must hold after it. */
#ifndef MEMORY_REPLICA_H
#define MEMORY_REPLICA_H

#include "../unit/node_kit.h"
#include "failing_memory.h"
#include "recover.h"

#define assert_ok(status) assert_int_equal((status), SATCHEL_OK)

enum { RUNS = 60 };

struct world {
    struct node_kit kit;
    char template[128];
    struct satchel_buffer before, expected, is;
    struct satchel_entry entries[8]; /* to be applied; their bytes are in `arena` */
    size_t entry_count;
    struct satchel_arena arena;
    char id[128]; /* of a conflict, or of a write in the history */
    const char *sql;
    struct satchel_sync sync;            /* what the session of a restored server needs of one */
    struct satchel_row_request asked[4]; /* rows in doubt, and what the node has of them */
    struct satchel_buffer rows, said;
};

/* Where the time of day stands, and what follows from it: what database_state leaves out. */
extern const char of_time[];

void open_world(struct world *world);
void close_world(struct world *world);
void open_connections(struct world *world);
void close_connections(struct world *world);
/* What is in the file now is what every run begins with; and so it does. */
void keep_template(struct world *world);
void put_back_file(void *context);
void put_back(void *context);

/* After a run: all or nothing; then, if it was nothing, all. */
void judge(struct world *world, enum satchel_status status,
           enum satchel_status (*run)(void *context, struct satchel_error *error));
void check(struct world *world, const char *name,
           enum satchel_status (*run)(void *context, struct satchel_error *error),
           void (*finish)(void *context, enum satchel_status status));

/* The entries of the world in one transaction. */
enum satchel_status run_apply(void *context, struct satchel_error *error);
void finish_apply(void *context, enum satchel_status status);

#endif
