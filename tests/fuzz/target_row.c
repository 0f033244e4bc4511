/* Rows under hostile change sets. Input: bodies of change sets, two bytes of size before each, one
 * device after the other; every part writes the one row of its table. A merge is done or refused,
 * in words and with the row as it was; the row as a function of all its writes can be told again,
 * and its version stored. */
#include "row_play.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = fuzz_input_of(data, size);
    struct row_play rows[ROW_TABLES];
    struct satchel_arena arena;
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    fuzz_ids_forget();
    for (uint32_t i = 0; i < ROW_TABLES; i++)
        row_play_start(&rows[i], i, &arena);
    for (uint32_t index = 0; input.at < input.end && index < ROW_WRITES_MAX; index++) {
        struct satchel_changeset changeset;
        if (satchel_changeset_decode(fuzz_piece(&input), &arena, &changeset, NULL) != SATCHEL_OK)
            break;
        row_play_merge(rows, &changeset, index);
    }
    for (uint32_t i = 0; i < ROW_TABLES; i++) {
        struct row_play *row = &rows[i];
        struct satchel_merge_result result;
        struct satchel_error error = {SATCHEL_OK, 0, ""};
        if (row->write_count == 0)
            continue;
        FUZZ_REQUIRE(satchel_row_recompute(row->rules, &row->row, row->writes, row->write_count,
                                           &arena, &result, &error) == SATCHEL_OK);
        row_play_require_stores(row);
        fuzz_accepted_count += row->write_count > 1;
    }
    satchel_arena_deinit(&arena);
    return 0;
}
