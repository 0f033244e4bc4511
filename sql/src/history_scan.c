/* Owns the walk over the log: entry by entry, part by part, field by field, and what each write
 * replaced. Parts of other rows are passed over unread where one table or row is asked for. A row
 * that was merged into another is shown as that one. */
#include "history_scan.h"

#include "history_names.h"
#include "history_outcome.h"
#include "history_replay.h"
#include "history_rows.h"
#include "history_source.h"
#include "history_words.h"

#include <satchel/cursor.h>
#include <satchel/row_io.h>
#include <satchel/sqlite.h>

#include <inttypes.h>
#include <stdio.h>

enum {
    PART_ITEMS_MIN = 6,
    PART_ITEMS_MAX = 64, /* of a later version, which may add some behind ours */
    ARENA_BYTES_MAX = 512 << 20,
    KEY_BYTES_MAX = 1 << 30
};

struct satchel_history_scan {
    const struct satchel_schema *(*schema)(void *context);
    void *context;
    struct satchel_arena texts; /* the filter's */
    struct satchel_history_filter filter;
    struct satchel_id device;         /* if filter.device */
    struct satchel_history_id target; /* if filter.id */
    bool is_done;

    struct satchel_history_source source;
    struct satchel_history_judge judge;
    struct satchel_history_replay replay; /* without a state: no old values or outcomes asked for */
    struct satchel_history_rows rows;     /* what the row asked for is called, now and before */

    bool has_entry;
    struct satchel_history_entry entry;
    bool entry_is_shown;
    struct satchel_arena notes_arena;
    struct satchel_notes notes;
    struct satchel_cursor body; /* at the next part */
    uint32_t part_count, next_part;

    bool has_part;
    struct satchel_arena part_arena;
    struct satchel_part part;
    uint32_t next_field;
    bool row_existed;
    struct satchel_buffer key;          /* satchel_key_text of the part */
    struct satchel_span shown_key;      /* of the row that stands for it */
    struct satchel_history_place place; /* the row that it was written to */

    struct satchel_buffer effect_key;
    struct satchel_arena values; /* of the row shown */
    struct satchel_history_row row;
};

/* ---- the filter ---- */

static bool is_table_wanted(const struct satchel_history_scan *scan, uint32_t table)
{
    char scratch[SATCHEL_HISTORY_NAME_BYTES];
    return !scan->filter.table ||
           strcmp(satchel_history_table_name(scan->schema(scan->context), table, scratch),
                  scan->filter.table) == 0;
}

/* Writes the key's text into `text` and compares. */
static enum satchel_status is_key_wanted(const struct satchel_history_scan *scan, uint32_t table,
                                         const struct satchel_value *key, uint32_t key_count,
                                         struct satchel_buffer *text, bool *out)
{
    satchel_buffer_clear(text);
    enum satchel_status status = satchel_key_text(text, key, key_count);
    *out = !scan->filter.key || satchel_history_rows_have(&scan->rows, table, scan->filter.key,
                                                          satchel_buffer_span(text));
    return status;
}

static bool is_part_shown(const struct satchel_history_scan *scan, uint32_t part_index)
{
    if (!scan->entry_is_shown)
        return false;
    return !scan->filter.id || (scan->entry.number == scan->target.number &&
                                satchel_id_equal(&scan->entry.device, &scan->target.device) &&
                                part_index == scan->target.part);
}

static bool is_field_shown(const struct satchel_history_scan *scan, uint32_t column)
{
    if (scan->filter.id && column != scan->target.column)
        return false;
    if (!scan->filter.field)
        return true;
    char scratch[SATCHEL_HISTORY_NAME_BYTES];
    return strcmp(satchel_history_field_name(scan->schema(scan->context), scan->part.table, column,
                                             scratch),
                  scan->filter.field) == 0;
}

/* ---- entries ---- */

static enum satchel_status corrupt(struct satchel_history_scan *scan, const char *what,
                                   struct satchel_error *error)
{
    return satchel_history_source_corrupt(&scan->entry, what, error);
}

static enum satchel_status failed(const struct satchel_history_scan *scan,
                                  enum satchel_status status, struct satchel_error *error)
{
    bool is_of_state = scan->replay.state && (status == SATCHEL_SQL || status == SATCHEL_BUSY);
    return satchel_error_set(error, status, "cannot read the history: %s",
                             is_of_state ? satchel_history_state_message(scan->replay.state)
                                         : satchel_status_text(status));
}

