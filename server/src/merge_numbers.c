/* Owns document numbers: which rows lack one, and the change sets by which the server gives them.
 *
 * A series is gap-free per branch, and per year if its format shows the year: numbers are taken in
 * the transaction that writes them, in the order in which the rows arrived. A number is never taken
 * again, also if its row is deleted. */
#define _POSIX_C_SOURCE 200809L
#include "merge_internal.h"
#include "own_changes.h"

#include <satchel/batch.h>

#include <time.h>

/* Of a change set of numbers. */
#define NUMBERS_PARTS_MAX 10000
#define NUMBER_BYTES_MAX 1024

/* ---- rows that lack one ---- */

static bool lacks_number(const struct merge_row *row)
{
    const struct satchel_table *table = row->stored.table;
    for (uint32_t i = 0; row->row.exists && i < table->column_count; i++)
        if (table->columns[i].rule == SATCHEL_RULE_SERVER &&
            row->row.values[i].type == SATCHEL_NULL)
            return true;
    return false;
}

static enum satchel_status copy_row(struct satchel_arena *arena,
                                    const struct satchel_store_row *row,
                                    struct satchel_store_row *out)
{
    uint32_t key_count = row->table->key_count;
    struct satchel_value *key = SATCHEL_ARENA_ARRAY(arena, struct satchel_value, key_count);
    memset(out, 0, sizeof *out);
    out->table = row->table;
    out->key = key;
    out->name = satchel_arena_copy(arena, row->name);
    if (!key || !out->name.data)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < key_count; i++)
        if (satchel_value_copy(arena, &row->key[i], &key[i]) != SATCHEL_OK)
            return SATCHEL_NOMEM;
    return SATCHEL_OK;
}

enum satchel_status merge_unnumbered_add(struct merge_unnumbered *unnumbered,
                                         const struct merge_row *row)
{
    if (!lacks_number(row) || satchel_map_get(&unnumbered->by_name, row->stored.name))
        return SATCHEL_OK;
    if (unnumbered->count == unnumbered->capacity) {
        size_t capacity = unnumbered->capacity ? unnumbered->capacity * 2 : 64;
        struct satchel_store_row *rows =
            SATCHEL_ARENA_ARRAY(unnumbered->arena, struct satchel_store_row, capacity);
        if (!rows)
            return SATCHEL_NOMEM;
        if (unnumbered->count > 0)
            memcpy(rows, unnumbered->rows, unnumbered->count * sizeof *rows);
        unnumbered->rows = rows;
        unnumbered->capacity = capacity;
    }
    struct satchel_store_row *added = &unnumbered->rows[unnumbered->count];
    enum satchel_status status = copy_row(unnumbered->arena, &row->stored, added);
    if (status == SATCHEL_OK)
        status = satchel_map_put(&unnumbered->by_name, added->name, unnumbered);
    unnumbered->count += status == SATCHEL_OK;
    return status;
}

/* ---- giving them ---- */

struct numbering {
    struct satchel_store *store;
    struct satchel_arena arena;
    struct satchel_store_numbering data;
    int year;
    int64_t now_ms;
    struct satchel_store_row *rows; /* as they are now */
    size_t row_count;
    struct satchel_part *parts;
    uint32_t part_count;
    struct satchel_error *error;
};

static int year_of(int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    return gmtime_r(&seconds, &utc) ? utc.tm_year + 1900 : 1970;
}

static bool shows_year(struct satchel_span format)
{
    static const char field[] = "{year}";
    for (size_t i = 0; i + sizeof field - 1 <= format.size; i++) {
        if (format.data[i] == '{' && i + 1 < format.size && format.data[i + 1] == '{')
            i++; /* a brace itself */
        else if (memcmp(format.data + i, field, sizeof field - 1) == 0)
            return true;
    }
    return false;
}

static enum satchel_status flush(struct numbering *numbering)
{
    struct satchel_own_changeset changes = {.parts = numbering->parts,
                                            .part_count = numbering->part_count,
                                            .role = satchel_span_text(SATCHEL_OWN_ROLE)};
    struct satchel_incoming incoming;
    struct satchel_incoming_outcome outcome;
    if (numbering->part_count == 0)
        return SATCHEL_OK;
    enum satchel_status status =
        satchel_own_incoming(numbering->store, &changes, numbering->now_ms, &numbering->arena,
                             &incoming, numbering->error);
    if (status == SATCHEL_OK)
        status = merge_batch_run(numbering->store, &incoming, 1, numbering->now_ms, &outcome, NULL,
                                 numbering->error);
    if (status == SATCHEL_OK && outcome.result != SATCHEL_INCOMING_MERGED)
        status = satchel_error_set(numbering->error, SATCHEL_STATE,
                                   "the server's numbers were refused: %s", outcome.error.message);
    numbering->part_count = 0;
    return status;
}

