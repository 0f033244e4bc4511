/* Owns running the statements of migrations in the build's private database, and noting which
 * table, column and object came from which line. Refuses what no migration may hold; what a
 * finished table may be is judged elsewhere. */
#include "schema_build.h"

#include <satchel/sqlite.h>

enum satchel_status satchel_build_no_memory(struct satchel_build *build)
{
    return satchel_error_set(build->error, SATCHEL_NOMEM, "the schema: out of memory");
}

enum satchel_status satchel_build_sql_failed(struct satchel_build *build, struct sqlite3 *db)
{
    if (sqlite3_errcode(db) == SQLITE_NOMEM)
        return satchel_build_no_memory(build);
    satchel_error_set(build->error, SATCHEL_SQL, "the schema: SQLite says: %s", sqlite3_errmsg(db));
    if (build->error)
        build->error->native_code = sqlite3_extended_errcode(db);
    return SATCHEL_SQL;
}

struct satchel_build_table *satchel_build_find_table(const struct satchel_build *build,
                                                     const char *name)
{
    for (uint32_t i = 0; i < build->table_count; i++)
        if (satchel_names_equal(build->tables[i].name, name))
            return &build->tables[i];
    return NULL;
}

struct satchel_build_column *satchel_build_find_column(const struct satchel_build_table *table,
                                                       const char *name)
{
    for (uint32_t i = 0; i < table->column_count; i++)
        if (satchel_names_equal(table->columns[i].name, name))
            return &table->columns[i];
    return NULL;
}

/* ---- one migration ---- */

struct run {
    struct satchel_build *build;
    const char *file;
    uint32_t migration;
    struct satchel_annotations annotations;
    uint32_t next_table_annotation;
};

static struct satchel_place place_of(const struct run *run, int line)
{
    struct satchel_place place = {run->file, line};
    return place;
}

static bool is_reserved(const char *name)
{
    return sqlite3_strnicmp(name, "satchel_", 8) == 0;
}

static bool is_workspace_view(const char *name)
{
    static const char *const views[] = {"satchel_users", "satchel_grants", "satchel_states",
                                        "satchel_numbers"};
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
        if (satchel_names_equal(name, views[i]))
            return true;
    return false;
}

/* ---- SQLite ---- */

/* What SQLite said of `sql`, at the line it points to. */
static enum satchel_status refuse_sql(struct run *run, const struct satchel_statement *statement)
{
    sqlite3 *db = run->build->db;
    if (sqlite3_errcode(db) == SQLITE_NOMEM)
        return satchel_build_no_memory(run->build);
    int line = statement->line;
    int offset = sqlite3_error_offset(db);
    for (int i = 0; i < offset && statement->sql[i]; i++)
        line += statement->sql[i] == '\n';
    enum satchel_status status =
        satchel_refuse(run->build->error, place_of(run, line),
                       "SQLite says: %s; correct the statement", sqlite3_errmsg(db));
    if (run->build->error)
        run->build->error->native_code = sqlite3_extended_errcode(db);
    return status;
}

static enum satchel_status prepare(struct run *run, const struct satchel_statement *statement,
                                   sqlite3_stmt **out)
{
    const char *tail = NULL;
    *out = NULL;
    if (sqlite3_prepare_v2(run->build->db, statement->sql, -1, out, &tail) != SQLITE_OK)
        return refuse_sql(run, statement);
    while (*tail == ' ' || *tail == '\t' || *tail == '\n' || *tail == '\r' || *tail == '\f')
        tail++;
    if (*tail == '\0' && *out)
        return SATCHEL_OK;
    sqlite3_finalize(*out);
    *out = NULL;
    return satchel_refuse(
        run->build->error, place_of(run, statement->line),
        "this is not one statement to SQLite; end each statement with \";\", and a "
        "trigger with \"END;\"");
}

static enum satchel_status execute(struct run *run, const struct satchel_statement *statement)
{
    sqlite3_stmt *prepared = NULL;
    enum satchel_status status = prepare(run, statement, &prepared);
    if (status != SATCHEL_OK)
        return status;
    int code = SQLITE_ROW;
    while (code == SQLITE_ROW)
        code = sqlite3_step(prepared);
    sqlite3_finalize(prepared);
    return code == SQLITE_DONE ? SATCHEL_OK : refuse_sql(run, statement);
}

/* ---- INSERT ---- */

static int note_inserted(void *context, int action, const char *table, const char *unused,
                         const char *database, const char *trigger)
{
    (void)unused, (void)database;
    const char **inserted = context;
    if (action == SQLITE_INSERT && !trigger)
        *inserted = table;
    return SQLITE_OK;
}

