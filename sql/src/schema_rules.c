/* Owns giving each column of a synced table its rule, unit and modifiers: those of its annotation,
 * else the defaults. Judges only what would make a rule meaningless where it stands. */
#include "schema_build.h"

struct satchel_place satchel_build_place(const struct satchel_build_table *table,
                                         const char *column)
{
    const struct satchel_build_column *found = satchel_build_find_column(table, column);
    if (!found)
        return table->place;
    return found->annotation ? found->annotation_place : found->place;
}

static const char *spelling(enum satchel_rule rule)
{
    static const char *const spellings[] = {
#define SPELLING(name, text) text,
        SATCHEL_RULE_TABLE(SPELLING)
#undef SPELLING
    };
    return spellings[rule];
}

const char *satchel_build_rule_text(struct satchel_build *build,
                                    const struct satchel_column *column)
{
    struct satchel_buffer text;
    if (!column->rule_argument)
        return spelling(column->rule);
    satchel_buffer_init(&text, 4096, NULL);
    const char *made = NULL;
    if (satchel_buffer_format(&text, "%s(%s)", spelling(column->rule), column->rule_argument) ==
        SATCHEL_OK)
        made = (const char *)satchel_arena_copy(&build->arena, satchel_buffer_span(&text)).data;
    satchel_buffer_deinit(&text);
    return made ? made : spelling(column->rule);
}

/* ---- one column ---- */

static enum satchel_rule default_rule(const struct satchel_table *table,
                                      const struct satchel_column *column)
{
    if (column->key_position)
        return SATCHEL_RULE_ID;
    return table->is_append ? SATCHEL_RULE_APPEND : SATCHEL_RULE_LWW;
}

static enum satchel_status keep_text(struct satchel_build *build, const char *text,
                                     const char **out)
{
    *out = NULL;
    if (!text)
        return SATCHEL_OK;
    *out = (const char *)satchel_arena_copy(build->keep, satchel_span_text(text)).data;
    return *out ? SATCHEL_OK : satchel_build_no_memory(build);
}

static enum satchel_status keep_annotation(struct satchel_build *build,
                                           const struct satchel_column_annotation *annotation,
                                           struct satchel_column *column)
{
    enum satchel_status status = keep_text(build, annotation->argument, &column->rule_argument);
    if (status == SATCHEL_OK)
        status = keep_text(build, annotation->frozen, &column->frozen);
    if (status == SATCHEL_OK)
        status = keep_text(build, annotation->mask, &column->mask);
    if (status == SATCHEL_OK)
        status = keep_text(build, annotation->write, &column->write);
    if (status == SATCHEL_OK)
        status = keep_text(build, annotation->ref, &column->ref);
    return status;
}

/* The key of a row never changes, which is what @immutable and @append say too. */
static enum satchel_status check_key_rule(struct satchel_build *build,
                                          const struct satchel_build_table *from,
                                          struct satchel_column *column)
{
    struct satchel_place place = satchel_build_place(from, column->name);
    if (column->key_position) {
        if (column->rule != SATCHEL_RULE_ID && column->rule != SATCHEL_RULE_IMMUTABLE &&
            column->rule != SATCHEL_RULE_APPEND)
            return satchel_refuse(
                build->error, place,
                "%s.%s is in the primary key, which never changes; write @id instead "
                "of %s",
                from->name, column->name, satchel_build_rule_text(build, column));
        column->rule = SATCHEL_RULE_ID;
    } else if (column->rule == SATCHEL_RULE_ID) {
        return satchel_refuse(
            build->error, place,
            "%s.%s is @id but not in the primary key; add it to the key, or write "
            "@immutable",
            from->name, column->name);
    }
    return SATCHEL_OK;
}

static enum satchel_status give_rule(struct satchel_build *build,
                                     const struct satchel_build_table *from,
                                     const struct satchel_table *table,
                                     struct satchel_column *column,
                                     struct satchel_column_rules *rules)
{
    const struct satchel_build_column *written = satchel_build_find_column(from, column->name);
    enum satchel_status status = SATCHEL_OK;
    column->field = column->name;
    column->rule = default_rule(table, column);
    if (!written)
        return satchel_refuse(build->error, from->place,
                              "the definition of %s.%s cannot be found in the text; write its name "
                              "plainly, one definition to a line",
                              from->name, column->name);
    if (written->annotation) {
        column->rule = satchel_rule_of_spelling(written->annotation->rule);
        status = keep_annotation(build, written->annotation, column);
        if (status == SATCHEL_OK)
            status = check_key_rule(build, from, column);
    }
    if (status == SATCHEL_OK && column->rule == SATCHEL_RULE_GROUP)
        column->field = column->rule_argument;
    rules->rule = column->rule;
    return status;
}

/* ---- the table ---- */

static bool in_one_group(const struct satchel_column *a, const struct satchel_column *b)
{
    return a->rule == SATCHEL_RULE_GROUP && b->rule == SATCHEL_RULE_GROUP &&
           satchel_names_equal(a->rule_argument, b->rule_argument);
}

/* A unit is named by its lowest column; a group is called as its first column spells it. */
static void give_units(struct satchel_table *table, struct satchel_column_rules *rules)
{
    for (uint32_t i = 0; i < table->column_count; i++)
        for (uint32_t first = 0; first < i; first++)
            if (in_one_group(&table->columns[first], &table->columns[i])) {
                rules[i].unit = first;
                table->columns[i].field = table->columns[first].field;
                break;
            }
}

static enum satchel_delete_policy policy_of(const char *name)
{
    if (strcmp(name, "restrict") == 0)
        return SATCHEL_DELETE_RESTRICT;
    if (strcmp(name, "edit_wins") == 0)
        return SATCHEL_DELETE_EDIT_WINS;
    if (strcmp(name, "delete_wins") == 0)
        return SATCHEL_DELETE_DELETE_WINS;
    return SATCHEL_DELETE_FORBID;
}

static enum satchel_status give_table_rules(struct satchel_build *build,
                                            const struct satchel_build_table *from)
{
    struct satchel_table *table = satchel_build_table_made(build, from);
    struct satchel_column_rules *rules = satchel_build_rules_made(table);
    if (table->is_local) {
        for (uint32_t i = 0; i < table->column_count; i++) {
            table->columns[i].field = table->columns[i].name;
            rules[i].rule = table->columns[i].rule =
                table->columns[i].key_position ? SATCHEL_RULE_ID : SATCHEL_RULE_LWW;
        }
        return SATCHEL_OK;
    }
    table->rules.delete_policy = policy_of(from->annotation->policy);
    for (uint32_t i = 0; i < table->column_count; i++) {
        enum satchel_status status = give_rule(build, from, table, &table->columns[i], &rules[i]);
        if (status != SATCHEL_OK)
            return status;
    }
    give_units(table, rules);
    return SATCHEL_OK;
}

enum satchel_status satchel_build_rules(struct satchel_build *build)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; status == SATCHEL_OK && i < build->table_count; i++)
        status = give_table_rules(build, &build->tables[i]);
    return status;
}
