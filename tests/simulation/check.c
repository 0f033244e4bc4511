/* Owns what must hold at the end: everybody equal and at rest, the files sound. What the ledger
 * says is in check_ledger.c. */
#include "../unit/digest_oracle.h"
#include "disk.h"

#include <satchel/log_reader.h>
#include <satchel/row_io.h>
#include <stdlib.h>
#include <string.h>

static const char STORE[] = "/sim/server/test.db";

static int64_t integer(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *select = sim_prepare(db, sql);
    int64_t value = sqlite3_step(select) == SQLITE_ROW ? sqlite3_column_int64(select, 0) : -1;
    sqlite3_finalize(select);
    return value;
}

/* ---- at rest ---- */

static const char COUNT_MIGRATIONS[] = "SELECT count(*) FROM satchel_migration";

static struct satchel_id node_of(sqlite3 *db, const char *sql)
{
    struct satchel_id node = {{0}};
    sqlite3_stmt *select = sim_prepare(db, sql);
    if (sqlite3_step(select) == SQLITE_ROW &&
        sqlite3_column_bytes(select, 0) == (int)sizeof node.bytes)
        memcpy(node.bytes, sqlite3_column_blob(select, 0), sizeof node.bytes);
    sqlite3_finalize(select);
    return node;
}

static bool is_wiped(sqlite3 *db)
{
    return integer(db, "SELECT state = 'wiped' FROM satchel_replica") == 1;
}

/* Each text of the world of scopes bears a mark. */
static bool has_mark(const struct sim_file *file)
{
    bool has_one = false;
    for (size_t i = 0; file && file->exists && !has_one && i + 8 < file->size; i++) {
        const uint8_t *at = file->bytes + i;
        has_one = (at[0] == '~' || at[0] == '!') && at[1] >= '0' && at[1] <= '9' &&
                  memchr(at + 2, ':', 2) && memchr(at + 3, 'k', 2);
    }
    return has_one;
}

/* In the file of a replica, or its WAL. */
static bool has_traces(const struct sim_device *device)
{
    char name[100];
    snprintf(name, sizeof name, "%s-wal", device->path);
    return has_mark(sim_file_find(device->path)) || has_mark(sim_file_find(name));
}

/* What the server is when it is at rest. */
struct rest {
    int64_t head, migrations;
    struct satchel_id node;
};

/* What a device's file says of it, as long as nothing is written to the file. */
struct standing {
    struct sim_disk_state file;
    int64_t pending, cursor, complete, migrations, to_forget, to_recover;
    struct satchel_id node;
    bool is_wiped, has_traces; /* these, of one that is wiped: its file is to be rewritten */
};

static const struct standing *standing_of(const struct sim_device *device)
{
    static struct standing standings[SIM_DEVICES_MAX];
    struct standing *standing = &standings[device - sim.devices];
    struct sim_disk_state file = sim_disk_state(device->path);
    if (memcmp(&file, &standing->file, sizeof file) == 0)
        return standing;
    sqlite3 *db = sim_observe(device->path);
    *standing = (struct standing){
        .file = file,
        .pending = integer(db, "SELECT count(*) FROM satchel_change"),
        .cursor = integer(db, "SELECT cursor FROM satchel_replica"),
        .complete = integer(db, "SELECT complete FROM satchel_replica"),
        .migrations = integer(db, COUNT_MIGRATIONS),
        .to_forget = integer(db, "SELECT count(*) FROM satchel_forget"),
        .to_recover = integer(db, "SELECT coalesce(to_give_back, 0) + coalesce(in_doubt, 0)"
                                  " FROM satchel_status"),
        .node = node_of(db, "SELECT node FROM satchel_replica"),
        .is_wiped = is_wiped(db),
    };
    standing->has_traces = standing->is_wiped && has_traces(device);
    sim_unobserve(db);
    return standing;
}

