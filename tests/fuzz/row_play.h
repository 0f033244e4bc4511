/* A row of each table of fuzz_schema and change sets merged into it, as a node would, whatever they
 * say. What a target checks and make_corpus makes versions of. */
#ifndef SATCHEL_ROW_PLAY_H
#define SATCHEL_ROW_PLAY_H

#include "fuzz.h"

#include <satchel/changeset.h>

enum { ROW_COLUMNS = 32, ROW_WRITES_MAX = 24, ROW_TABLES = 2, ROW_DEVICES = 3 };

struct row_play {
    struct satchel_arena *arena;
    const struct satchel_table_rules *rules;
    struct satchel_value values[ROW_COLUMNS];
    struct satchel_row_context context;
    struct satchel_row row;
    struct satchel_write writes[ROW_WRITES_MAX]; /* that were merged */
    size_t write_count;
};

/* The row of table 1 + `table`, never seen before. */
void row_play_start(struct row_play *row, uint32_t table, struct satchel_arena *arena);
/* Merges the parts of the change set that arrives as number `index` (from 0), each into the row of
 * its table. A part that is refused leaves its row as it was. */
void row_play_merge(struct row_play rows[ROW_TABLES], const struct satchel_changeset *changeset,
                    uint32_t index);
/* The row's conflicts can be listed and its version stored, in bytes that stay the same. */
void row_play_require_stores(struct row_play *row);

#endif
