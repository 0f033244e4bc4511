/* Owns the operations of the running transaction in memory: taking them in, chaining those of one
 * row, cutting them back at a rollback, counting what they may come to on the wire. Which writes
 * the rules refuse is capture_rules.c's; nothing here reads the database but the size of
 * a row's views. */
#include "capture.h"

#include <satchel/map.h>

#include <stdio.h>

enum {
    OPS_BEGIN = 8, /* offset 0 means none */
    SLOTS_MIN = 64,
    SLOTS_KEPT = 4096,    /* from one transaction to the next, at most */
    SLOTS_PER_ROW = 32,   /* of a transaction that keeps them */
    VALUE_BYTES_MAX = 9,  /* of a number, with its type */
    PART_WIRE_BYTES = 32, /* of a part without key, columns, values and exceptions, at most */
    VIEW_WIRE_BYTES = 16, /* of an exception without its positions, at most */
    POSITION_WIRE_BYTES = 27,
    ESCAPE_BYTES = 6 /* of one byte in JSON, at most */
};
static const uint32_t GRAVE = UINT32_MAX;

/* ---- values in the buffer ---- */

static size_t stored_bytes(const struct satchel_value *value)
{
    switch (value->type) {
    case SATCHEL_NULL: return 1;
    case SATCHEL_INTEGER:
    case SATCHEL_REAL: return VALUE_BYTES_MAX;
    default: return 5 + value->bytes.size;
    }
}

/* With a column number, as MessagePack, at most. */
static uint64_t wire_bytes(const struct satchel_value *value)
{
    return stored_bytes(value) + 3;
}

static uint8_t *store(uint8_t *at, const struct satchel_value *value)
{
    *at++ = (uint8_t)value->type;
    switch (value->type) {
    case SATCHEL_NULL: return at;
    case SATCHEL_INTEGER:
    case SATCHEL_REAL: memcpy(at, &value->integer, 8); return at + 8;
    default: {
        uint32_t size = (uint32_t)value->bytes.size;
        memcpy(at, &size, 4);
        if (size)
            memcpy(at + 4, value->bytes.data, size);
        return at + 4 + size;
    }
    }
}

uint32_t satchel_capture_read_column(const uint8_t **position)
{
    uint16_t column;
    memcpy(&column, *position, 2);
    *position += 2;
    return column;
}

struct satchel_value satchel_capture_read_value(const uint8_t **position)
{
    struct satchel_value value = {(enum satchel_value_type)(*position)[0], {0}};
    const uint8_t *at = *position + 1;
    uint32_t size;
    switch (value.type) {
    case SATCHEL_NULL: break;
    case SATCHEL_INTEGER:
    case SATCHEL_REAL:
        memcpy(&value.integer, at, 8);
        at += 8;
        break;
    default:
        memcpy(&size, at, 4);
        value.bytes = satchel_span_of(at + 4, size);
        at += 4 + size;
    }
    *position = at;
    return value;
}

/* ---- rows by key ---- */

static const uint8_t *key_of(const struct satchel_capture_op *op)
{
    return (const uint8_t *)(op + 1);
}

/* The slot of the row `op` is about, or the one to put it in. */
static uint32_t *find_slot(struct satchel_capture *capture, const struct satchel_capture_op *op)
{
    uint32_t mask = capture->slot_count - 1;
    uint32_t index = (uint32_t)(op->hash >> 20) & mask;
    uint32_t *grave = NULL;
    for (;; index = (index + 1) & mask) {
        uint32_t *slot = &capture->slots[index];
        if (*slot == 0)
            return grave ? grave : slot;
        if (*slot == GRAVE) {
            grave = grave ? grave : slot;
            continue;
        }
        const struct satchel_capture_op *first = satchel_capture_op_at(capture, *slot);
        if (first->hash == op->hash && first->table == op->table &&
            first->key_bytes == op->key_bytes &&
            memcmp(key_of(first), key_of(op), op->key_bytes) == 0)
            return slot;
    }
}

