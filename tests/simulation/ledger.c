/* Owns the ledger: what every device committed, by its tables. What capture has made of it must say
 * the same; what a crash may or may not have kept is decided by the file that is left. */
#include "simulation.h"

#include "../../client-core/src/replica.h"
#include "../property/row_change.h"

#include <satchel/changeset.h>
#include <satchel/log_reader.h>
#include <satchel/row_io.h>
#include <stdlib.h>
#include <string.h>

static struct satchel_span name_row(const struct satchel_table *table,
                                    const struct satchel_value *values)
{
    struct satchel_value key[SATCHEL_KEY_COLUMNS_MAX];
    for (uint32_t i = 0; i < table->key_count; i++)
        key[i] = values[table->key_columns[i]];
    satchel_buffer_clear(&sim.scratch);
    sim_ok(satchel_row_name(&sim.scratch, table->number, key, table->key_count), "name a row",
           NULL);
    return satchel_arena_copy(&sim.arena, satchel_buffer_span(&sim.scratch));
}

/* ---- what a transaction touches ---- */

static const struct satchel_table *find_table(const char *name, int column_count)
{
    for (unsigned m = 1; m <= sim.template->migration_count; m++) {
        const struct satchel_table *table = satchel_schema_find(sim_schema(m), name);
        if (table && table->column_count == (uint32_t)column_count)
            return table->is_local ? NULL : table;
    }
    return NULL;
}

/* Of a real column, what SQLite has stored as an integer is the real again. */
static struct satchel_value value_of(const struct satchel_table *table, int column,
                                     sqlite3_value *from)
{
    struct satchel_value value = satchel_value_of_argument(from), copy;
    if (value.type == SATCHEL_INTEGER && strcmp(table->columns[column].declared_type, "REAL") == 0)
        value = satchel_value_real((double)value.integer);
    sim_ok(satchel_value_copy(&sim.arena, &value, &copy), "copy a value", NULL);
    return copy;
}

static const struct satchel_value *read_values(sqlite3 *db, const struct satchel_table *table,
                                               int (*get)(sqlite3 *, int, sqlite3_value **))
{
    struct satchel_value *values =
        SATCHEL_ARENA_ARRAY(&sim.arena, struct satchel_value, table->column_count);
    for (uint32_t i = 0; i < table->column_count; i++) {
        sqlite3_value *value = NULL;
        sim_check(get(db, (int)i, &value) == SQLITE_OK, "no value of %s", table->name);
        values[i] = value_of(table, (int)i, value);
    }
    return values;
}

static sqlite3_stmt *prepare_row(sqlite3 *db, const struct satchel_table *table)
{
    struct sim_sql sql = {0};
    sqlite3_stmt *select = NULL;
    sim_put(&sql, "SELECT * FROM \"%s\" WHERE ", table->name);
    for (uint32_t i = 0; i < table->key_count; i++)
        sim_put(&sql, "%s\"%s\" IS ?%u", i ? " AND " : "",
                table->columns[table->key_columns[i]].name, i + 1);
    if (sqlite3_prepare_v2(db, sql.text, -1, &select, NULL) != SQLITE_OK)
        sim_fail("%s: %s", sql.text, sqlite3_errmsg(db));
    free(sql.text);
    return select;
}

static const struct satchel_value *read_row(sqlite3_stmt *select, const struct sim_row *row)
{
    const struct satchel_table *table = row->table;
    struct satchel_value *values = NULL;
    for (uint32_t i = 0; i < table->key_count; i++)
        (void)satchel_value_bind(select, (int)i + 1, &row->known[table->key_columns[i]]);
    int code = sqlite3_step(select);
    sim_check(code == SQLITE_ROW || code == SQLITE_DONE, "a row of %s cannot be read: %s",
              table->name, sqlite3_errmsg(sqlite3_db_handle(select)));
    if (code == SQLITE_ROW) {
        values = SATCHEL_ARENA_ARRAY(&sim.arena, struct satchel_value, table->column_count);
        for (uint32_t i = 0; i < table->column_count; i++) {
            struct satchel_value value = satchel_value_of_column(select, (int)i);
            sim_ok(satchel_value_copy(&sim.arena, &value, &values[i]), "copy a value", NULL);
        }
    }
    sqlite3_reset(select);
    return values;
}

