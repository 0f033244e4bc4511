/* Owns how tables look. Reals print with 15 digits as text (as sqlite3 does) and 17 in JSON. */
#define _POSIX_C_SOURCE 200809L
#include "output.h"

#include <satchel/json.h>
#include <satchel/row_io.h>
#include <satchel/sqlite.h>

#include <stdio.h>
#include <time.h>

#define OUTPUT_BYTES_MAX ((size_t)2 << 30)

enum satchel_status output_init(struct output *output, const char *const *columns,
                                uint32_t column_count)
{
    memset(output, 0, sizeof *output);
    satchel_arena_init(&output->arena, OUTPUT_BYTES_MAX, NULL);
    output->columns = SATCHEL_ARENA_ARRAY(&output->arena, const char *, column_count + 1);
    for (uint32_t i = 0; output->columns && i < column_count; i++) {
        output->columns[i] =
            (const char *)satchel_arena_copy(&output->arena, satchel_span_text(columns[i])).data;
        if (!output->columns[i])
            return SATCHEL_NOMEM;
    }
    output->column_count = column_count;
    return output->columns ? SATCHEL_OK : SATCHEL_NOMEM;
}

void output_deinit(struct output *output)
{
    satchel_free(NULL, output->values);
    satchel_arena_deinit(&output->arena);
    memset(output, 0, sizeof *output);
}

enum satchel_status output_row(struct output *output, const struct satchel_value *values)
{
    if (output->row_count == output->row_capacity) {
        size_t capacity = output->row_capacity ? output->row_capacity * 2 : 32;
        size_t bytes = capacity * output->column_count * sizeof *values;
        struct satchel_value *grown =
            satchel_allocator_default.resize(NULL, output->values, bytes ? bytes : 1);
        if (!grown)
            return SATCHEL_NOMEM;
        output->values = grown;
        output->row_capacity = capacity;
    }
    struct satchel_value *row = output->values + output->row_count * output->column_count;
    for (uint32_t i = 0; i < output->column_count; i++)
        if (satchel_value_copy(&output->arena, &values[i], &row[i]) != SATCHEL_OK)
            return SATCHEL_NOMEM;
    output->row_count++;
    return SATCHEL_OK;
}

enum satchel_status output_collect(struct output *output, struct sqlite3_stmt *statement,
                                   struct satchel_error *error)
{
    uint32_t count = (uint32_t)sqlite3_column_count(statement);
    const char *names[2000];
    struct satchel_value values[2000];
    if (count > 2000)
        return satchel_error_set(error, SATCHEL_LIMIT, "a result has more than 2000 columns");
    for (uint32_t i = 0; i < count; i++)
        names[i] = sqlite3_column_name(statement, (int)i);
    enum satchel_status status = output_init(output, names, count);
    int code = SQLITE_DONE;
    while (status == SATCHEL_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        for (uint32_t i = 0; i < count; i++)
            values[i] = satchel_value_of_column(statement, (int)i);
        status = output_row(output, values);
    }
    if (status == SATCHEL_OK && code != SQLITE_DONE) {
        sqlite3 *db = sqlite3_db_handle(statement);
        status = satchel_error_set(error, SATCHEL_SQL, "%s", sqlite3_errmsg(db));
    } else if (status != SATCHEL_OK) {
        satchel_error_set(error, status, "the result does not fit in memory");
    }
    if (status != SATCHEL_OK)
        output_deinit(output);
    return status;
}

/* ---- values ---- */

/* The bytes of a value as text, in `buffer` if they have to be made. */
static struct satchel_span as_text(const struct satchel_value *value, char buffer[40])
{
    switch (value->type) {
    case SATCHEL_INTEGER:
        snprintf(buffer, 40, "%lld", (long long)value->integer);
        return satchel_span_text(buffer);
    case SATCHEL_REAL:
        return satchel_span_text(sqlite3_snprintf(40, buffer, "%!.15g", value->real));
    case SATCHEL_TEXT:
    case SATCHEL_BLOB: return value->bytes;
    default: return satchel_span_of("", 0);
    }
}

/* ---- text for people ---- */

enum { SHOWN_WIDTH_MAX = 80, COLUMNS_MAX = 2000 };

