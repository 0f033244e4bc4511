/* Owns the text of the triggers that capture: what they are named, what they pass, whether they are
 * all still there. What becomes of what they pass is capture.c's.
 *
 * The virtual tables they write to are eponymous: nothing of them is in the file. So a connection
 * without Satchel reads, checks and dumps a replica as ever, and fails to prepare a write to a
 * tracked table with "no such table: main.satchel_capture_24". */
#include "capture.h"

/* ---- the code: tag, columns, table, kind ---- */

enum { KIND_BITS = 2, TABLE_BITS = 14, COLUMN_BITS = 10, TAG_BITS = 31 };

uint32_t satchel_capture_tag(const struct satchel_id *device)
{
    uint32_t tag;
    memcpy(&tag, device->bytes, sizeof tag);
    return tag >> 1;
}

int64_t satchel_capture_code_pack(const struct satchel_capture_code *code)
{
    uint64_t packed = code->tag;
    packed = packed << COLUMN_BITS | code->column_count;
    packed = packed << TABLE_BITS | code->table;
    packed = packed << KIND_BITS | (uint32_t)code->kind;
    return (int64_t)packed;
}

bool satchel_capture_code_unpack(int64_t packed, struct satchel_capture_code *code)
{
    uint64_t bits = (uint64_t)packed;
    uint32_t kind = (uint32_t)(bits & ((1u << KIND_BITS) - 1));
    bits >>= KIND_BITS;
    code->table = (uint32_t)(bits & ((1u << TABLE_BITS) - 1));
    bits >>= TABLE_BITS;
    code->column_count = (uint32_t)(bits & ((1u << COLUMN_BITS) - 1));
    bits >>= COLUMN_BITS;
    code->tag = (uint32_t)bits;
    code->kind = (enum satchel_op_kind)kind;
    return packed >= 0 && bits < (uint64_t)1 << TAG_BITS && kind <= SATCHEL_OP_DELETE;
}

/* ---- text ---- */

/* By enum satchel_op_kind, and one that minds the key. */
static const char *const trigger_names[] = {"insert", "update", "delete", "key"};
enum { TRIGGER_NAME_COUNT = 4, KEY_TRIGGER = 3 };

struct text {
    struct satchel_buffer *buffer;
    enum satchel_status status;
};

static void add(struct text *text, const char *words)
{
    if (text->status == SATCHEL_OK)
        text->status = satchel_buffer_append(text->buffer, words, strlen(words));
}

/* The name inside double quotes, without them. */
static void add_name(struct text *text, const char *name)
{
    for (const char *quote; (quote = strchr(name, '"')); name = quote + 1) {
        if (text->status == SATCHEL_OK)
            text->status = satchel_buffer_append(text->buffer, name, (size_t)(quote - name));
        add(text, "\"\"");
    }
    add(text, name);
}

static void add_row(struct text *text, const char *row, const struct satchel_table *table)
{
    for (uint32_t i = 0; i < table->column_count; i++) {
        add(text, row);
        add_name(text, table->columns[i].name);
        add(text, "\"");
    }
}

/* ",v17": every open writes thousands of these, and formats take ten times as long. */
static void add_argument(struct text *text, uint32_t number)
{
    char words[16], *at = words + sizeof words - 1;
    *at = '\0';
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    *--at = 'v';
    *--at = ',';
    add(text, at);
}

static uint32_t width_for(uint32_t argument_count)
{
    static const uint32_t widths[] = SATCHEL_CAPTURE_WIDTHS;
    for (size_t i = 0; i < SATCHEL_CAPTURE_WIDTH_COUNT; i++)
        if (argument_count <= widths[i])
            return widths[i];
    return 0;
}

static void add_trigger(struct text *text, const struct satchel_table *table,
                        const struct satchel_id *device, enum satchel_op_kind kind)
{
    static const char *const events[] = {"INSERT", "UPDATE", "DELETE"};
    uint32_t argument_count = 1 + table->column_count * (kind == SATCHEL_OP_UPDATE ? 2 : 1);
    uint32_t width = width_for(argument_count);
    struct satchel_capture_code code = {satchel_capture_tag(device), table->column_count,
                                        table->number, kind};
    if (width == 0 && text->status == SATCHEL_OK)
        text->status = SATCHEL_LIMIT;
    add(text, "CREATE TRIGGER \"satchel_");
    add(text, trigger_names[kind]);
    add(text, "_");
    add_name(text, table->name);
    add(text, "\" AFTER ");
    add(text, events[kind]);
    add(text, " ON \"");
    add_name(text, table->name);
    if (text->status == SATCHEL_OK)
        text->status = satchel_buffer_format(
            text->buffer, "\" BEGIN INSERT INTO satchel_capture_%u(code", (unsigned)width);
    for (uint32_t i = 1; i < argument_count; i++)
        add_argument(text, i);
    if (text->status == SATCHEL_OK)
        text->status = satchel_buffer_format(text->buffer, ")VALUES(%lld",
                                             (long long)satchel_capture_code_pack(&code));
    if (kind != SATCHEL_OP_INSERT)
        add_row(text, ",OLD.\"", table);
    if (kind != SATCHEL_OP_DELETE)
        add_row(text, ",NEW.\"", table);
    add(text, "); END");
}

