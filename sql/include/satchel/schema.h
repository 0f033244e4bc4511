/* The schema of a workspace: numbered migrations of plain SQL with annotations, and what they mean.
 *
 * Made from the migrations' text alone: annotations are read by a scanner of our own
 * (annotation.h), the tables by SQLite itself, which runs the migrations in a private in-memory
 * database. A schema object is immutable and may be shared between threads. Everything in it lives
 * as long as the schema. */
#ifndef SATCHEL_SCHEMA_H
#define SATCHEL_SCHEMA_H

#include <satchel/message.h>
#include <satchel/rules.h>

struct sqlite3;

struct satchel_column {
    const char *name;          /* unquoted */
    const char *declared_type; /* "" if none */
    uint32_t number;           /* PRAGMA table_xinfo cid */
    enum satchel_rule rule;
    const char
        *rule_argument; /* group name, leader, machine or roles "hq>rep" as written; else NULL */
    const char *frozen; /* of frozen(...), else NULL */
    const char *mask;   /* comma-separated roles of @mask, else NULL */
    const char *write;  /* comma-separated roles of @write, else NULL */
    const char *ref;    /* type column of @ref, else NULL */
    const char *references_table; /* of REFERENCES, else NULL */
    const char *field; /* what history and conflicts call its unit: group name or column name */
    bool not_null;
    uint32_t key_position; /* 1.. in the primary key, 0 outside */
};

/* A column by which rows point at other rows. */
struct satchel_reference {
    uint32_t table, column; /* of the row that points */
    uint32_t target;        /* number of the table pointed at; 0: the one named in type_column */
    uint32_t type_column; /* @ref: the column of `table` that names it; meaningful if target is 0 */
};

#define SATCHEL_NO_REFERENCE UINT32_MAX

/* Who gets the rows of a table (docs/scopes.md). */
enum satchel_scope_kind {
    SATCHEL_SCOPE_ALL,    /* everyone */
    SATCHEL_SCOPE_SERVER, /* nobody */
    SATCHEL_SCOPE_ROW,    /* who has a grant equal to the value of any of the columns */
    SATCHEL_SCOPE_VIA     /* who gets the row that the columns point at */
};
struct satchel_scope_clause {
    enum satchel_scope_kind kind;
    const uint32_t *columns; /* VIA: the one that points, or its type column and then itself */
    uint32_t column_count;
    uint32_t reference; /* VIA: index into the schema's references */
};
#define SATCHEL_SCOPE_CLAUSES_MAX 2

struct satchel_table {
    const char *name;
    uint32_t number; /* 1.. in order of creation over all migrations, local tables included;
                        never changes */
    bool is_local;   /* @table local: never captured, never synced */
    bool without_rowid;
    bool is_strict;
    bool is_append;    /* "append" in @table */
    bool may_refuse;   /* SQLite may refuse a row for its values: a CHECK, a trigger, STRICT
                            (beyond NOT NULL, which is said column by column) */
    const char *scope; /* as written; NULL for local */
    struct satchel_scope_clause scopes[SATCHEL_SCOPE_CLAUSES_MAX]; /* who gets it by any of them */
    uint32_t scope_count;                                          /* 0 for local */
    bool is_scoped;      /* who gets a row depends on the row */
    bool is_server;      /* nobody gets any */
    bool has_masks;      /* some column is not for everybody who gets a row */
    int priority;        /* 0 if not given */
    int64_t retain_days; /* 0: keep everything */
    struct satchel_column *columns;
    uint32_t column_count;
    uint32_t *key_columns; /* numbers, in the key's order */
    uint32_t key_count;
    /* Index into the schema's references of what frozen(parent) and the scope follow: the only
     * @ref, else the only REFERENCES; SATCHEL_NO_REFERENCE if there is not exactly one. */
    uint32_t parent;
    struct satchel_table_rules rules;
};

struct satchel_schema {
    struct satchel_table *tables; /* tables[i].number == i + 1 */
    uint32_t table_count;
    uint32_t migration_count;
    const char *const *machines; /* names, as @state(name) spells them first; by machine index */
    uint32_t machine_count;
    const struct satchel_reference *references; /* ascending table, column */
    uint32_t reference_count;
    bool has_scopes;    /* some table is_scoped or is_server */
    bool has_masks;     /* some table has_masks */
    bool defines_users; /* there is a view satchel_users */
    bool defines_grants;
    bool defines_states;  /* satchel_states */
    bool defines_numbers; /* satchel_numbers */
    const char
        *scope_notice; /* NULL, or one line: by what a user gets rows without satchel_grants */
};

