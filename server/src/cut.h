/* Entries as a user may see them (docs/scopes.md). */
#ifndef SATCHEL_SERVER_CUT_H
#define SATCHEL_SERVER_CUT_H

#include "scope.h"

#include <satchel/entry.h>

/* Cuts `entry`, its body loaded, to what the viewer may see now: parts of other rows are withheld,
 * effects and conflicts of theirs left out. Of what the viewer's user wrote nothing is withheld
 * (`is_author`): instead the effect on a row that he may not see (any more) is EVICT. `*is_empty`:
 * nothing of it is left. What is new lives in `arena`; `scratch` is reset. CORRUPT, SQL, NOMEM. */
enum satchel_status cut_entry(struct scope_viewer *viewer, const struct satchel_schema *schema,
                              bool is_author, struct satchel_arena *scratch,
                              struct satchel_arena *arena, struct satchel_entry *entry,
                              bool *is_empty, struct satchel_error *error) SATCHEL_MUST_USE;

#endif
