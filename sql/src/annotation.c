/* Owns cutting a migration into statements and matching its annotations to the tables and columns
 * they stand beside. Must not know SQLite, nor what a rule means for a table. */
#include <satchel/annotation.h>

#include "annotation_grammar.h"
#include "definitions.h"

enum { MIGRATION_BYTES_MAX = 4 << 20 };

/* One migration being read. */
struct reading {
    const char *file;
    struct satchel_scanner scanner;
    struct satchel_arena *arena;
    struct satchel_error *error;
    struct satchel_annotations *out;
    uint32_t statement_capacity, table_capacity, column_capacity;
    /* the @table not yet followed by its CREATE TABLE */
    struct satchel_table_annotation waiting;
    bool is_waiting;
    /* the last statement, while the scanner is on the line of its ';' */
    struct satchel_definitions last;
    int last_line_semicolon;
    bool last_is_add_column;
    int line_code_end; /* where the last thing that is no space ended */
};

static enum satchel_status no_memory(struct reading *reading)
{
    return satchel_error_set(reading->error, SATCHEL_NOMEM, "%s: out of memory", reading->file);
}

static struct satchel_place place_of(const struct reading *reading, int line)
{
    struct satchel_place place = {reading->file, line};
    return place;
}

/* The body of a line comment that is an annotation. */
static bool annotation_body(const struct satchel_token *comment, struct satchel_span *body)
{
    const uint8_t *at = comment->text.data + 2;
    const uint8_t *end = comment->text.data + comment->text.size;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    *body = satchel_span_of(at, (size_t)(end - at));
    return comment->kind == SATCHEL_TOKEN_LINE_COMMENT && at < end && *at == '@';
}

/* ---- what was read, added to the result ---- */

static enum satchel_status add_column(struct reading *reading,
                                      const struct satchel_column_annotation *column)
{
    struct satchel_annotations *out = reading->out;
    /* Comments come in the order of the text, so two beside one definition are neighbours. */
    const struct satchel_column_annotation *earlier =
        out->column_count ? &out->columns[out->column_count - 1] : NULL;
    if (earlier && !column->changes_rule && earlier->column == column->column)
        return satchel_refuse(reading->error, place_of(reading, column->line),
                              "column %s has an annotation on line %d already; take one out",
                              column->column, earlier->line);
    out->columns = satchel_arena_grow(reading->arena, out->columns, out->column_count,
                                      &reading->column_capacity, sizeof *out->columns);
    if (!out->columns)
        return no_memory(reading);
    out->columns[out->column_count++] = *column;
    return SATCHEL_OK;
}

static enum satchel_status add_table(struct reading *reading, const char *name)
{
    struct satchel_annotations *out = reading->out;
    out->tables = satchel_arena_grow(reading->arena, out->tables, out->table_count,
                                     &reading->table_capacity, sizeof *out->tables);
    if (!out->tables)
        return no_memory(reading);
    reading->waiting.table = name;
    out->tables[out->table_count++] = reading->waiting;
    reading->is_waiting = false;
    return SATCHEL_OK;
}

/* ---- annotations and where they may stand ---- */

/* A column's rule: belongs to a definition of `all`, which the statement that contains the comment
 * or has just ended on its line consists of. */
static enum satchel_status place_rule(struct reading *reading,
                                      const struct satchel_definitions *all, bool behind_add_column,
                                      const struct satchel_token *comment,
                                      struct satchel_column_annotation *column)
{
    const struct satchel_definition *definition =
        behind_add_column && all->count
            ? &all->items[0]
            : satchel_definitions_beside(all, comment->text.data, comment->line);
    struct satchel_place place = place_of(reading, comment->line);
    if (!definition)
        return satchel_refuse(reading->error, place,
                              "%s stands beside no column; put it on the line where the column's "
                              "definition or its comma ends",
                              column->rule);
    if (!definition->name)
        return satchel_refuse(reading->error, place,
                              "%s stands behind a table constraint; put it on the line where the "
                              "column's definition or its comma ends",
                              column->rule);
    column->table = all->table;
    column->column = definition->name;
    return add_column(reading, column);
}

