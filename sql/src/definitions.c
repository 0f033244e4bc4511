/* Owns finding the definitions inside CREATE and ALTER TABLE statements. Must not know annotations,
 * nor judge what it finds: text that SQLite will refuse may yield anything that is in bounds. */
#include "definitions.h"

void *satchel_arena_grow(struct satchel_arena *arena, void *array, uint32_t count,
                         uint32_t *capacity, size_t element_bytes)
{
    if (count < *capacity)
        return array;
    uint32_t grown = *capacity ? *capacity * 2 : 16;
    if (grown <= *capacity || grown > SIZE_MAX / element_bytes)
        return NULL;
    void *wider = satchel_arena_alloc_zero(arena, grown * element_bytes);
    if (!wider)
        return NULL;
    if (count)
        memcpy(wider, array, count * element_bytes);
    *capacity = grown;
    return wider;
}

/* ---- the head ---- */

struct reader {
    struct satchel_scanner scanner;
    struct satchel_token token; /* the next one, not yet taken */
};

static void advance(struct reader *reader)
{
    reader->token = satchel_scanner_next_code(&reader->scanner);
}

static bool take_word(struct reader *reader, const char *keyword)
{
    if (!satchel_token_is_word(&reader->token, keyword))
        return false;
    advance(reader);
    return true;
}

static bool is_name(const struct satchel_token *token)
{
    return token->kind == SATCHEL_TOKEN_WORD || token->kind == SATCHEL_TOKEN_NAME ||
           token->kind == SATCHEL_TOKEN_STRING;
}

static enum satchel_status take_name(struct reader *reader, struct satchel_arena *arena,
                                     const char **name)
{
    *name = NULL;
    if (!is_name(&reader->token))
        return SATCHEL_OK;
    *name = satchel_token_name(&reader->token, arena);
    advance(reader);
    return *name ? SATCHEL_OK : SATCHEL_NOMEM;
}

/* [database .] name */
static enum satchel_status take_full_name(struct reader *reader, struct satchel_arena *arena,
                                          const char **database, const char **name)
{
    *database = NULL;
    enum satchel_status status = take_name(reader, arena, name);
    if (status == SATCHEL_OK && *name && satchel_token_is_sign(&reader->token, '.')) {
        advance(reader);
        *database = *name;
        status = take_name(reader, arena, name);
    }
    return status;
}

static struct reader reader_of(struct satchel_span statement, int line)
{
    struct reader reader = {.scanner = satchel_scanner_of(statement, line)};
    advance(&reader);
    return reader;
}

static enum satchel_object_kind take_object(struct reader *reader, struct satchel_create *create)
{
    create->is_temporary = take_word(reader, "TEMP") || take_word(reader, "TEMPORARY");
    if (take_word(reader, "TABLE"))
        return SATCHEL_OBJECT_TABLE;
    if (take_word(reader, "VIEW"))
        return SATCHEL_OBJECT_VIEW;
    if (take_word(reader, "TRIGGER"))
        return SATCHEL_OBJECT_TRIGGER;
    if (take_word(reader, "VIRTUAL"))
        return take_word(reader, "TABLE") ? SATCHEL_OBJECT_VIRTUAL_TABLE : SATCHEL_OBJECT_NONE;
    create->is_unique = take_word(reader, "UNIQUE");
    return take_word(reader, "INDEX") ? SATCHEL_OBJECT_INDEX : SATCHEL_OBJECT_NONE;
}

/* The first ON is the one of the head: nothing before it in an index or trigger may be a bare `on`.
 */
static enum satchel_status take_target(struct reader *reader, struct satchel_arena *arena,
                                       const char **target)
{
    while (reader->token.kind != SATCHEL_TOKEN_END && !satchel_token_is_word(&reader->token, "ON"))
        advance(reader);
    const char *database = NULL;
    return take_word(reader, "ON") ? take_full_name(reader, arena, &database, target) : SATCHEL_OK;
}

