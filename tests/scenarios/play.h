/* Plays a scenario with real replicas and the server's own jobs in one thread, frames carried by
 * hand (tests/property/system_*.c), clocks as the scenario says. */
#ifndef SATCHEL_TEST_PLAY_H
#define SATCHEL_TEST_PLAY_H

#include "../property/system_world.h"
#include "scenario.h"

/* The workspace's migrations, read from a folder. */
struct play_schema {
    struct satchel_arena arena;
    struct satchel_migration *migrations;
    uint32_t migration_count;
};
void play_schema_read(struct play_schema *schema, const char *folder);
void play_schema_free(struct play_schema *schema);

struct play;

/* Founds the workspace, lets everybody join and plays what the scenario starts from. */
struct play *play_new(const struct scenario *scenario, const struct play_schema *schema);
void play_free(struct play *play);
/* How many orders of coming back there are: the most of any sync of the scenario. */
unsigned play_order_count(const struct play *play);
/* Plays the scenario from the base on, its devices coming back in the order of that number. Returns
 * NULL if everything is as expected and as in the orders played before, else FILE:LINE and what was
 * different, good until the next call. `is_twice`: every upload arrives twice, and of the first
 * one no answer comes back. */
const char *play_order(struct play *play, unsigned order, bool is_twice);

#endif
