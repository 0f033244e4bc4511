/* Owns the naive model of the rules. Slow and plain on purpose. */
#include "reference.h"

#include <string.h>

struct model {
    const struct satchel_table_rules *rules;
    const struct reference_op *ops;
    unsigned count;
    uint32_t set;
    uint32_t live;
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

static bool touches(const struct model *m, unsigned op, uint32_t unit)
{
    for (unsigned c = 0; c < REFERENCE_COLUMNS; c++)
        if (m->ops[op].writes[c] && unit_of(m, c) == unit)
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

/* ended: deletes an insert has seen, and whatever deletes those had seen. */
static uint32_t find_ended(const struct model *m)
{
    uint32_t ended = 0, before;
    do {
        before = ended;
        for (unsigned d = 0; d < m->count; d++) {
            if (!has(m->set, d) || m->ops[d].kind != SATCHEL_OP_DELETE)
                continue;
            for (unsigned a = 0; a < m->count; a++)
                if (has(m->set, a) && saw_delete(m, a, d) &&
                    (m->ops[a].kind == SATCHEL_OP_INSERT || has(ended, a)))
                    ended |= 1u << d;
        }
    } while (ended != before);
    return ended;
}

/* Whether the live write a saw the live write b in this unit. */
static bool saw_live(const struct model *m, unsigned a, unsigned b, uint32_t unit)
{
    return m->ops[a].kind == SATCHEL_OP_INSERT ? is_own(m, a, b) : shown(m, a, b, unit);
}

static const struct satchel_value *written(const struct model *m, unsigned op, unsigned column)
{
    return m->ops[op].writes[column] ? &m->ops[op].values[column]
                                     : &m->rules->columns[column].default_value;
}

static bool same_unit(const struct model *m, unsigned op, uint32_t unit)
{
    for (unsigned c = 0; c < REFERENCE_COLUMNS; c++)
        if (unit_of(m, c) == unit && !satchel_value_equal(written(m, op, c), &m->row->values[c]))
            return false;
    return true;
}

static void add_conflict(struct model *m, uint32_t unit, unsigned loser, unsigned winner)
{
    struct reference_conflict *conflict = &m->row->conflicts[m->row->conflict_count++];
    memset(conflict, 0, sizeof *conflict);
    conflict->unit = unit;
    conflict->loser = loser;
    conflict->winner = winner;
    for (unsigned c = 0; unit != SATCHEL_COLUMN_ROW && c < REFERENCE_COLUMNS; c++)
        if (unit_of(m, c) == unit)
            conflict->lost[conflict->lost_count++] = *written(m, loser, c);
}

static void compute_unit(struct model *m, uint32_t unit)
{
    const struct satchel_column_rules *of = &m->rules->columns[unit];
    uint32_t writers = 0, heads = 0;
    for (unsigned a = 0; a < m->count; a++)
        if (has(m->live, a) && touches(m, a, unit))
            writers |= 1u << a;
    for (unsigned b = 0; b < m->count; b++) {
        bool is_head = has(writers, b);
        for (unsigned a = 0; is_head && a < m->count; a++)
            is_head = !(a != b && has(writers, a) && saw_live(m, a, b, unit));
        if (is_head)
            heads |= 1u << b;
    }
    if (!writers)
        return;

    int latest_head = -1, earliest = -1, first_claim = -1, largest = -1, smallest = -1;
    uint64_t sum =
        of->default_value.type == SATCHEL_INTEGER ? (uint64_t)of->default_value.integer : 0;
    for (unsigned a = 0; a < m->count; a++) {
        if (!has(writers, a))
            continue;
        const struct reference_op *op = &m->ops[a];
        const struct satchel_value *v = written(m, a, unit);
        bool is_null = v->type == SATCHEL_NULL;
        if (has(heads, a) && (latest_head < 0 || reference_order(op, &m->ops[latest_head]) > 0))
            latest_head = (int)a;
        if (earliest < 0 || reference_order(op, &m->ops[earliest]) < 0)
            earliest = (int)a;
        if (!is_null && (first_claim < 0 || reference_order(op, &m->ops[first_claim]) < 0))
            first_claim = (int)a;
        if (!is_null &&
            (largest < 0 || satchel_value_compare(v, written(m, (unsigned)largest, unit)) > 0))
            largest = (int)a;
        if (!is_null &&
            (smallest < 0 || satchel_value_compare(v, written(m, (unsigned)smallest, unit)) < 0))
            smallest = (int)a;
        if (of->rule == SATCHEL_RULE_COUNTER)
            sum += (uint64_t)v->integer;
    }

    int winner = -1;
    switch (of->rule) {
    case SATCHEL_RULE_LWW:
    case SATCHEL_RULE_GROUP: winner = latest_head; break;
    case SATCHEL_RULE_MAX: winner = largest < 0 ? earliest : largest; break;
    case SATCHEL_RULE_MIN: winner = smallest < 0 ? earliest : smallest; break;
    case SATCHEL_RULE_FIRST: winner = first_claim < 0 ? earliest : first_claim; break;
    default: winner = earliest;
    }
    for (unsigned c = 0; c < REFERENCE_COLUMNS; c++)
        if (unit_of(m, c) == unit)
            m->row->values[c] = *written(m, (unsigned)winner, c);
    if (of->rule == SATCHEL_RULE_COUNTER) {
        int64_t total;
        memcpy(&total, &sum, sizeof total);
        m->row->values[unit] = satchel_value_integer(total);
    }

    for (unsigned a = 0; a < m->count; a++) {
        if (!has(heads, a) || same_unit(m, a, unit))
            continue;
        if (heads & (heads - 1))
            m->row->met[of->rule] = true;
        if (of->rule == SATCHEL_RULE_LWW || of->rule == SATCHEL_RULE_GROUP ||
            (of->rule == SATCHEL_RULE_FIRST && written(m, a, unit)->type != SATCHEL_NULL))
            add_conflict(m, unit, a, (unsigned)winner);
    }
}

void reference_compute(const struct satchel_table_rules *rules, const struct reference_op *ops,
                       unsigned op_count, uint32_t set, struct reference_row *out)
{
    struct model m = {rules, ops, op_count, set, 0, out};
    out->exists = false;
    out->conflict_count = 0;
    memset(out->met, 0, sizeof out->met);
    for (unsigned c = 0; c < REFERENCE_COLUMNS; c++)
        out->values[c] = rules->columns[c].default_value;

    uint32_t ended = find_ended(&m), deletes = 0, kept = 0;
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
            if (has(deletes, d) && delete_saw(&m, d, a))
                is_kept = false;
        }
        if (!is_live)
            continue;
        m.live |= 1u << a;
        has_insert = has_insert || ops[a].kind == SATCHEL_OP_INSERT;
        if (is_kept)
            kept |= 1u << a;
    }
    out->exists =
        has_insert && (!deletes || (rules->delete_policy == SATCHEL_DELETE_EDIT_WINS && kept));
    if (!out->exists)
        return;
    for (unsigned c = 1; c < REFERENCE_COLUMNS; c++)
        if (rules->columns[c].unit == c)
            compute_unit(&m, c);

    int survivor = -1;
    for (unsigned a = 0; a < op_count; a++)
        if (has(kept, a) && (survivor < 0 || reference_order(&ops[a], &ops[survivor]) > 0))
            survivor = (int)a;
    for (unsigned d = 0; d < op_count; d++) {
        bool is_open = has(deletes, d);
        for (unsigned a = 0; is_open && a < op_count; a++)
            is_open = !(has(set, a) && saw_delete(&m, a, d));
        if (is_open)
            add_conflict(&m, SATCHEL_COLUMN_ROW, d, (unsigned)survivor);
    }
}
