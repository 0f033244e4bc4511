/* Owns the words of satchel_history's outcome, winner and reason (see history_outcome.h). Merges
 * nothing: the node has decided; this only tells. */
#include "history_outcome.h"

#include <satchel/sql_error.h>

#include <satchel/row_io.h>
#include <satchel/sqlite.h>

static const char select_lost_any[] =
    "SELECT 1 FROM main.satchel_conflict WHERE loser_device = ?1 AND loser_number = ?2 LIMIT 1";
static const char select_lost_field[] =
    "SELECT winner_user, strftime('%Y-%m-%dT%H:%M:%fZ', winner_at / 1000.0, 'unixepoch')"
    " FROM main.satchel_conflict"
    " WHERE loser_device = ?1 AND loser_number = ?2 AND tbl = ?3 AND key = ?4 AND field = ?5";

enum { TEXT_BYTES_MAX = 64 << 10 };

enum satchel_status satchel_history_judge_init(struct satchel_history_judge *judge,
                                               struct sqlite3 *db, struct satchel_error *error)
{
    memset(judge, 0, sizeof *judge);
    judge->db = db;
    satchel_buffer_init(&judge->winner, TEXT_BYTES_MAX, NULL);
    satchel_buffer_init(&judge->reason, TEXT_BYTES_MAX, NULL);
    if (sqlite3_prepare_v2(db, select_lost_any, -1, &judge->lost_any, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db, select_lost_field, -1, &judge->lost_field, NULL) != SQLITE_OK)
        return satchel_sql_error(error, db, "cannot read the conflicts");
    return SATCHEL_OK;
}

void satchel_history_judge_deinit(struct satchel_history_judge *judge)
{
    sqlite3_finalize(judge->lost_any);
    sqlite3_finalize(judge->lost_field);
    satchel_buffer_deinit(&judge->winner);
    satchel_buffer_deinit(&judge->reason);
}

