/* Owns judging whether a column can hold what its rule writes into it: by its declared type, which
 * may turn one value into another, and by its default, which counts as written. */
#include "schema_build.h"

#include <satchel/row_io.h>
#include <satchel/sqlite.h>

static enum satchel_status refuse_type(struct satchel_build *build,
                                       const struct satchel_build_table *from,
                                       const struct satchel_column *column, const char *why,
                                       const char *remedy)
{
    return satchel_refuse(build->error, satchel_build_place(from, column->name),
                          "%s on %s.%s, which is declared %s and would not keep %s as it is; %s",
                          satchel_build_rule_text(build, column), from->name, column->name,
                          column->declared_type, why, remedy);
}

static enum satchel_status check_type(struct satchel_build *build,
                                      const struct satchel_build_table *from,
                                      const struct satchel_column *column)
{
    const struct satchel_table *table = satchel_build_table_made(build, from);
    const char *affinity = satchel_build_affinity(column->declared_type, table->is_strict);
    bool keeps_text = strcmp(affinity, "TEXT") == 0 || strcmp(affinity, "BLOB") == 0;
    switch (column->rule) {
    case SATCHEL_RULE_SET:
        return keeps_text ? SATCHEL_OK
                          : refuse_type(build, from, column, "a JSON array", "declare it TEXT");
    case SATCHEL_RULE_MAP:
        return keeps_text ? SATCHEL_OK
                          : refuse_type(build, from, column, "a JSON object", "declare it TEXT");
    case SATCHEL_RULE_TEXT3:
        return keeps_text ? SATCHEL_OK
                          : refuse_type(build, from, column, "a text", "declare it TEXT");
    case SATCHEL_RULE_STATE:
        return keeps_text ? SATCHEL_OK
                          : refuse_type(build, from, column, "a state's code", "declare it TEXT");
    case SATCHEL_RULE_KEY:
    case SATCHEL_RULE_KEY_WEAK:
        if (strcmp(affinity, "TEXT") == 0 || strcmp(affinity, "INTEGER") == 0 ||
            column->declared_type[0] == '\0')
            return SATCHEL_OK;
        return refuse_type(build, from, column, "what names a thing",
                           "declare it TEXT, or INTEGER");
    default: return SATCHEL_OK;
    }
}

/* Whether SQLite reads the text as JSON of that type. */
#define SQL_JSON_TYPE "SELECT CASE WHEN json_valid(?1) THEN json_type(?1) = ?2 ELSE 0 END"

static enum satchel_status is_json(struct satchel_build *build, const struct satchel_value *value,
                                   const char *type, bool *is_json)
{
    sqlite3_stmt *query = NULL;
    int code = sqlite3_prepare_v2(build->scratch, SQL_JSON_TYPE, -1, &query, NULL);
    if (code == SQLITE_OK)
        code = satchel_value_bind(query, 1, value);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(query, 2, type, -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_step(query);
    enum satchel_status status = SATCHEL_OK;
    if (code == SQLITE_ROW)
        *is_json = sqlite3_column_int(query, 0) != 0;
    else
        status = satchel_build_sql_failed(build, build->scratch);
    sqlite3_finalize(query);
    return status;
}

/* A set or map starts from its default, on every device the same. */
static enum satchel_status check_json_default(struct satchel_build *build,
                                              const struct satchel_build_table *from,
                                              const struct satchel_column *column,
                                              const struct satchel_column_rules *rules)
{
    bool is_set = column->rule == SATCHEL_RULE_SET;
    bool fits = !rules->default_varies;
    if (fits && rules->default_value.type == SATCHEL_NULL)
        return SATCHEL_OK;
    enum satchel_status status = SATCHEL_OK;
    fits = fits && rules->default_value.type == SATCHEL_TEXT;
    if (fits)
        status = is_json(build, &rules->default_value, is_set ? "array" : "object", &fits);
    if (status != SATCHEL_OK || fits)
        return status;
    return satchel_refuse(build->error, satchel_build_place(from, column->name),
                          "%s.%s is a @%s, which starts at its default, and its default is no "
                          "constant JSON %s; write DEFAULT '%s'",
                          from->name, column->name, is_set ? "set" : "map",
                          is_set ? "array" : "object", is_set ? "[]" : "{}");
}

static enum satchel_status check_default(struct satchel_build *build,
                                         const struct satchel_build_table *from,
                                         const struct satchel_column *column,
                                         const struct satchel_column_rules *rules)
{
    struct satchel_place place = satchel_build_place(from, column->name);
    enum satchel_value_type type = rules->default_value.type;
    switch (column->rule) {
    case SATCHEL_RULE_COUNTER:
        if (!rules->default_varies && (type == SATCHEL_NULL || type == SATCHEL_INTEGER))
            return SATCHEL_OK;
        return satchel_refuse(
            build->error, place,
            "%s.%s is a @counter, a whole number that starts at its default, and its "
            "default is none; write DEFAULT 0",
            from->name, column->name);
    case SATCHEL_RULE_STATE:
        if (!rules->default_varies && (type == SATCHEL_NULL || type == SATCHEL_TEXT))
            return SATCHEL_OK;
        return satchel_refuse(build->error, place,
                              "%s.%s is a @state, and its default is no constant text, as the code "
                              "of a state is; write DEFAULT 'code', or none",
                              from->name, column->name);
    case SATCHEL_RULE_SET:
    case SATCHEL_RULE_MAP: return check_json_default(build, from, column, rules);
    default: return SATCHEL_OK;
    }
}

enum satchel_status satchel_build_check_value(struct satchel_build *build,
                                              const struct satchel_build_table *from,
                                              const struct satchel_column *column)
{
    const struct satchel_table *table = satchel_build_table_made(build, from);
    enum satchel_status status = check_type(build, from, column);
    return status == SATCHEL_OK
               ? check_default(build, from, column, &table->rules.columns[column->number])
               : status;
}
