/* Owns the grammar of @table and of scopes. Must not know columns' rules. */
#include "annotation_reader.h"

#define TABLE_HINT                                                                     \
    "write -- @table scope=all delete=edit_wins, with \"append\", \"priority=1\" and " \
    "\"retain=90d\" behind it in this order if wanted, or -- @table local"

static enum satchel_status take_scope(struct satchel_reader *reader, struct satchel_scope *scope,
                                      bool *taken)
{
    memset(scope, 0, sizeof *scope);
    *taken = true;
    enum satchel_status status = SATCHEL_OK;
    if (satchel_reader_take(reader, "row")) {
        scope->kind = SATCHEL_SCOPE_ROW;
        status = satchel_reader_take_names(reader, ',', SATCHEL_SCOPE_NAMES_MAX, scope->names,
                                           &scope->name_count);
    } else if (satchel_reader_take(reader, "via")) {
        scope->kind = SATCHEL_SCOPE_VIA;
        status = satchel_reader_take_names(reader, ',', 2, scope->names, &scope->name_count);
    } else if (satchel_reader_take(reader, "server")) {
        scope->kind = SATCHEL_SCOPE_SERVER;
    } else if (satchel_reader_take(reader, "all")) {
        scope->kind = SATCHEL_SCOPE_ALL;
    } else {
        *taken = false;
        return SATCHEL_OK;
    }
    if (status == SATCHEL_OK && !satchel_reader_at_gap(reader))
        return satchel_reader_refuse_at(
            reader, "a space",
            "the scopes are all, server, row(column, ...), via(column) and "
            "via(type_column, id_column)");
    return status;
}

/* A copy with runs of space as one. */
static char *copy_single_spaced(struct satchel_arena *arena, const uint8_t *begin,
                                const uint8_t *end)
{
    char *text = satchel_arena_alloc(arena, (size_t)(end - begin) + 1);
    size_t size = 0;
    for (const uint8_t *at = begin; text && at < end; at++)
        if (!satchel_reader_is_space(*at))
            text[size++] = (char)*at;
        else if (size && text[size - 1] != ' ')
            text[size++] = ' ';
    while (text && size && text[size - 1] == ' ')
        size--;
    if (text)
        text[size] = '\0';
    return text;
}

static enum satchel_status take_scopes(struct satchel_reader *reader,
                                       struct satchel_table_annotation *table)
{
    struct satchel_scope scope;
    bool taken = false;
    if (!satchel_reader_take(reader, "scope="))
        return satchel_reader_refuse_at(reader, "\"scope=\" or \"local\"", TABLE_HINT);
    const uint8_t *begin = reader->at;
    enum satchel_status status = take_scope(reader, &scope, &taken);
    if (status == SATCHEL_OK && !taken)
        return satchel_reader_refuse_at(
            reader, "a scope",
            "the scopes are all, server, row(column, ...), via(column) and "
            "via(type_column, id_column)");
    const uint8_t *end = reader->at;
    satchel_reader_skip_spaces(reader);
    if (status == SATCHEL_OK)
        status = take_scope(reader, &scope, &taken);
    if (status != SATCHEL_OK)
        return status;
    if (taken)
        end = reader->at;
    table->scope = copy_single_spaced(reader->arena, begin, end);
    return table->scope ? SATCHEL_OK : satchel_reader_no_memory(reader);
}

static enum satchel_status take_policy(struct satchel_reader *reader,
                                       struct satchel_table_annotation *table)
{
    static const char *const policies[] = {"forbid", "restrict", "edit_wins", "delete_wins"};
    satchel_reader_skip_spaces(reader);
    if (!satchel_reader_take(reader, "delete="))
        return satchel_reader_refuse_at(reader, "\"delete=\"", TABLE_HINT);
    struct satchel_span word = satchel_reader_peek_word(reader);
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++)
        if (satchel_reader_word_is(word, policies[i])) {
            reader->at += word.size;
            table->policy = policies[i];
            return SATCHEL_OK;
        }
    return satchel_reader_refuse_at(reader, "a delete policy",
                                    "the policies are forbid, restrict, edit_wins and delete_wins");
}