static enum satchel_status number_row(struct numbering *numbering,
                                      const struct satchel_number_series *series,
                                      const struct satchel_store_row *row, uint64_t number)
{
    struct satchel_part *part = &numbering->parts[numbering->part_count];
    struct satchel_field *field = SATCHEL_ARENA_ARRAY(&numbering->arena, struct satchel_field, 1);
    struct satchel_buffer text;
    if (!field)
        return SATCHEL_NOMEM;
    satchel_buffer_init(&text, NUMBER_BYTES_MAX, NULL);
    enum satchel_status status = satchel_number_format(
        series->format, numbering->data.branch, numbering->year, number, &text, numbering->error);
    if (status == SATCHEL_OK) {
        struct satchel_span copy =
            satchel_arena_copy(&numbering->arena, satchel_buffer_span(&text));
        status = copy.data ? SATCHEL_OK : SATCHEL_NOMEM;
        *field = (struct satchel_field){series->column, satchel_value_text(copy)};
        *part = (struct satchel_part){.kind = SATCHEL_OP_UPDATE,
                                      .table = series->table,
                                      .key = row->key,
                                      .key_count = row->table->key_count,
                                      .fields = field,
                                      .field_count = 1};
        numbering->part_count++;
    }
    satchel_buffer_deinit(&text);
    return status;
}

static bool wants(const struct satchel_number_series *series, const struct satchel_store_row *row)
{
    return row->table->number == series->table && row->exists &&
           row->values[series->column].type == SATCHEL_NULL;
}

/* A format that no number can be written with gives none: the rows stay as they are, and the next
 * ones that lack a number try again. */
static enum satchel_status check_format(struct numbering *numbering,
                                        const struct satchel_number_series *series, bool *is_good)
{
    struct satchel_buffer text;
    satchel_buffer_init(&text, NUMBER_BYTES_MAX, NULL);
    enum satchel_status status = satchel_number_format(series->format, numbering->data.branch,
                                                       numbering->year, UINT64_MAX, &text, NULL);
    satchel_buffer_deinit(&text);
    *is_good = status == SATCHEL_OK;
    return status == SATCHEL_NOMEM ? status : SATCHEL_OK;
}

static enum satchel_status number_series(struct numbering *numbering,
                                         const struct satchel_number_series *series)
{
    uint64_t count = 0, number = 0;
    bool is_good = false;
    for (size_t i = 0; i < numbering->row_count; i++)
        count += wants(series, &numbering->rows[i]);
    if (count == 0)
        return SATCHEL_OK;
    enum satchel_status status = check_format(numbering, series, &is_good);
    if (status != SATCHEL_OK || !is_good)
        return status;
    status = numbering->store->ops->take_numbers(
        numbering->store, series->series, numbering->data.branch,
        shows_year(series->format) ? numbering->year : 0, count, &number, numbering->error);
    for (size_t i = 0; status == SATCHEL_OK && i < numbering->row_count; i++) {
        if (!wants(series, &numbering->rows[i]))
            continue;
        status = number_row(numbering, series, &numbering->rows[i], number++);
        if (status == SATCHEL_OK && numbering->part_count == SATCHEL_BATCH_ITEMS(NUMBERS_PARTS_MAX))
            status = flush(numbering);
    }
    return status == SATCHEL_OK ? flush(numbering) : status;
}

enum satchel_status merge_give_numbers(struct satchel_store *store,
                                       const struct merge_unnumbered *unnumbered, int64_t now_ms,
                                       struct satchel_error *error)
{
    struct numbering numbering = {.store = store,
                                  .now_ms = now_ms,
                                  .year = year_of(now_ms),
                                  .rows = unnumbered->rows,
                                  .row_count = unnumbered->count,
                                  .error = error};
    satchel_arena_init(&numbering.arena, MERGE_ARENA_BYTES_MAX, NULL);
    enum satchel_status status =
        store->ops->load_numbering(store, &numbering.data, &numbering.arena, error);
    if (status == SATCHEL_OK && numbering.data.series_count > 0)
        status = store->ops->load_rows(store, numbering.rows, numbering.row_count, &numbering.arena,
                                       error);
    numbering.parts = SATCHEL_ARENA_ARRAY(&numbering.arena, struct satchel_part, NUMBERS_PARTS_MAX);
    if (status == SATCHEL_OK && !numbering.parts)
        status = SATCHEL_NOMEM;
    for (uint32_t i = 0; status == SATCHEL_OK && i < numbering.data.series_count; i++)
        status = number_series(&numbering, &numbering.data.series[i]);
    satchel_arena_deinit(&numbering.arena);
    if (status != SATCHEL_OK)
        satchel_error_default(error, status, "document numbers could not be given");
    return status;
}