/* Bytes of the log could not be read: there was no memory for that, or they are malformed. */
static enum satchel_status unread(struct satchel_history_scan *scan, enum satchel_status status,
                                  const char *what, struct satchel_error *error)
{
    return status == SATCHEL_NOMEM ? failed(scan, status, error) : corrupt(scan, what, error);
}

static enum satchel_status open_body(struct satchel_history_scan *scan, struct satchel_error *error)
{
    struct satchel_changeset_header header;
    scan->part_count = 0;
    scan->next_part = 0;
    scan->body = satchel_cursor_of(scan->entry.body);
    if (!scan->entry.body.data)
        return SATCHEL_OK; /* not in the log */
    satchel_arena_reset(&scan->part_arena);
    enum satchel_status status =
        satchel_changeset_read_header(&scan->body, &scan->part_arena, &header);
    if (status != SATCHEL_OK)
        return unread(scan, status, "its header cannot be read", error);
    scan->part_count = header.part_count;
    return SATCHEL_OK;
}

static enum satchel_status next_entry(struct satchel_history_scan *scan,
                                      struct satchel_error *error)
{
    enum satchel_status status =
        satchel_history_source_next(&scan->source, &scan->has_entry, &scan->entry, error);
    if (status != SATCHEL_OK || !scan->has_entry)
        return status;
    scan->entry_is_shown =
        !scan->filter.device || satchel_id_equal(&scan->entry.device, &scan->device);
    satchel_arena_reset(&scan->notes_arena);
    status = satchel_notes_read(scan->entry.notes, &scan->notes_arena, &scan->notes);
    if (status != SATCHEL_OK)
        return unread(scan, status, "its notes cannot be read", error);
    status = open_body(scan, error);
    if (status == SATCHEL_OK && scan->filter.needs_outcome && !scan->entry.is_pending)
        satchel_history_judge_entry(&scan->judge, &scan->notes, &scan->entry.device,
                                    scan->entry.number);
    return status;
}

/* ---- parts ---- */

/* Reads the next part if its row is wanted: has_part; else passes over it. */
static enum satchel_status next_part(struct satchel_history_scan *scan, struct satchel_error *error)
{
    uint32_t index = scan->next_part++;
    struct satchel_cursor item = satchel_cursor_of(satchel_cursor_item(&scan->body));
    struct satchel_cursor head = item;
    satchel_cursor_array(&head, PART_ITEMS_MAX);
    satchel_cursor_unsigned(&head, SATCHEL_OP_DELETE);
    uint32_t table = (uint32_t)satchel_cursor_unsigned(&head, SATCHEL_TABLES_MAX);
    if (scan->body.failed || head.failed)
        return corrupt(scan, "a part cannot be read", error);
    bool is_visited = scan->replay.state || is_part_shown(scan, index);
    if (!is_visited || !is_table_wanted(scan, table))
        return SATCHEL_OK;

    satchel_arena_reset(&scan->part_arena);
    enum satchel_status status = satchel_changeset_read_part(&item, &scan->part_arena, &scan->part);
    if (status != SATCHEL_OK)
        return unread(scan, status, "a part cannot be read", error);
    status = is_key_wanted(scan, table, scan->part.key, scan->part.key_count, &scan->key,
                           &scan->has_part);
    if (status != SATCHEL_OK)
        return failed(scan, status, error);
    if (!scan->has_part)
        return SATCHEL_OK;

    scan->next_field = is_part_shown(scan, index) ? 0 : UINT32_MAX;
    if (scan->next_field == 0)
        status =
            satchel_history_rows_shown(&scan->rows, table, scan->part.key, scan->part.key_count,
                                       satchel_buffer_span(&scan->key), &scan->shown_key, error);
    if (status != SATCHEL_OK)
        return status;
    if (scan->replay.state)
        status =
            satchel_history_replay_place(&scan->replay, &scan->notes, &scan->part, &scan->place);
    if (status == SATCHEL_OK && scan->replay.state)
        status = satchel_history_state_exists(scan->replay.state, &scan->row_existed);
    if (status != SATCHEL_OK)
        return failed(scan, status, error);
    if (scan->filter.needs_outcome && !scan->entry.is_pending)
        satchel_history_judge_part(&scan->judge, index, &scan->part,
                                   satchel_schema_table(scan->schema(scan->context), table),
                                   satchel_buffer_span(&scan->key), &scan->place);
    return SATCHEL_OK;
}

