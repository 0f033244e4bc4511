/* Owns the words of satchel_history's outcome, winner and reason (see history_outcome.h). Merges
 * nothing: the node has decided; this only tells. */
#include "history_outcome.h"

#include <satchel/operation.h>
#include <satchel/row_io.h>
#include <satchel/sql_error.h>
#include <satchel/sqlite.h>

static const char select_lost_any[] =
    "SELECT 1 FROM main.satchel_conflict WHERE loser_device = ?1 AND loser_number = ?2 LIMIT 1";
static const char select_lost_field[] =
    "SELECT winner_user, strftime('%Y-%m-%dT%H:%M:%fZ', winner_at / 1000.0, 'unixepoch'), rule, key"
    " FROM main.satchel_conflict"
    " WHERE loser_device = ?1 AND loser_number = ?2 AND tbl = ?3 AND loser_key = ?4 AND field = ?5"
    " ORDER BY rule = 'duplicate_key' LIMIT 1";

enum { TEXT_BYTES_MAX = 64 << 10, VALUE_BYTES_MAX = 512 << 20 };

enum satchel_status satchel_history_judge_init(struct satchel_history_judge *judge,
                                               struct sqlite3 *db, struct satchel_error *error)
{
    memset(judge, 0, sizeof *judge);
    judge->db = db;
    satchel_buffer_init(&judge->winner, TEXT_BYTES_MAX, NULL);
    satchel_buffer_init(&judge->reason, TEXT_BYTES_MAX, NULL);
    satchel_arena_init(&judge->values, VALUE_BYTES_MAX, NULL);
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
    satchel_arena_deinit(&judge->values);
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

bool satchel_history_is_unlike(const struct satchel_notes *notes, uint32_t part_index)
{
    uint32_t low = 0, high = notes->unlike_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (notes->unlike[middle] < part_index)
            low = middle + 1;
        else
            high = middle;
    }
    return low < notes->unlike_count && notes->unlike[low] == part_index;
}

static const struct satchel_quarantine_note *find_quarantine(const struct satchel_notes *notes,
                                                             uint32_t part_index)
{
    for (uint32_t i = 0; i < notes->quarantined_count; i++)
        if (notes->quarantined[i].part == part_index)
            return &notes->quarantined[i];
    return NULL;
}

static bool effect_is_on(const struct satchel_effect *effect, uint32_t table,
                         const struct satchel_history_place *place)
{
    if (effect->table != table || effect->key_count != place->key_count)
        return false;
    for (uint32_t i = 0; i < place->key_count; i++)
        if (!satchel_value_equal(&effect->key[i], &place->key[i]))
            return false;
    return true;
}

/* Effects come in the order of parts, so the search goes on from the last one found. */
static const struct satchel_effect *find_effect(struct satchel_history_judge *judge, uint32_t table,
                                                const struct satchel_history_place *place)
{
    const struct satchel_notes *notes = judge->notes;
    for (uint32_t i = 0; i < notes->effect_count; i++) {
        uint32_t index = (judge->effect_index + i) % notes->effect_count;
        if (effect_is_on(&notes->effects[index], table, place)) {
            judge->effect_index = index;
            return &notes->effects[index];
        }
    }
    return NULL;
}

void satchel_history_judge_part(struct satchel_history_judge *judge, uint32_t part_index,
                                const struct satchel_part *part, const struct satchel_table *table,
                                struct satchel_span key_text,
                                const struct satchel_history_place *place)
{
    judge->part = part;
    judge->table = table;
    judge->key_text = key_text;
    judge->is_unlike = satchel_history_is_unlike(judge->notes, part_index);
    judge->quarantine = judge->is_unlike ? find_quarantine(judge->notes, part_index) : NULL;
    judge->effect = judge->is_unlike ? find_effect(judge, part->table, place) : NULL;
}

/* ---- a field ---- */

static struct satchel_history_verdict verdict(enum satchel_outcome outcome, const char *reason)
{
    struct satchel_history_verdict out = {.outcome = satchel_outcome_name(outcome)};
    if (reason)
        out.reason = satchel_span_text(reason);
    return out;
}