enum satchel_status satchel_create_read(struct satchel_span statement, int line,
                                        struct satchel_arena *arena, struct satchel_create *out)
{
    memset(out, 0, sizeof *out);
    struct reader reader = reader_of(statement, line);
    if (!take_word(&reader, "CREATE"))
        return SATCHEL_OK;
    out->object = take_object(&reader, out);
    if (out->object == SATCHEL_OBJECT_NONE)
        return SATCHEL_OK;
    if (take_word(&reader, "IF")) {
        take_word(&reader, "NOT");
        take_word(&reader, "EXISTS");
    }
    enum satchel_status status = take_full_name(&reader, arena, &out->database, &out->name);
    out->behind_name = reader.token.text.data;
    out->line_behind_name = reader.token.line;
    if (status == SATCHEL_OK &&
        (out->object == SATCHEL_OBJECT_INDEX || out->object == SATCHEL_OBJECT_TRIGGER))
        status = take_target(&reader, arena, &out->target);
    out->behind_target = reader.token.text.data;
    return status;
}

/* ---- the definitions ---- */

static bool begins_constraint(const struct satchel_token *token)
{
    return satchel_token_is_word(token, "CONSTRAINT") || satchel_token_is_word(token, "PRIMARY") ||
           satchel_token_is_word(token, "UNIQUE") || satchel_token_is_word(token, "CHECK") ||
           satchel_token_is_word(token, "FOREIGN");
}

static enum satchel_status add_item(struct satchel_definitions *out,
                                    const struct satchel_token *token, bool may_be_constraint,
                                    struct satchel_arena *arena)
{
    out->items =
        satchel_arena_grow(arena, out->items, out->count, &out->capacity, sizeof *out->items);
    if (!out->items)
        return SATCHEL_NOMEM;
    struct satchel_definition *item = &out->items[out->count++];
    memset(item, 0, sizeof *item);
    item->begin = token->text.data;
    item->line = token->line;
    item->line_end = token->line_end;
    if (may_be_constraint && begins_constraint(token))
        return SATCHEL_OK;
    item->name = is_name(token) ? satchel_token_name(token, arena) : "";
    return item->name ? SATCHEL_OK : SATCHEL_NOMEM;
}

static enum satchel_status add_clause(struct satchel_definitions *out,
                                      enum satchel_clause_kind kind, int line,
                                      struct satchel_arena *arena)
{
    out->clauses = satchel_arena_grow(arena, out->clauses, out->clause_count, &out->clause_capacity,
                                      sizeof *out->clauses);
    if (!out->clauses)
        return SATCHEL_NOMEM;
    struct satchel_clause *clause = &out->clauses[out->clause_count++];
    memset(clause, 0, sizeof *clause);
    clause->kind = kind;
    clause->definition = out->count - 1;
    clause->line = line;
    return SATCHEL_OK;
}

/* Takes the rest of a parenthesis whose '(' is the reader's token. Gives what is inside. */
static struct satchel_span take_parenthesis(struct reader *reader, int *line_end)
{
    const uint8_t *begin = reader->token.text.data + 1;
    uint32_t depth = 0;
    do {
        if (satchel_token_is_sign(&reader->token, '('))
            depth++;
        else if (satchel_token_is_sign(&reader->token, ')'))
            depth--;
        if (depth == 0)
            break;
        advance(reader);
    } while (reader->token.kind != SATCHEL_TOKEN_END);
    struct satchel_span inside = satchel_span_of(begin, (size_t)(reader->token.text.data - begin));
    *line_end = reader->token.line_end;
    if (reader->token.kind != SATCHEL_TOKEN_END)
        advance(reader);
    return inside;
}