/* Reads and checks migrations (numbers 1, 2, ... without a gap, one schema together). On refusal
 * (SATCHEL_SCHEMA) `error` says FILE:LINE: reason; remedy. Everything docs/schema.md refuses is
 * refused here, and so are rules, policies and modifiers not built yet, by name; and triggers that
 * write a synced table without WHEN NOT satchel_applying(); and statements other than CREATE, ALTER
 * TABLE ADD COLUMN and INSERT. Other statuses: NOMEM, SQL, LIMIT. */
enum satchel_status satchel_schema_new(struct satchel_schema **out,
                                       const struct satchel_migration *migrations,
                                       uint32_t migration_count,
                                       struct satchel_error *error) SATCHEL_MUST_USE;
void satchel_schema_free(struct satchel_schema *schema);

/* NULL if there is none. Names compare as SQLite compares them (ASCII case folded). */
const struct satchel_table *satchel_schema_table(const struct satchel_schema *schema,
                                                 uint32_t number);
const struct satchel_table *satchel_schema_find(const struct satchel_schema *schema,
                                                const char *name);
const struct satchel_column *satchel_table_find_column(const struct satchel_table *table,
                                                       const char *name);

/* Whether `roles`, as @write and @mask name them (NULL: everybody), holds `role`. */
bool satchel_roles_hold(const char *roles, struct satchel_span role);

/* Whether a user of `role` who gets a row gets the column, too: for others it has its default. */
static inline bool satchel_column_is_seen(const struct satchel_table *table, uint32_t column,
                                          struct satchel_span role)
{
    return !table->has_masks ||
           (column < table->column_count && satchel_roles_hold(table->columns[column].mask, role));
}

/* Whether a user of `role` may set the column: one that @write names and, of an @authority, one
 * that it ranks. If not, and `words` is not NULL, they say so, the modifier cut where it is long:
 * "@write(hq,finance): a rep may not set it". */
enum { SATCHEL_RIGHT_BYTES = 320 };
bool satchel_column_may_set(const struct satchel_table *table, uint32_t column,
                            struct satchel_span role, char words[SATCHEL_RIGHT_BYTES]);

/* ---- in a database file: the table satchel_migration(number, name, sql) ---- */

/* Runs the DDL of those of `migrations` that `db` lacks, inside the caller's transaction, and
 * records them; numbers up to the last one recorded are skipped unread. INSERTs are not run: first
 * rows arrive as a change set of the server (see satchel_migration_inserts). SQL with the native
 * code; SCHEMA for a gap or text that is no migration. On failure the caller rolls back. */
enum satchel_status satchel_schema_install(struct sqlite3 *db,
                                           const struct satchel_migration *migrations,
                                           uint32_t migration_count,
                                           struct satchel_error *error) SATCHEL_MUST_USE;
/* Reads satchel_migration and makes the schema of it. `*out` NULL and OK when there are no
 * migrations. */
enum satchel_status satchel_schema_load(struct sqlite3 *db, struct satchel_schema **out,
                                        struct satchel_error *error) SATCHEL_MUST_USE;
/* The stored migrations with number > `after`, copied into `arena`. */
enum satchel_status satchel_schema_migrations(struct sqlite3 *db, uint64_t after,
                                              struct satchel_arena *arena,
                                              struct satchel_migration **out, uint32_t *out_count,
                                              struct satchel_error *error) SATCHEL_MUST_USE;
/* Calls `visit` for each INSERT statement of a migration, in order: its text without ';' and with
 * comments blanked out, ended by a NUL, borrowed during the call; and its line. A status other than
 * OK from `visit` ends the visit and is returned. */
enum satchel_status satchel_migration_inserts(
    const struct satchel_migration *migration,
    enum satchel_status (*visit)(void *context, struct satchel_span statement, int line),
    void *context, struct satchel_error *error) SATCHEL_MUST_USE;

/* The migrations without their INSERT statements, for devices: first rows are rows, and not for
 * everybody. Lines stay where they are. Texts that had some are new, in `arena`. SCHEMA, NOMEM. */
enum satchel_status satchel_migrations_blank_inserts(struct satchel_migration *migrations,
                                                     uint32_t migration_count,
                                                     struct satchel_arena *arena,
                                                     struct satchel_error *error) SATCHEL_MUST_USE;

/* Checks every trigger now in `db` on a tracked table (an application may add its own on a
 * replica): SATCHEL_SCHEMA naming the first that writes a synced table without WHEN NOT
 * satchel_applying(), or that is an AFTER trigger and calls RAISE(IGNORE). Temporarily sets and
 * clears the connection's authorizer. */
enum satchel_status satchel_triggers_check(struct sqlite3 *db, const struct satchel_schema *schema,
                                           struct satchel_error *error) SATCHEL_MUST_USE;

#endif
