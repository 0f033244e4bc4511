/* What tests and the rest of sql/ need of schemas beyond satchel/schema.h. */
#ifndef SATCHEL_SCHEMA_INTERNAL_H
#define SATCHEL_SCHEMA_INTERNAL_H

#include <satchel/schema.h>

/* As satchel_schema_new. `as_if_built`: rules, policies and modifiers that do not work yet are
 * taken as if they did, so that every other check can be tested on schemas that use them. */
enum satchel_status satchel_schema_new_internal(struct satchel_schema **out,
                                                const struct satchel_migration *migrations,
                                                uint32_t migration_count, bool as_if_built,
                                                struct satchel_error *error) SATCHEL_MUST_USE;

/* A trigger that writes a synced table during apply, or that keeps writes to one from being
 * captured. Texts in the arena given. */
struct satchel_trigger_offence {
    const char *trigger; /* NULL: there is none */
    const char *on;      /* the table it is on */
    const char *written; /* the synced table it writes; NULL: it has another fault */
    const char *raise;   /* the RAISE it must not call, and why; NULL: none */
    const char *broken;  /* a trigger that SQLite cannot compile, so that nothing is known of it;
                            NULL:  there is none */
    const char *reason;  /* SQLite's words for that */
};
#define SATCHEL_TRIGGER_IGNORES                                                              \
    "RAISE(IGNORE) when the row is written already, which ends other triggers too, so that " \
    "the write would go unseen; make it a BEFORE trigger"
#define SATCHEL_TRIGGER_ROLLS_BACK                                                             \
    "RAISE(ROLLBACK), which would also end the transaction in which sync applies what others " \
    "wrote; use RAISE(ABORT)"
/* See satchel_triggers_check. To find what is broken, it looks into every trigger; else only into
 * those that fire when sync applies something. NOMEM, SQL. */
enum satchel_status satchel_triggers_find_offence(struct sqlite3 *db,
                                                  const struct satchel_schema *schema,
                                                  bool finds_broken, struct satchel_arena *arena,
                                                  struct satchel_trigger_offence *out,
                                                  struct satchel_error *error) SATCHEL_MUST_USE;

#endif
