#ifndef SATCHEL_TEST_SYSTEM_SCHEMA_H
#define SATCHEL_TEST_SYSTEM_SCHEMA_H

#include <satchel/schema.h>

extern const struct satchel_migration system_migrations[2];
extern const struct satchel_migration system_bare_migrations[2]; /* without first rows */

#endif
