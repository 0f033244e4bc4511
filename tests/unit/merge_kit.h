/* What tests of the merge share: a central store in a folder of its own, change sets built by hand,
 * the state as text. */
#ifndef MERGE_KIT_H
#define MERGE_KIT_H

#include "merge.h"
#include "store_sqlite.h"
#include "workspace_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define assert_ok(status) assert_int_equal((status), SATCHEL_OK)
#define KIT_NOW_MS 1700000000000

struct kit {
    char directory[64];
    char path[80];
    struct satchel_store *store;
    struct satchel_arena arena; /* of change sets; lives as long as the kit */
    struct satchel_buffer text;
    struct satchel_error error;
};

/* A store whose schema is `sql`; devices 1..9 of users user1..user9 are enrolled. */
void kit_open(struct kit *kit, const char *sql);
void kit_close(struct kit *kit);
/* Closes and opens the store again. */
void kit_reopen(struct kit *kit);

struct satchel_id kit_device(uint8_t number);
struct satchel_value text(const char *text);
struct satchel_value integer(int64_t integer);
struct satchel_value null(void);

/* A part: (column number, value) pairs end with -1. Kept until the kit closes. */
struct satchel_part kit_part(struct kit *kit, enum satchel_op_kind kind, const char *table,
                             const char *key, ...);
/* A change set made at `ms` after KIT_NOW_MS - 1 h, whose author had seen the node's first `seen`.
 */
struct satchel_incoming kit_changeset(struct kit *kit, uint8_t device, uint64_t number, int64_t ms,
                                      uint64_t seen, const struct satchel_part *parts,
                                      uint32_t part_count);
/* The same, whose author had seen this much of one incarnation; `seen` may be NULL. */
struct satchel_incoming kit_changeset_seen(struct kit *kit, uint8_t device, uint64_t number,
                                           int64_t ms, const struct satchel_position *seen,
                                           const struct satchel_part *parts, uint32_t part_count);
/* Merges in one transaction. */
void kit_merge(struct kit *kit, const struct satchel_incoming *incoming, size_t count,
               struct satchel_incoming_outcome *outcomes);
/* Merges a change set of one part that must be accepted; returns the count of quarantined parts. */
uint32_t kit_push(struct kit *kit, uint8_t device, uint64_t number, int64_t ms, uint64_t seen,
                  struct satchel_part part);
/* All rows of a query, '|' between columns, '\n' between rows, NULL as "NULL". Until the next call.
 */
const char *kit_rows(struct kit *kit, const char *sql);
void kit_run(struct kit *kit, const char *sql);
/* The notes of the entry at a cursor, decoded; until the kit closes. */
struct satchel_notes kit_notes(struct kit *kit, uint64_t cursor);

#endif