static enum satchel_status grow_slots(struct satchel_capture *capture)
{
    if (capture->slots_used + 1 <= capture->slot_count / 4 * 3)
        return SATCHEL_OK;
    uint32_t count = SLOTS_MIN;
    while (count < 4 * (capture->row_count + 1))
        count *= 2;
    uint32_t *slots = satchel_alloc_zero(NULL, count * sizeof *slots);
    if (!slots)
        return SATCHEL_NOMEM;
    uint32_t *old = capture->slots;
    uint32_t old_count = capture->slot_count;
    capture->slots = slots;
    capture->slot_count = count;
    capture->slots_used = 0;
    for (uint32_t i = 0; i < old_count; i++) {
        if (old[i] == 0 || old[i] == GRAVE)
            continue;
        *find_slot(capture, satchel_capture_op_at(capture, old[i])) = old[i];
        capture->slots_used++;
    }
    satchel_free(NULL, old);
    return SATCHEL_OK;
}

/* ---- cutting back ---- */

void satchel_capture_mark_get(const struct satchel_capture *capture,
                              struct satchel_capture_mark *mark)
{
    mark->size = capture->ops.size ? (uint32_t)capture->ops.size : OPS_BEGIN;
    mark->tail = capture->tail;
    mark->op_count = capture->op_count;
    mark->row_count = capture->row_count;
    mark->wire_bytes = capture->wire_bytes;
}

static void forget_op(struct satchel_capture *capture, uint32_t offset)
{
    const struct satchel_capture_op *op = satchel_capture_op_at(capture, offset);
    if (op->first == offset) {
        *find_slot(capture, op) = GRAVE;
        return;
    }
    satchel_capture_op_at(capture, op->last)->next = 0;
    satchel_capture_op_at(capture, op->first)->last = op->last;
}

void satchel_capture_truncate(struct satchel_capture *capture,
                              const struct satchel_capture_mark *mark)
{
    if (mark->op_count == 0) {
        /* Small transactions do not pay for a large one. */
        bool is_large = capture->slot_count > SLOTS_KEPT ||
                        capture->slot_count > SLOTS_MIN + SLOTS_PER_ROW * capture->row_count;
        if (is_large) {
            satchel_free(NULL, capture->slots);
            capture->slots = NULL;
            capture->slot_count = 0;
        } else if (capture->slots_used > 0) {
            memset(capture->slots, 0, capture->slot_count * sizeof *capture->slots);
        }
        capture->slots_used = 0;
        if (capture->ops.capacity > 4u << 20)
            satchel_buffer_deinit(&capture->ops);
    } else {
        for (uint32_t offset = capture->tail; offset >= mark->size;
             offset = satchel_capture_op_at(capture, offset)->before)
            forget_op(capture, offset);
    }
    if (capture->ops.size > mark->size)
        capture->ops.size = mark->size;
    capture->tail = mark->tail;
    capture->op_count = mark->op_count;
    capture->row_count = mark->row_count;
    capture->wire_bytes = mark->wire_bytes;
}

/* ---- appending ---- */

struct draft {
    const struct satchel_capture_table *table;
    enum satchel_op_kind kind;
    /* of all columns; an insert has no old ones, a delete no new ones */
    const struct satchel_value *old_values, *new_values;
    const bool *is_changed; /* update: the columns to keep */
};

static const struct satchel_value *key_values(const struct draft *draft)
{
    return draft->kind == SATCHEL_OP_DELETE ? draft->old_values : draft->new_values;
}

static size_t draft_bytes(const struct draft *draft)
{
    const struct satchel_table *table = draft->table->table;
    size_t size = sizeof(struct satchel_capture_op);
    for (uint32_t i = 0; i < table->column_count; i++) {
        if (draft->kind != SATCHEL_OP_UPDATE)
            size += stored_bytes(&key_values(draft)[i]);
        else if (table->rules.columns[i].in_key)
            size += stored_bytes(&draft->new_values[i]);
        else if (draft->is_changed[i])
            size += 2 + stored_bytes(&draft->old_values[i]) + stored_bytes(&draft->new_values[i]);
    }
    return (size + 7) & ~(size_t)7;
}