static bool is_device_quiet(const struct sim_device *device, const struct rest *rest,
                            struct satchel_buffer *why)
{
    bool is_acting = false;
    for (unsigned i = 0; i < device->app_count; i++)
        is_acting = is_acting || device->apps[i].is_acting;
    if (!why && (is_acting || device->machine.is_off))
        return false;
    const struct standing *standing = standing_of(device);
    if (standing->is_wiped && !standing->has_traces && !is_acting && !device->machine.is_off)
        return true;
    bool is_complete = standing->complete == rest->head;
    bool is_to_be_wiped = sim_is_revoked(device);
    bool is_migrated = standing->migrations == rest->migrations;
    bool has_forgotten = standing->to_forget == 0;
    bool has_recovered = standing->to_recover == 0;
    /* Before it hears that the server was restored, its cursor may be the same by chance. */
    bool is_renewed = satchel_id_equal(&standing->node, &rest->node);
    if (standing->pending == 0 && standing->cursor == rest->head && is_complete && is_migrated &&
        is_renewed && has_forgotten && has_recovered && !is_to_be_wiped && !is_acting &&
        !device->machine.is_off)
        return true;
    if (!why)
        return false;
    enum satchel_status status = satchel_buffer_format(
        why, " %s has %lld pending, its cursor is %lld of %lld%s%s%s%s%s%s%s%s;",
        device->machine.name, (long long)standing->pending, (long long)standing->cursor,
        (long long)rest->head, is_complete ? "" : ", it is not complete",
        is_migrated ? "" : ", its schema is old",
        is_renewed ? "" : ", it knows an earlier incarnation",
        has_forgotten ? "" : ", its log has what it should forget",
        has_recovered ? "" : ", it has entries to give back or rows in doubt",
        is_to_be_wiped && !standing->is_wiped ? ", it is revoked and not wiped" : "",
        standing->has_traces ? ", its file has traces of rows" : "",
        is_acting ? ", its application writes" : "");
    (void)status;
    return false;
}

/* ---- equal ---- */

static void describe_row(sqlite3_stmt *row, bool is_there, struct satchel_buffer *out)
{
    for (int i = 0; is_there && i < sqlite3_column_count(row); i++) {
        const char *text = (const char *)sqlite3_column_text(row, i);
        if (satchel_buffer_format(out, "%s%s=%.200s", i ? ", " : "", sqlite3_column_name(row, i),
                                  text ? text : "NULL") != SATCHEL_OK)
            return;
    }
}

static bool is_same_value(sqlite3_stmt *a, sqlite3_stmt *b, int column)
{
    int type = sqlite3_column_type(a, column);
    if (type != sqlite3_column_type(b, column))
        return false;
    if (type == SQLITE_INTEGER)
        return sqlite3_column_int64(a, column) == sqlite3_column_int64(b, column);
    if (type == SQLITE_FLOAT) {
        double left = sqlite3_column_double(a, column), right = sqlite3_column_double(b, column);
        return memcmp(&left, &right, sizeof left) == 0;
    }
    const void *left = sqlite3_column_blob(a, column), *right = sqlite3_column_blob(b, column);
    int size = sqlite3_column_bytes(a, column);
    return size == sqlite3_column_bytes(b, column) &&
           (size == 0 || memcmp(left, right, (size_t)size) == 0);
}

static void fail_rows(const char *name, const char *sql, sqlite3_stmt *ours, bool is_ours,
                      sqlite3_stmt *theirs, bool is_theirs)
{
    struct satchel_buffer a, b;
    satchel_buffer_init(&a, 1 << 20, NULL);
    satchel_buffer_init(&b, 1 << 20, NULL);
    describe_row(ours, is_ours, &a);
    describe_row(theirs, is_theirs, &b);
    sim_fail("%s and the server differ in: %s\n  %s: %s\n  server: %s", name, sql, name,
             satchel_buffer_text(&a), satchel_buffer_text(&b));
}

