/* Owns the naive model of the rules. Slow and plain on purpose. */
#include "reference.h"

#include <string.h>

struct model {
    const struct satchel_table_rules *rules;
    const struct reference_context *context;
    const struct reference_op *ops;
    unsigned count;
    uint32_t set;
    uint32_t live;
    int freezing[SATCHEL_FREEZING_STATES_MAX]; /* the op that froze the row, or -1 */
    struct reference_row *row;
};

static bool has(uint32_t set, unsigned op)
{
    return set >> op & 1;
}

int reference_order(const struct reference_op *a, const struct reference_op *b)
{
    if (a->stamp != b->stamp)
        return a->stamp < b->stamp ? -1 : 1;
    if (a->device != b->device)
        return a->device < b->device ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

static bool is_own(const struct model *m, unsigned a, unsigned b)
{
    return m->ops[a].device == m->ops[b].device && m->ops[b].number < m->ops[a].number;
}

/* What a's author had been shown of b in this unit, by the prose: own earlier writes; else what all
 * exceptions on the unit or the row grant; else, without exceptions, what the change set had seen.
 */
static bool shown(const struct model *m, unsigned a, unsigned b, uint32_t unit)
{
    const struct reference_op *op = &m->ops[a];
    if (op->device == m->ops[b].device)
        return is_own(m, a, b);
    bool is_excepted = false, granted = true;
    for (unsigned i = 0; i < op->exception_count; i++) {
        const struct reference_exception *e = &op->exceptions[i];
        if (e->column != unit && e->column != SATCHEL_COLUMN_ROW)
            continue;
        is_excepted = true;
        granted = granted && e->kind != SATCHEL_VIEW_NONE && has(e->seen, b);
    }
    return is_excepted ? granted : has(op->seen, b);
}

static uint32_t unit_of(const struct model *m, unsigned column)
{
    return m->rules->columns[column].unit;
}

static bool is_follower(const struct model *m, unsigned column)
{
    return m->rules->columns[column].rule == SATCHEL_RULE_FOLLOWS;
}

/* Whether the op writes the unit itself and not only its followers. An insert that writes any of it
 * writes all of it. */
static bool touches(const struct model *m, unsigned op, uint32_t unit)
{
    for (unsigned c = 0; c < REFERENCE_COLUMNS; c++)
        if (m->ops[op].writes[c] && unit_of(m, c) == unit &&
            (m->ops[op].kind == SATCHEL_OP_INSERT || !is_follower(m, c)))
            return true;
    return false;
}

/* Whether delete d saw everything op b wrote. */
static bool delete_saw(const struct model *m, unsigned d, unsigned b)
{
    bool any = false;
    for (unsigned c = 0; c < REFERENCE_COLUMNS; c++) {
        if (!m->ops[b].writes[c])
            continue;
        any = true;
        if (!shown(m, d, b, unit_of(m, c)))
            return false;
    }
    return any || shown(m, d, b, SATCHEL_COLUMN_ROW);
}

/* Whether any write a saw the delete d. */
static bool saw_delete(const struct model *m, unsigned a, unsigned d)
{
    if (a == d)
        return false;
    if (m->ops[a].kind != SATCHEL_OP_UPDATE)
        return shown(m, a, d, SATCHEL_COLUMN_ROW);
    for (unsigned c = 0; c < REFERENCE_COLUMNS; c++)
        if (m->ops[a].writes[c] && !shown(m, a, d, unit_of(m, c)))
            return false;
    return true;
}

/* Whether the live write a saw the live write b in this unit. */
static bool saw_live(const struct model *m, unsigned a, unsigned b, uint32_t unit)
{
    return m->ops[a].kind == SATCHEL_OP_INSERT ? is_own(m, a, b) : shown(m, a, b, unit);
}

/* ---- what was written ---- */

struct satchel_value reference_new_state(enum satchel_op_kind kind, struct satchel_value operation)
{
    if (kind == SATCHEL_OP_INSERT || operation.type != SATCHEL_TEXT)
        return operation;
    /* ["old","new"] or [null,"new"] or ["old",null] */
    size_t end = operation.bytes.size - 1, start = end;
    while (operation.bytes.data[start - 1] != ',')
        start--;
    if (operation.bytes.data[start] != '"')
        return satchel_value_null();
    return satchel_value_text(
        satchel_span_of(operation.bytes.data + start + 1, end - 1 - (start + 1)));
}

const struct satchel_state *reference_state(const struct satchel_machine *machine,
                                            const struct satchel_value *value)
{
    for (uint32_t i = 0; machine && value->type == SATCHEL_TEXT && i < machine->state_count; i++)
        if (satchel_span_equal(machine->states[i].code, value->bytes))
            return &machine->states[i];
    return NULL;
}

static const struct satchel_machine *machine_of(const struct model *m, unsigned column)
{
    return m->context && m->context->machines
               ? &m->context->machines[m->rules->columns[column].machine]
               : NULL;
}

static struct satchel_value written(const struct model *m, unsigned op, unsigned column)
{
    const struct satchel_column_rules *of = &m->rules->columns[column];
    if (!m->ops[op].writes[column])
        return of->default_value;
    struct satchel_value value = m->ops[op].values[column];
    bool is_key = of->rule == SATCHEL_RULE_KEY || of->rule == SATCHEL_RULE_KEY_WEAK;
    if (of->rule == SATCHEL_RULE_STATE)
        return reference_new_state(m->ops[op].kind, value);
    if (is_key && value.type == SATCHEL_BLOB)
        value = satchel_value_text(value.bytes);
    return value;
}

static bool same_unit(const struct model *m, unsigned op, uint32_t unit)
{
    for (unsigned c = 0; c < REFERENCE_COLUMNS; c++) {
        struct satchel_value value = written(m, op, c);
        if (unit_of(m, c) == unit && !is_follower(m, c) &&
            !satchel_value_equal(&value, &m->row->values[c]))
            return false;
    }
    return true;
}

/* ---- lives ---- */

/* ended: deletes an insert has seen, and whatever deletes those had seen. */
static uint32_t find_ended(const struct model *m, uint32_t idle)
{
    uint32_t ended = 0, before;
    do {
        before = ended;
        for (unsigned d = 0; d < m->count; d++) {
            if (!has(m->set, d) || has(idle, d) || m->ops[d].kind != SATCHEL_OP_DELETE)
                continue;
            for (unsigned a = 0; a < m->count; a++)
                if (has(m->set, a) && saw_delete(m, a, d) &&
                    (m->ops[a].kind == SATCHEL_OP_INSERT || has(ended, a)))
                    ended |= 1u << d;
        }
    } while (ended != before);
    return ended;
}

/* ---- freezing ---- */

static const struct reference_freeze *parent_freeze(const struct model *m)
{
    return m->rules->is_frozen_by_parent && m->context ? m->context->parent_freeze : NULL;
}

static bool parent_saw(const struct model *m, unsigned a)
{
    const struct reference_freeze *freeze = parent_freeze(m);
    const struct reference_op *op = &m->ops[a];
    return op->device == freeze->device ? op->number <= freeze->number : has(freeze->seen, a);
}

static void find_freezing(struct model *m)
{
    const struct satchel_machine *machine = machine_of(m, m->rules->state_column);
    for (uint32_t i = 0; i < SATCHEL_FREEZING_STATES_MAX; i++)
        m->freezing[i] = -1;
    for (uint32_t i = 0; machine && i < m->rules->freezing_state_count; i++) {
        struct satchel_value code = satchel_value_text(m->rules->freezing_states[i]);
        const struct satchel_state *freezing = reference_state(machine, &code);
        for (unsigned a = 0; a < m->count; a++) {
            if (!has(m->set, a) || !m->ops[a].writes[m->rules->state_column])
                continue;
            struct satchel_value value = written(m, a, m->rules->state_column);
            const struct satchel_state *reached = reference_state(machine, &value);
            if (reached && reached->rank >= freezing->rank &&
                (m->freezing[i] < 0 || reference_order(&m->ops[a], &m->ops[m->freezing[i]]) < 0))
                m->freezing[i] = (int)a;
        }
    }
}

static uint32_t find_idle_deletes(const struct model *m)
{
    uint32_t idle = 0;
    for (unsigned d = 0; d < m->count; d++) {
        if (!has(m->set, d) || m->ops[d].kind != SATCHEL_OP_DELETE)
            continue;
        if (parent_freeze(m) && !parent_saw(m, d))
            idle |= 1u << d;
        for (uint32_t i = 0; i < SATCHEL_FREEZING_STATES_MAX; i++)
            if (m->freezing[i] >= 0 && !saw_delete(m, (unsigned)m->freezing[i], d))
                idle |= 1u << d;
    }
    return idle;
}

/* Whether the write to the unit counts: nothing froze it, or what did had seen it. */
static bool counts(const struct model *m, unsigned a, uint32_t unit)
{
    uint32_t frozen = m->rules->columns[unit].frozen;
    if (frozen == SATCHEL_FROZEN_PARENT)
        return !parent_freeze(m) || parent_saw(m, a);
    if (frozen == SATCHEL_FROZEN_NEVER || m->freezing[frozen - 1] < 0)
        return true;
    unsigned freezing = (unsigned)m->freezing[frozen - 1];
    return freezing == a || saw_live(m, freezing, a, unit);
}

/* ---- one unit ---- */

struct unit {
    uint32_t number;
    enum satchel_rule rule;
    uint32_t writers, heads;   /* all */
    uint32_t counting, chosen; /* those that count, and the heads among them */
    bool text_lost[REFERENCE_OPS_MAX];
    int winner;
};

static uint32_t heads_of(const struct model *m, uint32_t among, uint32_t unit)
{
    uint32_t heads = 0;
    for (unsigned b = 0; b < m->count; b++) {
        bool is_head = has(among, b);
        for (unsigned a = 0; is_head && a < m->count; a++)
            is_head = !(a != b && has(among, a) && saw_live(m, a, b, unit));
        heads |= is_head ? 1u << b : 0;
    }
    return heads;
}

static int earliest(const struct model *m, uint32_t among)
{
    int found = -1;
    for (unsigned a = 0; a < m->count; a++)
        if (has(among, a) && (found < 0 || reference_order(&m->ops[a], &m->ops[found]) < 0))
            found = (int)a;
    return found;
}

static int latest(const struct model *m, uint32_t among)
{
    int found = -1;
    for (unsigned a = 0; a < m->count; a++)
        if (has(among, a) && (found < 0 || reference_order(&m->ops[a], &m->ops[found]) > 0))
            found = (int)a;
    return found;
}

static uint32_t not_null(const struct model *m, uint32_t among, uint32_t unit)
{
    uint32_t found = 0;
    for (unsigned a = 0; a < m->count; a++)
        if (has(among, a) && written(m, a, unit).type != SATCHEL_NULL)
            found |= 1u << a;
    return found;
}

static int extreme(const struct model *m, uint32_t among, uint32_t unit, int sign)
{
    int found = -1;
    for (unsigned a = 0; a < m->count; a++) {
        if (!has(among, a))
            continue;
        struct satchel_value value = written(m, a, unit), best;
        if (found >= 0)
            best = written(m, (unsigned)found, unit);
        if (found < 0 || satchel_value_compare(&value, &best) * sign > 0)
            found = (int)a;
    }
    return found;
}

static uint32_t highest_role(const struct model *m, uint32_t among, uint32_t unit)
{
    const struct satchel_column_rules *of = &m->rules->columns[unit];
    uint32_t found = 0, best = UINT32_MAX;
    for (unsigned a = 0; a < m->count; a++) {
        if (!has(among, a))
            continue;
        uint32_t rank = 0;
        while (rank < of->role_count &&
               !(m->ops[a].role &&
                 satchel_span_equal(of->roles[rank], satchel_span_text(m->ops[a].role))))
            rank++;
        if (rank < best) {
            best = rank;
            found = 0;
        }
        if (rank == best)
            found |= 1u << a;
    }
    return found;
}

static int furthest(const struct model *m, uint32_t among, uint32_t unit)
{
    int found = -1;
    int64_t best = 0;
    for (unsigned a = 0; a < m->count; a++) {
        if (!has(among, a))
            continue;
        struct satchel_value value = written(m, a, unit);
        const struct satchel_state *state = reference_state(machine_of(m, unit), &value);
        int64_t rank = state ? state->rank : INT64_MIN;
        if (found < 0 || rank > best ||
            (rank == best && reference_order(&m->ops[a], &m->ops[found]) > 0)) {
            found = (int)a;
            best = rank;
        }
    }
    return found;
}

static int find_winner(const struct model *m, const struct unit *unit)
{
    uint32_t claims = not_null(m, unit->counting, unit->number);
    uint32_t top = highest_role(m, unit->counting, unit->number);
    switch (unit->rule) {
    case SATCHEL_RULE_LWW:
    case SATCHEL_RULE_GROUP:
    case SATCHEL_RULE_KEY:
    case SATCHEL_RULE_KEY_WEAK:
    case SATCHEL_RULE_TEXT3: return latest(m, unit->chosen);
    case SATCHEL_RULE_SERVER: return earliest(m, unit->chosen);
    case SATCHEL_RULE_AUTHORITY: return latest(m, heads_of(m, top, unit->number));
    case SATCHEL_RULE_CLAIM: return earliest(m, heads_of(m, top, unit->number));
    case SATCHEL_RULE_STATE: return furthest(m, unit->chosen, unit->number);
    case SATCHEL_RULE_MAX:
        return claims ? extreme(m, claims, unit->number, 1) : earliest(m, unit->counting);
    case SATCHEL_RULE_MIN:
        return claims ? extreme(m, claims, unit->number, -1) : earliest(m, unit->counting);
    case SATCHEL_RULE_FIRST: return claims ? earliest(m, claims) : latest(m, unit->chosen);
    default: return earliest(m, unit->counting);
    }
}

/* ---- rules that combine ---- */

static char *text_room(struct model *m)
{
    return m->row->texts + m->row->text_bytes;
}

static void keep_text(struct model *m, uint32_t unit, size_t size)
{
    m->row->values[unit] = satchel_value_text(satchel_span_of(text_room(m), size));
    m->row->text_bytes += size;
}

static void sum(struct model *m, const struct unit *unit)
{
    const struct satchel_value *standing = &m->rules->columns[unit->number].default_value;
    uint64_t bits = standing->type == SATCHEL_INTEGER ? (uint64_t)standing->integer : 0;
    for (unsigned a = 0; a < m->count; a++)
        if (has(unit->counting, a))
            bits += (uint64_t)m->ops[a].values[unit->number].integer;
    int64_t total;
    memcpy(&total, &bits, sizeof total);
    m->row->values[unit->number] = satchel_value_integer(total);
}

/* What the op does to the elements. An insert that leaves them out adds the default's. */
static void read_op(const struct model *m, unsigned op, uint32_t column,
                    struct reference_elements *added, struct reference_elements *removed)
{
    struct satchel_value value = m->ops[op].writes[column]
                                     ? m->ops[op].values[column]
                                     : m->rules->columns[column].default_value;
    reference_read_change(m->ops[op].kind, &value, added, removed);
}

static bool changes_elements(const struct model *m, unsigned op, uint32_t column)
{
    return has(m->live, op) && counts(m, op, column) &&
           (m->ops[op].writes[column] || m->ops[op].kind == SATCHEL_OP_INSERT);
}

/* Whether somebody who knew of the addition removed the letter, or added it again: then that
 * counts.
 * */
static bool is_superseded(const struct model *m, unsigned op, uint32_t column, unsigned letter)
{
    struct reference_elements added, removed;
    for (unsigned r = 0; r < m->count; r++) {
        if (!changes_elements(m, r, column) || r == op || !saw_live(m, r, op, column))
            continue;
        read_op(m, r, column, &added, &removed);
        if (removed.has[letter] || added.has[letter])
            return true;
    }
    return false;
}

static void unite(struct model *m, const struct unit *unit)
{
    struct reference_elements all = {{0}}, added, removed;
    for (unsigned a = 0; a < m->count; a++) {
        if (!changes_elements(m, a, unit->number))
            continue;
        read_op(m, a, unit->number, &added, &removed);
        for (unsigned x = 0; x < REFERENCE_LETTERS; x++)
            if (added.has[x] && !is_superseded(m, a, unit->number, x))
                all.has[x] = 1;
    }
    struct satchel_value value = reference_write_elements(&all, false, text_room(m));
    keep_text(m, unit->number, value.bytes.size);
}

static bool says_something(const struct model *m, unsigned op, uint32_t column, unsigned letter,
                           unsigned *said)
{
    struct reference_elements added, removed;
    if (!changes_elements(m, op, column))
        return false;
    read_op(m, op, column, &added, &removed);
    *said = added.has[letter];
    return added.has[letter] || removed.has[letter];
}

/* The heads among the writes to one key. */
static uint32_t key_heads(const struct model *m, uint32_t column, unsigned letter)
{
    uint32_t writers = 0;
    unsigned said;
    for (unsigned a = 0; a < m->count; a++)
        if (says_something(m, a, column, letter, &said))
            writers |= 1u << a;
    return heads_of(m, writers, column);
}

static void map(struct model *m, const struct unit *unit)
{
    struct reference_elements all = {{0}};
    for (unsigned x = 0; x < REFERENCE_LETTERS; x++) {
        int last = latest(m, key_heads(m, unit->number, x));
        if (last >= 0)
            (void)says_something(m, (unsigned)last, unit->number, x, &all.has[x]);
    }
    struct satchel_value value = reference_write_elements(&all, true, text_room(m));
    keep_text(m, unit->number, value.bytes.size);
}

static void merge_texts(struct model *m, struct unit *unit)
{
    struct satchel_value sides[REFERENCE_OPS_MAX];
    unsigned ops[REFERENCE_OPS_MAX], count = 0;
    bool lost[REFERENCE_OPS_MAX];
    for (uint32_t left = unit->chosen; left; count++) {
        ops[count] = (unsigned)earliest(m, left);
        sides[count] = written(m, ops[count], unit->number);
        left &= ~(1u << ops[count]);
    }
    uint32_t common = 0;
    for (unsigned a = 0; a < m->count; a++) {
        bool is_common = has(unit->writers, a);
        for (unsigned h = 0; is_common && h < m->count; h++)
            is_common = !has(unit->chosen, h) || (h != a && saw_live(m, h, a, unit->number));
        common |= is_common ? 1u << a : 0;
    }
    int base = latest(m, common);
    size_t size = reference_merge_texts(base < 0 ? m->rules->columns[unit->number].default_value
                                                 : written(m, (unsigned)base, unit->number),
                                        sides, count, text_room(m), lost);
    for (unsigned i = 0; i < count; i++)
        unit->text_lost[ops[i]] = lost[i];
    if (not_null(m, unit->chosen, unit->number))
        keep_text(m, unit->number, size);
    else
        m->row->values[unit->number] = satchel_value_null();
}

/* ---- followers ---- */

/* What the follower says if the winner's value stands (-1: the default). */
static struct satchel_value follower_value(const struct model *m, int winner, uint32_t unit,
                                           unsigned column)
{
    uint32_t on_top = 0;
    for (unsigned a = 0; a < m->count; a++)
        if (has(m->live, a) && m->ops[a].writes[column] && !touches(m, a, unit) &&
            counts(m, a, unit) && (winner < 0 || saw_live(m, a, (unsigned)winner, unit)))
            on_top |= 1u << a;
    int last = latest(m, heads_of(m, on_top, unit));
    if (last >= 0)
        return written(m, (unsigned)last, column);
    return winner < 0 ? m->rules->columns[column].default_value
                      : written(m, (unsigned)winner, column);
}

/* ---- conflicts ---- */

static struct reference_conflict *add_conflict(struct model *m, enum satchel_conflict_kind kind,
                                               uint32_t unit, unsigned loser, unsigned winner)
{
    struct reference_conflict *conflict = &m->row->conflicts[m->row->conflict_count++];
    memset(conflict, 0, sizeof *conflict);
    conflict->kind = kind;
    conflict->severity = SATCHEL_SEVERITY_REVIEW;
    conflict->unit = unit;
    conflict->loser = loser;
    conflict->winner = winner;
    return conflict;
}

static void add_lost(struct model *m, struct reference_conflict *conflict)
{
    for (unsigned c = 0; c < REFERENCE_COLUMNS; c++)
        if (unit_of(m, c) == conflict->unit)
            conflict->lost[conflict->lost_count++] =
                is_follower(m, c) ? follower_value(m, (int)conflict->loser, conflict->unit, c)
                                  : written(m, conflict->loser, c);
}

static bool would_change(const struct model *m, const struct unit *unit, unsigned op)
{
    const struct satchel_value *kept = &m->row->values[unit->number];
    struct reference_elements now, after, added, removed;
    char text[8 * REFERENCE_LETTERS];
    if (m->ops[op].kind == SATCHEL_OP_UPDATE && unit->rule == SATCHEL_RULE_COUNTER)
        return m->ops[op].values[unit->number].integer != 0;
    if (m->ops[op].kind != SATCHEL_OP_UPDATE || unit->rule != SATCHEL_RULE_SET)
        return !same_unit(m, op, unit->number);
    reference_read_value(kept, &now);
    read_op(m, op, unit->number, &added, &removed);
    for (unsigned x = 0; x < REFERENCE_LETTERS; x++)
        after.has[x] = added.has[x] || (now.has[x] && !removed.has[x]);
    struct satchel_value value = reference_write_elements(&after, false, text);
    return !satchel_value_equal(&value, kept);
}

static bool is_rule_conflict(const struct model *m, const struct unit *unit, unsigned head,
                             enum satchel_severity *severity)
{
    struct satchel_value value = written(m, head, unit->number);
    const struct satchel_state *state;
    *severity = SATCHEL_SEVERITY_NOTICE;
    switch (unit->rule) {
    case SATCHEL_RULE_LWW:
    case SATCHEL_RULE_GROUP:
    case SATCHEL_RULE_KEY:
    case SATCHEL_RULE_KEY_WEAK:
    case SATCHEL_RULE_AUTHORITY: return true;
    case SATCHEL_RULE_FIRST: return value.type != SATCHEL_NULL;
    case SATCHEL_RULE_STATE:
        state = reference_state(machine_of(m, unit->number), &value);
        if (state && state->is_closed)
            *severity = SATCHEL_SEVERITY_REVIEW;
        return true;
    case SATCHEL_RULE_TEXT3: *severity = SATCHEL_SEVERITY_REVIEW; return unit->text_lost[head];
    case SATCHEL_RULE_CLAIM:
    case SATCHEL_RULE_SERVER: *severity = SATCHEL_SEVERITY_REVIEW; return true;
    default: return false;
    }
}

/* "k" and "K" name one thing. */
static bool is_spelling(const struct model *m, const struct unit *unit, unsigned head)
{
    struct satchel_value said = written(m, head, unit->number);
    const struct satchel_value *kept = &m->row->values[unit->number];
    bool is_key = unit->rule == SATCHEL_RULE_KEY || unit->rule == SATCHEL_RULE_KEY_WEAK;
    return is_key && said.type == SATCHEL_TEXT && kept->type == SATCHEL_TEXT &&
           said.bytes.size == 1 && kept->bytes.size == 1 &&
           (said.bytes.data[0] | 0x20) == (kept->bytes.data[0] | 0x20);
}

static void find_conflicts(struct model *m, const struct unit *unit)
{
    uint32_t frozen = m->rules->columns[unit->number].frozen;
    for (unsigned a = 0; a < m->count; a++) {
        enum satchel_severity severity;
        if (!has(unit->heads, a))
            continue;
        bool is_counting = has(unit->counting, a), differs = !same_unit(m, a, unit->number);
        if (differs && is_counting && (unit->heads & (unit->heads - 1)))
            m->row->met[unit->rule] = true;
        if (is_counting && differs && !is_spelling(m, unit, a) &&
            is_rule_conflict(m, unit, a, &severity)) {
            struct reference_conflict *conflict =
                add_conflict(m, SATCHEL_CONFLICT_RULE, unit->number, a, (unsigned)unit->winner);
            conflict->severity = severity;
            add_lost(m, conflict);
        }
        if (!is_counting && would_change(m, unit, a))
            (void)add_conflict(m, SATCHEL_CONFLICT_FROZEN, unit->number, a,
                               frozen == SATCHEL_FROZEN_PARENT ? REFERENCE_PARENT
                                                               : (unsigned)m->freezing[frozen - 1]);
    }
}

/* Whether nobody who knew the op, a write to the follower alone, wrote the follower or its leader.
 */
static bool stands_alone(const struct model *m, unsigned op, uint32_t unit, unsigned column)
{
    for (unsigned a = 0; a < m->count; a++)
        if (a != op && has(m->live, a) && (m->ops[a].writes[column] || touches(m, a, unit)) &&
            saw_live(m, a, op, unit))
            return false;
    return true;
}

/* Writes to followers alone that came too late: one conflict for each. */
static void find_frozen_followers(struct model *m, const struct unit *unit)
{
    uint32_t frozen = m->rules->columns[unit->number].frozen;
    for (unsigned a = 0; a < m->count; a++) {
        bool is_lost = false;
        if (!has(m->live, a) || touches(m, a, unit->number) || counts(m, a, unit->number))
            continue;
        for (unsigned c = 0; c < REFERENCE_COLUMNS; c++) {
            struct satchel_value said = written(m, a, c);
            is_lost = is_lost || (unit_of(m, c) == unit->number && m->ops[a].writes[c] &&
                                  !satchel_value_equal(&said, &m->row->values[c]) &&
                                  stands_alone(m, a, unit->number, c));
        }
        if (is_lost)
            (void)add_conflict(m, SATCHEL_CONFLICT_FROZEN, unit->number, a,
                               frozen == SATCHEL_FROZEN_PARENT ? REFERENCE_PARENT
                                                               : (unsigned)m->freezing[frozen - 1]);
    }
}

/* One notice per write that lost a key to one that says something else. */
static void find_map_conflicts(struct model *m, const struct unit *unit)
{
    for (unsigned a = 0; a < m->count; a++) {
        int winner = -1;
        for (unsigned x = 0; winner < 0 && x < REFERENCE_LETTERS; x++) {
            uint32_t heads = key_heads(m, unit->number, x);
            int last = latest(m, heads);
            unsigned said = 0, stands = 0;
            if (!has(heads, a) || last < 0 || (unsigned)last == a)
                continue;
            (void)says_something(m, a, unit->number, x, &said);
            (void)says_something(m, (unsigned)last, unit->number, x, &stands);
            if (said != stands)
                winner = last;
        }
        if (winner >= 0)
            add_conflict(m, SATCHEL_CONFLICT_RULE, unit->number, a, (unsigned)winner)->severity =
                SATCHEL_SEVERITY_NOTICE;
    }
}

static void decide(struct model *m, struct unit *unit)
{
    for (unsigned c = 0; unit->winner >= 0 && c < REFERENCE_COLUMNS; c++)
        if (unit_of(m, c) == unit->number && !is_follower(m, c))
            m->row->values[c] = written(m, (unsigned)unit->winner, c);
    for (unsigned c = 0; c < REFERENCE_COLUMNS; c++)
        if (unit_of(m, c) == unit->number && is_follower(m, c))
            m->row->values[c] = follower_value(m, unit->winner, unit->number, c);
    if (unit->rule == SATCHEL_RULE_COUNTER && unit->counting)
        sum(m, unit);
    if (unit->rule == SATCHEL_RULE_SET && unit->counting)
        unite(m, unit);
    if (unit->rule == SATCHEL_RULE_MAP && unit->counting)
        map(m, unit);
    if (unit->rule == SATCHEL_RULE_TEXT3 && (unit->chosen & (unit->chosen - 1)))
        merge_texts(m, unit);
}

static void compute_unit(struct model *m, uint32_t number)
{
    struct unit unit = {.number = number, .rule = m->rules->columns[number].rule};
    for (unsigned a = 0; a < m->count; a++) {
        if (!has(m->live, a) || !touches(m, a, number))
            continue;
        unit.writers |= 1u << a;
        if (counts(m, a, number))
            unit.counting |= 1u << a;
    }
    unit.heads = heads_of(m, unit.writers, number);
    unit.chosen = heads_of(m, unit.counting, number);
    unit.winner = unit.counting ? find_winner(m, &unit) : -1;
    decide(m, &unit);
    find_conflicts(m, &unit);
    find_frozen_followers(m, &unit);
    if (unit.rule == SATCHEL_RULE_MAP)
        find_map_conflicts(m, &unit);
}

static void compute_fields(struct model *m, uint32_t deletes_open, uint32_t kept)
{
    for (unsigned c = 1; c < REFERENCE_COLUMNS; c++)
        if (m->rules->columns[c].unit == c)
            compute_unit(m, c);
    int survivor = latest(m, kept);
    for (unsigned d = 0; survivor >= 0 && d < m->count; d++) {
        bool is_open = has(deletes_open, d);
        for (unsigned a = 0; is_open && a < m->count; a++)
            is_open = !(has(m->set, a) && saw_delete(m, a, d));
        if (is_open)
            (void)add_conflict(m, SATCHEL_CONFLICT_DELETE, SATCHEL_COLUMN_ROW, d,
                               (unsigned)survivor);
    }
}

void reference_compute(const struct satchel_table_rules *rules,
                       const struct reference_context *context, const struct reference_op *ops,
                       unsigned op_count, uint32_t set, struct reference_row *out)
{
    struct model m = {
        .rules = rules, .context = context, .ops = ops, .count = op_count, .set = set, .row = out};
    out->exists = false;
    out->conflict_count = 0;
    out->text_bytes = 0;
    memset(out->met, 0, sizeof out->met);
    for (unsigned c = 0; c < REFERENCE_COLUMNS; c++)
        out->values[c] = rules->columns[c].default_value;

    find_freezing(&m);
    out->is_frozen = parent_freeze(&m) != NULL;
    for (uint32_t i = 0; i < SATCHEL_FREEZING_STATES_MAX; i++)
        out->is_frozen = out->is_frozen || m.freezing[i] >= 0;
    uint32_t idle = find_idle_deletes(&m), ended = find_ended(&m, idle), deletes = 0, kept = 0;
    bool has_insert = false;
    for (unsigned d = 0; d < op_count; d++)
        if (has(set, d) && ops[d].kind == SATCHEL_OP_DELETE && !has(ended, d))
            deletes |= 1u << d;
    for (unsigned a = 0; a < op_count; a++) {
        if (!has(set, a) || ops[a].kind == SATCHEL_OP_DELETE)
            continue;
        bool is_live = true, is_kept = true;
        for (unsigned d = 0; d < op_count; d++) {
            if (has(ended, d) && delete_saw(&m, d, a))
                is_live = false;
            if (has(deletes & ~idle, d) && delete_saw(&m, d, a))
                is_kept = false;
        }
        if (!is_live)
            continue;
        m.live |= 1u << a;
        has_insert = has_insert || ops[a].kind == SATCHEL_OP_INSERT;
        if (is_kept)
            kept |= 1u << a;
    }
    out->exists = has_insert && (!(deletes & ~idle) ||
                                 (rules->delete_policy != SATCHEL_DELETE_DELETE_WINS && kept));
    if (out->exists)
        compute_fields(&m, deletes, kept);
}
