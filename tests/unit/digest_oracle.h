/* The sums that a store keeps against sums over all its rows. */
#ifndef DIGEST_ORACLE_H
#define DIGEST_ORACLE_H

#include <satchel/digest.h>

/* NULL: they are the same. Else what differs, in words, until the next call. */
const char *digest_oracle(struct sqlite3 *store, const struct satchel_schema *schema);

#endif