/* Takes one definition up to its ',' or the ')' of the body or the end. */
static enum satchel_status take_item(struct reader *reader, struct satchel_definitions *out,
                                     bool may_be_constraint, struct satchel_arena *arena)
{
    enum satchel_status status = add_item(out, &reader->token, may_be_constraint, arena);
    bool at_name = status == SATCHEL_OK && out->items[out->count - 1].name;
    bool in_check = false;
    while (status == SATCHEL_OK && reader->token.kind != SATCHEL_TOKEN_END &&
           !satchel_token_is_sign(&reader->token, ',') &&
           !satchel_token_is_sign(&reader->token, ')')) {
        struct satchel_definition *item = &out->items[out->count - 1];
        if (satchel_token_is_sign(&reader->token, '(')) {
            struct satchel_span inside = take_parenthesis(reader, &item->line_end);
            if (in_check)
                out->clauses[out->clause_count - 1].expression = inside;
            in_check = at_name = false;
            continue;
        }
        in_check = false;
        if (!at_name && satchel_token_is_word(&reader->token, "CHECK")) {
            status = add_clause(out, SATCHEL_CLAUSE_CHECK, reader->token.line, arena);
            in_check = true;
        } else if (!at_name && satchel_token_is_word(&reader->token, "UNIQUE")) {
            status = add_clause(out, SATCHEL_CLAUSE_UNIQUE, reader->token.line, arena);
        }
        at_name = false;
        item->line_end = reader->token.line_end;
        advance(reader);
    }
    if (status == SATCHEL_OK && satchel_token_is_sign(&reader->token, ','))
        out->items[out->count - 1].line_comma = reader->token.line;
    return status;
}

static enum satchel_status read_body(struct reader *reader, struct satchel_definitions *out,
                                     struct satchel_arena *arena)
{
    if (!satchel_token_is_sign(&reader->token, '('))
        return SATCHEL_OK; /* AS SELECT */
    enum satchel_status status = SATCHEL_OK;
    do {
        advance(reader);
        if (reader->token.kind != SATCHEL_TOKEN_END)
            status = take_item(reader, out, true, arena);
    } while (status == SATCHEL_OK && satchel_token_is_sign(&reader->token, ','));
    return status;
}

enum satchel_status satchel_definitions_read(struct satchel_span statement, int line,
                                             struct satchel_arena *arena,
                                             struct satchel_definitions *out)
{
    memset(out, 0, sizeof *out);
    struct reader reader = reader_of(statement, line);
    if (take_word(&reader, "ALTER")) {
        const char *table = NULL;
        if (!take_word(&reader, "TABLE"))
            return SATCHEL_OK;
        enum satchel_status status = take_full_name(&reader, arena, &out->database, &table);
        if (status != SATCHEL_OK || !table || !take_word(&reader, "ADD"))
            return status;
        take_word(&reader, "COLUMN");
        out->table = table;
        return reader.token.kind == SATCHEL_TOKEN_END ? SATCHEL_OK
                                                      : take_item(&reader, out, false, arena);
    }
    struct satchel_create create;
    enum satchel_status status = satchel_create_read(statement, line, arena, &create);
    if (status != SATCHEL_OK || create.object != SATCHEL_OBJECT_TABLE || !create.name)
        return status;
    out->table = create.name;
    out->database = create.database;
    struct satchel_span rest = satchel_span_of(
        create.behind_name, (size_t)(statement.data + statement.size - create.behind_name));
    reader = reader_of(rest, create.line_behind_name);
    return read_body(&reader, out, arena);
}

const struct satchel_definition *satchel_definitions_beside(const struct satchel_definitions *all,
                                                            const uint8_t *comment,
                                                            int comment_line)
{
    uint32_t first = 0, behind = all->count; /* the first that begins behind the comment */
    while (first < behind) {
        uint32_t middle = first + (behind - first) / 2;
        if (all->items[middle].begin < comment)
            first = middle + 1;
        else
            behind = middle;
    }
    const struct satchel_definition *last = first ? &all->items[first - 1] : NULL;
    if (!last || (last->line_end != comment_line && last->line_comma != comment_line))
        return NULL;
    return last;
}
