/* Identifiers that no two devices make twice, and nothing of SQL. Internal to sql/.
 *
 * ## UUIDv7 (RFC 9562 section 5.7)
 * 48 bits of milliseconds, 74 random bits. Within a millisecond, and while the clock stands behind
 * the last one made, the random part grows by a random step (section 6.2, method 2): ascending
 * within a source.
 *
 * ## 63-bit integers
 *   41 bits  milliseconds since 2020-01-01 UTC, modulo 2^41 (69 years)
 *   12 bits  lane: a hash of the device's id; random where there is no device
 *   10 bits  place: starts at random in each millisecond, then counts up and around; after 1,024 of
 *            them the next millisecond is used
 * Two devices in different lanes (all but one pair in 4,096) never meet, however much they insert
 * at once. Two in one lane meet when they use one place of one millisecond: single inserts meet
 * with odds of 1 in 1,024 per millisecond that both use; bulk inserts of both in the same seconds
 * meet surely. Over all pairs that is 1 in 4.2 million for each millisecond that two devices share:
 * a hundred devices with 200 inserts each in a working day share about 7 a day, so one meeting is
 * to be expected in 1,600 years. A meeting is a conflict on one row and loses nothing; whoever
 * cannot accept it uses UUIDs. Connections of one device cannot meet while its clock does not go
 * back: SQLite lets one write at a time. */
#ifndef SATCHEL_UNIQUE_H
#define SATCHEL_UNIQUE_H

#include <satchel/id.h>

#define SATCHEL_UUID_TEXT_BYTES 37 /* with the NUL */

struct satchel_uuid_source { /* zero-initialised */
    bool is_started;
    uint64_t ms;
    uint64_t high; /* 12 bits */
    uint64_t low;  /* 62 bits */
};
struct satchel_id satchel_uuid_next(struct satchel_uuid_source *source, int64_t now_ms);

struct satchel_integer_source { /* zero-initialised */
    bool is_started;
    int64_t ms; /* in use: the clock's, or later when it was used up */
    uint32_t first_place, place_count;
    uint32_t lane;
    char device[SATCHEL_ID_TEXT_BYTES]; /* whose lane it is */
};
/* `device`: the device's id as text, NULL if there is none. */
int64_t satchel_integer_next(struct satchel_integer_source *source, int64_t now_ms,
                             const char *device);

/* 8-4-4-4-12 lower-case hex digits. */
void satchel_uuid_text(const struct satchel_id *uuid, char text[SATCHEL_UUID_TEXT_BYTES]);

#endif
