/* Owns the index of keys: which rows were ever written with which key, and from there which rows
 * may be one. Nothing is ever taken out of it: what links rows is cluster.h's to say, this only has
 * to miss none. */
#include "merge_internal.h"

#include <satchel/operation.h>

/* Rows that may be one: beyond that, a key says nothing any more. */
#define MERGE_CLUSTER_ROWS_MAX 100

struct merge_key_rows {
    struct merge_row **rows;
    size_t count, capacity;
};

/* ---- keys of a row ---- */

static bool has_key(const struct merge_row *row, uint32_t column, struct satchel_span match)
{
    for (uint32_t i = 0; i < row->key_count; i++)
        if (row->keys[i].column == column && satchel_span_equal(row->keys[i].match, match))
            return true;
    return false;
}

/* The (table, column, match) of a key as a name, in the run's scratch. */
static enum satchel_status key_name(struct merge_run *run, uint32_t table,
                                    const struct merge_key *key, struct satchel_span *out)
{
    uint32_t head[2] = {table, key->column};
    satchel_buffer_clear(&run->scratch);
    enum satchel_status status = satchel_buffer_append(&run->scratch, head, sizeof head);
    if (status == SATCHEL_OK)
        status = satchel_buffer_append(&run->scratch, key->match.data, key->match.size);
    *out = satchel_buffer_span(&run->scratch);
    return status;
}

/* The rows of this run known to have a key; made when first asked for. */
static enum satchel_status rows_of(struct merge_run *run, uint32_t table,
                                   const struct merge_key *key, struct merge_key_rows **out)
{
    struct satchel_span name;
    enum satchel_status status = key_name(run, table, key, &name);
    if (status != SATCHEL_OK)
        return status;
    *out = satchel_map_get(&run->rows_by_key, name);
    if (*out)
        return SATCHEL_OK;
    *out = satchel_arena_alloc_zero(&run->arena, sizeof **out);
    return *out ? satchel_map_put(&run->rows_by_key, name, *out) : SATCHEL_NOMEM;
}

static enum satchel_status add_key(struct merge_run *run, struct merge_row *row, uint32_t column,
                                   struct satchel_span match, bool is_new)
{
    struct merge_key_rows *same;
    size_t capacity = row->key_capacity;
    if (has_key(row, column, match))
        return SATCHEL_OK;
    struct merge_key key = {column, satchel_arena_copy(&run->arena, match)};
    if (!key.match.data ||
        MERGE_GROW(&run->arena, row->keys, row->key_count, capacity) != SATCHEL_OK)
        return SATCHEL_NOMEM;
    row->key_capacity = (uint32_t)capacity;
    row->keys[row->key_count++] = key;
    enum satchel_status status = rows_of(run, row->stored.table->number, &key, &same);
    if (status == SATCHEL_OK)
        status = MERGE_GROW(&run->arena, same->rows, same->count, same->capacity);
    if (status != SATCHEL_OK)
        return status;
    same->rows[same->count++] = row;
    if (!is_new)
        return SATCHEL_OK;
    status = MERGE_GROW(&run->arena, run->new_keys, run->new_key_count, run->new_key_capacity);
    if (status == SATCHEL_OK)
        run->new_keys[run->new_key_count++] = (struct satchel_store_key){
            row->stored.table->number, column, key.match, row->stored.name};
    return status;
}

static enum satchel_status load_keys(struct merge_run *run, struct merge_row *row)
{
    struct satchel_store_key *keys;
    size_t count = 0;
    if (row->has_keys)
        return SATCHEL_OK;
    row->has_keys = true;
    if (!row->is_known) /* nobody has written it */
        return SATCHEL_OK;
    enum satchel_status status = run->store->ops->keys_of_row(
        run->store, row->stored.name, &run->arena, &keys, &count, run->batch->error);
    for (size_t i = 0; status == SATCHEL_OK && i < count; i++)
        status = add_key(run, row, keys[i].column, keys[i].match, false);
    return status;
}

