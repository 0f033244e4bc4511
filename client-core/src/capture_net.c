/* Owns what several operations of one transaction on one row come to: one insert, update or delete,
 * or nothing.
 *
 * Operations need not arrive in the order they happened: a trigger of the application that fires
 * before ours and writes the same row has its writes captured before the one that caused them. But
 * each says what a column was and what it became, so together they are a path from the column's
 * value before the transaction to its value after; the end is in the table, and the start follows
 * from the ends of all steps without their order: sum(hash(old)) - sum(hash(new)) = hash(start) -
 * hash(end). */
#include "capture.h"

/* ---- reading operations ---- */

struct step {
    uint32_t column;
    bool has_old, has_new; /* an insert has no old value, a delete no new one */
    struct satchel_value old_value, new_value;
};

struct reader {
    const struct satchel_table *table;
    const struct satchel_capture_op *op;
    const uint8_t *position;
    uint32_t left, column;
};

/* `key` may be NULL. */
static struct reader read_op(const struct satchel_capture *capture, uint32_t offset,
                             struct satchel_value *key)
{
    const struct satchel_capture_op *op = satchel_capture_op_at(capture, offset);
    struct reader reader = {capture->tables[op->table].table, op, (const uint8_t *)(op + 1),
                            op->value_count, 0};
    if (!key) {
        reader.position += op->key_bytes;
        return reader;
    }
    for (uint32_t i = 0; i < reader.table->key_count; i++)
        key[i] = satchel_capture_read_value(&reader.position);
    return reader;
}

static bool next_step(struct reader *reader, struct step *step)
{
    if (reader->left == 0)
        return false;
    reader->left--;
    step->has_old = reader->op->kind != SATCHEL_OP_INSERT;
    step->has_new = reader->op->kind != SATCHEL_OP_DELETE;
    if (reader->op->kind == SATCHEL_OP_UPDATE) {
        step->column = satchel_capture_read_column(&reader->position);
    } else {
        while (reader->table->rules.columns[reader->column].in_key)
            reader->column++;
        step->column = reader->column++;
    }
    if (step->has_old)
        step->old_value = satchel_capture_read_value(&reader->position);
    if (step->has_new)
        step->new_value = satchel_capture_read_value(&reader->position);
    return true;
}

static uint32_t next_of(const struct satchel_capture *capture, uint32_t offset)
{
    return satchel_capture_op_at(capture, offset)->next;
}

bool satchel_capture_chain_start(const struct satchel_capture *capture, uint32_t first,
                                 uint32_t column, struct satchel_value *start)
{
    if (satchel_capture_op_at(capture, first)->kind == SATCHEL_OP_INSERT)
        return false;
    for (uint32_t offset = first; offset != 0; offset = next_of(capture, offset)) {
        struct reader reader = read_op(capture, offset, NULL);
        struct step step;
        while (next_step(&reader, &step)) {
            if (step.column == column && step.has_old) {
                *start = step.old_value;
                return true;
            }
        }
    }
    return false;
}

/* ---- one operation ---- */

static void net_of_one(struct satchel_capture *capture, uint32_t first,
                       struct satchel_capture_row *out)
{
    struct reader reader = read_op(capture, first, out->key);
    struct step step;
    out->existed = reader.op->kind != SATCHEL_OP_INSERT;
    out->exists = reader.op->kind != SATCHEL_OP_DELETE;
    memset(out->is_changed, 0, out->table->column_count * sizeof *out->is_changed);
    while (next_step(&reader, &step)) {
        out->is_changed[step.column] = true;
        if (step.has_old)
            out->old_values[step.column] = step.old_value;
        if (step.has_new)
            out->new_values[step.column] = step.new_value;
    }
}

/* ---- several ---- */

/* Never 0, which stands for a value that does not exist. */
static uint64_t hash_value(const struct satchel_value *value)
{
    uint64_t hash = 0xcbf29ce484222325u + (uint64_t)value->type;
    const uint8_t *bytes = (const uint8_t *)&value->integer;
    size_t size = 8;
    if (value->type == SATCHEL_NULL)
        size = 0;
    if (value->type == SATCHEL_TEXT || value->type == SATCHEL_BLOB) {
        bytes = value->bytes.data;
        size = value->bytes.size;
    }
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u; /* FNV-1a */
    hash = (hash ^ hash >> 32) * 0x9e3779b97f4a7c15u;
    return hash ? hash : 1;
}

