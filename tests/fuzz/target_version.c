/* The stored version of a row: one that can be read is written to bytes that stay the same from
 * then on, its conflicts can be listed, and writes can be merged into it. */
#include "fuzz.h"

#include <satchel/row.h>
#include <satchel/schema.h>

enum { COLUMNS = 32 };

struct row {
    struct satchel_arena arena;
    struct satchel_value values[COLUMNS];
    struct satchel_row_context context;
    struct satchel_row row;
    const struct satchel_table_rules *rules;
};

static void require_stable(struct row *row)
{
    struct satchel_buffer first, second;
    struct satchel_version *again;
    satchel_buffer_init(&first, SIZE_MAX / 2, NULL);
    satchel_buffer_init(&second, SIZE_MAX / 2, NULL);
    FUZZ_REQUIRE(satchel_version_encode(row->row.version, &fuzz_ids, &first) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_version_decode(&row->arena, satchel_buffer_span(&first), &fuzz_ids,
                                        &again) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_version_encode(again, &fuzz_ids, &second) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_span_equal(satchel_buffer_span(&first), satchel_buffer_span(&second)));
    satchel_buffer_deinit(&first);
    satchel_buffer_deinit(&second);
}

static void require_conflicts(struct row *row)
{
    struct satchel_conflict_list list;
    FUZZ_REQUIRE(satchel_row_conflicts(row->rules, &row->row, &row->arena, &list) == SATCHEL_OK);
}

static void merge(struct row *row, enum satchel_op_kind kind, uint32_t column, uint64_t number)
{
    struct satchel_merge_result result;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    const struct satchel_position position = {fuzz_id(2), number};
    const struct satchel_position seen = {fuzz_id(1), number};
    const struct satchel_field field = {column, satchel_value_text(satchel_span_text("sent"))};
    const struct satchel_write write = {
        .order = {UINT64_C(0x018f000000000000) + number, fuzz_id(3), number, 0},
        .positions = {&position, 1},
        .seen = {&seen, 1},
        .role = satchel_span_text("rep"),
        .kind = kind,
        .fields = &field,
        .field_count = kind != SATCHEL_OP_DELETE};
    enum satchel_status status =
        satchel_row_merge(row->rules, &row->row, &write, &row->arena, &result, &error);
    FUZZ_REQUIRE(status == SATCHEL_OK || status == SATCHEL_NEED_TIMELINE ||
                 status == SATCHEL_REFUSED);
    if (status == SATCHEL_OK) {
        require_conflicts(row);
        require_stable(row);
    }
}

static void use(struct row *row)
{
    struct satchel_version *version = row->row.version;
    struct satchel_value values[COLUMNS];
    memcpy(values, row->values, sizeof values);
    require_conflicts(row);
    for (uint32_t column = 1; column < row->rules->column_count; column++) {
        row->row.version = version;
        memcpy(row->values, values, sizeof values);
        merge(row, SATCHEL_OP_UPDATE, column, column);
    }
    merge(row, SATCHEL_OP_DELETE, 0, 100);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct row row = {.rules = &fuzz_schema()->tables[0].rules};
    FUZZ_REQUIRE(row.rules->column_count <= COLUMNS);
    satchel_arena_init(&row.arena, SIZE_MAX / 2, NULL);
    fuzz_ids_forget();
    row.context = (struct satchel_row_context){.machines = &fuzz_machine, .machine_count = 1};
    row.row = (struct satchel_row){
        .exists = size % 2 == 0, .values = row.values, .context = &row.context};
    enum satchel_status status = satchel_version_decode(&row.arena, satchel_span_of(data, size),
                                                        &fuzz_ids, &row.row.version);
    FUZZ_REQUIRE(status == SATCHEL_OK || status == SATCHEL_CORRUPT);
    if (status == SATCHEL_OK) {
        require_stable(&row);
        use(&row);
        fuzz_accepted_count++;
    }
    satchel_arena_deinit(&row.arena);
    return 0;
}
