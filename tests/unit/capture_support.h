/* A replica under test: runs SQL, and shows change sets as text, one part a line:
 *
 *   insert T(KEY) COLUMN=VALUE ...
 *   update T(KEY) COLUMN=VALUE ... was OLD,OLD [beside NUMBER:LEADER,...]
 *   delete T(KEY) was COLUMN NUMBER:OLD,...
 *
 * and behind each " except COLUMN:KIND ..." where it has exceptions. */
#ifndef SATCHEL_CAPTURE_SUPPORT_H
#define SATCHEL_CAPTURE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../client-core/src/replica.h"

struct kit {
    char path[128];
    satchel_replica *replica;
    sqlite3 *db;
    uint64_t number; /* of the last change set looked at */
    int64_t utc_ms;  /* the clock's */
};

int kit_setup(void **state, const char *schema);
int kit_teardown(void **state);

void kit_run(struct kit *kit, const char *sql);
/* It fails; capture refuses it, with `words` in the message. */
void kit_fail(struct kit *kit, const char *sql);
void kit_refuse(struct kit *kit, const char *sql, const char *words);

/* The next change set is this; is there but of no interest; is not there. */
void kit_expect(struct kit *kit, const char *text);
void kit_expect_sorted(struct kit *kit, const char *text);
void kit_skip(struct kit *kit);
void kit_expect_nothing(struct kit *kit);

void kit_expect_sql(struct kit *kit, const char *sql, const char *text);
uint32_t kit_part_count(struct kit *kit, uint64_t number);
/* The value of the first field of a part is that of the query. */
void kit_expect_field_equals(struct kit *kit, uint64_t number, uint32_t part, const char *sql);
/* A row of satchel_base for item(key) with views of kind NONE of these columns. */
void kit_put_base(struct kit *kit, const char *key, const uint32_t *columns, uint32_t count);
/* Random transactions over child and line; each change set, put on the tables as they were before,
 * gives the tables as they are after. */
void kit_run_random(struct kit *kit, uint32_t count);

#endif