static void write_draft(const struct draft *draft, struct satchel_capture_op *op)
{
    const struct satchel_table *table = draft->table->table;
    const struct satchel_value *values = key_values(draft);
    uint8_t *at = (uint8_t *)(op + 1);
    for (uint32_t i = 0; i < table->key_count; i++)
        at = store(at, &values[table->key_columns[i]]);
    op->key_bytes = (uint32_t)(at - key_of(op));
    op->value_count = 0;
    for (uint32_t i = 0; i < table->column_count; i++) {
        if (table->rules.columns[i].in_key)
            continue;
        if (draft->kind != SATCHEL_OP_UPDATE) {
            at = store(at, &values[i]);
        } else if (draft->is_changed[i]) {
            uint16_t column = (uint16_t)i;
            memcpy(at, &column, 2);
            at = store(at + 2, &draft->old_values[i]);
            at = store(at, &draft->new_values[i]);
        } else {
            continue;
        }
        op->value_count++;
    }
    op->table = table->number;
    op->kind = (uint8_t)draft->kind;
    op->hash = satchel_hash(table->number, satchel_span_of(key_of(op), op->key_bytes));
}

static enum satchel_status over_limit(struct satchel_capture *capture, const char *what)
{
    return satchel_error_set(
        &capture->error, SATCHEL_LIMIT,
        "the transaction is over the limit of %s; write less in one transaction", what);
}

static enum satchel_status over_changeset_limit(struct satchel_capture *capture)
{
    char what[32];
    snprintf(what, sizeof what, "%u MiB", SATCHEL_CHANGESET_BYTES_MAX >> 20);
    return over_limit(capture, what);
}

/* Of an update's field, as operation.h has it: a set or map says at most all that was and all that
 * is; of a state's names every byte may be escaped. */
static uint64_t operation_wire_bytes(const struct satchel_column_rules *rules,
                                     const struct satchel_value *old_value,
                                     const struct satchel_value *new_value)
{
    switch (rules->rule) {
    case SATCHEL_RULE_SET:
    case SATCHEL_RULE_MAP: return wire_bytes(old_value) + wire_bytes(new_value);
    case SATCHEL_RULE_STATE: return ESCAPE_BYTES * (wire_bytes(old_value) + wire_bytes(new_value));
    default: return wire_bytes(new_value);
    }
}

/* What the operation may add to the change set. Over-counted where the transaction writes a row
 * several times, never under-counted. */
static uint64_t draft_wire_bytes(const struct draft *draft, bool is_first)
{
    const struct satchel_table *table = draft->table->table;
    uint64_t bytes = is_first ? PART_WIRE_BYTES : 0;
    for (uint32_t i = 0; i < table->column_count; i++) {
        const struct satchel_column_rules *rules = &table->rules.columns[i];
        if (rules->in_key)
            bytes += is_first ? wire_bytes(&key_values(draft)[i]) : 0;
        else if (draft->kind == SATCHEL_OP_UPDATE)
            bytes += draft->is_changed[i]
                         ? operation_wire_bytes(rules, &draft->old_values[i], &draft->new_values[i])
                         : 0;
        else if (draft->kind == SATCHEL_OP_INSERT &&
                 !(is_first && !draft->table->has_units && !rules->default_varies &&
                   satchel_value_equal(&draft->new_values[i], &rules->default_value)))
            bytes += wire_bytes(&draft->new_values[i]);
    }
    return bytes;
}

/* What the exceptions that the row's views may bring along come to. */
static enum satchel_status view_bytes(struct satchel_capture *capture,
                                      const struct satchel_capture_op *op, uint64_t *bytes)
{
    const struct satchel_table *table = capture->tables[op->table].table;
    struct satchel_value key[SATCHEL_KEY_COLUMNS_MAX];
    struct satchel_exception *views;
    uint32_t count;
    const uint8_t *position = key_of(op);
    for (uint32_t i = 0; i < table->key_count; i++)
        key[i] = satchel_capture_read_value(&position);
    satchel_arena_reset(&capture->arena);
    enum satchel_status status = satchel_capture_views(capture, table, key, &views, &count);
    for (uint32_t i = 0; status == SATCHEL_OK && i < count; i++)
        *bytes += VIEW_WIRE_BYTES + views[i].view.vector.count * POSITION_WIRE_BYTES;
    if (table->has_masks)
        *bytes += (uint64_t)table->column_count * VIEW_WIRE_BYTES;
    return status;
}

