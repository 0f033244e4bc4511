/* Statements of what a device does for a restored node. */
#ifndef SATCHEL_RECOVER_INTERNAL_H
#define SATCHEL_RECOVER_INTERNAL_H

#include "recover.h"

enum satchel_status recover_sql_error(struct satchel_sync *sync, struct satchel_error *error);
enum satchel_status recover_prepare(struct satchel_sync *sync, const char *sql, sqlite3_stmt **out,
                                    struct satchel_error *error) SATCHEL_MUST_USE;
/* What is bound is the caller's, until the statement has run. */
void recover_bind_span(sqlite3_stmt *statement, int index, struct satchel_span bytes);
void recover_bind_id(sqlite3_stmt *statement, int index, const struct satchel_id *id);

#endif