/* The text of a key that sets its row apart matches as the key itself. */
static enum satchel_status take_key(struct merge_run *run, struct merge_row *row,
                                    const struct satchel_field *field)
{
    struct satchel_value value = field->value;
    struct satchel_buffer match;
    if (value.type == SATCHEL_BLOB)
        value = satchel_value_text(value.bytes);
    satchel_buffer_init(&match, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status = satchel_key_match(&value, &match);
    if (status == SATCHEL_OK && satchel_buffer_span(&match).size > 0)
        status = add_key(run, row, field->column, satchel_buffer_span(&match), true);
    satchel_buffer_deinit(&match);
    return status;
}

static enum satchel_status take_part(struct merge_run *run, struct merge_row *row,
                                     const struct satchel_part *part)
{
    const struct satchel_table *table = row->stored.table;
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; status == SATCHEL_OK && i < part->field_count; i++)
        if (table->rules.columns[part->fields[i].column].rule == SATCHEL_RULE_KEY)
            status = take_key(run, row, &part->fields[i]);
    return status;
}

static void leave(struct merge_key_rows *same, const struct merge_row *row)
{
    size_t kept = 0;
    for (size_t i = 0; i < same->count; i++)
        if (same->rows[i] != row)
            same->rows[kept++] = same->rows[i];
    same->count = kept;
}

enum satchel_status merge_keys_take_back(struct merge_run *run, struct merge_row *row,
                                         const struct merge_keys_mark *mark)
{
    enum satchel_status status = SATCHEL_OK;
    while (status == SATCHEL_OK && row->key_count > mark->key_count) {
        struct merge_key_rows *same;
        status = rows_of(run, row->stored.table->number, &row->keys[--row->key_count], &same);
        if (status == SATCHEL_OK)
            leave(same, row);
    }
    run->new_key_count = mark->new_key_count;
    return status;
}

/* ---- who meets ---- */

struct meeting {
    struct merge_run *run;
    struct merge_row **rows;
    size_t count, capacity;
};

static enum satchel_status invite(struct meeting *meeting, struct merge_row *row)
{
    struct merge_run *run = meeting->run;
    if (row->met_in == run->search_number)
        return SATCHEL_OK;
    if (meeting->count == MERGE_CLUSTER_ROWS_MAX)
        return SATCHEL_LIMIT;
    row->met_in = run->search_number;
    enum satchel_status status =
        MERGE_GROW(&run->arena, meeting->rows, meeting->count, meeting->capacity);
    if (status == SATCHEL_OK)
        meeting->rows[meeting->count++] = row;
    return status;
}

/* Everybody with the key: in the store, and of this run. */
static enum satchel_status invite_all(struct meeting *meeting, uint32_t table,
                                      const struct merge_key *key)
{
    struct merge_run *run = meeting->run;
    struct satchel_span *names;
    struct merge_key_rows *same;
    size_t count = 0;
    enum satchel_status status = run->store->ops->rows_of_key(
        run->store, table, key->column, key->match, MERGE_CLUSTER_ROWS_MAX + 1, &run->arena, &names,
        &count, run->batch->error);
    for (size_t i = 0; status == SATCHEL_OK && i < count; i++) {
        struct merge_row *row;
        status = merge_row_get_named(run, names[i], &row);
        if (status == SATCHEL_OK)
            status = invite(meeting, row);
    }
    if (status == SATCHEL_OK)
        status = rows_of(run, table, key, &same);
    for (size_t i = 0; status == SATCHEL_OK && i < same->count; i++)
        status = invite(meeting, same->rows[i]);
    return status;
}

enum satchel_status merge_keys_meet(struct merge_run *run, struct merge_row *row,
                                    const struct satchel_part *part, struct merge_keys_mark *mark,
                                    struct merge_row ***out, uint32_t *out_count)
{
    struct meeting meeting = {.run = run};
    run->search_number++;
    enum satchel_status status = load_keys(run, row);
    *mark = (struct merge_keys_mark){row->key_count, run->new_key_count};
    if (status == SATCHEL_OK && part)
        status = take_part(run, row, part);
    if (status == SATCHEL_OK)
        status = invite(&meeting, row);
    for (size_t i = 0; status == SATCHEL_OK && i < meeting.count; i++) {
        struct merge_row *guest = meeting.rows[i];
        status = load_keys(run, guest);
        for (uint32_t k = 0; status == SATCHEL_OK && k < guest->key_count; k++)
            status = invite_all(&meeting, guest->stored.table->number, &guest->keys[k]);
    }
    *out = meeting.rows;
    *out_count = (uint32_t)meeting.count;
    return status;
}