static struct sim_row *touch(struct sim_transaction *transaction, const struct satchel_table *table,
                             const struct satchel_value *values, const struct satchel_value *before)
{
    struct satchel_span name = name_row(table, values);
    for (size_t i = transaction->count; i > 0; i--)
        if (satchel_span_equal(transaction->rows[i - 1].name, name))
            return &transaction->rows[i - 1];
    SIM_GROW(transaction->rows, transaction->count, transaction->capacity);
    struct sim_row *row = &transaction->rows[transaction->count++];
    *row = (struct sim_row){table, name, values, before, before};
    return row;
}

/* A row that is older than a column has no value of it in the file; what the hook then says is not
 * what a SELECT would. */
static bool is_short(const struct satchel_table *table, const struct satchel_value *values)
{
    const struct satchel_table *first = satchel_schema_find(sim_schema(1), table->name);
    for (uint32_t i = first ? first->column_count : 0; i < table->column_count; i++)
        if (values[i].type == SATCHEL_NULL)
            return true;
    return false;
}

static const struct satchel_value *read_committed(const struct sim_device *device,
                                                  const struct sim_row *row)
{
    sqlite3 *db = sim_observe(device->path);
    sqlite3_stmt *select = prepare_row(db, row->table);
    const struct satchel_value *values = read_row(select, row);
    sqlite3_finalize(select);
    sim_unobserve(db);
    return values;
}

static void touch_old(struct sim_app *app, const struct satchel_table *table,
                      const struct satchel_value *before)
{
    size_t count = app->transaction->count;
    struct sim_row *row = touch(app->transaction, table, before, before);
    if (app->transaction->count > count && is_short(table, before))
        row->before = read_committed(app->device, row);
    row->after = NULL;
}

static void before_update(void *context, sqlite3 *db, int operation, const char *database,
                          const char *name, sqlite3_int64 old_rowid, sqlite3_int64 new_rowid)
{
    struct sim_app *app = context;
    struct sim_process *running = sim_enter(NULL);
    const struct satchel_table *table = NULL;
    (void)old_rowid;
    (void)new_rowid;
    if (app->transaction && strcmp(database, "main") == 0)
        table = find_table(name, sqlite3_preupdate_count(db));
    if (table) {
        const struct satchel_value *before =
            operation != SQLITE_INSERT ? read_values(db, table, sqlite3_preupdate_old) : NULL;
        const struct satchel_value *after =
            operation != SQLITE_DELETE ? read_values(db, table, sqlite3_preupdate_new) : NULL;
        if (before)
            touch_old(app, table, before);
        if (after)
            touch(app->transaction, table, after, NULL)->after = after;
    }
    sim_leave(running);
}

void sim_ledger_attach(struct sim_app *app, sqlite3 *db)
{
    sqlite3_preupdate_hook(db, before_update, app);
}

static uint64_t integer(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *select = NULL;
    uint64_t value = 0;
    if (sqlite3_prepare_v2(db, sql, -1, &select, NULL) != SQLITE_OK ||
        sqlite3_step(select) != SQLITE_ROW)
        sim_fail("%s: %s", sql, sqlite3_errmsg(db));
    value = (uint64_t)sqlite3_column_int64(select, 0);
    sqlite3_finalize(select);
    return value;
}

static const char LAST_NUMBER[] =
    "SELECT max(last_number, coalesce((SELECT max(number) FROM satchel_change), 0))"
    " FROM satchel_replica";
static const char LAST_PENDING[] = "SELECT coalesce(max(number), 0) FROM satchel_change";

struct sim_transaction *sim_ledger_begin(struct sim_app *app)
{
    struct sim_transaction *transaction = sim_alloc(NULL, sizeof *transaction);
    memset(transaction, 0, sizeof *transaction);
    transaction->device = app->device;
    transaction->app = app;
    if (app->device->was_copied) {
        struct sim_process *running = sim_enter(NULL);
        transaction->pending_before = integer(app->replica->db, LAST_PENDING);
        sim_leave(running);
    }
    app->transaction = transaction;
    return transaction;
}

/* ---- what it has made of them ---- */

