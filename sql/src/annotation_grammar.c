/* Owns the grammar of columns' rules and modifiers, and tells the kinds of annotation apart. Must
 * not know statements, files or SQLite. */
#include "annotation_reader.h"

#define RULES_HINT                                                                          \
    "the rules are @id @lww @immutable @append @first @min @max @counter @set @map @text3 " \
    "@server @key @group(g) @follows(c) @state(m) @authority(a>b) @claim(a>b)"

enum argument_kind {
    NO_ARGUMENT,
    MAYBE_ASSIGNED, /* @id(assigned) */
    MAYBE_WEAK,     /* @key(weak) */
    ONE_NAME,
    ROLES_BY_RANK
};

static const struct rule_form {
    const char *spelling;
    enum argument_kind argument;
} rule_forms[] = {
    {"@id", MAYBE_ASSIGNED},  {"@lww", NO_ARGUMENT},         {"@immutable", NO_ARGUMENT},
    {"@append", NO_ARGUMENT}, {"@first", NO_ARGUMENT},       {"@min", NO_ARGUMENT},
    {"@max", NO_ARGUMENT},    {"@counter", NO_ARGUMENT},     {"@set", NO_ARGUMENT},
    {"@map", NO_ARGUMENT},    {"@text3", NO_ARGUMENT},       {"@server", NO_ARGUMENT},
    {"@key", MAYBE_WEAK},     {"@group", ONE_NAME},          {"@follows", ONE_NAME},
    {"@state", ONE_NAME},     {"@authority", ROLES_BY_RANK}, {"@claim", ROLES_BY_RANK},
};

enum { RULE_FORM_COUNT = sizeof rule_forms / sizeof rule_forms[0] };

enum satchel_rule satchel_rule_of_spelling(const char *spelling)
{
    static const char *const spellings[] = {
#define SPELLING(name, text) text,
        SATCHEL_RULE_TABLE(SPELLING)
#undef SPELLING
    };
    if (strcmp(spelling, "@id(assigned)") == 0)
        return SATCHEL_RULE_ID;
    for (int rule = 0; rule < SATCHEL_RULE_COUNT; rule++)
        if (strcmp(spelling, spellings[rule]) == 0)
            return (enum satchel_rule)rule;
    return SATCHEL_RULE_COUNT;
}

/* "@" and the name bytes behind it, not taken. */
static struct satchel_span peek_sign_word(const struct satchel_reader *reader)
{
    const uint8_t *at = reader->at + 1;
    while (at < reader->end && satchel_reader_is_name_byte(*at))
        at++;
    return satchel_span_of(reader->at, (size_t)(at - reader->at));
}

static const struct rule_form *form_of(struct satchel_span word, bool fold_case)
{
    for (int i = 0; i < RULE_FORM_COUNT; i++) {
        const char *spelling = rule_forms[i].spelling;
        size_t at = 0;
        while (at < word.size && spelling[at]) {
            uint8_t byte = word.data[at];
            if (fold_case && byte >= 'A' && byte <= 'Z')
                byte = (uint8_t)(byte + 32);
            if (byte != (uint8_t)spelling[at])
                break;
            at++;
        }
        if (at == word.size && spelling[at] == '\0')
            return &rule_forms[i];
    }
    return NULL;
}

/* ["(" `only` ")"]: gives `with` if it is there, `without` if not. */
static enum satchel_status take_option(struct satchel_reader *reader, const char *only,
                                       const char *without, const char *with, const char **rule)
{
    *rule = without;
    if (satchel_reader_at_end(reader) || *reader->at != '(')
        return SATCHEL_OK;
    const char *name = NULL;
    uint32_t count = 0;
    enum satchel_status status = satchel_reader_take_names(reader, ',', 1, &name, &count);
    if (status == SATCHEL_OK && strcmp(name, only) != 0)
        return satchel_refuse(reader->error, reader->place, "%s(%s) is no rule; write %s or %s",
                              without, name, without, with);
    *rule = with;
    return status;
}

static enum satchel_status take_argument(struct satchel_reader *reader,
                                         const struct rule_form *form,
                                         struct satchel_column_annotation *column)
{
    uint32_t count = 0;
    column->rule = form->spelling;
    switch (form->argument) {
    case MAYBE_ASSIGNED:
        return take_option(reader, "assigned", "@id", "@id(assigned)", &column->rule);
    case MAYBE_WEAK: return take_option(reader, "weak", "@key", "@key(weak)", &column->rule);
    case ONE_NAME: return satchel_reader_take_names(reader, ',', 1, &column->argument, &count);
    case ROLES_BY_RANK: return satchel_reader_take_roles(reader, '>', &column->argument);
    case NO_ARGUMENT: break;
    }
    if (!satchel_reader_at_end(reader) && *reader->at == '(')
        return satchel_refuse(reader->error, reader->place,
                              "%s takes nothing in parentheses; write %s and a space",
                              form->spelling, form->spelling);
    return SATCHEL_OK;
}

static enum satchel_status refuse_rule(struct satchel_reader *reader, struct satchel_span word)
{
    const struct rule_form *form = form_of(word, true);
    if (form)
        return satchel_refuse(reader->error, reader->place,
                              "\"%.*s\" is no rule; rules are written in lower case: %s",
                              SATCHEL_SHOW(word), form->spelling);
    if (satchel_reader_word_is(word, "@mask") || satchel_reader_word_is(word, "@write") ||
        satchel_reader_word_is(word, "@ref"))
        return satchel_refuse(reader->error, reader->place,
                              "\"%.*s\" stands without a rule before it; write @lww %.*s(...)",
                              SATCHEL_SHOW(word), SATCHEL_SHOW(word));
    if (word.size > 60)
        word.size = 60;
    return satchel_refuse(reader->error, reader->place, "\"%.*s\" is no annotation; " RULES_HINT,
                          SATCHEL_SHOW(word));
}