/* Whether SQLite would number the rows itself where an INSERT leaves the key out. */
static bool numbers_itself(const struct satchel_table *table)
{
    return table->key_count == 1 && !table->without_rowid &&
           sqlite3_stricmp(table->columns[table->key_columns[0]].declared_type, "INTEGER") == 0;
}

/* Refuses an INSERT that leaves an @id(assigned) out: before SQLite has chosen, such a key reads
 * -1. */
static void add_key_trigger(struct text *text, const struct satchel_table *table)
{
    const char *key = table->columns[table->key_columns[0]].name;
    char *sql = sqlite3_mprintf(
        "CREATE TRIGGER \"satchel_key_%w\" BEFORE INSERT ON \"%w\" WHEN NEW.\"%w\"=-1"
        " AND NOT satchel_applying() BEGIN SELECT RAISE(ABORT,'satchel: table %q, column %q: "
        "@id(assigned): give it satchel_id(); a number that SQLite makes up here is made up on "
        "another device too'); END",
        table->name, table->name, key, table->name, key);
    if (!sql && text->status == SATCHEL_OK)
        text->status = SATCHEL_NOMEM;
    if (sql)
        add(text, sql);
    sqlite3_free(sql);
}

enum satchel_status satchel_capture_triggers(const struct satchel_table *table,
                                             const struct satchel_id *device,
                                             struct satchel_buffer *sql)
{
    struct text text = {sql, SATCHEL_OK};
    for (int kind = SATCHEL_OP_INSERT; kind <= SATCHEL_OP_DELETE; kind++) {
        add_trigger(&text, table, device, (enum satchel_op_kind)kind);
        add(&text, ";");
    }
    if (numbers_itself(table)) {
        add_key_trigger(&text, table);
        add(&text, ";");
    }
    return text.status;
}

/* ---- whether they are all there ---- */

static const char SELECT_OBJECTS[] =
    "SELECT type, name, tbl_name, sql FROM main.sqlite_schema WHERE type IN ('table', 'trigger')";

enum { FOUND_TABLE = 1, FOUND_TRIGGER = 2 /* shifted by the place in trigger_names */ };

struct check {
    struct satchel_replica *replica;
    struct satchel_error *error;
    uint8_t *found; /* per table of the schema */
    struct satchel_buffer sql;
};

static enum satchel_status write_expected(struct check *check, const struct satchel_table *table,
                                          int which)
{
    struct text text = {&check->sql, SATCHEL_OK};
    satchel_buffer_clear(&check->sql);
    if (which == KEY_TRIGGER)
        add_key_trigger(&text, table);
    else
        add_trigger(&text, table, &check->replica->file, (enum satchel_op_kind)which);
    return text.status == SATCHEL_OK
               ? SATCHEL_OK
               : satchel_error_set(check->error, text.status, "table %s: cannot make its triggers",
                                   table->name);
}

/* One of Satchel's triggers counts if it says to the byte what it was made to say. */
static enum satchel_status note_trigger(struct check *check, const struct satchel_table *table,
                                        const char *name, const char *sql)
{
    static const char prefix[] = "satchel_";
    if (strncmp(name, prefix, sizeof prefix - 1) != 0)
        return SATCHEL_OK;
    name += sizeof prefix - 1;
    for (int which = 0; which < TRIGGER_NAME_COUNT; which++) {
        size_t size = strlen(trigger_names[which]);
        if (strncmp(name, trigger_names[which], size) != 0 || name[size] != '_')
            continue;
        enum satchel_status status = write_expected(check, table, which);
        if (status != SATCHEL_OK)
            return status;
        if (strlen(sql) == check->sql.size && memcmp(sql, check->sql.data, check->sql.size) == 0)
            check->found[table->number - 1] |= (uint8_t)(FOUND_TRIGGER << which);
    }
    return SATCHEL_OK;
}