/* Columns that hold a time in ms since 1970. */
static bool is_time(const char *column)
{
    static const char *const times[] = {"at", "resolved", "last_seen", "last_sync", "last_repair"};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        if (strcmp(column, times[i]) == 0)
            return true;
    return false;
}

/* A value as a person reads it, in `buffer` if it has to be made: times in UTC, blobs as x'..'. */
static struct satchel_span as_shown(const struct output *output, size_t row, uint32_t column,
                                    char buffer[SHOWN_WIDTH_MAX + 8])
{
    const struct satchel_value *value = &output->values[row * output->column_count + column];
    if (value->type == SATCHEL_INTEGER && is_time(output->columns[column])) {
        time_t seconds = (time_t)(value->integer / 1000);
        struct tm utc;
        if (gmtime_r(&seconds, &utc) && strftime(buffer, 40, "%Y-%m-%d %H:%M:%S", &utc))
            return satchel_span_text(buffer);
    }
    if (value->type != SATCHEL_BLOB)
        return as_text(value, buffer);
    size_t length = (size_t)snprintf(buffer, SHOWN_WIDTH_MAX + 8, "x'");
    for (size_t i = 0; i < value->bytes.size && length <= SHOWN_WIDTH_MAX; i++, length += 2)
        snprintf(buffer + length, 3, "%02x", value->bytes.data[i]);
    snprintf(buffer + length, 2, "'");
    return satchel_span_text(buffer);
}

/* Columns a terminal gives the character that begins with this byte: wide East Asian ones take two.
 */
static size_t width_of(uint8_t byte)
{
    if ((byte & 0xc0) == 0x80)
        return 0;
    return (byte >= 0xe3 && byte <= 0xed) || byte >= 0xf0 ? 2 : 1;
}

static size_t display_width(struct satchel_span text)
{
    size_t width = 0;
    for (size_t i = 0; i < text.size && width <= SHOWN_WIDTH_MAX; i++)
        width += width_of(text.data[i]);
    return width < SHOWN_WIDTH_MAX ? width : SHOWN_WIDTH_MAX;
}

/* What does not fit ends in an ellipsis; control characters become spaces. */
static void print_padded(struct satchel_span text, size_t width, bool is_last)
{
    size_t used = 0, total = 0;
    for (size_t i = 0; i < text.size && total <= SHOWN_WIDTH_MAX; i++)
        total += width_of(text.data[i]);
    for (size_t i = 0; i < text.size; i++) {
        if (total > SHOWN_WIDTH_MAX && used + width_of(text.data[i]) >= SHOWN_WIDTH_MAX &&
            width_of(text.data[i])) {
            fputs("\xe2\x80\xa6", stdout);
            used++;
            break;
        }
        putchar(text.data[i] < 0x20 || text.data[i] == 0x7f ? ' ' : text.data[i]);
        used += width_of(text.data[i]);
    }
    for (; !is_last && used < width + 2; used++)
        putchar(' ');
}

/* The indexes of the columns to show; how many. */
static uint32_t choose_columns(const struct output *output, uint32_t chosen[COLUMNS_MAX])
{
    uint32_t count = 0;
    for (uint32_t i = 0; !output->shown && i < output->column_count; i++)
        chosen[count++] = i;
    for (const char *const *name = output->shown; name && *name; name++)
        for (uint32_t i = 0; i < output->column_count; i++)
            if (strcmp(output->columns[i], *name) == 0)
                chosen[count++] = i;
    return count;
}

static void print_aligned(const struct output *output)
{
    uint32_t chosen[COLUMNS_MAX];
    size_t widths[COLUMNS_MAX];
    char buffer[SHOWN_WIDTH_MAX + 8];
    uint32_t count = choose_columns(output, chosen);
    for (uint32_t c = 0; c < count; c++) {
        const char *name = output->columns[chosen[c]];
        widths[c] = strlen(name) + (is_time(name) ? strlen("_utc") : 0);
        for (size_t r = 0; r < output->row_count; r++) {
            size_t width = display_width(as_shown(output, r, chosen[c], buffer));
            if (width > widths[c])
                widths[c] = width;
        }
    }
    for (uint32_t c = 0; c < count; c++) {
        const char *name = output->columns[chosen[c]];
        snprintf(buffer, sizeof buffer, "%.60s%s", name, is_time(name) ? "_utc" : "");
        print_padded(satchel_span_text(buffer), widths[c], c + 1 == count);
    }
    putchar('\n');
    for (size_t r = 0; r < output->row_count; r++) {
        for (uint32_t c = 0; c < count; c++)
            print_padded(as_shown(output, r, chosen[c], buffer), widths[c], c + 1 == count);
        putchar('\n');
    }
}

