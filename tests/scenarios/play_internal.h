/* What the files of the player share. */
#ifndef SATCHEL_TEST_PLAY_INTERNAL_H
#define SATCHEL_TEST_PLAY_INTERNAL_H

#include "play.h"

struct play_file {
    char path[300];
    void *bytes; /* NULL: there was none */
    size_t size;
};

struct play {
    struct system_world world;
    const struct scenario *scenario;
    const struct play_schema *schema;
    bool is_joined[SCENARIO_DEVICES_MAX];
    bool has_written[SCENARIO_DEVICES_MAX]; /* since its last sync */
    bool is_here[SCENARIO_DEVICES_MAX];     /* took part in the last sync */
    struct play_file files[2 * (SCENARIO_DEVICES_MAX + 1)];
    unsigned file_count;
    unsigned order_count;
    char *dumps[SCENARIO_STEPS_MAX];    /* after each sync, as the first order had it */
    bool has_all[SCENARIO_DEVICES_MAX]; /* then: its user sees every row */
    bool hides;                         /* some row was kept from the viewer's user */
    struct satchel_buffer text, other, reason, name;
};

/* ---- play_world.c ---- */
void play_world_open(struct play *play);
void play_world_close(struct play *play);
/* What is in the files now is where every order starts from. */
void play_world_keep(struct play *play);
void play_world_restore(struct play *play, uint64_t seed);
/* The device's replica is made, if that has not been done. */
void play_join(struct play *play, unsigned index);

/* ---- play_compare.c ---- */
/* Each false with the reason in play->reason. */
bool play_expect(struct play *play, const struct scenario_step *step);
/* After a sync: everybody who took part holds what the server holds and his user may see, and what
 * the server holds is what the first order led to. */
bool play_compare(struct play *play, const struct scenario_step *step);
bool play_wrong(struct play *play, const struct scenario_step *step, const char *format, ...)
    SATCHEL_PRINTF(3, 4);

#endif
