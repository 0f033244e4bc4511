/* Owns the way of single values in and out of SQLite, bit for bit. Knows nothing of tables. */
#include <satchel/row_io.h>

#include <satchel/sqlite.h>
#include <string.h>

int satchel_value_bind(struct sqlite3_stmt *statement, int index, const struct satchel_value *value)
{
    /* SQLite takes a NULL pointer for NULL: an empty text or blob needs one that is not. */
    const void *data = "";
    switch (value->type) {
    case SATCHEL_NULL: return sqlite3_bind_null(statement, index);
    case SATCHEL_INTEGER: return sqlite3_bind_int64(statement, index, value->integer);
    case SATCHEL_REAL: return sqlite3_bind_double(statement, index, value->real);
    case SATCHEL_TEXT:
        if (value->bytes.size)
            data = value->bytes.data;
        return sqlite3_bind_text64(statement, index, data, value->bytes.size, SQLITE_STATIC,
                                   SQLITE_UTF8);
    case SATCHEL_BLOB:
        if (value->bytes.size)
            data = value->bytes.data;
        return sqlite3_bind_blob64(statement, index, data, value->bytes.size, SQLITE_STATIC);
    }
    return SQLITE_MISUSE;
}

/* SQLite gives NULL for an empty blob and when it runs out of memory. The order of calls (pointer
 * before size) is the one SQLite asks for. */
static struct satchel_span span_of(const void *data, int size)
{
    return satchel_span_of(data, data ? (size_t)size : 0);
}

struct satchel_value satchel_value_of_column(struct sqlite3_stmt *statement, int index)
{
    const void *data;
    switch (sqlite3_column_type(statement, index)) {
    case SQLITE_INTEGER: return satchel_value_integer(sqlite3_column_int64(statement, index));
    case SQLITE_FLOAT: return satchel_value_real(sqlite3_column_double(statement, index));
    case SQLITE_TEXT:
        data = sqlite3_column_text(statement, index);
        return satchel_value_text(span_of(data, sqlite3_column_bytes(statement, index)));
    case SQLITE_BLOB:
        data = sqlite3_column_blob(statement, index);
        return satchel_value_blob(span_of(data, sqlite3_column_bytes(statement, index)));
    default: return satchel_value_null();
    }
}

struct satchel_span satchel_column_span(struct sqlite3_stmt *statement, int index)
{
    const void *data = sqlite3_column_blob(statement, index);
    return span_of(data, sqlite3_column_bytes(statement, index));
}

bool satchel_column_id(struct sqlite3_stmt *statement, int index, struct satchel_id *out)
{
    struct satchel_span bytes = satchel_column_span(statement, index);
    bool is_id = bytes.size == sizeof out->bytes;
    memset(out, 0, sizeof *out);
    if (is_id)
        memcpy(out->bytes, bytes.data, sizeof out->bytes);
    return is_id;
}

/* A text is taken as it lies: sqlite3_value_text() would copy each that a trigger passes, to put a
 * NUL behind it. Its size is asked for first: that makes UTF-8 of it where it is not. */
struct satchel_value satchel_value_of_argument(struct sqlite3_value *argument)
{
    const void *data;
    int size;
    switch (sqlite3_value_type(argument)) {
    case SQLITE_INTEGER: return satchel_value_integer(sqlite3_value_int64(argument));
    case SQLITE_FLOAT: return satchel_value_real(sqlite3_value_double(argument));
    case SQLITE_TEXT:
        size = sqlite3_value_bytes(argument);
        data = size > 0 ? sqlite3_value_blob(argument) : sqlite3_value_text(argument);
        return satchel_value_text(span_of(data, size));
    case SQLITE_BLOB:
        data = sqlite3_value_blob(argument);
        return satchel_value_blob(span_of(data, sqlite3_value_bytes(argument)));
    default: return satchel_value_null();
    }
}