/* Not run here: prepared, so that a wrong name is found now. */
static enum satchel_status check_insert(struct run *run, const struct satchel_statement *statement)
{
    const char *inserted = NULL;
    sqlite3_stmt *prepared = NULL;
    sqlite3_set_authorizer(run->build->db, note_inserted, &inserted);
    enum satchel_status status = prepare(run, statement, &prepared);
    sqlite3_set_authorizer(run->build->db, NULL, NULL);
    const struct satchel_build_table *table =
        status == SATCHEL_OK && inserted ? satchel_build_find_table(run->build, inserted) : NULL;
    if (table && table->annotation->is_local)
        status =
            satchel_refuse(run->build->error, place_of(run, statement->line),
                           "rows of the local table %s do not sync, so first rows would be on no "
                           "device; fill it by a trigger, or give it a scope",
                           table->name);
    sqlite3_finalize(prepared);
    return status;
}

/* ---- CREATE and ALTER ---- */

static enum satchel_status refuse_other(struct run *run, const struct satchel_statement *statement)
{
    static const struct {
        const char *word, *remedy;
    } remedies[] = {
        {"DROP", "leave it where it is; devices that are behind may still write to it"},
        {"ALTER", "add a column, or create another table"},
        {"UPDATE", "change rows on a device, where the change has an author"},
        {"DELETE", "delete rows on a device, where the delete has an author"},
        {"REPLACE", "write INSERT"},
        {"WITH", "write INSERT INTO … WITH … SELECT"},
        {"BEGIN", "take it out; a migration is one transaction"},
        {"COMMIT", "take it out; a migration is one transaction"},
        {"END", "take it out; a migration is one transaction"},
        {"SAVEPOINT", "take it out; a migration is one transaction"},
        {"PRAGMA", "take it out; the application sets its own connections"},
    };
    struct satchel_scanner scanner = satchel_scanner_of(statement->text, statement->line);
    struct satchel_token first = satchel_scanner_next_code(&scanner);
    const char *remedy = "take it out";
    for (size_t i = 0; i < sizeof remedies / sizeof remedies[0]; i++)
        if (satchel_token_is_word(&first, remedies[i].word))
            remedy = remedies[i].remedy;
    int size = first.text.size > 40 ? 40 : (int)first.text.size;
    return satchel_refuse(
        run->build->error, place_of(run, statement->line),
        "a migration may hold CREATE, ALTER TABLE … ADD COLUMN and INSERT, not this "
        "%.*s; %s",
        size, (const char *)first.text.data, remedy);
}

static enum satchel_status check_head(struct run *run, const struct satchel_create *create,
                                      int line)
{
    struct satchel_error *error = run->build->error;
    struct satchel_place place = place_of(run, line);
    if (create->is_temporary || (create->database && satchel_names_equal(create->database, "temp")))
        return satchel_refuse(error, place,
                              "what is TEMP is gone when the migration ends; take TEMP out");
    if (create->database && !satchel_names_equal(create->database, "main"))
        return satchel_refuse(error, place,
                              "a workspace has no database \"%s\"; write the name alone",
                              create->database);
    if (!create->name || !is_reserved(create->name))
        return SATCHEL_OK;
    if (create->object == SATCHEL_OBJECT_VIEW && is_workspace_view(create->name))
        return SATCHEL_OK;
    return satchel_refuse(error, place,
                          "names that begin with satchel_ are Satchel's own, but for the views "
                          "satchel_users, satchel_grants, satchel_states and satchel_numbers; give "
                          "\"%s\" another name",
                          create->name);
}

static enum satchel_status add_columns(struct run *run, struct satchel_build_table *table,
                                       const struct satchel_definitions *definitions, bool is_added)
{
    struct satchel_build *build = run->build;
    for (uint32_t i = 0; i < definitions->count; i++) {
        const struct satchel_definition *item = &definitions->items[i];
        if (!item->name)
            continue;
        if (is_reserved(item->name))
            return satchel_refuse(
                build->error, place_of(run, item->line),
                "names that begin with satchel_ are Satchel's own; give the column "
                "\"%s\" another name",
                item->name);
        table->columns = satchel_arena_grow(&build->arena, table->columns, table->column_count,
                                            &table->column_capacity, sizeof *table->columns);
        if (!table->columns)
            return satchel_build_no_memory(build);
        struct satchel_build_column *column = &table->columns[table->column_count++];
        memset(column, 0, sizeof *column);
        column->name = item->name;
        column->place = place_of(run, item->line);
        column->migration = run->migration;
        column->is_added = is_added;
    }
    for (uint32_t i = 0; i < definitions->clause_count; i++) {
        const struct satchel_clause *found = &definitions->clauses[i];
        table->clauses = satchel_arena_grow(&build->arena, table->clauses, table->clause_count,
                                            &table->clause_capacity, sizeof *table->clauses);
        if (!table->clauses)
            return satchel_build_no_memory(build);
        struct satchel_build_clause *clause = &table->clauses[table->clause_count++];
        clause->kind = found->kind;
        clause->column = definitions->items[found->definition].name;
        clause->place = place_of(run, found->line);
        clause->expression =
            (const char *)satchel_arena_copy(&build->arena, found->expression).data;
        if (!clause->expression)
            return satchel_build_no_memory(build);
    }
    return SATCHEL_OK;
}