void sim_ledger_read_after(struct sim_transaction *transaction, sqlite3 *db)
{
    const struct satchel_table *of = NULL;
    sqlite3_stmt *select = NULL;
    struct sim_process *running = sim_enter(NULL);
    for (size_t i = 0; i < transaction->count; i++) {
        struct sim_row *row = &transaction->rows[i];
        if (row->table != of) {
            sqlite3_finalize(select);
            select = prepare_row(db, row->table);
            of = row->table;
        }
        row->after = read_row(select, row);
    }
    sqlite3_finalize(select);
    sim_leave(running);
}

static bool is_changed(const struct sim_row *row)
{
    if (!row->before || !row->after)
        return row->before != row->after;
    for (uint32_t i = 0; i < row->table->column_count; i++)
        if (!satchel_value_equal(&row->before[i], &row->after[i]))
            return true;
    return false;
}

static void keep_changed(struct sim_transaction *transaction)
{
    size_t count = 0;
    for (size_t i = 0; i < transaction->count; i++)
        if (is_changed(&transaction->rows[i]))
            transaction->rows[count++] = transaction->rows[i];
    transaction->count = count;
}

static void end(struct sim_transaction *transaction)
{
    if (transaction->app)
        transaction->app->transaction = NULL;
}

/* ---- what capture has made of it ---- */

/* It has been sent, and its entry has come back, before anybody looked. */
static struct satchel_span read_answered(sqlite3 *db, const struct sim_device *device,
                                         uint64_t number)
{
    struct satchel_log_reader *reader;
    struct satchel_log_entry entry;
    struct satchel_span body = {NULL, 0};
    struct satchel_error error = {0};
    bool found = false;
    sim_ok(satchel_log_reader_new(&reader, db), "read the log", NULL);
    sim_ok(satchel_log_read_change(reader, &device->id, number, &found, &entry, &error),
           "read the log", &error);
    sim_check(found, "change set %u.%llu was not captured", device->index,
              (unsigned long long)number);
    satchel_buffer_clear(&sim.scratch);
    sim_ok(satchel_body_load(entry.entry.body, &sim.scratch, &body), "read a change set", NULL);
    body = satchel_arena_copy(&sim.arena, body);
    satchel_log_read_end(reader);
    satchel_log_reader_free(reader);
    return body;
}

static struct satchel_span read_body(sqlite3 *db, const struct sim_device *device, uint64_t number)
{
    sqlite3_stmt *select = NULL;
    struct satchel_span body = {NULL, 0};
    if (sqlite3_prepare_v2(db, "SELECT body FROM satchel_change WHERE number=?1", -1, &select,
                           NULL) != SQLITE_OK)
        sim_fail("%s", sqlite3_errmsg(db));
    sqlite3_bind_int64(select, 1, (sqlite3_int64)number);
    if (sqlite3_step(select) != SQLITE_ROW) {
        sqlite3_finalize(select);
        return read_answered(db, device, number);
    }
    satchel_buffer_clear(&sim.scratch);
    sim_ok(satchel_body_load(satchel_span_of(sqlite3_column_blob(select, 0),
                                             (size_t)sqlite3_column_bytes(select, 0)),
                             &sim.scratch, &body),
           "read a change set", NULL);
    body = satchel_arena_copy(&sim.arena, body);
    sqlite3_finalize(select);
    return body;
}

static const struct sim_row *find_row(const struct sim_transaction *transaction,
                                      struct satchel_span name)
{
    for (size_t i = 0; i < transaction->count; i++)
        if (satchel_span_equal(transaction->rows[i].name, name))
            return &transaction->rows[i];
    return NULL;
}

static struct row_change change_of(const struct sim_row *row)
{
    return (struct row_change){!row->before  ? SATCHEL_OP_INSERT
                               : !row->after ? SATCHEL_OP_DELETE
                                             : SATCHEL_OP_UPDATE,
                               row->table, row->before, row->after};
}

/* Whether the transaction can have made the part; *is_changed: it changed that row. A row that was
 * merged into another is shown as that one: of tables with keys the body may speak of rows that did
 * not change. */