/* The column whose rule decides: of a follower its leader's. */
static const struct satchel_column *deciding_column(const struct satchel_table *table,
                                                    const struct satchel_column *column)
{
    return column->rule == SATCHEL_RULE_FOLLOWS
               ? &table->columns[table->rules.columns[column->number].unit]
               : column;
}

/* Everybody's writes count: none wins. */
static bool combines(enum satchel_rule rule)
{
    return rule == SATCHEL_RULE_COUNTER || rule == SATCHEL_RULE_SET || rule == SATCHEL_RULE_MAP ||
           rule == SATCHEL_RULE_TEXT3;
}

static const char *merge_reason(enum satchel_rule rule)
{
    switch (rule) {
    case SATCHEL_RULE_COUNTER: return "added to what others counted";
    case SATCHEL_RULE_SET: return "others' additions and removals stay";
    case SATCHEL_RULE_MAP: return "others' keys stay";
    default: return "others' changes to other lines stay";
    }
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
    case SATCHEL_RULE_AUTHORITY: return "a write of a higher role, or a later one, stays";
    case SATCHEL_RULE_CLAIM: return "a claim of a higher role, or an earlier one, stays";
    case SATCHEL_RULE_STATE: return "a state further on stays";
    case SATCHEL_RULE_SERVER: return "the server's earlier write stays";
    default: return "a later write stays";
    }
}

/* Why a write of that rule lost a conflict; who won is said behind it. */
static const char *loss_reason(enum satchel_rule rule)
{
    switch (rule) {
    case SATCHEL_RULE_FIRST: return "the first value stays";
    case SATCHEL_RULE_AUTHORITY: return "the highest role wins, of one role the later write";
    case SATCHEL_RULE_CLAIM: return "the highest role keeps it, of one role the earlier claim";
    case SATCHEL_RULE_STATE: return "the state further on wins, of one rank the later write";
    case SATCHEL_RULE_SERVER: return "the server's earlier write stays";
    case SATCHEL_RULE_MAP: return "of a key that both wrote the later write wins";
    case SATCHEL_RULE_TEXT3: return "of lines that both changed the later write wins";
    default: return "the later write wins";
    }
}

/* What the conflict in the current row of lost_field is about. */
enum loss { LOST_TO_RULE, LOST_TO_FREEZE, LOST_TO_EDIT, MERGED_AWAY };

static enum loss loss_of(sqlite3_stmt *row, const struct satchel_column *column)
{
    const char *rule = (const char *)sqlite3_column_text(row, 2);
    if (rule && strcmp(rule, "frozen") == 0)
        return LOST_TO_FREEZE;
    if (rule && strcmp(rule, "duplicate_key") == 0)
        return MERGED_AWAY;
    return column ? LOST_TO_RULE : LOST_TO_EDIT;
}

/* The verdict over the loser of the conflict in the current row of lost_field. */
static enum satchel_status tell_loss(struct satchel_history_judge *judge,
                                     const struct satchel_column *column,
                                     struct satchel_history_verdict *out)
{
    const char *user = (const char *)sqlite3_column_text(judge->lost_field, 0);
    const char *at = (const char *)sqlite3_column_text(judge->lost_field, 1);
    const char *key = (const char *)sqlite3_column_text(judge->lost_field, 3);
    const char *who = user ? user : "somebody", *when = at ? at : "a time out of range";
    enum satchel_status status = SATCHEL_OK;
    satchel_buffer_clear(&judge->winner);
    satchel_buffer_clear(&judge->reason);
    if (user)
        status = satchel_buffer_append(&judge->winner, user, strlen(user));
    if (status != SATCHEL_OK)
        return status;
    *out = verdict(SATCHEL_OUTCOME_SUPERSEDED, NULL);
    switch (loss_of(judge->lost_field, column)) {
    case LOST_TO_EDIT:
        status = satchel_buffer_format(&judge->reason, "edited by %s without knowing of the delete",
                                       who);
        break;
    case LOST_TO_FREEZE:
        *out = verdict(SATCHEL_OUTCOME_FROZEN, NULL);
        status = satchel_buffer_format(
            &judge->reason, "came too late for the write that froze the row: %s at %s", who, when);
        break;
    case MERGED_AWAY:
        *out = verdict(SATCHEL_OUTCOME_MERGED, NULL);
        status = satchel_buffer_format(&judge->reason,
                                       "the row has the key of %.200s and was merged into it",
                                       key ? key : "another");
        break;
    case LOST_TO_RULE: {
        enum satchel_rule rule = deciding_column(judge->table, column)->rule;
        if (combines(rule))
            *out = verdict(SATCHEL_OUTCOME_MERGED, NULL);
        status =
            satchel_buffer_format(&judge->reason, "%s: %s at %s", loss_reason(rule), who, when);
        break;
    }
    }
    if (user)
        out->winner = satchel_buffer_span(&judge->winner);
    out->reason = satchel_buffer_span(&judge->reason);
    return status;
}