static enum satchel_status finish_part(struct satchel_history_scan *scan,
                                       struct satchel_error *error)
{
    scan->has_part = false;
    if (!scan->replay.state || satchel_history_is_unlike(&scan->notes, scan->next_part - 1))
        return SATCHEL_OK;
    const struct satchel_table *table =
        satchel_schema_table(scan->schema(scan->context), scan->part.table);
    enum satchel_status status = satchel_history_replay_part(&scan->replay, table, &scan->part);
    return status == SATCHEL_OK ? status : failed(scan, status, error);
}

static enum satchel_status note_effect(struct satchel_history_scan *scan,
                                       const struct satchel_effect *effect)
{
    bool is_wanted;
    if (!is_table_wanted(scan, effect->table))
        return SATCHEL_OK;
    enum satchel_status status = is_key_wanted(scan, effect->table, effect->key, effect->key_count,
                                               &scan->effect_key, &is_wanted);
    return status == SATCHEL_OK && is_wanted ? satchel_history_replay_effect(&scan->replay, effect)
                                             : status;
}

static enum satchel_status finish_entry(struct satchel_history_scan *scan,
                                        struct satchel_error *error)
{
    scan->has_entry = false;
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; i < scan->notes.effect_count && scan->replay.state && status == SATCHEL_OK;
         i++)
        status = note_effect(scan, &scan->notes.effects[i]);
    return status == SATCHEL_OK ? status : failed(scan, status, error);
}

/* ---- rows ---- */

static const struct satchel_column_rules *rules_of(const struct satchel_table *table,
                                                   uint32_t column)
{
    return table && column < table->column_count ? &table->rules.columns[column] : NULL;
}

static bool is_counter(const struct satchel_table *table, uint32_t column)
{
    const struct satchel_column_rules *rules = rules_of(table, column);
    return rules && rules->rule == SATCHEL_RULE_COUNTER;
}

static enum satchel_status fill_values(struct satchel_history_scan *scan,
                                       const struct satchel_table *table,
                                       const struct satchel_field *field,
                                       struct satchel_value *before)
{
    struct satchel_history_row *row = &scan->row;
    *before = satchel_value_null();
    row->old_value = row->new_value = satchel_value_null();
    if (!field)
        return SATCHEL_OK;
    const struct satchel_column_rules *rules = rules_of(table, field->column);
    struct satchel_value default_value = rules ? rules->default_value : satchel_value_null();
    enum satchel_status status = SATCHEL_OK;
    satchel_arena_reset(&scan->values);
    if (scan->replay.state)
        status =
            satchel_history_state_get(scan->replay.state, field->column, &default_value, before);
    if (!is_counter(table, field->column))
        row->old_value = *before;
    row->new_value = field->value;
    if (status == SATCHEL_OK && rules)
        status = satchel_history_words(rules, scan->part.kind, &field->value, &scan->values,
                                       &row->new_value);
    return status;
}

static enum satchel_status fill_row(struct satchel_history_scan *scan,
                                    const struct satchel_field *field, struct satchel_error *error)
{
    struct satchel_history_row *row = &scan->row;
    const struct satchel_schema *schema = scan->schema(scan->context);
    const struct satchel_table *table =
        schema ? satchel_schema_table(schema, scan->part.table) : NULL;
    row->device = scan->entry.device;
    row->number = scan->entry.number;
    row->part = scan->next_part - 1;
    row->column = field ? field->column : SATCHEL_COLUMN_ROW;
    row->seq = scan->entry.seq;
    row->at_ms = satchel_stamp_ms(scan->entry.stamp);
    row->user = scan->entry.user;
    row->table = scan->part.table;
    row->key = scan->shown_key;
    row->winner = row->reason = satchel_span_of(NULL, 0);
    row->outcome = "pending";
    struct satchel_value before;
    enum satchel_status status = fill_values(scan, table, field, &before);
    if (status != SATCHEL_OK)
        return failed(scan, status, error);
    if (!scan->filter.needs_outcome || scan->entry.is_pending)
        return SATCHEL_OK;
    struct satchel_history_verdict verdict;
    scan->judge.table = table; /* the schema may have been exchanged since the part was begun */
    status = satchel_history_judge_field(&scan->judge, field, &before, scan->row_existed, &verdict,
                                         error);
    if (status == SATCHEL_OK) {
        row->outcome = verdict.outcome;
        row->winner = verdict.winner;
        row->reason = verdict.reason;
    }
    return status;
}