static enum satchel_status place_table(struct reading *reading, const struct satchel_token *comment,
                                       const struct satchel_table_annotation *table)
{
    struct satchel_place place = place_of(reading, comment->line);
    if (reading->line_code_end == comment->line)
        return satchel_refuse(
            reading->error, place,
            "@table stands behind something else; put it on a line of its own before "
            "its CREATE TABLE");
    if (reading->is_waiting)
        return satchel_refuse(
            reading->error, place,
            "the @table on line %d has no CREATE TABLE yet; take one of the two out",
            reading->waiting.line);
    reading->waiting = *table;
    reading->is_waiting = true;
    return SATCHEL_OK;
}

/* An annotation between two statements. */
static enum satchel_status read_between(struct reading *reading,
                                        const struct satchel_token *comment,
                                        struct satchel_span body)
{
    struct satchel_annotation annotation;
    struct satchel_place place = place_of(reading, comment->line);
    enum satchel_status status =
        satchel_annotation_parse(body, place, reading->arena, &annotation, reading->error);
    if (status != SATCHEL_OK)
        return status;
    if (annotation.kind == SATCHEL_ANNOTATION_TABLE)
        return place_table(reading, comment, &annotation.table);
    if (annotation.kind == SATCHEL_ANNOTATION_CHANGE)
        return add_column(reading, &annotation.column);
    if (reading->last_line_semicolon == comment->line && reading->last.table)
        return place_rule(reading, &reading->last, reading->last_is_add_column, comment,
                          &annotation.column);
    return satchel_refuse(reading->error, place,
                          "%s stands between two statements; put it on the line where the column's "
                          "definition or its comma ends, or use -- @column table.column %s",
                          annotation.column.rule, annotation.column.rule);
}

/* Whether definition text goes on behind `comment`: then the comment is in the middle of it. */
static bool code_follows(const struct satchel_token *comment, const uint8_t *end)
{
    const uint8_t *behind = comment->text.data + comment->text.size;
    struct satchel_scanner scanner =
        satchel_scanner_of(satchel_span_of(behind, (size_t)(end - behind)), 1);
    return satchel_scanner_next_code(&scanner).kind != SATCHEL_TOKEN_END;
}

/* An annotation inside a statement that ends (without its ';') at `end`. */
static enum satchel_status read_inside(struct reading *reading, enum satchel_statement_kind kind,
                                       const struct satchel_definitions *all,
                                       const struct satchel_token *comment,
                                       struct satchel_span body, const uint8_t *end)
{
    struct satchel_annotation annotation;
    struct satchel_place place = place_of(reading, comment->line);
    enum satchel_status status =
        satchel_annotation_parse(body, place, reading->arena, &annotation, reading->error);
    if (status != SATCHEL_OK)
        return status;
    if (annotation.kind != SATCHEL_ANNOTATION_COLUMN)
        return satchel_refuse(
            reading->error, place,
            "%s stands inside a statement; put it on a line of its own before one",
            annotation.kind == SATCHEL_ANNOTATION_TABLE ? "@table" : "@column");
    if (!all->table)
        return satchel_refuse(
            reading->error, place,
            "%s stands in a statement that defines no column; take it out, or begin "
            "the remark with another sign than \"@\"",
            annotation.column.rule);
    bool behind_add_column = kind == SATCHEL_STATEMENT_ADD_COLUMN && !code_follows(comment, end);
    return place_rule(reading, all, behind_add_column, comment, &annotation.column);
}

/* ---- statements ---- */