/* Whose rows are compared: those that the user may see; or no user's, all. */
struct eyes {
    unsigned user;
    bool see_all;
    const struct satchel_table *table; /* NULL: of the table satchel_conflict */
    struct satchel_arena *arena;
};

static enum sim_sight look_at(const struct eyes *eyes, sqlite3_stmt *row)
{
    size_t now = sim_sight_now();
    if (eyes->see_all)
        return SIM_SEEN;
    if (eyes->table)
        return sim_sight_of(eyes->user, eyes->table, sim_row_name(eyes->table, row), now, now);
    struct satchel_notes notes;
    struct satchel_span note = satchel_span_of(NULL, 0);
    for (int i = 0; i < sqlite3_column_count(row); i++)
        if (strcmp(sqlite3_column_name(row, i), "note") == 0)
            note = satchel_column_span(row, i);
    sim_ok(satchel_notes_read(note, eyes->arena, &notes), "read a conflict", NULL);
    const struct satchel_conflict_note *conflict = &notes.conflicts[0];
    const struct satchel_table *table =
        satchel_schema_table(sim_schema(sim.deployed), conflict->table);
    if (conflict->unit != SATCHEL_COLUMN_ROW &&
        !sim_sight_of_column(eyes->user, table, conflict->unit, now, now))
        return SIM_HIDDEN;
    enum sim_sight sight =
        sim_sight_of_key(eyes->user, conflict->table, conflict->key, conflict->key_count, now, now);
    if (sight == SIM_HIDDEN || !conflict->alias_key)
        return sight;
    /* It was one with that row: what was lost was written to this one. */
    enum sim_sight other = sim_sight_of_key(eyes->user, conflict->table, conflict->alias_key,
                                            conflict->key_count, now, now);
    return other == SIM_SEEN ? sight : other;
}

/* The next row: of the server's those that the user may see, of a replica's all, but for rows of
 * which nobody can tell. */
static bool next_row(const struct eyes *eyes, sqlite3_stmt *rows, bool is_servers)
{
    while (sqlite3_step(rows) == SQLITE_ROW) {
        enum sim_sight sight = look_at(eyes, rows);
        if (sight == SIM_SEEN || (sight == SIM_HIDDEN && !is_servers))
            return true;
    }
    return false;
}

/* What is masked has its default. */
static bool is_same_column(const struct eyes *eyes, sqlite3_stmt *ours, sqlite3_stmt *theirs,
                           int column)
{
    size_t now = sim_sight_now();
    if (eyes->see_all || !eyes->table ||
        sim_sight_of_column(eyes->user, eyes->table, (uint32_t)column, now, now))
        return is_same_value(ours, theirs, column);
    struct satchel_value value = satchel_value_of_column(ours, column);
    sim.counts.columns_masked += !is_same_value(ours, theirs, column);
    return satchel_value_equal(&value, &eyes->table->rules.columns[column].default_value);
}

/* `differs`: set if they are not the same, instead of a failure. */
static void compare(const char *name, sqlite3 *replica, sqlite3 *store, const struct eyes *eyes,
                    const char *sql, bool *differs)
{
    sqlite3_stmt *ours = sim_prepare(replica, sql), *theirs = sim_prepare(store, sql);
    for (;;) {
        bool is_ours = next_row(eyes, ours, false), is_theirs = next_row(eyes, theirs, true);
        bool is_same = is_ours == is_theirs;
        if (!is_ours && !is_theirs)
            break;
        for (int i = 0; is_same && i < sqlite3_column_count(ours); i++)
            is_same = is_same_column(eyes, ours, theirs, i);
        if (!is_same && differs) {
            *differs = true;
            break;
        }
        if (!is_same)
            fail_rows(name, sql, ours, is_ours, theirs, is_theirs);
        sim.counts.rows_compared++;
    }
    sqlite3_finalize(ours);
    sqlite3_finalize(theirs);
}

