/* Who gets which row, and which columns of it (docs/scopes.md): brought up to date by the writer
 * with every commit, asked by whoever reads the store.
 *
 * A set is who may see a row: values, one of which a user must have as a grant; or everyone. Values
 * compare as MessagePack, a real that is a whole number as that integer. */
#ifndef SATCHEL_SCOPE_H
#define SATCHEL_SCOPE_H

#include "db.h"
#include "store.h"

#include <satchel/alias.h>

/* ---- kept by the writer, inside its transactions ---- */

struct scope_keeper;
struct digest_keeper;

/* The tables, where they are missing; the column satchel_row.scope must be there. SQL. */
enum satchel_status scope_create_tables(sqlite3 *db, struct satchel_error *error) SATCHEL_MUST_USE;
/* `db` and `aliases` must outlive it. NOMEM, SQL. */
enum satchel_status scope_keeper_new(struct scope_keeper **out, sqlite3 *db,
                                     struct satchel_aliases *aliases,
                                     struct satchel_error *error) SATCHEL_MUST_USE;
void scope_keeper_free(struct scope_keeper *keeper);
/* Who is told of rows whose set becomes another. */
void scope_tell_digests(struct scope_keeper *keeper, struct digest_keeper *digests);
/* The schema (NULL: none) from now on: what was noted stays noted, grants are read again. NOMEM. */
enum satchel_status scope_take_schema(struct scope_keeper *keeper,
                                      const struct satchel_schema *schema,
                                      struct satchel_error *error) SATCHEL_MUST_USE;

/* What the transaction has done so far. More may be noted than stays. NOMEM. */
enum satchel_status scope_note_row(struct scope_keeper *keeper,
                                   const struct satchel_store_row *row) SATCHEL_MUST_USE;
enum satchel_status scope_note_alias(struct scope_keeper *keeper,
                                     struct satchel_span name) SATCHEL_MUST_USE;
void scope_note_entries(struct scope_keeper *keeper);
/* Users or grants were written that are no rows. */
void scope_note_users(struct scope_keeper *keeper);

/* Before the COMMIT: works out what follows from all that. SQL, NOMEM. */
enum satchel_status scope_finish(struct scope_keeper *keeper,
                                 struct satchel_error *error) SATCHEL_MUST_USE;
/* After it; after a ROLLBACK. */
void scope_settle(struct scope_keeper *keeper);
void scope_forget(struct scope_keeper *keeper);

/* For a store of an earlier format: users, and if not `has_sets` the scope of every row, of which
 * everyone got all until now. Inside a transaction. SQL, NOMEM. */
enum satchel_status scope_begin(struct scope_keeper *keeper, bool has_sets,
                                struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- asked on any connection, inside a transaction ---- */

/* Who looks: one user at the present head. Keeps nothing but statements from one
 * scope_viewer_set to the next. */
struct scope_viewer;

/* NOMEM, SQL. */
enum satchel_status scope_viewer_new(struct scope_viewer **out, sqlite3 *db,
                                     struct satchel_error *error) SATCHEL_MUST_USE;
void scope_viewer_free(struct scope_viewer *viewer);
/* Reads who the user is and what he is granted. `schema` (NULL: none) must last until the next
 * call. */
enum satchel_status scope_viewer_set(struct scope_viewer *viewer,
                                     const struct satchel_schema *schema, struct satchel_span login,
                                     struct satchel_error *error) SATCHEL_MUST_USE;
/* No row or column of the schema is kept from anybody. */
bool scope_viewer_sees_all(const struct scope_viewer *viewer);
/* Empty: none. The viewer's until the next scope_viewer_set. */
struct satchel_span scope_viewer_role(const struct scope_viewer *viewer);
/* Whether he is a user still. */
bool scope_viewer_is_active(const struct scope_viewer *viewer);
/* Until the next scope_viewer_set nothing is seen. */
void scope_viewer_blind(struct scope_viewer *viewer);

/* Whether the user may see the row of that name: not one that the store has never had; one that is
 * gone by the scope it had last. */
enum satchel_status scope_sees(struct scope_viewer *viewer, const struct satchel_table *table,
                               struct satchel_span name, bool *sees,
                               struct satchel_error *error) SATCHEL_MUST_USE;
/* The same, and whether the store has ever had the row. */
enum satchel_status scope_sight(struct scope_viewer *viewer, const struct satchel_table *table,
                                struct satchel_span name, enum satchel_sight *sight,
                                struct satchel_error *error) SATCHEL_MUST_USE;
/* The names of a table's rows, gone ones too, in ascending order, that the user may see. */
struct scope_rows {
    struct scope_viewer *viewer;
    const struct satchel_table *table;
    sqlite3_stmt *statement;
    struct satchel_buffer prefix; /* of their names */
    bool is_decided, is_seen;     /* by the table alone */
};
/* scope_rows_end in any case. */
enum satchel_status scope_rows_begin(struct scope_rows *rows, struct scope_viewer *viewer,
                                     const struct satchel_table *table,
                                     struct satchel_error *error) SATCHEL_MUST_USE;
/* Empty: there is none any more. Borrowed until the next call. */
enum satchel_status scope_rows_next(struct scope_rows *rows, struct satchel_span *name,
                                    struct satchel_error *error) SATCHEL_MUST_USE;
void scope_rows_end(struct scope_rows *rows);

/* The sets that the user's grants open, ascending, in `arena`; without those of everyone. */
enum satchel_status scope_viewer_sets(struct scope_viewer *viewer, struct satchel_arena *arena,
                                      uint64_t **sets, size_t *count,
                                      struct satchel_error *error) SATCHEL_MUST_USE;
/* Whether the value is one of the user's grants. */
enum satchel_status scope_is_granted(struct scope_viewer *viewer, const struct satchel_value *value,
                                     bool *is_granted,
                                     struct satchel_error *error) SATCHEL_MUST_USE;
/* Whether the user could see it at `head`, or at any later head up to now. */
enum satchel_status scope_saw_since(struct scope_viewer *viewer, const struct satchel_table *table,
                                    struct satchel_span name, uint64_t head, bool *saw,
                                    struct satchel_error *error) SATCHEL_MUST_USE;

/* Names of rows, ascending behind `after` (empty: from the first), at most `limit`, in `arena`.
 *
 * scope_left: those that the user could see at `head` or at any later one, and cannot see now. One
 * that came into a set after the user had lost the grant for it is not among them.
 * scope_came: those that the user may see now and may not have seen at some moment since `head`,
 * because their sets or the user's grants changed; and of a table of which he may see other columns
 * than at some moment since, all that he may see. Rows that came into being since then and were
 * never anybody else's are not among them. */
enum satchel_status scope_left(struct scope_viewer *viewer, uint64_t head,
                               struct satchel_span after, size_t limit, struct satchel_arena *arena,
                               struct satchel_span **names, size_t *count,
                               struct satchel_error *error) SATCHEL_MUST_USE;
enum satchel_status scope_came(struct scope_viewer *viewer, uint64_t head,
                               struct satchel_span after, size_t limit, struct satchel_arena *arena,
                               struct satchel_span **names, size_t *count,
                               struct satchel_error *error) SATCHEL_MUST_USE;

#endif
