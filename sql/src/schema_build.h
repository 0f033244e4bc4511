/* A schema in the making: what the migrations' text says and where, beside what SQLite made of it.
 * The steps, in order: schema_run.c runs the statements in a private database and notes where
 * tables and columns come from; schema_tables.c asks SQLite what they are; schema_default.c
 * evaluates defaults; schema_rules.c gives each column its rule; schema_arguments.c says what the
 * rules' arguments mean, schema_references.c which rows point at which, schema_scopes.c who gets a
 * row, schema_frozen.c what freezes; schema_values.c, schema_check.c and schema_objects.c judge the
 * whole; schema_built.c refuses what does not work yet. Internal to sql/. */
#ifndef SATCHEL_SCHEMA_BUILD_H
#define SATCHEL_SCHEMA_BUILD_H

#include <satchel/schema.h>

#include "annotation_grammar.h"
#include "definitions.h"

#define SATCHEL_MIGRATIONS_MAX 10000

struct satchel_build_column {
    const char *name;
    struct satchel_place place;
    uint32_t migration;                                 /* the number of the one that defines it */
    bool is_added;                                      /* by ALTER TABLE */
    const struct satchel_column_annotation *annotation; /* the one in force; NULL: none */
    struct satchel_place annotation_place;
};

struct satchel_build_clause {
    enum satchel_clause_kind kind;
    const char *expression; /* of CHECK, comments and all */
    const char *column;     /* it stands in the definition of; NULL: a table constraint */
    struct satchel_place place;
};

/* The REFERENCES of a column, if it has one. */
struct satchel_build_reference {
    const char *target_column; /* NULL: the target's primary key */
    bool is_alone;             /* not one of several columns of a FOREIGN KEY */
};

struct satchel_build_table {
    const char *name;
    struct satchel_place place;
    uint32_t migration;
    bool is_virtual;
    const struct satchel_table_annotation *annotation;
    struct satchel_place annotation_place;
    struct satchel_scope scopes[SATCHEL_SCOPE_CLAUSES_MAX];
    uint32_t scope_count;
    struct satchel_build_column *columns; /* in the order of the text */
    uint32_t column_count, column_capacity;
    struct satchel_build_clause *clauses;
    uint32_t clause_count, clause_capacity;
    struct satchel_build_reference *references; /* per column of the schema's table */
    uint32_t references_count;                  /* foreign keys of the table */
};

/* A default already evaluated: few differ, and to evaluate one may cost SQLite three tables. */
struct satchel_build_value {
    const char *type, *expression;
    struct satchel_value value;
    bool varies;
};
#define SATCHEL_BUILD_VALUES_MAX 32

/* A view, index or trigger. */
struct satchel_build_object {
    enum satchel_object_kind kind;
    const char *name;
    struct satchel_place place;
};

struct satchel_build {
    struct sqlite3 *db;         /* private, in memory */
    struct sqlite3 *scratch;    /* another, for defaults */
    struct satchel_arena arena; /* released with the build */
    struct satchel_arena *keep; /* of the schema */
    struct satchel_schema *schema;
    struct satchel_error *error;
    struct satchel_build_table *tables;
    uint32_t table_count, table_capacity;
    struct satchel_build_object *objects;
    uint32_t object_count, object_capacity;
    struct satchel_build_value values[SATCHEL_BUILD_VALUES_MAX];
    uint32_t value_count;
};

/* Each sets the build's error and returns SCHEMA for a refusal, NOMEM or SQL otherwise. */
enum satchel_status satchel_build_migration(
    struct satchel_build *build, const struct satchel_migration *migration) SATCHEL_MUST_USE;
enum satchel_status satchel_build_tables(struct satchel_build *build) SATCHEL_MUST_USE;
enum satchel_status satchel_build_rules(struct satchel_build *build) SATCHEL_MUST_USE;
enum satchel_status satchel_build_check(struct satchel_build *build) SATCHEL_MUST_USE;
enum satchel_status satchel_build_check_value(struct satchel_build *build,
                                              const struct satchel_build_table *from,
                                              const struct satchel_column *column) SATCHEL_MUST_USE;
enum satchel_status satchel_build_arguments(struct satchel_build *build) SATCHEL_MUST_USE;
enum satchel_status satchel_build_references(struct satchel_build *build) SATCHEL_MUST_USE;
enum satchel_status satchel_build_scopes(struct satchel_build *build) SATCHEL_MUST_USE;
enum satchel_status satchel_build_check_names(struct satchel_build *build) SATCHEL_MUST_USE;
enum satchel_status satchel_build_check_checks(struct satchel_build *build) SATCHEL_MUST_USE;
enum satchel_status satchel_build_frozen(struct satchel_build *build) SATCHEL_MUST_USE;
enum satchel_status satchel_build_check_states(struct satchel_build *build) SATCHEL_MUST_USE;
enum satchel_status satchel_build_check_views(struct satchel_build *build) SATCHEL_MUST_USE;
enum satchel_status satchel_build_check_triggers(struct satchel_build *build) SATCHEL_MUST_USE;
enum satchel_status satchel_build_refuse_unbuilt(struct satchel_build *build) SATCHEL_MUST_USE;
enum satchel_status satchel_build_scope_notice(struct satchel_build *build) SATCHEL_MUST_USE;

/* The default of a column as a row that leaves it out gets it. `*varies`: it is no constant (the
 * time, a random number); `out` is then NULL. `expression` NULL: none is declared. */
enum satchel_status satchel_build_default(struct satchel_build *build, const char *declared_type,
                                          bool is_strict, const char *expression,
                                          struct satchel_place place, struct satchel_value *out,
                                          bool *varies) SATCHEL_MUST_USE;

/* By name, case folded; NULL: none. */
struct satchel_build_table *satchel_build_find_table(const struct satchel_build *build,
                                                     const char *name);
struct satchel_build_column *satchel_build_find_column(const struct satchel_build_table *table,
                                                       const char *name);
/* Where the declared type sorts values (https://sqlite.org/datatype3.html section 3.1): "INTEGER",
 * "TEXT", "REAL", "NUMERIC", or "BLOB" for one that keeps every value as it is. */
const char *satchel_build_affinity(const char *declared_type, bool is_strict);

/* The schema's table, writable while it is made. */
static inline struct satchel_table *satchel_build_table_made(
    const struct satchel_build *build, const struct satchel_build_table *table)
{
    return &build->schema->tables[table - build->tables];
}
/* The build made the array; it is const to everybody who reads the schema. */
static inline struct satchel_column_rules *satchel_build_rules_made(
    const struct satchel_table *table)
{
    return (struct satchel_column_rules *)(uintptr_t)table->rules.columns;
}
/* Where the column's annotation stands, else where its definition does. */
struct satchel_place satchel_build_place(const struct satchel_build_table *table,
                                         const char *column);
/* "@group(address)" as the schema writes the column's rule, for messages. In the build's arena or
 * static. */
const char *satchel_build_rule_text(struct satchel_build *build,
                                    const struct satchel_column *column);

/* Prepares and steps for the build's own queries and statements. */
enum satchel_status satchel_build_sql_failed(struct satchel_build *build, struct sqlite3 *db);
enum satchel_status satchel_build_no_memory(struct satchel_build *build);

#endif