/* A decimal number of at most nine digits. */
static bool take_number(struct satchel_reader *reader, int64_t *out)
{
    const uint8_t *begin = reader->at;
    *out = 0;
    while (reader->at < reader->end && satchel_reader_is_digit(*reader->at) &&
           reader->at - begin < 9)
        *out = *out * 10 + (*reader->at++ - '0');
    return reader->at > begin;
}

static enum satchel_status take_priority(struct satchel_reader *reader,
                                         struct satchel_table_annotation *table)
{
    satchel_reader_skip_spaces(reader);
    if (!satchel_reader_take(reader, "priority="))
        return SATCHEL_OK;
    int64_t number = 0;
    bool negative = satchel_reader_take(reader, "-");
    if (!take_number(reader, &number) || !satchel_reader_at_gap(reader))
        return satchel_reader_refuse_at(reader, "a whole number of at most nine digits",
                                        TABLE_HINT);
    table->priority = (int)(negative ? -number : number);
    return SATCHEL_OK;
}

static enum satchel_status take_retain(struct satchel_reader *reader,
                                       struct satchel_table_annotation *table)
{
    static const char remedy[] = "write retain=90d, retain=18m or retain=10y";
    satchel_reader_skip_spaces(reader);
    if (!satchel_reader_take(reader, "retain="))
        return SATCHEL_OK;
    int64_t number = 0;
    if (!take_number(reader, &number) || number == 0)
        return satchel_reader_refuse_at(reader, "a positive number of at most nine digits", remedy);
    int64_t days = satchel_reader_take(reader, "d")   ? 1
                   : satchel_reader_take(reader, "m") ? 30
                   : satchel_reader_take(reader, "y") ? 365
                                                      : 0;
    if (days == 0 || !satchel_reader_at_gap(reader))
        return satchel_reader_refuse_at(reader, "\"d\", \"m\" or \"y\"", remedy);
    table->retain_days = number * days;
    return SATCHEL_OK;
}

enum satchel_status satchel_annotation_take_table(struct satchel_reader *reader,
                                                  struct satchel_table_annotation *table)
{
    if (!satchel_reader_at_gap(reader))
        return satchel_reader_refuse_at(reader, "a space", TABLE_HINT);
    satchel_reader_skip_spaces(reader);
    if (satchel_reader_word_is(satchel_reader_peek_word(reader), "local")) {
        satchel_reader_take(reader, "local");
        table->is_local = true;
    } else {
        enum satchel_status status = take_scopes(reader, table);
        if (status == SATCHEL_OK)
            status = take_policy(reader, table);
        if (status != SATCHEL_OK)
            return status;
        satchel_reader_skip_spaces(reader);
        if (satchel_reader_word_is(satchel_reader_peek_word(reader), "append"))
            table->is_append = satchel_reader_take(reader, "append");
        status = take_priority(reader, table);
        if (status == SATCHEL_OK)
            status = take_retain(reader, table);
        if (status != SATCHEL_OK)
            return status;
    }
    satchel_reader_skip_spaces(reader);
    return satchel_reader_at_end(reader)
               ? SATCHEL_OK
               : satchel_reader_refuse_at(reader, "the end of the line", TABLE_HINT);
}

enum satchel_status satchel_scopes_parse(const char *text, struct satchel_arena *arena,
                                         struct satchel_scope scopes[2], uint32_t *count)
{
    struct satchel_span span = satchel_span_text(text);
    struct satchel_reader reader = {span.data, span.data + span.size, {"", 0}, arena, NULL};
    enum satchel_status status = SATCHEL_OK;
    bool taken = true;
    for (*count = 0; status == SATCHEL_OK && taken && *count < 2;) {
        satchel_reader_skip_spaces(&reader);
        status = take_scope(&reader, &scopes[*count], &taken);
        *count += status == SATCHEL_OK && taken;
    }
    return status;
}