static void check_same(const char *name, sqlite3 *replica, sqlite3 *store, const struct eyes *eyes,
                       const char *sql)
{
    compare(name, replica, store, eyes, sql, NULL);
}

static void compare_tables(const char *name, sqlite3 *replica, sqlite3 *store, struct eyes eyes,
                           const struct satchel_schema *schema, bool *differs)
{
    for (uint32_t i = 0; i < schema->table_count; i++) {
        const struct satchel_table *table = &schema->tables[i];
        struct sim_sql sql = {0};
        if (table->is_local)
            continue;
        sim_put(&sql, "SELECT * FROM \"%s\" ORDER BY ", table->name);
        for (uint32_t k = 0; k < table->key_count; k++)
            sim_put(&sql, "%s\"%s\"", k ? "," : "", table->columns[table->key_columns[k]].name);
        eyes.table = table;
        compare(name, replica, store, &eyes, sql.text, differs);
        free(sql.text);
    }
}

/* ---- at rest, and mended ---- */

/* A device that was damaged is as it was. */
static bool is_mended(const struct sim_device *device)
{
    struct satchel_arena arena;
    struct eyes eyes = {device->user, !sim_has_scopes(), NULL, &arena};
    bool differs = false;
    if (!device->was_damaged)
        return true;
    sqlite3 *db = sim_observe(device->path), *store = sim_observe(STORE);
    if (is_wiped(db)) {
        sim_unobserve(store);
        sim_unobserve(db);
        return true;
    }
    if (sim_has_scopes())
        (void)sim_sight_observe();
    satchel_arena_init(&arena, (size_t)1 << 30, NULL);
    compare_tables(device->machine.name, db, store, eyes,
                   sim_schema((unsigned)integer(db, COUNT_MIGRATIONS)), &differs);
    satchel_arena_deinit(&arena);
    sim_unobserve(store);
    sim_unobserve(db);
    return !differs;
}

bool sim_is_quiet(struct satchel_buffer *why)
{
    bool is_quiet = sim.server.is_up && !sim.server.is_stopping && sim_admin_is_idle();
    if (!is_quiet)
        return false;
    sqlite3 *db = sim_observe(STORE);
    struct rest rest = {.head = integer(db, "SELECT cursor FROM satchel_workspace"),
                        .migrations = integer(db, COUNT_MIGRATIONS),
                        .node = node_of(db, "SELECT node FROM satchel_workspace")};
    sim_unobserve(db);
    for (unsigned i = 0; i < sim.device_count && (is_quiet || why); i++)
        is_quiet = is_device_quiet(&sim.devices[i], &rest, why) && is_quiet;
    for (unsigned i = 0; i < sim.device_count && is_quiet; i++)
        is_quiet = is_mended(&sim.devices[i]);
    return is_quiet;
}

/* ---- logs ---- */

struct logs {
    const char *name;
    const struct eyes *eyes;
    char login[16];
    struct satchel_buffer ours, theirs;
    struct satchel_arena arena;
};

static bool is_same_entry(const struct satchel_entry *a, const struct satchel_entry *b)
{
    return a->seq == b->seq && a->number == b->number && a->stamp == b->stamp &&
           satchel_id_equal(&a->device, &b->device) && satchel_span_equal(a->user, b->user);
}

static void read_parts(struct logs *logs, const struct satchel_entry *entry,
                       struct satchel_buffer *scratch, struct satchel_changeset *out)
{
    struct satchel_span body;
    struct satchel_error error = {0};
    sim_ok(satchel_body_load(entry->body, scratch, &body), "read a body", NULL);
    sim_ok(satchel_changeset_decode(body, &logs->arena, out, &error), "read a body", &error);
}

