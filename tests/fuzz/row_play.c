/* See row_play.h. */
#include "row_play.h"

#include <satchel/schema.h>

void row_play_start(struct row_play *row, uint32_t table, struct satchel_arena *arena)
{
    memset(row, 0, sizeof *row);
    row->arena = arena;
    row->rules = &fuzz_schema()->tables[table].rules;
    FUZZ_REQUIRE(row->rules->column_count <= ROW_COLUMNS);
    row->context = (struct satchel_row_context){.machines = &fuzz_machine, .machine_count = 1};
    row->row = (struct satchel_row){
        .values = row->values, .version = satchel_version_new(arena), .context = &row->context};
    FUZZ_REQUIRE(row->row.version != NULL);
}

void row_play_require_stores(struct row_play *row)
{
    struct satchel_buffer bytes, again;
    struct satchel_conflict_list list;
    satchel_buffer_init(&bytes, SIZE_MAX / 2, NULL);
    satchel_buffer_init(&again, SIZE_MAX / 2, NULL);
    FUZZ_REQUIRE(satchel_row_conflicts(row->rules, &row->row, row->arena, &list) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_version_encode(row->row.version, &fuzz_ids, &bytes) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_version_decode(row->arena, satchel_buffer_span(&bytes), &fuzz_ids,
                                        &row->row.version) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_version_encode(row->row.version, &fuzz_ids, &again) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_span_equal(satchel_buffer_span(&bytes), satchel_buffer_span(&again)));
    satchel_buffer_deinit(&bytes);
    satchel_buffer_deinit(&again);
}

static void merge(struct row_play *row, const struct satchel_write *write)
{
    struct satchel_merge_result result;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    struct satchel_value before[ROW_COLUMNS];
    const struct satchel_version *version = row->row.version;
    if (row->write_count == ROW_WRITES_MAX)
        return;
    memcpy(before, row->values, sizeof before);
    row->writes[row->write_count] = *write;
    enum satchel_status status = satchel_row_merge(
        row->rules, &row->row, &row->writes[row->write_count], row->arena, &result, &error);
    if (status == SATCHEL_NEED_TIMELINE)
        status = satchel_row_rebuild(row->rules, &row->row, row->writes, row->write_count + 1,
                                     row->arena, &result, &error);
    if (status == SATCHEL_OK) {
        row->write_count++;
        row_play_require_stores(row);
    } else {
        FUZZ_REQUIRE(status == SATCHEL_REFUSED && error.message[0] != '\0');
        FUZZ_REQUIRE(row->row.version == version &&
                     memcmp(before, row->values, sizeof before) == 0);
    }
}

void row_play_merge(struct row_play rows[ROW_TABLES], const struct satchel_changeset *changeset,
                    uint32_t index)
{
    struct satchel_position *position = satchel_arena_alloc(rows[0].arena, sizeof *position);
    FUZZ_REQUIRE(position != NULL);
    *position = (struct satchel_position){fuzz_id(ROW_DEVICES), index + 1};
    for (uint32_t i = 0; i < changeset->header.part_count && i < ROW_WRITES_MAX; i++) {
        const struct satchel_part *part = &changeset->parts[i];
        const struct satchel_write write = {
            /* Neighbours have arrived in the other order of their stamps. */
            .order = {UINT64_C(0x018f000000000000) + (index ^ 1), fuzz_id(index % ROW_DEVICES),
                      index + 1, i},
            .positions = {position, 1},
            .seen = changeset->header.seen,
            .role = changeset->header.role,
            .kind = part->kind,
            .fields = part->fields,
            .field_count = part->field_count,
            .exceptions = part->exceptions,
            .exception_count = part->exception_count,
            .arrival = index + 1};
        if (part->table >= 1 && part->table <= ROW_TABLES)
            merge(&rows[part->table - 1], &write);
    }
}
