/* Rows as an administrator names them, and what it takes to write them: the table's name, the key
 * as the interfaces show it, fields by name, values as texts. */
#ifndef SATCHEL_ADMIN_ROWS_H
#define SATCHEL_ADMIN_ROWS_H

#include "own_changes.h"
#include "workspace_internal.h"

/* NOT_FOUND in words. */
enum satchel_status admin_table(struct satchel_store *store, struct satchel_span name,
                                struct satchel_arena *arena, const struct satchel_table **out,
                                struct satchel_error *error) SATCHEL_MUST_USE;
/* The key from its text, in `arena`. INVALID. */
enum satchel_status admin_key(const struct satchel_table *table, struct satchel_span text,
                              struct satchel_arena *arena, struct satchel_value **out,
                              struct satchel_error *error) SATCHEL_MUST_USE;
/* Loads the row of a key; it need not exist. `key` is borrowed. */
enum satchel_status admin_row(struct satchel_store *store, const struct satchel_table *table,
                              const struct satchel_value *key, struct satchel_arena *arena,
                              struct satchel_store_row *out,
                              struct satchel_error *error) SATCHEL_MUST_USE;

/* Values that some columns of a row shall have. */
struct admin_edit {
    const struct satchel_store_row *row; /* exists */
    struct satchel_value *values;        /* per column; meaningful where is_set */
    bool *is_set;                        /* per column */
};
enum satchel_status admin_edit_begin(struct admin_edit *edit, const struct satchel_store_row *row,
                                     struct satchel_arena *arena) SATCHEL_MUST_USE;
/* The update that does it, with what else belongs to the units it writes, also if a value is the
 * present one. REFUSED in words: a rule cannot take a value. */
enum satchel_status admin_edit_part(const struct admin_edit *edit, struct satchel_arena *arena,
                                    struct satchel_part *out,
                                    struct satchel_error *error) SATCHEL_MUST_USE;

/* Merges a part as a change set of the server in the role, with what it means for the row's
 * aliases; REFUSED with the reason if it is quarantined. */
enum satchel_status admin_merge(struct satchel_store *store, const struct satchel_part *part,
                                struct satchel_span role, struct satchel_arena *arena,
                                struct satchel_error *error) SATCHEL_MUST_USE;

/* Whether the row now has what the part, an update that was merged, made of `before`. */
enum satchel_status admin_part_stands(struct satchel_store *store,
                                      const struct satchel_store_row *before,
                                      const struct satchel_part *part, struct satchel_arena *arena,
                                      bool *stands, struct satchel_error *error) SATCHEL_MUST_USE;

/* The entry at a cursor and the change set in it. */
enum satchel_status admin_entry(struct satchel_store *store, uint64_t cursor,
                                struct satchel_arena *arena, struct satchel_entry *entry,
                                struct satchel_changeset *changeset,
                                struct satchel_error *error) SATCHEL_MUST_USE;

#endif
