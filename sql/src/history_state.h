/* What a scan of the log knows of the rows it has come across: the value each field has in the
 * node's tables at that point. Internal to history. */
#ifndef SATCHEL_HISTORY_STATE_H
#define SATCHEL_HISTORY_STATE_H

#include <satchel/entry.h>
#include <satchel/schema.h>

struct satchel_history_state;

/* Lives in a private temporary database, which goes to disk when it grows and touches nothing of
 * the connection that reads the history. */
enum satchel_status satchel_history_state_new(struct satchel_history_state **out,
                                              struct satchel_error *error) SATCHEL_MUST_USE;
void satchel_history_state_free(struct satchel_history_state *state);

/* Chooses the row that the calls below mean. */
enum satchel_status satchel_history_state_row(struct satchel_history_state *state, uint32_t table,
                                              const struct satchel_value *key,
                                              uint32_t key_count) SATCHEL_MUST_USE;
/* `*exists`: the log so far says that the row exists. */
enum satchel_status satchel_history_state_exists(struct satchel_history_state *state,
                                                 bool *exists) SATCHEL_MUST_USE;
/* The value of a field: the last one set, else `default_value` if the row exists, else NULL. Bytes
 * are borrowed until the next call. */
enum satchel_status satchel_history_state_get(struct satchel_history_state *state, uint32_t column,
                                              const struct satchel_value *default_value,
                                              struct satchel_value *out) SATCHEL_MUST_USE;
/* Forgets the row's values; from now on it exists, or does not. */
enum satchel_status satchel_history_state_reset(struct satchel_history_state *state,
                                                bool exists) SATCHEL_MUST_USE;
/* The same, and it means the row named `survivor` until it exists again. */
enum satchel_status satchel_history_state_alias(struct satchel_history_state *state,
                                                struct satchel_span survivor) SATCHEL_MUST_USE;
/* If the chosen row was merged into another (`*is_merged`), chooses that one instead. */
enum satchel_status satchel_history_state_follow(struct satchel_history_state *state,
                                                 bool *is_merged) SATCHEL_MUST_USE;
/* satchel_row_name of the chosen row; borrowed until another is chosen. */
struct satchel_span satchel_history_state_name(const struct satchel_history_state *state);
enum satchel_status satchel_history_state_set(struct satchel_history_state *state, uint32_t column,
                                              const struct satchel_value *value) SATCHEL_MUST_USE;
/* SQLite's words for the last failure. */
const char *satchel_history_state_message(struct satchel_history_state *state);

#endif