static int bind_loser(struct satchel_history_judge *judge, sqlite3_stmt *statement)
{
    sqlite3_reset(statement);
    int code = sqlite3_bind_blob(statement, 1, judge->device.bytes, sizeof judge->device.bytes,
                                 SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(statement, 2, (int64_t)judge->number);
    return code;
}

void satchel_history_judge_entry(struct satchel_history_judge *judge,
                                 const struct satchel_notes *notes, const struct satchel_id *device,
                                 uint64_t number)
{
    judge->notes = notes;
    judge->device = *device;
    judge->number = number;
    judge->effect_index = 0;
    judge->is_loser_known = false;
}

/* Most change sets lose nothing: one look-up per entry spares one per field. */
static enum satchel_status find_loser(struct satchel_history_judge *judge,
                                      struct satchel_error *error)
{
    if (judge->is_loser_known)
        return SATCHEL_OK;
    int code = bind_loser(judge, judge->lost_any);
    if (code == SQLITE_OK)
        code = sqlite3_step(judge->lost_any);
    judge->is_loser = code == SQLITE_ROW;
    judge->is_loser_known = code == SQLITE_ROW || code == SQLITE_DONE;
    enum satchel_status status = SATCHEL_OK;
    if (!judge->is_loser_known)
        status = satchel_sql_error(error, judge->db, "cannot read the conflicts");
    sqlite3_reset(judge->lost_any);
    return status;
}

/* ---- a part ---- */

static bool is_listed(const uint32_t *ascending, uint32_t count, uint32_t number)
{
    uint32_t low = 0;
    while (low < count) {
        uint32_t middle = low + (count - low) / 2;
        if (ascending[middle] == number)
            return true;
        if (ascending[middle] < number)
            low = middle + 1;
        else
            count = middle;
    }
    return false;
}

static const struct satchel_quarantine_note *find_quarantine(const struct satchel_notes *notes,
                                                             uint32_t part_index)
{
    for (uint32_t i = 0; i < notes->quarantined_count; i++)
        if (notes->quarantined[i].part == part_index)
            return &notes->quarantined[i];
    return NULL;
}

static bool effect_is_on(const struct satchel_effect *effect, const struct satchel_part *part)
{
    if (effect->table != part->table || effect->key_count != part->key_count)
        return false;
    for (uint32_t i = 0; i < part->key_count; i++)
        if (!satchel_value_equal(&effect->key[i], &part->key[i]))
            return false;
    return true;
}

/* Effects come in the order of parts, so the search goes on from the last one found. */
static const struct satchel_effect *find_effect(struct satchel_history_judge *judge,
                                                const struct satchel_part *part)
{
    const struct satchel_notes *notes = judge->notes;
    for (uint32_t i = 0; i < notes->effect_count; i++) {
        uint32_t index = (judge->effect_index + i) % notes->effect_count;
        if (effect_is_on(&notes->effects[index], part)) {
            judge->effect_index = index;
            return &notes->effects[index];
        }
    }
    return NULL;
}

void satchel_history_judge_part(struct satchel_history_judge *judge, uint32_t part_index,
                                const struct satchel_part *part, const struct satchel_table *table,
                                struct satchel_span key_text)
{
    judge->part = part;
    judge->table = table;
    judge->key_text = key_text;
    judge->is_unlike = is_listed(judge->notes->unlike, judge->notes->unlike_count, part_index);
    judge->quarantine = judge->is_unlike ? find_quarantine(judge->notes, part_index) : NULL;
    judge->effect = judge->is_unlike ? find_effect(judge, part) : NULL;
}

/* ---- a field ---- */

static struct satchel_history_verdict verdict(enum satchel_outcome outcome, const char *reason)
{
    struct satchel_history_verdict out = {.outcome = satchel_outcome_name(outcome)};
    if (reason)
        out.reason = satchel_span_text(reason);
    return out;
}

/* Why a write of that rule did not take effect, where no conflict says more. */
static const char *rule_reason(enum satchel_rule rule)
{
    switch (rule) {
    case SATCHEL_RULE_MAX: return "a larger value stays";
    case SATCHEL_RULE_MIN: return "a smaller value stays";
    case SATCHEL_RULE_FIRST: return "the first value stays";
    case SATCHEL_RULE_IMMUTABLE:
    case SATCHEL_RULE_APPEND: return "the value it was inserted with stays";
    default: return "a later write stays";
    }
}

/* The verdict over the loser of the conflict in the current row of lost_field. */
static enum satchel_status tell_loss(struct satchel_history_judge *judge,
                                     const struct satchel_column *column,
                                     struct satchel_history_verdict *out)
{
    const char *user = (const char *)sqlite3_column_text(judge->lost_field, 0);
    const char *at = (const char *)sqlite3_column_text(judge->lost_field, 1);
    *out = verdict(SATCHEL_OUTCOME_SUPERSEDED, NULL);
    satchel_buffer_clear(&judge->winner);
    satchel_buffer_clear(&judge->reason);
    enum satchel_status status = SATCHEL_OK;
    if (user) {
        status = satchel_buffer_append(&judge->winner, user, strlen(user));
        out->winner = satchel_buffer_span(&judge->winner);
    }
    const char *who = user ? user : "somebody";
    if (status != SATCHEL_OK)
        return status;
    if (!column) {
        status = satchel_buffer_format(&judge->reason, "edited by %s without knowing of the delete",
                                       who);
    } else if (column->rule == SATCHEL_RULE_LWW || column->rule == SATCHEL_RULE_GROUP) {
        status = satchel_buffer_format(&judge->reason, "the later write wins: %s at %s", who,
                                       at ? at : "a time out of range");
    } else {
        out->reason = satchel_span_text(rule_reason(column->rule));
        return SATCHEL_OK;
    }
    out->reason = satchel_buffer_span(&judge->reason);
    return status;
}

/* `*found`: the write lost a conflict, open or closed since; `out` tells. */
static enum satchel_status find_loss(struct satchel_history_judge *judge,
                                     const struct satchel_column *column, bool *found,
                                     struct satchel_history_verdict *out,
                                     struct satchel_error *error)
{
    const char *unit = column ? column->field : "";
    struct satchel_value key = satchel_value_text(judge->key_text);
    int code = bind_loser(judge, judge->lost_field);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(judge->lost_field, 3, judge->table->name, -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = satchel_value_bind(judge->lost_field, 4, &key);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(judge->lost_field, 5, unit, -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_step(judge->lost_field);
    enum satchel_status status = SATCHEL_OK;
    *found = code == SQLITE_ROW;
    if (*found)
        status = tell_loss(judge, column, out);
    else if (code != SQLITE_DONE)
        status = satchel_sql_error(error, judge->db, "cannot read the conflicts");
    sqlite3_reset(judge->lost_field);
    sqlite3_clear_bindings(judge->lost_field);
    return status;
}

static const struct satchel_value *effect_value(const struct satchel_effect *effect,
                                                uint32_t column)
{
    for (uint32_t i = 0; i < effect->field_count; i++)
        if (effect->fields[i].column == column)
            return &effect->fields[i].value;
    return NULL;
}

/* Whether the row exists after the entry. */
static bool row_exists_after(const struct satchel_history_judge *judge, bool existed)
{
    if (!judge->effect || judge->effect->kind == SATCHEL_EFFECT_EVICT)
        return existed;
    return judge->effect->kind != SATCHEL_EFFECT_GONE;
}

/* The value of the field after the entry: the effect's, else as it was. */
static const struct satchel_value *value_after(const struct satchel_history_judge *judge,
                                               const struct satchel_column *column,
                                               const struct satchel_value *before)
{
    const struct satchel_value *value =
        judge->effect ? effect_value(judge->effect, column->number) : NULL;
    if (value)
        return value;
    if (judge->effect && judge->effect->kind == SATCHEL_EFFECT_WHOLE)
        return &judge->table->rules.columns[column->number].default_value;
    return before;
}

/* A part that did not take effect as it stands, and about which no conflict and no quarantine says
 * why: compare what was written with what is there. */
static struct satchel_history_verdict compare(const struct satchel_history_judge *judge,
                                              const struct satchel_column *column,
                                              const struct satchel_field *field,
                                              const struct satchel_value *before, bool existed)
{
    bool exists = row_exists_after(judge, existed);
    if (judge->part->kind == SATCHEL_OP_DELETE)
        return exists ? verdict(SATCHEL_OUTCOME_SUPERSEDED,
                                "the row was edited without knowing of the delete")
                      : verdict(SATCHEL_OUTCOME_APPLIED, NULL);
    if (!exists)
        return verdict(SATCHEL_OUTCOME_SUPERSEDED, "the row is deleted");
    if (!column)
        return verdict(SATCHEL_OUTCOME_APPLIED, NULL);
    if (column->rule == SATCHEL_RULE_COUNTER)
        return verdict(SATCHEL_OUTCOME_MERGED, "added to what others counted");
    if (satchel_value_equal(value_after(judge, column, before), &field->value))
        return verdict(SATCHEL_OUTCOME_APPLIED, NULL);
    return verdict(SATCHEL_OUTCOME_SUPERSEDED, rule_reason(column->rule));
}

enum satchel_status satchel_history_judge_field(struct satchel_history_judge *judge,
                                                const struct satchel_field *field,
                                                const struct satchel_value *before, bool existed,
                                                struct satchel_history_verdict *out,
                                                struct satchel_error *error)
{
    if (judge->quarantine) {
        *out = verdict(SATCHEL_OUTCOME_QUARANTINED, NULL);
        out->reason = judge->quarantine->reason;
        return SATCHEL_OK;
    }
    bool is_known = judge->table && (!field || field->column < judge->table->column_count);
    if (!is_known) { /* a node applies nothing that its schema does not have */
        *out = verdict(SATCHEL_OUTCOME_QUARANTINED, "not in this schema");
        return SATCHEL_OK;
    }
    const struct satchel_column *column = field ? &judge->table->columns[field->column] : NULL;
    enum satchel_status status = find_loser(judge, error);
    if (status != SATCHEL_OK)
        return status;
    if (judge->is_loser) {
        bool found;
        status = find_loss(judge, column, &found, out, error);
        if (status != SATCHEL_OK || found)
            return status;
    }
    *out = judge->is_unlike ? compare(judge, column, field, before, existed)
                            : verdict(SATCHEL_OUTCOME_APPLIED, NULL);
    return SATCHEL_OK;
}