static enum satchel_status take_rule(struct satchel_reader *reader,
                                     struct satchel_column_annotation *column)
{
    if (satchel_reader_at_end(reader) || *reader->at != '@')
        return satchel_reader_refuse_at(reader, "a rule", RULES_HINT);
    struct satchel_span word = peek_sign_word(reader);
    const struct rule_form *form = form_of(word, false);
    if (!form)
        return refuse_rule(reader, word);
    reader->at += word.size;
    enum satchel_status status = take_argument(reader, form, column);
    if (status == SATCHEL_OK && !satchel_reader_at_gap(reader))
        return satchel_reader_refuse_at(reader, "a space", "put a space behind the rule");
    return status;
}

/* One modifier, if the reader stands at one. */
static enum satchel_status take_modifier(struct satchel_reader *reader,
                                         struct satchel_column_annotation *column, bool *taken)
{
    const char **slot = NULL;
    uint32_t count = 0;
    struct satchel_span word = satchel_span_text("frozen");
    *taken = !satchel_reader_at_end(reader) && *reader->at == '@';
    if (*taken) {
        word = peek_sign_word(reader);
        slot = satchel_reader_word_is(word, "@mask")    ? &column->mask
               : satchel_reader_word_is(word, "@write") ? &column->write
               : satchel_reader_word_is(word, "@ref")   ? &column->ref
                                                        : NULL;
        if (!slot && form_of(word, false))
            return satchel_refuse(reader->error, reader->place,
                                  "a column has one rule, and %.*s stands behind %s; take one out",
                                  SATCHEL_SHOW(word), column->rule);
        if (!slot)
            return satchel_reader_refuse_at(
                reader, "a modifier",
                "the modifiers are frozen(state), @mask(role, ...), @write(role, ...) and "
                "@ref(column); free text may not begin with \"@\"");
    } else if ((size_t)(reader->end - reader->at) > 6 && memcmp(reader->at, "frozen(", 7) == 0) {
        *taken = true;
        slot = &column->frozen;
    } else {
        return SATCHEL_OK; /* free text or the end */
    }
    if (*slot)
        return satchel_refuse(reader->error, reader->place, "%.*s stands twice; take one out",
                              SATCHEL_SHOW(word));
    reader->at += word.size;
    enum satchel_status status = slot == &column->mask || slot == &column->write
                                     ? satchel_reader_take_roles(reader, ',', slot)
                                     : satchel_reader_take_names(reader, ',', 1, slot, &count);
    if (status == SATCHEL_OK && !satchel_reader_at_gap(reader))
        return satchel_reader_refuse_at(reader, "a space", "put a space behind the modifier");
    return status;
}

static enum satchel_status take_column(struct satchel_reader *reader,
                                       struct satchel_column_annotation *column)
{
    enum satchel_status status = take_rule(reader, column);
    bool taken = true;
    while (status == SATCHEL_OK && taken) {
        satchel_reader_skip_spaces(reader);
        status = take_modifier(reader, column, &taken);
    }
    if (status == SATCHEL_OK && column->changes_rule && !satchel_reader_at_end(reader))
        return satchel_reader_refuse_at(reader, "a modifier or the end of the line",
                                        "put remarks into a comment of their own");
    return status;
}

/* table "." column rule {modifier} */
static enum satchel_status take_change(struct satchel_reader *reader,
                                       struct satchel_column_annotation *column)
{
    static const char remedy[] = "write -- @column table.column @rule";
    column->changes_rule = true;
    if (!satchel_reader_at_gap(reader) || satchel_reader_at_end(reader))
        return satchel_reader_refuse_at(reader, "a table's name", remedy);
    satchel_reader_skip_spaces(reader);
    enum satchel_status status = satchel_reader_take_name(reader, &column->table);
    if (status == SATCHEL_OK && !satchel_reader_take(reader, "."))
        return satchel_reader_refuse_at(reader, "\".\"", remedy);
    if (status == SATCHEL_OK)
        status = satchel_reader_take_name(reader, &column->column);
    if (status == SATCHEL_OK && !satchel_reader_at_gap(reader))
        return satchel_reader_refuse_at(reader, "a space", remedy);
    satchel_reader_skip_spaces(reader);
    return status == SATCHEL_OK ? take_column(reader, column) : status;
}

enum satchel_status satchel_annotation_parse(struct satchel_span body, struct satchel_place place,
                                             struct satchel_arena *arena,
                                             struct satchel_annotation *out,
                                             struct satchel_error *error)
{
    memset(out, 0, sizeof *out);
    while (body.size &&
           (satchel_reader_is_space(body.data[body.size - 1]) || body.data[body.size - 1] == '\r'))
        body.size--;
    struct satchel_reader reader = {body.data, body.data + body.size, place, arena, error};
    out->table.line = out->column.line = place.line;
    struct satchel_span word = peek_sign_word(&reader);
    if (satchel_reader_word_is(word, "@table")) {
        out->kind = SATCHEL_ANNOTATION_TABLE;
        reader.at += word.size;
        return satchel_annotation_take_table(&reader, &out->table);
    }
    if (satchel_reader_word_is(word, "@column")) {
        out->kind = SATCHEL_ANNOTATION_CHANGE;
        reader.at += word.size;
        return take_change(&reader, &out->column);
    }
    out->kind = SATCHEL_ANNOTATION_COLUMN;
    return take_column(&reader, &out->column);
}