/* The next field of the part to show, if any: `*found`. */
static enum satchel_status next_field(struct satchel_history_scan *scan, bool *found,
                                      struct satchel_error *error)
{
    const struct satchel_part *part = &scan->part;
    *found = false;
    if (part->field_count == 0 && scan->next_field == 0) {
        scan->next_field = UINT32_MAX;
        *found = is_field_shown(scan, SATCHEL_COLUMN_ROW);
        return *found ? fill_row(scan, NULL, error) : SATCHEL_OK;
    }
    while (scan->next_field < part->field_count && !*found) {
        const struct satchel_field *field = &part->fields[scan->next_field++];
        *found = is_field_shown(scan, field->column);
        if (*found)
            return fill_row(scan, field, error);
    }
    return SATCHEL_OK;
}

enum satchel_status satchel_history_scan_next(struct satchel_history_scan *scan,
                                              const struct satchel_history_row **out,
                                              struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    *out = NULL;
    while (status == SATCHEL_OK && !scan->is_done && !*out) {
        if (!scan->schema(scan->context)) {
            scan->is_done = true;
        } else if (scan->has_part) {
            bool found;
            status = next_field(scan, &found, error);
            if (status == SATCHEL_OK && found)
                *out = &scan->row;
            else if (status == SATCHEL_OK)
                status = finish_part(scan, error);
        } else if (scan->has_entry && scan->next_part < scan->part_count) {
            status = next_part(scan, error);
        } else if (scan->has_entry) {
            status = finish_entry(scan, error);
        } else {
            status = next_entry(scan, error);
            scan->is_done = !scan->has_entry;
        }
    }
    if (*out && scan->filter.id)
        scan->is_done = true; /* there is one row of an id */
    return status;
}

enum satchel_status satchel_history_scan_before(struct satchel_history_scan *scan, uint32_t column,
                                                const struct satchel_value *default_value,
                                                struct satchel_value *out)
{
    return satchel_history_state_get(scan->replay.state, column, default_value, out);
}

bool satchel_history_scan_existed(const struct satchel_history_scan *scan)
{
    return scan->row_existed;
}

/* ---- beginning and end ---- */

/* Finds the row that the target is about, so that the scan visits that row alone. */
static enum satchel_status resolve_target(struct satchel_history_scan *scan,
                                          struct satchel_error *error)
{
    const satchel_log_mark mark =
        satchel_log_mark_change(&scan->target.device, scan->target.number);
    enum satchel_status status;
    satchel_history_source_rewind(&scan->source, &mark, 1);
    do {
        status = satchel_history_source_next(&scan->source, &scan->has_entry, &scan->entry, error);
    } while (status == SATCHEL_OK && scan->has_entry &&
             (scan->entry.number != scan->target.number ||
              !satchel_id_equal(&scan->entry.device, &scan->target.device)));
    if (status == SATCHEL_OK && scan->has_entry)
        status = open_body(scan, error);
    scan->is_done = !scan->has_entry || scan->target.part >= scan->part_count;
    if (status != SATCHEL_OK || scan->is_done)
        return status;
    for (uint32_t i = 0; i < scan->target.part; i++)
        satchel_cursor_item(&scan->body);
    satchel_arena_reset(&scan->part_arena);
    status = satchel_changeset_read_part(&scan->body, &scan->part_arena, &scan->part);
    if (status != SATCHEL_OK)
        return unread(scan, status, "a part cannot be read", error);
    char scratch[SATCHEL_HISTORY_NAME_BYTES];
    const char *table =
        satchel_history_table_name(scan->schema(scan->context), scan->part.table, scratch);
    satchel_buffer_clear(&scan->key);
    status = satchel_key_text(&scan->key, scan->part.key, scan->part.key_count);
    if (status != SATCHEL_OK)
        return failed(scan, status, error);
    struct satchel_span table_copy = satchel_arena_copy(&scan->texts, satchel_span_text(table));
    struct satchel_span key_copy =
        satchel_arena_copy(&scan->texts, satchel_buffer_span(&scan->key));
    if (!table_copy.data || !key_copy.data)
        return failed(scan, SATCHEL_NOMEM, error);
    /* Constraints given beside the id stay: SQLite checks them on the row. A key with a NUL in it
     * cannot be a C string; then all rows of the table are visited. */
    scan->filter.table = (const char *)table_copy.data;
    scan->filter.key = memchr(key_copy.data, 0, key_copy.size) ? NULL : (const char *)key_copy.data;
    scan->has_entry = false;
    satchel_history_source_rewind(&scan->source, NULL, 0);
    return SATCHEL_OK;
}