static enum satchel_status add_table(struct run *run, const struct satchel_statement *statement,
                                     bool is_virtual, struct satchel_build_table **out)
{
    struct satchel_build *build = run->build;
    struct satchel_place place = place_of(run, statement->line);
    const struct satchel_table_annotation *annotation = NULL;
    if (run->next_table_annotation < run->annotations.table_count &&
        run->annotations.tables[run->next_table_annotation].line < statement->line)
        annotation = &run->annotations.tables[run->next_table_annotation++];
    if (satchel_build_find_table(build, statement->name))
        return satchel_refuse(build->error, place,
                              "there is a table %s already; give this one another name",
                              statement->name);
    if (!annotation)
        return satchel_refuse(build->error, place,
                              "the table %s has no @table; put this line before it: -- @table %s",
                              statement->name, is_virtual ? "local" : "scope=all delete=edit_wins");
    if (is_virtual && !annotation->is_local)
        return satchel_refuse(
            build->error, place,
            "the virtual table %s cannot sync; write -- @table local and fill it by "
            "triggers of a synced table",
            statement->name);
    if (build->table_count == SATCHEL_TABLES_MAX)
        return satchel_refuse(build->error, place, "a workspace has at most %d tables; use fewer",
                              SATCHEL_TABLES_MAX);
    build->tables = satchel_arena_grow(&build->arena, build->tables, build->table_count,
                                       &build->table_capacity, sizeof *build->tables);
    if (!build->tables)
        return satchel_build_no_memory(build);
    struct satchel_build_table *table = &build->tables[build->table_count++];
    memset(table, 0, sizeof *table);
    table->name = statement->name;
    table->place = place;
    table->migration = run->migration;
    table->is_virtual = is_virtual;
    table->annotation = annotation;
    table->annotation_place = place_of(run, annotation->line);
    *out = table;
    if (annotation->is_local)
        return SATCHEL_OK;
    return satchel_scopes_parse(annotation->scope, &build->arena, table->scopes,
                                &table->scope_count);
}

static enum satchel_status create_table(struct run *run, const struct satchel_statement *statement)
{
    struct satchel_build *build = run->build;
    struct satchel_definitions definitions;
    struct satchel_build_table *table = NULL;
    if (!statement->name)
        return execute(run, statement); /* SQLite says what is wrong with it */
    enum satchel_status status =
        satchel_definitions_read(statement->text, statement->line, &build->arena, &definitions);
    if (status != SATCHEL_OK)
        return satchel_build_no_memory(build);
    if (definitions.count == 0)
        return satchel_refuse(
            build->error, place_of(run, statement->line),
            "the table %s has no column definitions; write the columns out instead of "
            "AS SELECT",
            statement->name);
    status = add_table(run, statement, false, &table);
    if (status == SATCHEL_OK)
        status = execute(run, statement);
    return status == SATCHEL_OK ? add_columns(run, table, &definitions, false) : status;
}

static enum satchel_status add_object(struct run *run, const struct satchel_create *create,
                                      int line)
{
    struct satchel_build *build = run->build;
    build->objects = satchel_arena_grow(&build->arena, build->objects, build->object_count,
                                        &build->object_capacity, sizeof *build->objects);
    if (!build->objects)
        return satchel_build_no_memory(build);
    struct satchel_build_object *object = &build->objects[build->object_count++];
    object->kind = create->object;
    object->name = create->name;
    object->place = place_of(run, line);
    return SATCHEL_OK;
}

static enum satchel_status create_other(struct run *run, const struct satchel_statement *statement,
                                        const struct satchel_create *create)
{
    struct satchel_build_table *table = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (create->object == SATCHEL_OBJECT_VIRTUAL_TABLE && create->name)
        status = add_table(run, statement, true, &table);
    if (status == SATCHEL_OK)
        status = execute(run, statement);
    if (status != SATCHEL_OK || !create->name)
        return status;
    if (create->object == SATCHEL_OBJECT_INDEX && create->is_unique && create->target) {
        table = satchel_build_find_table(run->build, create->target);
        if (table && !table->annotation->is_local)
            return satchel_refuse(
                run->build->error, place_of(run, statement->line),
                "the UNIQUE index %s cannot hold on %s, because two devices may write "
                "the same value apart; declare the column @key, or derive the primary "
                "key from it with satchel_uuid5()",
                create->name, table->name);
    }
    return create->object == SATCHEL_OBJECT_VIRTUAL_TABLE
               ? SATCHEL_OK
               : add_object(run, create, statement->line);
}

