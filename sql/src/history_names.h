/* What history calls tables and columns, and the id of a write. Internal to history. */
#ifndef SATCHEL_HISTORY_NAMES_H
#define SATCHEL_HISTORY_NAMES_H

#include <satchel/schema.h>

/* Names as shown; a number the schema does not have shows as "table 7", "column 7" in `scratch`. */
#define SATCHEL_HISTORY_NAME_BYTES 24
const char *satchel_history_table_name(const struct satchel_schema *schema, uint32_t table,
                                       char scratch[SATCHEL_HISTORY_NAME_BYTES]);
const char *satchel_history_field_name(const struct satchel_schema *schema, uint32_t table,
                                       uint32_t column, char scratch[SATCHEL_HISTORY_NAME_BYTES]);

/* One field, or the row (SATCHEL_COLUMN_ROW), of one part of one change set. */
struct satchel_history_id {
    struct satchel_id device;
    uint64_t number;
    uint32_t part, column;
};
/* "<device>.<number>.<part>.<column or ->"; false: no write has such an id. */
bool satchel_history_id_parse(const char *id, struct satchel_history_id *out);

#endif
