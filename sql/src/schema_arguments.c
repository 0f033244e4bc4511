/* Owns what the arguments of rules mean: the leader of a follower, the machine of a state, the
 * roles of an authority or claim, the highest first. Names have been found to exist. */
#include "schema_build.h"

/* ---- @follows ---- */

/* Whether of several writes to the leader's unit one wins, for its followers to go with. */
static bool can_lead(enum satchel_rule rule)
{
    switch (rule) {
    case SATCHEL_RULE_LWW:
    case SATCHEL_RULE_GROUP:
    case SATCHEL_RULE_FIRST:
    case SATCHEL_RULE_AUTHORITY:
    case SATCHEL_RULE_CLAIM:
    case SATCHEL_RULE_STATE:
    case SATCHEL_RULE_KEY:
    case SATCHEL_RULE_IMMUTABLE: return true;
    default: return false;
    }
}

static enum satchel_status check_leader(struct satchel_build *build,
                                        const struct satchel_build_table *from,
                                        const struct satchel_column *column,
                                        const struct satchel_column *leader)
{
    struct satchel_place place = satchel_build_place(from, column->name);
    if (!leader)
        return satchel_refuse(
            build->error, place,
            "@follows names the column %s, which %s does not have; correct the name",
            column->rule_argument, from->name);
    if (leader == column || leader->rule == SATCHEL_RULE_FOLLOWS)
        return satchel_refuse(
            build->error, place,
            "%s.%s follows %s, which leads nothing, because it is @follows itself; "
            "name the column at the head of them",
            from->name, column->name, leader->name);
    if (leader->key_position)
        return satchel_refuse(
            build->error, place,
            "%s.%s follows %s, which is in the primary key and never written again; "
            "write @immutable",
            from->name, column->name, leader->name);
    if (!can_lead(leader->rule))
        return satchel_refuse(
            build->error, place,
            "%s.%s follows %s, but of several writes to a %s none wins alone; follow a "
            "column that is @lww, @group, @first, @authority, @claim, @state, @key or "
            "@immutable",
            from->name, column->name, leader->name, satchel_build_rule_text(build, leader));
    return SATCHEL_OK;
}

static enum satchel_status follow(struct satchel_build *build,
                                  const struct satchel_build_table *from,
                                  const struct satchel_column *column,
                                  struct satchel_column_rules *rules)
{
    const struct satchel_column *leader =
        satchel_table_find_column(satchel_build_table_made(build, from), column->rule_argument);
    enum satchel_status status = check_leader(build, from, column, leader);
    if (status != SATCHEL_OK)
        return status;
    rules[column->number].unit = rules[leader->number].unit;
    rules[rules[column->number].unit].has_followers = true;
    return SATCHEL_OK;
}

/* ---- @state ---- */

static enum satchel_status machine_of(struct satchel_build *build, const char ***names,
                                      uint32_t *capacity, const char *name, uint32_t *index)
{
    struct satchel_schema *schema = build->schema;
    for (*index = 0; *index < schema->machine_count; (*index)++)
        if (satchel_names_equal((*names)[*index], name))
            return SATCHEL_OK;
    *names =
        satchel_arena_grow(build->keep, *names, schema->machine_count, capacity, sizeof **names);
    if (!*names)
        return satchel_build_no_memory(build);
    (*names)[schema->machine_count++] = name;
    schema->machines = *names;
    return SATCHEL_OK;
}

/* ---- @authority, @claim ---- */

/* "hq>rep", as the grammar leaves it: no spaces, no empty name. */
static enum satchel_status read_roles(struct satchel_build *build, const char *text,
                                      struct satchel_column_rules *rules)
{
    uint32_t count = 1;
    for (const char *at = text; *at; at++)
        count += *at == '>';
    struct satchel_span *roles = SATCHEL_ARENA_ARRAY(build->keep, struct satchel_span, count);
    if (!roles)
        return satchel_build_no_memory(build);
    const char *at = text;
    for (uint32_t i = 0; i < count; i++) {
        size_t size = strcspn(at, ">");
        roles[i] = satchel_span_of(at, size);
        at += size + (i + 1 < count);
    }
    rules->roles = roles;
    rules->role_count = count;
    return SATCHEL_OK;
}

/* ---- all ---- */

enum satchel_status satchel_build_arguments(struct satchel_build *build)
{
    const char **machines = NULL;
    uint32_t capacity = 0;
    for (uint32_t t = 0; t < build->table_count; t++) {
        const struct satchel_build_table *from = &build->tables[t];
        struct satchel_table *table = satchel_build_table_made(build, from);
        struct satchel_column_rules *rules = satchel_build_rules_made(table);
        for (uint32_t i = 0; i < table->column_count; i++) {
            const struct satchel_column *column = &table->columns[i];
            enum satchel_status status = SATCHEL_OK;
            if (column->rule == SATCHEL_RULE_FOLLOWS)
                status = follow(build, from, column, rules);
            else if (column->rule == SATCHEL_RULE_STATE)
                status = machine_of(build, &machines, &capacity, column->rule_argument,
                                    &rules[i].machine);
            else if (column->rule == SATCHEL_RULE_AUTHORITY || column->rule == SATCHEL_RULE_CLAIM)
                status = read_roles(build, column->rule_argument, &rules[i]);
            else if (column->rule == SATCHEL_RULE_KEY)
                table->rules.has_keys = true;
            if (status != SATCHEL_OK)
                return status;
        }
    }
    return SATCHEL_OK;
}