static bool is_same_fields(const struct satchel_part *a, const struct satchel_part *b)
{
    bool is_same = a->kind == b->kind && a->field_count == b->field_count;
    for (uint32_t i = 0; is_same && i < a->field_count; i++)
        is_same = a->fields[i].column == b->fields[i].column &&
                  satchel_value_equal(&a->fields[i].value, &b->fields[i].value);
    return is_same;
}

/* The fields that the user may see; false: none of an update. `*is_whole`: that is all of it, what
 * its author had been shown of the others, too. */
static bool mask_part(const struct logs *logs, const struct satchel_table *table,
                      const struct satchel_part *part, struct satchel_field *fields,
                      struct satchel_part *out, bool *is_whole)
{
    size_t now = sim_sight_now();
    bool hides_view = false;
    for (uint32_t i = 0; i < part->exception_count; i++)
        hides_view = hides_view || (part->exceptions[i].column != SATCHEL_COLUMN_ROW &&
                                    !sim_sight_of_column(logs->eyes->user, table,
                                                         part->exceptions[i].column, now, now));
    *out = *part;
    out->fields = fields;
    out->field_count = 0;
    for (uint32_t i = 0; i < part->field_count; i++)
        if (sim_sight_of_column(logs->eyes->user, table, part->fields[i].column, now, now))
            fields[out->field_count++] = part->fields[i];
    *is_whole = out->field_count == part->field_count && !hides_view;
    return part->kind != SATCHEL_OP_UPDATE || out->field_count > 0;
}

/* A replica has the parts of the rows that it holds, and of others only what its own user wrote;
 * without what is masked from him, unless he wrote it here. */
static void check_parts(struct logs *logs, const struct satchel_entry *ours,
                        const struct satchel_entry *theirs)
{
    struct satchel_changeset here = {0}, there;
    size_t now = sim_sight_now();
    satchel_arena_reset(&logs->arena);
    read_parts(logs, theirs, &logs->theirs, &there);
    if (ours)
        read_parts(logs, ours, &logs->ours, &here);
    for (uint32_t i = 0; i < there.header.part_count; i++) {
        const struct satchel_part *part = &there.parts[i];
        const struct satchel_part *held = ours ? &here.parts[i] : NULL;
        bool is_held = held && !satchel_part_is_withheld(held);
        sim_check(!ours || here.header.part_count == there.header.part_count,
                  "%s has another number of parts in entry %llu", logs->name,
                  (unsigned long long)theirs->cursor);
        const struct satchel_table *table =
            satchel_schema_table(sim_schema(sim.deployed), part->table);
        if (!table)
            continue;
        struct satchel_field *fields =
            SATCHEL_ARENA_ARRAY(&logs->arena, struct satchel_field, part->field_count + 1);
        struct satchel_part masked;
        bool is_whole = false;
        bool is_left = mask_part(logs, table, part, fields, &masked, &is_whole);
        bool is_author = satchel_span_equal(theirs->user, satchel_span_text(logs->login));
        enum sim_sight sight =
            sim_sight_of_key(logs->eyes->user, part->table, part->key, part->key_count, now, now);
        sim.counts.parts_masked += !is_whole && sight == SIM_SEEN;
        /* What was set aside before there was a row is not told anew to who sees more of it. */
        bool is_before = theirs->cursor <= sim_sight_begun(part->table, part->key, part->key_count);
        sim_check(!is_held || satchel_span_equal(held->bytes, part->bytes) ||
                      (table->has_masks && (!is_whole || sight != SIM_SEEN || is_before)),
                  "%s has another part %u of entry %llu", logs->name, i,
                  (unsigned long long)theirs->cursor);
        sim_check(!is_held || is_whole || is_author || sight != SIM_SEEN ||
                      (is_left && is_same_fields(held, &masked)),
                  "%s has a part %u of entry %llu with what is masked", logs->name, i,
                  (unsigned long long)theirs->cursor);
        /* What was set aside before there was a row is not told to who gets it when it comes. */
        bool is_due = sight == SIM_SEEN && is_left &&
                      (sim.server.was_restored ||
                       theirs->cursor > sim_sight_begun(part->table, part->key, part->key_count));
        sim_check(is_held || !is_due, "%s has not part %u of entry %llu", logs->name, i,
                  (unsigned long long)theirs->cursor);
        sim_check(!is_held || sight != SIM_HIDDEN || is_author,
                  "%s keeps part %u of entry %llu, whose row has left it", logs->name, i,
                  (unsigned long long)theirs->cursor);
    }
}