static char *copy_without_comments(struct satchel_arena *arena, struct satchel_span text)
{
    char *sql = (char *)(uintptr_t)satchel_arena_copy(arena, text).data;
    struct satchel_scanner scanner = satchel_scanner_of(text, 1);
    for (struct satchel_token token = satchel_scanner_next(&scanner);
         sql && token.kind != SATCHEL_TOKEN_END; token = satchel_scanner_next(&scanner)) {
        if (token.kind != SATCHEL_TOKEN_LINE_COMMENT && token.kind != SATCHEL_TOKEN_BLOCK_COMMENT)
            continue;
        char *at = sql + (token.text.data - text.data);
        for (size_t i = 0; i < token.text.size; i++)
            if (at[i] != '\n')
                at[i] = ' ';
    }
    return sql;
}

static enum satchel_statement_kind kind_of(struct satchel_span text,
                                           const struct satchel_create *create,
                                           const struct satchel_definitions *definitions)
{
    struct satchel_scanner scanner = satchel_scanner_of(text, 1);
    struct satchel_token first = satchel_scanner_next_code(&scanner);
    if (create->object == SATCHEL_OBJECT_TABLE)
        return SATCHEL_STATEMENT_CREATE_TABLE;
    if (create->object != SATCHEL_OBJECT_NONE)
        return SATCHEL_STATEMENT_CREATE_OTHER;
    if (definitions->table)
        return SATCHEL_STATEMENT_ADD_COLUMN;
    return satchel_token_is_word(&first, "INSERT") ? SATCHEL_STATEMENT_INSERT
                                                   : SATCHEL_STATEMENT_OTHER;
}

/* The @table before a statement: taken by a CREATE [VIRTUAL] TABLE, a mistake before anything else.
 */
static enum satchel_status settle_waiting(struct reading *reading,
                                          const struct satchel_create *create, int line)
{
    if (!reading->is_waiting)
        return SATCHEL_OK;
    bool creates_table =
        create->object == SATCHEL_OBJECT_TABLE || create->object == SATCHEL_OBJECT_VIRTUAL_TABLE;
    if (creates_table && create->name)
        return add_table(reading, create->name);
    return satchel_refuse(
        reading->error, place_of(reading, reading->waiting.line),
        "@table stands before a statement (line %d) that creates no table; put it "
        "directly before its CREATE TABLE",
        line);
}

static enum satchel_status read_comments(struct reading *reading,
                                         const struct satchel_statement *statement,
                                         const struct satchel_definitions *definitions)
{
    const uint8_t *end = statement->text.data + statement->text.size;
    struct satchel_scanner scanner = satchel_scanner_of(statement->text, statement->line);
    enum satchel_status status = SATCHEL_OK;
    for (;;) {
        struct satchel_token token = satchel_scanner_next(&scanner);
        struct satchel_span body;
        if (token.kind == SATCHEL_TOKEN_END || status != SATCHEL_OK)
            return status;
        if (annotation_body(&token, &body))
            status = read_inside(reading, statement->kind, definitions, &token, body, end);
    }
}

static enum satchel_status add_statement(struct reading *reading, struct satchel_span text,
                                         int line)
{
    struct satchel_annotations *out = reading->out;
    out->statements = satchel_arena_grow(reading->arena, out->statements, out->statement_count,
                                         &reading->statement_capacity, sizeof *out->statements);
    if (!out->statements)
        return no_memory(reading);
    struct satchel_statement *statement = &out->statements[out->statement_count++];
    struct satchel_create create;
    enum satchel_status status = satchel_create_read(text, line, reading->arena, &create);
    if (status == SATCHEL_OK)
        status = satchel_definitions_read(text, line, reading->arena, &reading->last);
    if (status != SATCHEL_OK)
        return no_memory(reading);
    statement->text = text;
    statement->line = line;
    statement->kind = kind_of(text, &create, &reading->last);
    statement->name =
        create.object == SATCHEL_OBJECT_VIRTUAL_TABLE ? create.name : reading->last.table;
    statement->sql = copy_without_comments(reading->arena, text);
    reading->last_is_add_column = statement->kind == SATCHEL_STATEMENT_ADD_COLUMN;
    if (!statement->sql)
        return no_memory(reading);
    status = settle_waiting(reading, &create, line);
    return status == SATCHEL_OK ? read_comments(reading, statement, &reading->last) : status;
}