static bool explains(const struct sim_transaction *transaction, const struct satchel_part *part,
                     bool *is_changed)
{
    const struct satchel_table *table =
        satchel_schema_table(sim_schema(sim.template->migration_count), part->table);
    satchel_buffer_clear(&sim.scratch);
    sim_ok(satchel_row_name(&sim.scratch, part->table, part->key, part->key_count), "name a row",
           NULL);
    const struct sim_row *row = find_row(transaction, satchel_buffer_span(&sim.scratch));
    *is_changed = row != NULL;
    if (!row || transaction->may_repeat)
        return transaction->may_repeat || (table && table->rules.has_keys);
    const struct row_change change = change_of(row);
    return row_change_agrees(&change, &sim.arena, part);
}

static bool was_deleted(struct satchel_span name)
{
    for (size_t i = 0; i < sim.change_count; i++)
        for (size_t r = 0; r < sim.changes[i].row_count; r++)
            if (!sim.changes[i].rows[r].after &&
                satchel_span_equal(sim.changes[i].rows[r].name, name))
                return true;
    return false;
}

static void count_rows(const struct sim_transaction *transaction)
{
    for (size_t i = 0; i < transaction->count; i++) {
        const struct row_change change = change_of(&transaction->rows[i]);
        sim.counts.inserts += change.kind == SATCHEL_OP_INSERT;
        sim.counts.reinserts +=
            change.kind == SATCHEL_OP_INSERT && was_deleted(transaction->rows[i].name);
        sim.counts.updates += change.kind == SATCHEL_OP_UPDATE;
        sim.counts.deletes += change.kind == SATCHEL_OP_DELETE;
        if (change.kind == SATCHEL_OP_DELETE)
            sim.counts.delete_policies[change.table->rules.delete_policy]++;
        for (uint32_t c = 0; c < change.table->column_count; c++)
            if (!change.table->rules.columns[c].in_key &&
                row_change_writes(&change, change.table->rules.columns[c].unit))
                sim.counts.rules[change.table->columns[c].rule]++;
    }
}

static struct satchel_changeset decode(struct satchel_span body)
{
    struct satchel_changeset content;
    struct satchel_error error = {0};
    sim_ok(satchel_changeset_decode(body, &sim.arena, &content, &error), "read a change set",
           &error);
    return content;
}

/* The change set says of each row what the tables say, and of no other. */
static void check_body(const struct sim_transaction *transaction, struct sim_change *change)
{
    const struct satchel_changeset content = decode(change->body);
    size_t found = 0;
    change->schema = (uint32_t)content.header.schema;
    for (uint32_t p = 0; p < content.header.part_count; p++) {
        bool is_changed, is_explained = explains(transaction, &content.parts[p], &is_changed);
        const struct satchel_table *table =
            satchel_schema_table(sim_schema(sim.template->migration_count), content.parts[p].table);
        sim_check(is_explained, "device %u, change set %llu: the part of a row of %s %s",
                  transaction->device->index, (unsigned long long)change->number,
                  table ? table->name : "?",
                  is_changed ? "is not what the transaction did" : "that did not change");
        found += is_changed;
    }
    sim_check(
        found == transaction->count, "device %u changed %zu rows, change set %llu speaks of %zu",
        transaction->device->index, transaction->count, (unsigned long long)change->number, found);
}

static bool is_made_by(const struct sim_transaction *transaction, struct satchel_span body)
{
    const struct satchel_changeset content = decode(body);
    size_t found = 0;
    bool is_changed, is_explained = true;
    for (uint32_t p = 0; p < content.header.part_count && is_explained; p++) {
        is_explained = explains(transaction, &content.parts[p], &is_changed);
        found += is_changed;
    }
    return is_explained && found == transaction->count;
}

static void enter(struct sim_transaction *transaction, sqlite3 *db, uint64_t number)
{
    struct sim_device *device = transaction->device;
    SIM_GROW(sim.changes, sim.change_count, sim.change_capacity);
    struct sim_change *change = &sim.changes[sim.change_count++];
    *change = (struct sim_change){
        .device = device->index,
        .number = number,
        .true_ms = transaction->doubted_ms > 0 ? transaction->doubted_ms : sim.now_ms,
        .body = read_body(db, device, number),
        .rows = transaction->rows,
        .row_count = transaction->count,
    };
    check_body(transaction, change);
    count_rows(transaction);
    sim.counts.change_sets++;
    device->last_number = number;
    sim_trace("%s = change set %u.%llu, %zu rows",
              transaction->app ? transaction->app->process.name : device->machine.name,
              device->index, (unsigned long long)number, transaction->count);
}