static enum satchel_status add_column(struct run *run, const struct satchel_statement *statement)
{
    struct satchel_build *build = run->build;
    struct satchel_definitions definitions;
    if (satchel_definitions_read(statement->text, statement->line, &build->arena, &definitions) !=
        SATCHEL_OK)
        return satchel_build_no_memory(build);
    enum satchel_status status = execute(run, statement);
    struct satchel_build_table *table = satchel_build_find_table(build, statement->name);
    if (status != SATCHEL_OK || !table)
        return status;
    return add_columns(run, table, &definitions, true);
}

static enum satchel_status run_statement(struct run *run, const struct satchel_statement *statement)
{
    struct satchel_create create;
    enum satchel_status status = SATCHEL_OK;
    switch (statement->kind) {
    case SATCHEL_STATEMENT_INSERT: return check_insert(run, statement);
    case SATCHEL_STATEMENT_ADD_COLUMN: return add_column(run, statement);
    case SATCHEL_STATEMENT_OTHER: return refuse_other(run, statement);
    case SATCHEL_STATEMENT_CREATE_TABLE:
    case SATCHEL_STATEMENT_CREATE_OTHER: break;
    }
    if (satchel_create_read(statement->text, statement->line, &run->build->arena, &create) !=
        SATCHEL_OK)
        return satchel_build_no_memory(run->build);
    status = check_head(run, &create, statement->line);
    if (status != SATCHEL_OK)
        return status;
    return statement->kind == SATCHEL_STATEMENT_CREATE_TABLE
               ? create_table(run, statement)
               : create_other(run, statement, &create);
}

/* ---- annotations of columns ---- */

static enum satchel_status change_rule(struct run *run,
                                       const struct satchel_column_annotation *annotation,
                                       const struct satchel_build_table *table,
                                       const struct satchel_build_column *column)
{
    struct satchel_error *error = run->build->error;
    struct satchel_place place = place_of(run, annotation->line);
    if (!table)
        return satchel_refuse(error, place, "@column names no table there is: %s; correct the name",
                              annotation->table);
    if (!column)
        return satchel_refuse(error, place,
                              "@column names no column there is: %s.%s; correct the name",
                              table->name, annotation->column);
    if (column->migration == run->migration)
        return satchel_refuse(
            error, place,
            "@column changes a rule in a later migration, and %s.%s is defined in "
            "this one; put the rule beside the column's definition",
            table->name, column->name);
    return SATCHEL_OK;
}

static enum satchel_status apply_annotations(struct run *run)
{
    for (uint32_t i = 0; i < run->annotations.column_count; i++) {
        const struct satchel_column_annotation *annotation = &run->annotations.columns[i];
        struct satchel_build_table *table = satchel_build_find_table(run->build, annotation->table);
        struct satchel_build_column *column =
            table ? satchel_build_find_column(table, annotation->column) : NULL;
        if (annotation->changes_rule) {
            enum satchel_status status = change_rule(run, annotation, table, column);
            if (status != SATCHEL_OK)
                return status;
        }
        if (!column)
            continue; /* cannot be: the definition that was annotated has been run */
        if (table->annotation->is_local)
            return satchel_refuse(
                run->build->error, place_of(run, annotation->line),
                "%s has no rules, because it is @table local; take %s out, or give "
                "the table a scope",
                table->name, annotation->rule);
        column->annotation = annotation;
        column->annotation_place = place_of(run, annotation->line);
    }
    return SATCHEL_OK;
}

enum satchel_status satchel_build_migration(struct satchel_build *build,
                                            const struct satchel_migration *migration)
{
    struct run run = {.build = build, .migration = (uint32_t)migration->number};
    run.file = migration->name.size
                   ? (const char *)satchel_arena_copy(&build->arena, migration->name).data
                   : "migration";
    if (!run.file)
        return satchel_build_no_memory(build);
    enum satchel_status status = satchel_annotations_read(run.file, migration->sql, &build->arena,
                                                          &run.annotations, build->error);
    for (uint32_t i = 0; status == SATCHEL_OK && i < run.annotations.statement_count; i++)
        status = run_statement(&run, &run.annotations.statements[i]);
    return status == SATCHEL_OK ? apply_annotations(&run) : status;
}