/* Whoever has everything knows each entry by the positions that it had before the last one. */
static void check_positions(const char *name, sqlite3 *replica, sqlite3 *store)
{
    sqlite3_stmt *select = sim_prepare(
        store, "SELECT cursor, node, seq FROM satchel_position WHERE late_after IS NULL OR"
               " late_after < (SELECT cursor FROM satchel_workspace) ORDER BY cursor");
    sqlite3_stmt *find =
        sim_prepare(replica, "SELECT positions FROM satchel_receipt WHERE cursor = ?1");
    struct satchel_arena arena;
    satchel_arena_init(&arena, (size_t)1 << 30, NULL);
    while (sqlite3_step(select) == SQLITE_ROW) {
        struct satchel_id node;
        struct satchel_vector positions;
        sqlite3_bind_int64(find, 1, sqlite3_column_int64(select, 0));
        satchel_column_id(select, 1, &node);
        if (sqlite3_step(find) == SQLITE_ROW) { /* else it was before what it was filled from */
            sim_ok(satchel_vector_unpack(satchel_column_span(find, 0), &arena, &positions),
                   "read positions", NULL);
            sim_check(satchel_vector_get(&positions, &node) ==
                          (uint64_t)sqlite3_column_int64(select, 2),
                      "%s has not a position of entry %llu", name,
                      (unsigned long long)sqlite3_column_int64(select, 0));
        }
        sqlite3_reset(find);
        satchel_arena_reset(&arena);
    }
    satchel_arena_deinit(&arena);
    sqlite3_finalize(find);
    sqlite3_finalize(select);
}

/* The same entries, wherever they are kept; and where there are scopes, those that its user may
 * see. */
static void check_logs(const char *name, sqlite3 *replica, sqlite3 *store, const struct eyes *eyes)
{
    struct satchel_log_reader *ours, *theirs;
    struct satchel_log_entry a, b;
    struct satchel_error error = {0};
    struct logs logs = {.name = name, .eyes = eyes};
    bool is_ours = true, is_theirs = true;
    snprintf(logs.login, sizeof logs.login, "user%u", eyes->user);
    satchel_buffer_init(&logs.ours, 256 << 20, NULL);
    satchel_buffer_init(&logs.theirs, 256 << 20, NULL);
    satchel_arena_init(&logs.arena, (size_t)1 << 30, NULL);
    sim_ok(satchel_log_reader_new(&ours, replica), "read a log", NULL);
    sim_ok(satchel_log_reader_new(&theirs, store), "read a log", NULL);
    sim_ok(satchel_log_read_from(ours, 0, NULL, 0, &error), "read a log", &error);
    sim_ok(satchel_log_read_from(theirs, 0, NULL, 0, &error), "read a log", &error);
    sim_ok(satchel_log_read_next(ours, &is_ours, &a, &error), "read a log", &error);
    /* What was before the snapshot that it was filled from is not in its log. */
    uint64_t begun = sim_integer(replica, "SELECT begun FROM satchel_replica");
    for (;;) {
        sim_ok(satchel_log_read_next(theirs, &is_theirs, &b, &error), "read a log", &error);
        if (!is_theirs)
            break;
        bool is_both = is_ours && a.entry.cursor == b.entry.cursor;
        if (!is_both && b.entry.cursor <= begun)
            continue;
        sim_check(is_both || !eyes->see_all, "%s has not entry %llu", name,
                  (unsigned long long)b.entry.cursor);
        sim_check(
            !is_both || (is_same_entry(&a.entry, &b.entry) &&
                         (!eyes->see_all || satchel_span_equal(a.entry.notes, b.entry.notes))),
            "%s has another entry %llu than the server", name, (unsigned long long)b.entry.cursor);
        if (!eyes->see_all)
            check_parts(&logs, is_both ? &a.entry : NULL, &b.entry);
        if (is_both)
            sim_ok(satchel_log_read_next(ours, &is_ours, &a, &error), "read a log", &error);
    }
    sim_check(!is_ours, "%s has an entry %llu that the server has not", name,
              (unsigned long long)a.entry.cursor);
    satchel_log_read_end(ours);
    satchel_log_read_end(theirs);
    satchel_log_reader_free(ours);
    satchel_log_reader_free(theirs);
    satchel_buffer_deinit(&logs.ours);
    satchel_buffer_deinit(&logs.theirs);
    satchel_arena_deinit(&logs.arena);
}