static enum satchel_status refuse_unterminated(struct reading *reading,
                                               const struct satchel_token *token)
{
    return satchel_refuse(reading->error, place_of(reading, token->line), "%s never ends; close it",
                          token->text.data[0] == '/' ? "the comment /* that begins here"
                                                     : "the quoted text that begins here");
}

/* Reads what stands between statements up to the first token of one. False: the text has ended. */
static enum satchel_status read_gap(struct reading *reading, bool *more)
{
    for (;;) {
        struct satchel_scanner before = reading->scanner;
        struct satchel_token token = satchel_scanner_next(&reading->scanner);
        struct satchel_span body;
        *more = token.kind != SATCHEL_TOKEN_END;
        if (!*more)
            return SATCHEL_OK;
        if (token.kind == SATCHEL_TOKEN_UNTERMINATED)
            return refuse_unterminated(reading, &token);
        if (annotation_body(&token, &body)) {
            enum satchel_status status = read_between(reading, &token, body);
            if (status != SATCHEL_OK)
                return status;
        } else if (satchel_token_is_code(&token) && !satchel_token_is_sign(&token, ';')) {
            reading->scanner = before;
            return SATCHEL_OK;
        }
        if (token.kind != SATCHEL_TOKEN_SPACE)
            reading->line_code_end = token.line_end;
    }
}

static enum satchel_status read_statements(struct reading *reading)
{
    for (;;) {
        bool more = false;
        enum satchel_status status = read_gap(reading, &more);
        if (status != SATCHEL_OK || !more)
            return status;
        struct satchel_statement_end found = satchel_scanner_skip_statement(&reading->scanner);
        if (found.unterminated.kind == SATCHEL_TOKEN_UNTERMINATED)
            return refuse_unterminated(reading, &found.unterminated);
        /* Comments behind the last code token and before the ';' belong to the statement. */
        const uint8_t *end = reading->scanner.at - (found.line_semicolon ? 1 : 0);
        struct satchel_span text = satchel_span_of(found.begin, (size_t)(end - found.begin));
        status = add_statement(reading, text, found.line);
        if (status != SATCHEL_OK)
            return status;
        reading->last_line_semicolon = found.line_semicolon;
        reading->line_code_end = reading->scanner.line;
    }
}

enum satchel_status satchel_annotations_read(const char *file_name, struct satchel_span sql,
                                             struct satchel_arena *arena,
                                             struct satchel_annotations *out,
                                             struct satchel_error *error)
{
    memset(out, 0, sizeof *out);
    if (sql.size > MIGRATION_BYTES_MAX)
        return satchel_error_set(
            error, SATCHEL_LIMIT,
            "%s: a migration has at most 4 MiB of text; split it, and load large "
            "amounts of rows with satchel import",
            file_name);
    struct reading reading = {.file = file_name, .arena = arena, .error = error, .out = out};
    const uint8_t *nul = sql.size ? memchr(sql.data, 0, sql.size) : NULL;
    if (nul) {
        int line = 1;
        for (const uint8_t *at = sql.data; at < nul; at++)
            line += *at == '\n';
        return satchel_refuse(error, place_of(&reading, line),
                              "a NUL byte stands in the text; save the file as UTF-8 text");
    }
    reading.scanner = satchel_scanner_of(sql, 1);
    enum satchel_status status = read_statements(&reading);
    if (status == SATCHEL_OK && reading.is_waiting)
        return satchel_refuse(
            error, place_of(&reading, reading.waiting.line),
            "@table stands before no CREATE TABLE; put it directly before its table");
    return status;
}