/* Of a copy's commit that failed its number does not tell: it may be in the history or not. */
static void forget_doubt(struct sim_device *device)
{
    sim.unknown_changes += device->doubt && device->was_copied;
    device->doubt = NULL;
}

void sim_ledger_committed(struct sim_transaction *transaction, sqlite3 *db, bool is_durable)
{
    struct sim_device *device = transaction->device;
    struct sim_process *running = sim_enter(NULL);
    end(transaction);
    keep_changed(transaction);
    uint64_t last = integer(db, device->was_copied ? LAST_PENDING : LAST_NUMBER);
    bool has_written =
        last > device->last_number && (!device->was_copied || last > transaction->pending_before);
    if (has_written) /* else it may have had no frames, and those of what failed are there still */
        forget_doubt(device);
    sim_check((device->was_copied || last == device->last_number + has_written) &&
                  (has_written || transaction->count == 0),
              "device %u changed %zu rows; its last change set was %llu and is %llu", device->index,
              transaction->count, (unsigned long long)device->last_number,
              (unsigned long long)last);
    sim.counts.commits++;
    sim.counts.no_op_commits += !has_written;
    if (has_written)
        enter(transaction, db, last);
    /* What had nothing to write has synced nothing; what there is may be what a sync has applied,
     * which it does not sync. */
    if (is_durable && has_written)
        device->durable_number = device->last_number;
    sim_leave(running);
}

void sim_ledger_in_doubt(struct sim_transaction *transaction)
{
    end(transaction);
    keep_changed(transaction);
    transaction->app = NULL;
    transaction->doubted_ms = sim.now_ms; /* it may come out much later */
    transaction->earlier = transaction->device->doubt;
    transaction->device->doubt = transaction;
    sim.counts.commits_in_doubt++;
}

void sim_ledger_rolled_back(struct sim_transaction *transaction)
{
    end(transaction);
    sim.counts.rollbacks++;
}

/* ---- after a crash ---- */

static void take_back(struct sim_device *device, uint64_t last)
{
    for (size_t i = 0; i < sim.change_count; i++) {
        struct sim_change *change = &sim.changes[i];
        if (change->device != device->index || change->number <= last ||
            change->fate != SIM_COMMITTED || change->is_past)
            continue;
        sim_check(device->machine.had_power_cut && change->number > device->durable_number,
                  "change set %u.%llu was committed and is gone after a crash", device->index,
                  (unsigned long long)change->number);
        sim_trace("change set %u.%llu is lost with the power", device->index,
                  (unsigned long long)change->number);
        change->fate = change->is_shared ? SIM_IN_DOUBT : SIM_LOST;
        sim.counts.commits_taken_back++;
    }
    device->last_number = last;
}

/* One that failed later may have failed before it overwrote the frames of an earlier one. */
static struct sim_transaction *find_doubt(const struct sim_device *device, sqlite3 *db,
                                          uint64_t number)
{
    struct sim_transaction *doubt = device->doubt;
    if (!doubt->earlier)
        return doubt;
    struct satchel_span body = read_body(db, device, number);
    while (doubt && !is_made_by(doubt, body))
        doubt = doubt->earlier;
    return doubt ? doubt : device->doubt;
}

/* A commit that failed may have written all it had to: whoever reads the WAL anew finds it. */
static void take_up_doubt(struct sim_device *device, sqlite3 *db, uint64_t last)
{
    struct sim_transaction *doubt = device->doubt;
    if (device->was_copied) {
        uint64_t pending = integer(db, LAST_PENDING);
        bool is_kept = doubt && pending > doubt->pending_before && pending > device->last_number;
        if (!is_kept) {
            device->last_number = last > device->last_number ? last : device->last_number;
            return;
        }
        last = pending;
    }
    if (last == device->last_number)
        return;
    bool is_next = last == device->last_number + 1 || device->was_copied;
    sim_check(is_next && doubt, /* even of no rows: a row set apart shows nothing of it */
              "device %u: its last change set was %llu and is %llu", device->index,
              (unsigned long long)device->last_number, (unsigned long long)last);
    enter(find_doubt(device, db, last), db, last);
    device->doubt = NULL;
    sim.counts.commits_recovered++;
}