static enum satchel_status append(struct satchel_capture *capture, const struct draft *draft)
{
    size_t size = draft_bytes(draft);
    size_t begin = capture->ops.size ? capture->ops.size : OPS_BEGIN;
    if (size > SATCHEL_CAPTURE_BYTES_MAX / 2)
        return over_limit(capture, "128 MiB for one row");
    capture->ops.size = begin <= capture->ops.capacity ? begin : 0;
    enum satchel_status status =
        satchel_buffer_reserve(&capture->ops, begin - capture->ops.size + size);
    if (status == SATCHEL_LIMIT)
        return over_limit(capture, "256 MiB of old and new values");
    if (status == SATCHEL_OK)
        status = grow_slots(capture);
    if (status != SATCHEL_OK)
        return status;

    uint32_t offset = (uint32_t)begin;
    struct satchel_capture_op *op = satchel_capture_op_at(capture, offset);
    memset(op, 0, sizeof *op);
    write_draft(draft, op);
    uint32_t *slot = find_slot(capture, op);
    bool is_first = *slot == 0 || *slot == GRAVE;
    uint64_t bytes = draft_wire_bytes(draft, is_first);
    if (is_first && capture->row_count >= SATCHEL_CHANGESET_PARTS_MAX)
        return over_limit(capture, "100000 rows");
    if (is_first && satchel_capture_has_views(capture, draft->table->table))
        status = view_bytes(capture, op, &bytes);
    if (status == SATCHEL_OK &&
        capture->state.header_bytes + capture->wire_bytes + bytes > SATCHEL_CHANGESET_BYTES_MAX)
        status = over_changeset_limit(capture);
    if (status != SATCHEL_OK)
        return status;

    op->size = (uint32_t)size;
    op->before = capture->tail;
    if (is_first) {
        capture->slots_used += *slot == 0;
        *slot = op->first = op->last = offset;
        capture->row_count++;
    } else {
        struct satchel_capture_op *first = satchel_capture_op_at(capture, *slot);
        satchel_capture_op_at(capture, first->last)->next = offset;
        op->first = *slot;
        op->last = first->last;
        first->last = offset;
    }
    capture->ops.size = begin + size;
    capture->tail = offset;
    capture->op_count++;
    capture->wire_bytes += bytes;
    return SATCHEL_OK;
}

uint32_t satchel_capture_find(struct satchel_capture *capture,
                              const struct satchel_capture_table *table,
                              const struct satchel_value *values)
{
    if (capture->row_count == 0)
        return 0;
    const struct draft draft = {table, SATCHEL_OP_UPDATE, values, values, capture->nothing_changed};
    size_t size = draft_bytes(&draft);
    satchel_buffer_clear(&capture->name);
    if (satchel_buffer_reserve(&capture->name, size) != SATCHEL_OK)
        return 0;
    struct satchel_capture_op *op = (struct satchel_capture_op *)(void *)capture->name.data;
    write_draft(&draft, op);
    uint32_t slot = *find_slot(capture, op);
    return slot == GRAVE ? 0 : slot;
}

/* ---- what a trigger passed ---- */

static bool key_is_equal(const struct satchel_table *table, const struct satchel_value *a,
                         const struct satchel_value *b)
{
    for (uint32_t i = 0; i < table->key_count; i++) {
        uint32_t column = table->key_columns[i];
        if (!satchel_value_equal(&a[column], &b[column]))
            return false;
    }
    return true;
}

/* Rowid tables take NULL in a primary key; a row without a key has no name anywhere else. */
static enum satchel_status check_key(struct satchel_capture *capture,
                                     const struct satchel_table *table,
                                     const struct satchel_value *values)
{
    for (uint32_t i = 0; i < table->key_count; i++) {
        uint32_t column = table->key_columns[i];
        if (values[column].type == SATCHEL_NULL)
            return satchel_error_set(&capture->error, SATCHEL_REFUSED,
                                     "table %s, column %s: @id: NULL is no key", table->name,
                                     table->columns[column].name);
    }
    return SATCHEL_OK;
}