/* `*found`: the write lost a conflict, open or closed since; `out` tells. */
static enum satchel_status find_loss(struct satchel_history_judge *judge,
                                     const struct satchel_column *column, bool *found,
                                     struct satchel_history_verdict *out,
                                     struct satchel_error *error)
{
    const char *unit = column ? deciding_column(judge->table, column)->field : "";
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

/* Whether the row has what the write makes of the value before. */
static enum satchel_status has_taken_effect(struct satchel_history_judge *judge,
                                            const struct satchel_column *column,
                                            const struct satchel_field *field,
                                            const struct satchel_value *before, bool *out)
{
    const struct satchel_value *after = value_after(judge, column, before);
    const struct satchel_column_rules *rules = &judge->table->rules.columns[column->number];
    bool is_insert = judge->part->kind == SATCHEL_OP_INSERT;
    struct satchel_value written;
    satchel_arena_reset(&judge->values);
    enum satchel_status status = satchel_operation_apply(rules, judge->part->kind,
                                                         is_insert ? &rules->default_value : before,
                                                         &field->value, &judge->values, &written);
    if (status == SATCHEL_CORRUPT) {
        written = field->value;
        status = SATCHEL_OK;
    }
    *out = status == SATCHEL_OK && satchel_value_equal(after, &written);
    return status;
}

static bool sets_apart(const struct satchel_column *column, const struct satchel_field *field)
{
    return column->rule == SATCHEL_RULE_KEY && field->value.type == SATCHEL_BLOB;
}

/* A part that did not take effect as it stands, and about which no conflict and no quarantine says
 * why: compare what was written with what is there. */
static enum satchel_status compare(struct satchel_history_judge *judge,
                                   const struct satchel_column *column,
                                   const struct satchel_field *field,
                                   const struct satchel_value *before, bool existed,
                                   struct satchel_history_verdict *out)
{
    bool exists = row_exists_after(judge, existed), has_effect = false;
    enum satchel_status status = SATCHEL_OK;
    if (judge->part->kind == SATCHEL_OP_DELETE) {
        *out = exists ? verdict(SATCHEL_OUTCOME_SUPERSEDED,
                                "the row was edited without knowing of the delete")
                      : verdict(SATCHEL_OUTCOME_APPLIED, NULL);
    } else if (!exists) {
        *out = verdict(SATCHEL_OUTCOME_SUPERSEDED, "the row is deleted");
    } else if (!column) {
        *out = verdict(SATCHEL_OUTCOME_APPLIED, NULL);
    } else if (sets_apart(column, field)) {
        *out = verdict(SATCHEL_OUTCOME_APPLIED, "the row was set apart from others with this key");
    } else if (combines(column->rule)) {
        *out = verdict(SATCHEL_OUTCOME_MERGED, merge_reason(column->rule));
    } else {
        status = has_taken_effect(judge, column, field, before, &has_effect);
        *out = has_effect ? verdict(SATCHEL_OUTCOME_APPLIED, NULL)
                          : verdict(SATCHEL_OUTCOME_SUPERSEDED,
                                    rule_reason(deciding_column(judge->table, column)->rule));
    }
    return status;
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
    if (judge->is_unlike)
        status = compare(judge, column, field, before, existed, out);
    else if (column && combines(column->rule))
        *out = verdict(SATCHEL_OUTCOME_MERGED, NULL);
    else
        *out = verdict(SATCHEL_OUTCOME_APPLIED, NULL);
    return status;
}