/* Sums up the steps of each column; returns how many more inserts than deletes there are. */
static int64_t sum_steps(struct satchel_capture *capture, uint32_t first)
{
    int64_t born = 0;
    for (uint32_t offset = first; offset != 0; offset = next_of(capture, offset)) {
        struct reader reader = read_op(capture, offset, NULL);
        struct step step;
        born += reader.op->kind == SATCHEL_OP_INSERT;
        born -= reader.op->kind == SATCHEL_OP_DELETE;
        while (next_step(&reader, &step)) {
            capture->is_touched[step.column] = true;
            if (step.has_old)
                capture->start_hashes[step.column] += hash_value(&step.old_value);
            if (step.has_new)
                capture->start_hashes[step.column] -= hash_value(&step.new_value);
        }
    }
    return born;
}

/* The old value of every touched column: the one whose hash is the start's. Where none is (an
 * UPDATE in a BEFORE trigger of the same row is undefined behaviour in SQLite) the first that was
 * captured. */
static void find_starts(struct satchel_capture *capture, uint32_t first,
                        struct satchel_capture_row *row)
{
    for (uint32_t offset = first; offset != 0; offset = next_of(capture, offset)) {
        struct reader reader = read_op(capture, offset, NULL);
        struct step step;
        while (next_step(&reader, &step)) {
            uint32_t column = step.column;
            if (!step.has_old || capture->is_found[column])
                continue;
            bool is_start = hash_value(&step.old_value) == capture->start_hashes[column];
            if (is_start || capture->is_touched[column])
                row->old_values[column] = step.old_value;
            capture->is_touched[column] = false; /* a first guess is there */
            capture->is_found[column] = is_start;
        }
    }
}

static enum satchel_status net_of_many(struct satchel_capture *capture, uint32_t first,
                                       struct satchel_capture_row *row)
{
    const struct satchel_table *table = row->table;
    uint32_t count = table->column_count;
    enum satchel_status status = SATCHEL_OK;
    read_op(capture, first, row->key);
    memset(capture->is_touched, 0, count * sizeof *capture->is_touched);
    memset(capture->is_found, 0, count * sizeof *capture->is_found);
    memset(capture->start_hashes, 0, count * sizeof *capture->start_hashes);
    int64_t born = sum_steps(capture, first);
    if (!capture->row_io)
        status =
            satchel_row_io_new(&capture->row_io, capture->replica->db, capture->replica->schema);
    if (status == SATCHEL_OK)
        status = satchel_row_read(capture->row_io, table, row->key, &capture->arena, &row->exists,
                                  row->new_values, &capture->error);
    if (status != SATCHEL_OK)
        return status;
    row->existed = (row->exists ? 1 : 0) - born > 0;
    for (uint32_t i = 0; i < count && row->exists; i++) {
        uint64_t end = hash_value(&row->new_values[i]);
        capture->start_hashes[i] += end;
        row->old_values[i] = row->new_values[i];
        capture->is_found[i] = capture->start_hashes[i] == end;
    }
    if (row->existed)
        find_starts(capture, first, row);
    for (uint32_t i = 0; i < count; i++)
        row->is_changed[i] = row->existed && row->exists && !table->rules.columns[i].in_key &&
                             !satchel_value_equal(&row->old_values[i], &row->new_values[i]);
    satchel_capture_gather_units(table, row->is_changed);
    return SATCHEL_OK;
}

enum satchel_status satchel_capture_net(struct satchel_capture *capture, uint32_t first,
                                        struct satchel_capture_row *out)
{
    const struct satchel_capture_op *op = satchel_capture_op_at(capture, first);
    out->table = capture->tables[op->table].table;
    out->old_values = capture->old_values;
    out->new_values = capture->new_values;
    out->is_changed = capture->is_changed;
    if (op->next == 0) {
        net_of_one(capture, first, out);
        return SATCHEL_OK;
    }
    return net_of_many(capture, first, out);
}