static void check_sound(const char *name, sqlite3 *db)
{
    sqlite3_stmt *select = sim_prepare(db, "PRAGMA integrity_check");
    if (sqlite3_step(select) != SQLITE_ROW ||
        strcmp((const char *)sqlite3_column_text(select, 0), "ok") != 0)
        sim_fail("%s: integrity_check: %s", name, (const char *)sqlite3_column_text(select, 0));
    sqlite3_finalize(select);
}

/* Where nobody has damaged anything, nothing is repaired: it would be the stream that is at fault.
 * A restored server does not know all that its devices have come to hold by their scopes, nor do
 * these know which rows a snapshot brought that it has lost. */
static void check_repaired(const char *name, sqlite3 *db)
{
    int64_t count = integer(db, "SELECT repaired FROM satchel_replica");
    bool is_restored =
        (sim_has_scopes() || sim.options.snapshot_entries > 0) && sim.server.was_restored;
    sim_check(count == 0 || sim.counts.damages > 0 || is_restored,
              "%s has repaired %lld rows, and nobody had damaged any", name, (long long)count);
}

void sim_check_repaired(void)
{
    for (unsigned i = 0; i < sim.device_count; i++) {
        sqlite3 *db = sim_observe(sim.devices[i].path);
        check_repaired(sim.devices[i].machine.name, db);
        sim_unobserve(db);
    }
}

/* Nothing of the workspace is left in the file, not even in free pages. */
static void check_wiped(const struct sim_device *device, sqlite3 *db)
{
    const struct satchel_schema *schema = sim_schema(sim.deployed);
    sim_check(sim_is_revoked(device), "%s is wiped, and nobody revoked it", device->machine.name);
    for (uint32_t i = 0; i < schema->table_count; i++) {
        char sql[200];
        snprintf(sql, sizeof sql, "SELECT count(*) FROM \"%s\"", schema->tables[i].name);
        sim_check(schema->tables[i].is_local || integer(db, sql) <= 0, "%s has rows of %s left",
                  device->machine.name, schema->tables[i].name);
    }
    sim_check(integer(db, "SELECT (SELECT count(*) FROM satchel_entry) + (SELECT count(*) FROM"
                          " satchel_change) + (SELECT count(*) FROM satchel_conflict)") == 0,
              "%s has a log left", device->machine.name);
    sim_check(!has_traces(device), "%s has traces of rows left", device->machine.name);
    sim.counts.wiped++;
}