static bool copy_text(struct satchel_arena *arena, const char **text)
{
    if (!*text)
        return true;
    *text = (const char *)satchel_arena_copy(arena, satchel_span_text(*text)).data;
    return *text != NULL;
}

static enum satchel_status copy_filter(struct satchel_history_scan *scan,
                                       const struct satchel_history_filter *filter)
{
    scan->filter = *filter;
    if (!copy_text(&scan->texts, &scan->filter.table) ||
        !copy_text(&scan->texts, &scan->filter.key) ||
        !copy_text(&scan->texts, &scan->filter.field) ||
        !copy_text(&scan->texts, &scan->filter.id) ||
        !copy_text(&scan->texts, &scan->filter.device))
        return SATCHEL_NOMEM;
    if (filter->device && satchel_id_parse(&scan->device, satchel_span_text(filter->device)))
        scan->is_done = true; /* no device has such an id */
    if (filter->id && !satchel_history_id_parse(filter->id, &scan->target))
        scan->is_done = true; /* no write has such an id */
    return SATCHEL_OK;
}

enum satchel_status satchel_history_scan_new(struct satchel_history_scan **out, struct sqlite3 *db,
                                             const struct satchel_schema *(*schema)(void *context),
                                             void *context,
                                             const struct satchel_history_filter *filter,
                                             struct satchel_error *error)
{
    *out = NULL;
    struct satchel_history_scan *scan = satchel_alloc_zero(NULL, sizeof *scan);
    if (!scan)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory to read the history");
    scan->schema = schema;
    scan->context = context;
    satchel_arena_init(&scan->texts, ARENA_BYTES_MAX, NULL);
    satchel_arena_init(&scan->notes_arena, ARENA_BYTES_MAX, NULL);
    satchel_arena_init(&scan->part_arena, ARENA_BYTES_MAX, NULL);
    satchel_buffer_init(&scan->key, KEY_BYTES_MAX, NULL);
    satchel_buffer_init(&scan->effect_key, KEY_BYTES_MAX, NULL);
    satchel_arena_init(&scan->values, ARENA_BYTES_MAX, NULL);
    enum satchel_status status = copy_filter(scan, filter);
    if (status != SATCHEL_OK)
        failed(scan, status, error);
    scan->is_done = scan->is_done || !schema(context);
    const char *asked = scan->filter.key; /* an id will set another */
    if (status == SATCHEL_OK && !scan->is_done) {
        status = satchel_history_source_init(&scan->source, db, error);
        if (status == SATCHEL_OK)
            status = satchel_history_judge_init(&scan->judge, db, error);
        if (status == SATCHEL_OK)
            status = satchel_history_rows_init(&scan->rows, db, asked, error);
        if (status == SATCHEL_OK && scan->filter.id)
            status = resolve_target(scan, error);
        if (status == SATCHEL_OK && scan->filter.key)
            status = satchel_history_rows_find(&scan->rows, schema(context), scan->filter.table,
                                               scan->filter.key, error);
        satchel_history_source_rewind(&scan->source, scan->rows.marks, scan->rows.mark_count);
        if (status == SATCHEL_OK && (scan->filter.needs_old || scan->filter.needs_outcome))
            status = satchel_history_replay_init(&scan->replay, error);
    }
    if (status != SATCHEL_OK) {
        satchel_history_scan_free(scan);
        return status;
    }
    *out = scan;
    return SATCHEL_OK;
}

void satchel_history_scan_free(struct satchel_history_scan *scan)
{
    if (!scan)
        return;
    satchel_history_source_deinit(&scan->source);
    satchel_history_judge_deinit(&scan->judge);
    satchel_history_replay_deinit(&scan->replay);
    satchel_arena_deinit(&scan->texts);
    satchel_arena_deinit(&scan->notes_arena);
    satchel_arena_deinit(&scan->part_arena);
    satchel_arena_deinit(&scan->values);
    satchel_history_rows_deinit(&scan->rows);
    satchel_buffer_deinit(&scan->key);
    satchel_buffer_deinit(&scan->effect_key);
    satchel_free(NULL, scan);
}