void sim_ledger_opened(struct sim_device *device)
{
    struct sim_process *running = sim_enter(NULL);
    if (device->doubt) {
        sqlite3 *db = sim_observe(device->path);
        uint64_t last = integer(db, LAST_NUMBER);
        if (last >= device->last_number) /* else it is wiped */
            take_up_doubt(device, db, last);
        sim_unobserve(db);
    }
    sim_leave(running);
}

void sim_ledger_recover(struct sim_device *device)
{
    struct sim_process *running = sim_enter(NULL);
    sqlite3 *db = sim_observe(device->path);
    uint64_t last = integer(db, LAST_NUMBER);
    sim.counts.recoveries++;
    if (last < device->last_number)
        take_back(device, last);
    take_up_doubt(device, db, last);
    if (device->durable_number > device->last_number)
        sim_fail("device %u: %llu change sets were synced to disk, %llu are left", device->index,
                 (unsigned long long)device->durable_number,
                 (unsigned long long)device->last_number);
    if (device->machine.had_power_cut) {
        device->durable_number = device->last_number; /* what is left is on the disk */
        forget_doubt(device);
    } /* else it may still come out, when the last connection that knows better has gone */
    sim_unobserve(db);
    sim_leave(running);
}

/* ---- copies ---- */

void sim_ledger_shared(struct sim_device *device)
{
    for (size_t i = 0; i < sim.change_count; i++)
        if (sim.changes[i].device == device->index)
            sim.changes[i].is_shared = true;
}

static uint64_t held_by_server(const struct sim_device *device, sqlite3 *db)
{
    sqlite3_stmt *select = NULL;
    if (sqlite3_prepare_v2(db, "SELECT last_number FROM satchel_device WHERE id=?1", -1, &select,
                           NULL) != SQLITE_OK)
        sim_fail("%s", sqlite3_errmsg(db));
    sqlite3_bind_blob(select, 1, &device->id, sizeof device->id, SQLITE_STATIC);
    uint64_t last =
        sqlite3_step(select) == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(select, 0) : 0;
    sqlite3_finalize(select);
    return last;
}

/* What was written since the copy is in the history if it had been sent, or else it is gone. Where
 * others write under the same numbers, or the server goes back too, a number proves nothing; nor
 * where a power cut took what the copy has, and the number was given again. */
void sim_ledger_put_back(struct sim_device *device)
{
    struct sim_process *running = sim_enter(NULL);
    sqlite3 *db = sim_observe(device->path), *store = sim_observe("/sim/server/test.db");
    uint64_t last = integer(db, LAST_NUMBER);
    uint64_t held = device->was_copied ? 0 : held_by_server(device, store);
    for (size_t i = 0; i < sim.change_count; i++) {
        struct sim_change *change = &sim.changes[i];
        if (change->device != device->index || change->fate != SIM_COMMITTED)
            continue;
        if (change->is_past || change->number > last || i >= device->changes_at_copy) {
            change->is_past = true;
            if (change->number > held || sim.server.was_restored || sim.server.has_backup)
                change->fate = SIM_IN_DOUBT;
        }
    }
    forget_doubt(device);
    sim.unknown_changes += device->had_doubt_at_copy && last > device->last_at_copy;
    device->was_copied = sim.had_copies = true;
    device->last_number = device->durable_number = last;
    sim_unobserve(store);
    sim_unobserve(db);
    sim_leave(running);
}

void sim_ledger_cloned(struct sim_device *clone, struct sim_device *device)
{
    struct sim_process *running = sim_enter(NULL);
    sqlite3 *db = sim_observe(clone->path);
    sim_ledger_shared(device);
    clone->last_number = clone->durable_number = integer(db, LAST_NUMBER);
    /* A commit that failed may have come out in the copy alone. */
    sim.unknown_changes += device->doubt && clone->last_number > device->last_number;
    clone->was_copied = device->was_copied = sim.had_copies = true;
    sim_unobserve(db);
    sim_leave(running);
}