static enum satchel_status note_object(struct check *check, sqlite3_stmt *row)
{
    const char *type = (const char *)sqlite3_column_text(row, 0);
    const char *name = (const char *)sqlite3_column_text(row, 1);
    const char *table_name = (const char *)sqlite3_column_text(row, 2);
    const char *sql = (const char *)sqlite3_column_text(row, 3);
    if (!type || !name || !table_name || !sql)
        return satchel_error_set(check->error, SATCHEL_NOMEM, "out of memory");
    const struct satchel_table *table = satchel_schema_find(check->replica->schema, table_name);
    if (!table || table->is_local)
        return SATCHEL_OK;
    if (strcmp(type, "trigger") == 0)
        return note_trigger(check, table, name, sql);
    check->found[table->number - 1] |= FOUND_TABLE;
    return SATCHEL_OK;
}

static enum satchel_status note_objects(struct check *check)
{
    sqlite3 *db = check->replica->db;
    sqlite3_stmt *objects = NULL;
    enum satchel_status status = SATCHEL_OK;
    int code = sqlite3_prepare_v2(db, SELECT_OBJECTS, -1, &objects, NULL);
    if (code == SQLITE_OK)
        while (status == SATCHEL_OK && (code = sqlite3_step(objects)) == SQLITE_ROW)
            status = note_object(check, objects);
    if (status == SATCHEL_OK && code != SQLITE_DONE)
        status = satchel_sql_error(check->error, db, "cannot read the schema");
    sqlite3_finalize(objects);
    return status;
}

static enum satchel_status check_columns(struct check *check, const struct satchel_table *table)
{
    sqlite3 *db = check->replica->db;
    sqlite3_stmt *columns = NULL;
    char *sql = sqlite3_mprintf("SELECT * FROM main.\"%w\"", table->name);
    if (!sql)
        return satchel_error_set(check->error, SATCHEL_NOMEM, "out of memory");
    int code = sqlite3_prepare_v2(db, sql, -1, &columns, NULL);
    sqlite3_free(sql);
    if (code != SQLITE_OK)
        return satchel_sql_error(check->error, db, "cannot read the columns of %s", table->name);
    bool is_missing = false;
    bool is_equal = (uint32_t)sqlite3_column_count(columns) == table->column_count;
    for (uint32_t i = 0; is_equal && i < table->column_count; i++) {
        const char *name = sqlite3_column_name(columns, (int)i);
        is_missing = !name;
        is_equal = name && sqlite3_stricmp(name, table->columns[i].name) == 0;
    }
    sqlite3_finalize(columns);
    if (is_missing)
        return satchel_error_set(check->error, SATCHEL_NOMEM, "out of memory");
    return is_equal ? SATCHEL_OK
                    : satchel_error_set(check->error, SATCHEL_SCHEMA,
                                        "table %s does not have the columns of the workspace's "
                                        "schema: it was changed outside a migration; restore the "
                                        "replica, or join again with a new file",
                                        table->name);
}

static enum satchel_status check_table(struct check *check, const struct satchel_table *table)
{
    unsigned found = check->found[table->number - 1];
    if (!(found & FOUND_TABLE))
        return satchel_error_set(
            check->error, SATCHEL_SCHEMA,
            "table %s was dropped by a connection without Satchel; restore the "
            "replica, or join again with a new file",
            table->name);
    enum satchel_status status = check_columns(check, table);
    for (int which = 0; which < TRIGGER_NAME_COUNT && status == SATCHEL_OK; which++)
        if (!(found & (unsigned)FOUND_TRIGGER << which) &&
            (which != KEY_TRIGGER || numbers_itself(table)))
            status = satchel_error_set(
                check->error, SATCHEL_SCHEMA,
                "trigger satchel_%s_%s is missing or changed: writes to %s may have "
                "gone unseen; restore the replica, or join again with a new file",
                trigger_names[which], table->name, table->name);
    return status;
}

enum satchel_status satchel_capture_check(struct satchel_replica *replica,
                                          struct satchel_error *error)
{
    const struct satchel_schema *schema = replica->schema;
    struct check check = {.replica = replica, .error = error};
    enum satchel_status status = SATCHEL_OK;
    check.found = satchel_alloc_zero(NULL, schema->table_count + 1);
    if (!check.found)
        return satchel_error_set(error, SATCHEL_NOMEM, "out of memory");
    satchel_buffer_init(&check.sql, 1u << 20, NULL);
    status = note_objects(&check);
    for (uint32_t i = 0; i < schema->table_count && status == SATCHEL_OK; i++)
        if (!schema->tables[i].is_local)
            status = check_table(&check, &schema->tables[i]);
    satchel_buffer_deinit(&check.sql);
    satchel_free(NULL, check.found);
    return status;
}
