/* SQL text put together from a schema's names. Internal to sql/. */
#ifndef SATCHEL_SQL_TEXT_H
#define SATCHEL_SQL_TEXT_H

#include <satchel/schema.h>

/* Text that grows; the first failure sticks. */
struct satchel_sql_text {
    struct satchel_buffer buffer;
    enum satchel_status status;
};

void satchel_sql_text_init(struct satchel_sql_text *sql);
void satchel_sql_text_add(struct satchel_sql_text *sql, const char *text);
/* The name in double quotes, those inside doubled. */
void satchel_sql_text_name(struct satchel_sql_text *sql, const char *name);
/* main."T": never a temporary table of the same name. */
void satchel_sql_text_table(struct satchel_sql_text *sql, const struct satchel_table *table);
/* ?N */
void satchel_sql_text_parameter(struct satchel_sql_text *sql, uint32_t number);
/* "a","b",... of all columns. */
void satchel_sql_text_columns(struct satchel_sql_text *sql, const struct satchel_table *table);
/* "k1" IS ?N AND "k2" IS ?N+1 ...: a key may hold NULLs. */
void satchel_sql_text_key(struct satchel_sql_text *sql, const struct satchel_table *table,
                          uint32_t first_parameter);

struct sqlite3;
struct sqlite3_stmt;
/* Prepares the text to be kept, and frees it. NOMEM, LIMIT, or SQL. */
enum satchel_status satchel_sql_text_prepare(struct satchel_sql_text *sql, struct sqlite3 *db,
                                             struct sqlite3_stmt **out,
                                             struct satchel_error *error) SATCHEL_MUST_USE;

#endif