static void check_replica(const struct sim_device *device, sqlite3 *store)
{
    const char *name = device->machine.name;
    sqlite3 *db = sim_observe(device->path);
    unsigned migrations = (unsigned)integer(db, COUNT_MIGRATIONS);
    check_sound(name, db);
    if (is_wiped(db)) {
        check_wiped(device, db);
        sim_unobserve(db);
        return;
    }
    sim_check(!sim_is_revoked(device), "%s is revoked, and not wiped", name);
    sim_check(migrations == sim.deployed, "%s has %u migrations of %u", name, migrations,
              sim.deployed);
    sim_check(integer(db, "SELECT count(*) FROM satchel_change") == 0 &&
                  integer(db, "SELECT count(*) FROM satchel_base") == 0,
              "%s has something pending, or the base of a row", name);
    struct satchel_arena arena;
    struct eyes eyes = {device->user, !sim_has_scopes(), NULL, &arena};
    satchel_arena_init(&arena, (size_t)1 << 30, NULL);
    compare_tables(name, db, store, eyes, sim_schema(migrations), NULL);
    check_same(name, db, store, &eyes, "SELECT * FROM satchel_conflict ORDER BY id");
    if (eyes.see_all)
        check_same(name, db, store, &eyes, "SELECT * FROM satchel_alias ORDER BY 1,2,3");
    if (eyes.see_all)
        check_positions(name, db, store);
    check_logs(name, db, store, &eyes);
    satchel_arena_deinit(&arena);
    sim.counts.repaired += (uint64_t)integer(db, "SELECT repaired FROM satchel_replica");
    sim_check(device->was_copied ||
                  (uint64_t)integer(db, "SELECT last_number FROM satchel_replica") ==
                      device->last_number,
              "%s: not every number is answered", name);
    sim_unobserve(db);
}

/* ---- all ---- */

static void count_conflicts(sqlite3 *store)
{
    sqlite3_stmt *select =
        sim_prepare(store, "SELECT tbl, field, severity, resolved IS NULL FROM satchel_conflict");
    const struct satchel_schema *schema = sim_schema(sim.deployed);
    while (sqlite3_step(select) == SQLITE_ROW) {
        const char *field = (const char *)sqlite3_column_text(select, 1);
        const char *severity = (const char *)sqlite3_column_text(select, 2);
        const struct satchel_table *table =
            satchel_schema_find(schema, (const char *)sqlite3_column_text(select, 0));
        sim.counts.conflicts_open += sqlite3_column_int(select, 3) != 0;
        sim.counts.conflicts_closed += sqlite3_column_int(select, 3) == 0;
        sim.counts.conflicts_review += severity && strcmp(severity, "review") == 0;
        sim.counts.conflicts_info += severity && strcmp(severity, "review") != 0;
        sim.counts.row_conflicts += !field || !field[0];
        for (uint32_t c = 0; table && field && c < table->column_count; c++)
            if (strcmp(table->columns[c].field, field) == 0) {
                sim.counts.rule_conflicts[table->columns[c].rule]++;
                break;
            }
    }
    sqlite3_finalize(select);
}

void sim_check_all(void)
{
    sqlite3 *store = sim_observe(STORE);
    if (sim_has_scopes())
        (void)sim_sight_observe();
    check_sound("the store", store);
    const char *sums = digest_oracle(store, sim_schema(sim.deployed));
    if (sums)
        sim_fail("the store's digests: %s", sums);
    sim_check_ledger();
    /* What a device has only seen in a snapshot it cannot give back. */
    if (sim.options.snapshot_entries == 0 || !sim.server.was_restored)
        sim_check_seen(store);
    sim_check_repaired();
    for (unsigned i = 0; i < sim.device_count; i++)
        check_replica(&sim.devices[i], store);
    count_conflicts(store);
    sim.counts.quarantined_parts +=
        (uint64_t)integer(store, "SELECT count(*) FROM satchel_quarantine");
    sim.counts.aliases += (uint64_t)integer(store, "SELECT count(*) FROM satchel_alias");
    sim_unobserve(store);
    /* Both count in the node's entries, whose order is another after a restore, and know devices
     * by their first ids. */
    if (sim.options.checks_replay && !sim.server.was_restored && !sim.had_copies)
        sim_check_reference(true);
}