static enum satchel_status take_insert(struct satchel_capture *capture,
                                       const struct satchel_capture_table *table,
                                       const struct satchel_value *new_values)
{
    const struct draft draft = {table, SATCHEL_OP_INSERT, NULL, new_values, NULL};
    enum satchel_status status = check_key(capture, table->table, new_values);
    if (status == SATCHEL_OK)
        status = satchel_capture_check_insert(capture, table, new_values);
    return status == SATCHEL_OK ? append(capture, &draft) : status;
}

static enum satchel_status take_delete(struct satchel_capture *capture,
                                       const struct satchel_capture_table *table,
                                       const struct satchel_value *old_values, bool is_key_update)
{
    const struct draft draft = {table, SATCHEL_OP_DELETE, old_values, NULL, NULL};
    enum satchel_status status =
        satchel_capture_check_delete(capture, table, old_values, is_key_update);
    return status == SATCHEL_OK ? append(capture, &draft) : status;
}

static enum satchel_status take_update(struct satchel_capture *capture,
                                       const struct satchel_capture_table *table,
                                       const struct satchel_value *old_values,
                                       const struct satchel_value *new_values)
{
    bool *is_changed = capture->is_changed;
    uint32_t change_count = 0;
    if (!key_is_equal(table->table, old_values, new_values)) {
        enum satchel_status status = take_delete(capture, table, old_values, true);
        return status == SATCHEL_OK ? take_insert(capture, table, new_values) : status;
    }
    for (uint32_t i = 0; i < table->table->column_count; i++) {
        is_changed[i] = !satchel_value_equal(&old_values[i], &new_values[i]);
        change_count += is_changed[i];
    }
    if (change_count == 0)
        return SATCHEL_OK;
    enum satchel_status status =
        satchel_capture_check_update(capture, table, old_values, new_values, is_changed);
    if (status != SATCHEL_OK)
        return status;
    if (table->has_units)
        satchel_capture_gather_units(table->table, is_changed);
    const struct draft draft = {table, SATCHEL_OP_UPDATE, old_values, new_values, is_changed};
    return append(capture, &draft);
}

static void read_arguments(sqlite3_value **arguments, uint32_t count, struct satchel_value *values)
{
    for (uint32_t i = 0; i < count; i++)
        values[i] = satchel_value_of_argument(arguments[i]);
}

enum satchel_status satchel_capture_take(struct satchel_capture *capture,
                                         const struct satchel_capture_code *code,
                                         sqlite3_value **values)
{
    const struct satchel_capture_table *table =
        code->table <= capture->table_count ? &capture->tables[code->table] : NULL;
    if (!table || !table->table || table->table->column_count != code->column_count)
        return satchel_error_set(&capture->error, SATCHEL_SCHEMA,
                                 "a capture trigger does not fit the workspace's schema; close and "
                                 "open the replica");
    uint32_t count = code->column_count;
    struct satchel_capture_mark before;
    satchel_capture_mark_get(capture, &before);
    if (table->feeds_machines)
        satchel_capture_forget_machines(capture);
    if (code->kind != SATCHEL_OP_INSERT)
        read_arguments(values, count, capture->old_values);
    if (code->kind != SATCHEL_OP_DELETE)
        read_arguments(code->kind == SATCHEL_OP_UPDATE ? values + count : values, count,
                       capture->new_values);
    enum satchel_status status = SATCHEL_OK;
    switch (code->kind) {
    case SATCHEL_OP_INSERT: status = take_insert(capture, table, capture->new_values); break;
    case SATCHEL_OP_UPDATE:
        status = take_update(capture, table, capture->old_values, capture->new_values);
        break;
    case SATCHEL_OP_DELETE: status = take_delete(capture, table, capture->old_values, false); break;
    }
    /* A key update may have got half-way. Where the disk or memory failed a SELECT of the rules',
     * SQLite has rolled back all of the transaction, and nothing is left. */
    if (status != SATCHEL_OK && capture->op_count > before.op_count)
        satchel_capture_truncate(capture, &before);
    return status;
}