static const struct output_words *find_words(const struct output *output, const char *column)
{
    for (const struct output_words *words = output->words; words && words->column; words++)
        if (strcmp(words->column, column) == 0)
            return words;
    return NULL;
}

static void print_count(const struct output_words *words, const struct satchel_value *value)
{
    if (value->type == SATCHEL_INTEGER)
        printf("%-16s %lld %s\n", words->column, (long long)value->integer,
               value->integer == 1 ? words->one : words->many);
}

static void print_lines(const struct output *output)
{
    char buffer[SHOWN_WIDTH_MAX + 8];
    for (size_t r = 0; r < output->row_count; r++) {
        for (uint32_t c = 0; c < output->column_count; c++) {
            const struct output_words *words = find_words(output, output->columns[c]);
            if (words) {
                print_count(words, &output->values[r * output->column_count + c]);
                continue;
            }
            struct satchel_span text = as_shown(output, r, c, buffer);
            printf("%s%-*s ", output->columns[c], 16 - (int)strlen(output->columns[c]),
                   is_time(output->columns[c]) ? "_utc" : "");
            fwrite(text.data, 1, text.size, stdout);
            putchar('\n');
        }
    }
}

/* ---- text as sqlite3 prints it ---- */

static void print_list(const struct output *output)
{
    char buffer[40];
    for (size_t r = 0; r < output->row_count; r++) {
        for (uint32_t c = 0; c < output->column_count; c++) {
            struct satchel_span text =
                as_text(&output->values[r * output->column_count + c], buffer);
            if (c)
                putchar('|');
            fwrite(text.data, 1, text.size, stdout);
        }
        putchar('\n');
    }
}

/* ---- JSON ---- */

static void json_row(struct satchel_json *json, const struct output *output, size_t row)
{
    satchel_json_open(json, '{');
    for (uint32_t c = 0; c < output->column_count; c++) {
        const struct satchel_value *value = &output->values[row * output->column_count + c];
        satchel_json_name(json, satchel_span_text(output->columns[c]));
        switch (value->type) {
        case SATCHEL_INTEGER: satchel_json_integer(json, value->integer); break;
        case SATCHEL_REAL: satchel_json_real(json, value->real); break;
        case SATCHEL_TEXT: satchel_json_text(json, value->bytes); break;
        case SATCHEL_BLOB: satchel_json_hex(json, value->bytes); break;
        default: satchel_json_null(json);
        }
    }
    satchel_json_close(json, '}');
}

static enum satchel_status print_json(const struct output *output, bool is_object)
{
    struct satchel_buffer buffer;
    struct satchel_json json;
    satchel_buffer_init(&buffer, OUTPUT_BYTES_MAX, NULL);
    satchel_json_init(&json, &buffer);
    if (!is_object)
        satchel_json_open(&json, '[');
    for (size_t r = 0; r < output->row_count && (!is_object || r == 0); r++)
        json_row(&json, output, r);
    if (!is_object)
        satchel_json_close(&json, ']');
    if (json.status == SATCHEL_OK) {
        fwrite(buffer.data, 1, buffer.size, stdout);
        putchar('\n');
    }
    satchel_buffer_deinit(&buffer);
    return json.status;
}

enum satchel_status output_print(const struct output *output, enum output_style style)
{
    if (style == OUTPUT_JSON)
        return print_json(output, false);
    if (style == OUTPUT_ALIGNED)
        print_aligned(output);
    else if (style == OUTPUT_LINES)
        print_lines(output);
    else
        print_list(output);
    return ferror(stdout) ? SATCHEL_IO : SATCHEL_OK;
}

enum satchel_status output_print_object(const struct output *output)
{
    return print_json(output, true);
}
