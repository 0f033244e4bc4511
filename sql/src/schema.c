/* Owns the schema object: made from migrations by the steps of schema_build.h, found by name or
 * number, freed as one. */
#include "schema_build.h"
#include "schema_internal.h"

#include <satchel/functions.h>
#include <satchel/sqlite.h>
#include <stdio.h>

enum {
    KEEP_BYTES_MAX = 64 << 20,   /* of the schema */
    BUILD_BYTES_MAX = 512 << 20, /* of the text of all migrations, cut up */
    VALUE_BYTES_MAX = 16 << 20   /* of a default, and of a statement's text */
};

/* What satchel_schema_free gets back from the pointer to its first member. */
struct owned_schema {
    struct satchel_schema schema;
    struct satchel_arena arena;
};

/* ---- the private databases ---- */

/* Migrations run under nobody's name and at no time; what calls for either varies. */
static bool no_applying(void *context)
{
    (void)context;
    return false;
}
static int64_t no_time(void *context)
{
    (void)context;
    return 0;
}
static const char *no_name(void *context)
{
    (void)context;
    return NULL;
}
static const struct satchel_identity nobody = {NULL,    no_applying, no_time,
                                               no_name, no_name,     no_name};

static enum satchel_status open_private(struct satchel_build *build, sqlite3 **out)
{
    int code = sqlite3_open_v2(
        ":memory:", out, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code == SQLITE_OK && satchel_functions_register(*out, &nobody) != SQLITE_OK)
        return satchel_build_no_memory(build);
    if (code != SQLITE_OK)
        return *out ? satchel_build_sql_failed(build, *out) : satchel_build_no_memory(build);
    sqlite3_limit(*out, SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX);
    sqlite3_limit(*out, SQLITE_LIMIT_ATTACHED, 0);
    /* One transaction for all, never committed. */
    if (sqlite3_exec(*out, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
        return satchel_build_sql_failed(build, *out);
    return SATCHEL_OK;
}

/* ---- making ---- */

static enum satchel_status run_migrations(struct satchel_build *build,
                                          const struct satchel_migration *migrations,
                                          uint32_t count)
{
    if (count > SATCHEL_MIGRATIONS_MAX)
        return satchel_error_set(build->error, SATCHEL_LIMIT, "more than %d migrations",
                                 SATCHEL_MIGRATIONS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        if (migrations[i].number != i + 1)
            return satchel_error_set(
                build->error, SATCHEL_SCHEMA,
                "%.*s:1: migration %llu stands where %u is due; number the files 001, "
                "002, … without a gap",
                migrations[i].name.size < 300 ? (int)migrations[i].name.size : 300,
                (const char *)migrations[i].name.data, (unsigned long long)migrations[i].number,
                i + 1);
        enum satchel_status status = satchel_build_migration(build, &migrations[i]);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

static enum satchel_status build_schema(struct satchel_build *build,
                                        const struct satchel_migration *migrations, uint32_t count,
                                        bool as_if_built)
{
    enum satchel_status status = open_private(build, &build->db);
    if (status == SATCHEL_OK)
        status = open_private(build, &build->scratch);
    if (status == SATCHEL_OK)
        status = run_migrations(build, migrations, count);
    /* Before the tables: SQLite lists them faster when it has compiled the views. */
    if (status == SATCHEL_OK)
        status = satchel_build_check_views(build);
    if (status == SATCHEL_OK)
        status = satchel_build_tables(build);
    if (status == SATCHEL_OK)
        status = satchel_build_rules(build);
    if (status == SATCHEL_OK)
        status = satchel_build_check(build);
    if (status == SATCHEL_OK && !as_if_built)
        status = satchel_build_refuse_unbuilt(build);
    if (status == SATCHEL_OK)
        status = satchel_build_check_states(build);
    return status == SATCHEL_OK ? satchel_build_scope_notice(build) : status;
}

enum satchel_status satchel_schema_new_internal(struct satchel_schema **out,
                                                const struct satchel_migration *migrations,
                                                uint32_t migration_count, bool as_if_built,
                                                struct satchel_error *error)
{
    *out = NULL;
    struct owned_schema *owned = satchel_alloc_zero(NULL, sizeof *owned);
    if (!owned)
        return satchel_error_set(error, SATCHEL_NOMEM, "the schema: out of memory");
    satchel_arena_init(&owned->arena, KEEP_BYTES_MAX, NULL);
    owned->schema.migration_count = migration_count;
    struct satchel_build build = {.keep = &owned->arena, .schema = &owned->schema, .error = error};
    satchel_arena_init(&build.arena, BUILD_BYTES_MAX, NULL);
    enum satchel_status status = build_schema(&build, migrations, migration_count, as_if_built);
    if (status != SATCHEL_OK)
        satchel_error_default(error, status, "the schema: %s", satchel_status_text(status));
    sqlite3_close(build.db);
    sqlite3_close(build.scratch);
    satchel_arena_deinit(&build.arena);
    if (status == SATCHEL_OK)
        *out = &owned->schema;
    else
        satchel_schema_free(&owned->schema);
    return status;
}

enum satchel_status satchel_schema_new(struct satchel_schema **out,
                                       const struct satchel_migration *migrations,
                                       uint32_t migration_count, struct satchel_error *error)
{
    return satchel_schema_new_internal(out, migrations, migration_count, false, error);
}

void satchel_schema_free(struct satchel_schema *schema)
{
    if (!schema)
        return;
    struct owned_schema *owned = (struct owned_schema *)(void *)schema;
    satchel_arena_deinit(&owned->arena);
    satchel_free(NULL, owned);
}

/* ---- finding ---- */

const struct satchel_table *satchel_schema_table(const struct satchel_schema *schema,
                                                 uint32_t number)
{
    return number >= 1 && number <= schema->table_count ? &schema->tables[number - 1] : NULL;
}

const struct satchel_table *satchel_schema_find(const struct satchel_schema *schema,
                                                const char *name)
{
    for (uint32_t i = 0; i < schema->table_count; i++)
        if (satchel_names_equal(schema->tables[i].name, name))
            return &schema->tables[i];
    return NULL;
}

const struct satchel_column *satchel_table_find_column(const struct satchel_table *table,
                                                       const char *name)
{
    for (uint32_t i = 0; i < table->column_count; i++)
        if (satchel_names_equal(table->columns[i].name, name))
            return &table->columns[i];
    return NULL;
}

bool satchel_roles_hold(const char *roles, struct satchel_span role)
{
    if (!roles)
        return true;
    for (;;) {
        size_t size = strcspn(roles, ",");
        if (satchel_span_equal(satchel_span_of(roles, size), role))
            return true;
        if (roles[size] == '\0')
            return false;
        roles += size + 1;
    }
}

bool satchel_column_may_set(const struct satchel_table *table, uint32_t number,
                            struct satchel_span role, char words[SATCHEL_RIGHT_BYTES])
{
    enum { ROLE_SHOWN = 64, MODIFIER_BYTES = 200 };
    const struct satchel_column *column = &table->columns[number];
    const struct satchel_column_rules *rules = &table->rules.columns[number];
    char modifier[MODIFIER_BYTES];
    bool may_write = satchel_roles_hold(column->write, role);
    if (may_write && (rules->rule != SATCHEL_RULE_AUTHORITY ||
                      satchel_role_rank(rules, role) < rules->role_count))
        return true;
    if (!words)
        return false;
    if (role.size == 0)
        role = satchel_span_text("user without a role");
    snprintf(modifier, sizeof modifier, "@%s(%s)", may_write ? "authority" : "write",
             may_write ? column->rule_argument : column->write);
    snprintf(words, SATCHEL_RIGHT_BYTES, "%s: a %.*s may not set it", modifier,
             role.size < ROLE_SHOWN ? (int)role.size : ROLE_SHOWN, (const char *)role.data);
    return false;
}
