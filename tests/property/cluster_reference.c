/* Owns the naive model of rows with keys. Slow and plain on purpose. */
#include "cluster_reference.h"

#include <ctype.h>
#include <string.h>

struct model {
    const struct cluster_op *ops;
    unsigned count;
    uint32_t set;
    enum satchel_delete_policy policy;
    bool linked[CLUSTER_ROWS][CLUSTER_ROWS]; /* in the set: one row, by some path */
};

static bool has(uint32_t set, unsigned op)
{
    return set >> op & 1;
}

bool cluster_same_key(const char *a, const char *b)
{
    if (!a || !b || !*a)
        return false;
    while (*a && toupper((unsigned char)*a) == toupper((unsigned char)*b))
        a++, b++;
    return !*a && !*b;
}

static bool is_own(const struct model *m, unsigned a, unsigned b)
{
    return m->ops[a].device == m->ops[b].device && m->ops[b].number < m->ops[a].number;
}

/* What a's author had been shown of b in this column, were they on one row. */
static bool shown(const struct model *m, unsigned a, unsigned b, uint32_t column)
{
    const struct cluster_op *op = &m->ops[a];
    if (op->device == m->ops[b].device)
        return is_own(m, a, b);
    bool is_excepted = false, granted = true;
    for (unsigned i = 0; i < op->exception_count; i++) {
        const struct cluster_exception *e = &op->exceptions[i];
        if (e->column != column && e->column != SATCHEL_COLUMN_ROW)
            continue;
        is_excepted = true;
        granted = granted && !e->is_none && has(e->seen, b);
    }
    return is_excepted ? granted : has(op->seen, b);
}

/* ---- which rows are one ---- */

static bool delete_saw_fields(const struct model *m, unsigned d, unsigned b)
{
    bool any = false;
    for (unsigned c = 1; c < CLUSTER_COLUMNS; c++) {
        if (!m->ops[b].writes[c])
            continue;
        any = true;
        if (!shown(m, d, b, c))
            return false;
    }
    return any || shown(m, d, b, SATCHEL_COLUMN_ROW);
}

static bool saw_field(const struct model *m, unsigned a, unsigned b, unsigned c)
{
    return m->ops[a].kind == SATCHEL_OP_INSERT ? is_own(m, a, b) : shown(m, a, b, c);
}

/* Whether b is of a life that began knowing the delete d. */
static bool is_later_life(const struct model *m, unsigned b, unsigned d)
{
    for (unsigned i = 0; i < m->count; i++)
        if (m->ops[i].kind == SATCHEL_OP_INSERT && has(m->set, i) &&
            shown(m, i, d, SATCHEL_COLUMN_ROW) && m->ops[i].row == m->ops[b].row &&
            (i == b || shown(m, b, i, SATCHEL_COLUMN_ROW)))
            return true;
    return false;
}

/* Whether v, to the same row, overwrote what b wrote to the column, or deleted the row. */
static bool overwrites(const struct model *m, unsigned v, unsigned b, unsigned c)
{
    const struct cluster_op *op = &m->ops[v];
    if (v == b || op->row != m->ops[b].row)
        return false;
    if (op->kind == SATCHEL_OP_DELETE)
        return delete_saw_fields(m, v, b) ||
               (m->policy == SATCHEL_DELETE_DELETE_WINS && !is_later_life(m, b, v));
    return op->writes[c] && saw_field(m, v, b, c);
}

static bool is_linked(const struct model *m, unsigned a, unsigned b, unsigned c)
{
    const struct cluster_op *x = &m->ops[a], *y = &m->ops[b];
    if (x->row == y->row || !x->writes[c] || !y->writes[c] || x->sets_apart[c] ||
        y->sets_apart[c] || !cluster_same_key(x->texts[c], y->texts[c]))
        return false;
    for (unsigned v = 0; v < m->count; v++) {
        const struct cluster_op *op = &m->ops[v];
        bool was_shown = has(op->seen, a) && has(op->seen, b);
        if (has(m->set, v) && (overwrites(m, v, a, c) || overwrites(m, v, b, c)) &&
            ((op->writes[c] && op->sets_apart[c]) || !was_shown))
            return false;
    }
    return true;
}

/* Which rows are one by the links among `ops`. */
static void connect(const struct model *m, uint32_t ops, bool one[CLUSTER_ROWS][CLUSTER_ROWS])
{
    for (unsigned x = 0; x < CLUSTER_ROWS; x++)
        for (unsigned y = 0; y < CLUSTER_ROWS; y++)
            one[x][y] = x == y;
    for (unsigned a = 0; a < m->count; a++)
        for (unsigned b = 0; b < m->count; b++)
            if (has(ops, a) && has(ops, b) &&
                (is_linked(m, a, b, CLUSTER_TAX) || is_linked(m, a, b, CLUSTER_PHONE)))
                one[m->ops[a].row][m->ops[b].row] = true;
    for (unsigned k = 0; k < CLUSTER_ROWS; k++)
        for (unsigned x = 0; x < CLUSTER_ROWS; x++)
            for (unsigned y = 0; y < CLUSTER_ROWS; y++)
                one[x][y] = one[x][y] || (one[x][k] && one[k][y]);
}

/* ---- what becomes of one row ---- */

struct cluster {
    const struct model *m;
    uint32_t members; /* ops on its rows */
    uint32_t live;
    bool knew[CLUSTER_OPS_MAX][CLUSTER_OPS_MAX];
};

static int order(const struct model *m, unsigned a, unsigned b)
{
    const struct cluster_op *x = &m->ops[a], *y = &m->ops[b];
    if (x->stamp != y->stamp)
        return x->stamp < y->stamp ? -1 : 1;
    if (x->device != y->device)
        return x->device < y->device ? -1 : 1;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return x->part < y->part ? -1 : x->part > y->part;
}

static bool delete_saw(const struct cluster *k, unsigned d, unsigned b)
{
    return k->knew[d][b] && delete_saw_fields(k->m, d, b);
}

static bool saw_delete(const struct cluster *k, unsigned a, unsigned d)
{
    const struct cluster_op *op = &k->m->ops[a];
    if (a == d || !k->knew[a][d])
        return false;
    if (op->kind != SATCHEL_OP_UPDATE)
        return shown(k->m, a, d, SATCHEL_COLUMN_ROW);
    for (unsigned c = 1; c < CLUSTER_COLUMNS; c++)
        if (op->writes[c] && !shown(k->m, a, d, c))
            return false;
    return true;
}

static uint32_t find_ended(const struct cluster *k)
{
    uint32_t ended = 0, before;
    do {
        before = ended;
        for (unsigned d = 0; d < k->m->count; d++)
            for (unsigned a = 0; a < k->m->count; a++)
                if (has(k->members, d) && k->m->ops[d].kind == SATCHEL_OP_DELETE &&
                    has(k->members, a) && saw_delete(k, a, d) &&
                    (k->m->ops[a].kind == SATCHEL_OP_INSERT || has(ended, a)))
                    ended |= 1u << d;
    } while (ended != before);
    return ended;
}

static void add_conflict(struct cluster_row *row, enum satchel_conflict_kind kind, uint32_t unit,
                         unsigned loser, unsigned winner)
{
    row->conflicts[row->conflict_count++] = (struct cluster_conflict){kind, unit, loser, winner};
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* The earliest other head that links a row unknown to the head's author to its own. */
static int duplicate_of(const struct cluster *k, uint32_t heads, unsigned head, unsigned c)
{
    int original = -1;
    for (unsigned a = 0; a < k->m->count; a++)
        if (has(heads, a) && is_linked(k->m, a, head, c) && !k->knew[head][a] &&
            (original < 0 || order(k->m, a, (unsigned)original) < 0))
            original = (int)a;
    return original;
}

static void compute_column(const struct cluster *k, unsigned c, unsigned survivor,
                           struct cluster_row *row)
{
    const struct model *m = k->m;
    uint32_t writers = 0, heads = 0;
    int latest = -1;
    for (unsigned a = 0; a < m->count; a++)
        if (has(k->live, a) && m->ops[a].writes[c])
            writers |= 1u << a;
    for (unsigned b = 0; b < m->count; b++) {
        bool is_head = has(writers, b);
        for (unsigned a = 0; is_head && a < m->count; a++)
            is_head = !(a != b && has(writers, a) && k->knew[a][b] && saw_field(m, a, b, c));
        if (!is_head)
            continue;
        heads |= 1u << b;
        if (latest < 0 || order(m, b, (unsigned)latest) > 0)
            latest = (int)b;
    }
    if (c == CLUSTER_VISITS) {
        for (unsigned a = 0; a < m->count; a++)
            row->visits += has(writers, a) ? m->ops[a].visits : 0;
        return;
    }
    if (latest < 0)
        return;
    row->texts[c] = m->ops[latest].texts[c];
    for (unsigned a = 0; a < m->count; a++) {
        if (!has(heads, a))
            continue;
        int original =
            c == CLUSTER_NAME || m->ops[a].row == survivor ? -1 : duplicate_of(k, heads, a, c);
        if (original >= 0)
            add_conflict(row, SATCHEL_CONFLICT_DUPLICATE, c, a, (unsigned)original);
        else if (!same_text(m->ops[a].texts[c], row->texts[c]) &&
                 (c == CLUSTER_NAME || !cluster_same_key(m->ops[a].texts[c], row->texts[c])))
            add_conflict(row, SATCHEL_CONFLICT_RULE, c, a, (unsigned)latest);
    }
}

static unsigned choose_survivor(const struct cluster *k, uint32_t among)
{
    int chosen = -1;
    for (unsigned a = 0; a < k->m->count; a++)
        if (has(among, a) && k->m->ops[a].kind == SATCHEL_OP_INSERT &&
            (chosen < 0 || order(k->m, a, (unsigned)chosen) < 0))
            chosen = (int)a;
    return chosen < 0 ? CLUSTER_ROWS : k->m->ops[chosen].row;
}

static void compute_cluster(const struct model *m, unsigned first, struct cluster_state *out)
{
    struct cluster k = {.m = m};
    for (unsigned a = 0; a < m->count; a++)
        if (has(m->set, a) && m->linked[first][m->ops[a].row])
            k.members |= 1u << a;
    for (unsigned a = 0; a < m->count; a++) {
        bool one[CLUSTER_ROWS][CLUSTER_ROWS]; /* as a's author had been shown */
        if (!has(k.members, a))
            continue;
        connect(m, m->ops[a].seen & m->set, one);
        for (unsigned b = 0; b < m->count; b++)
            k.knew[a][b] = has(k.members, b) && one[m->ops[a].row][m->ops[b].row];
    }

    uint32_t ended = find_ended(&k), deletes = 0, kept = 0;
    bool has_insert = false;
    for (unsigned d = 0; d < m->count; d++)
        if (has(k.members, d) && m->ops[d].kind == SATCHEL_OP_DELETE && !has(ended, d))
            deletes |= 1u << d;
    for (unsigned a = 0; a < m->count; a++) {
        if (!has(k.members, a) || m->ops[a].kind == SATCHEL_OP_DELETE)
            continue;
        bool is_live = true, is_kept = true;
        for (unsigned d = 0; d < m->count; d++) {
            if (has(ended, d) && delete_saw(&k, d, a))
                is_live = false;
            if (has(deletes, d) && delete_saw(&k, d, a))
                is_kept = false;
        }
        if (!is_live)
            continue;
        k.live |= 1u << a;
        has_insert = has_insert || m->ops[a].kind == SATCHEL_OP_INSERT;
        kept |= is_kept ? 1u << a : 0;
    }
    unsigned survivor = choose_survivor(&k, k.live);
    if (survivor == CLUSTER_ROWS)
        survivor = choose_survivor(&k, k.members);
    if (survivor == CLUSTER_ROWS)
        survivor = first; /* no write at all */
    for (unsigned x = 0; x < CLUSTER_ROWS; x++)
        if (m->linked[first][x])
            out->rows[x].survivor = survivor;

    struct cluster_row *row = &out->rows[survivor];
    row->exists = has_insert && (!deletes || (m->policy != SATCHEL_DELETE_DELETE_WINS && kept));
    if (!row->exists)
        return;
    for (unsigned c = 1; c < CLUSTER_COLUMNS; c++)
        compute_column(&k, c, survivor, row);
    int keeper = -1;
    for (unsigned a = 0; a < m->count; a++)
        if (has(kept, a) && (keeper < 0 || order(m, a, (unsigned)keeper) > 0))
            keeper = (int)a;
    for (unsigned d = 0; d < m->count; d++)
        for (unsigned a = 0; a < m->count; a++)
            if (has(k.members, a) && saw_delete(&k, a, d))
                deletes &= ~(1u << d);
    for (unsigned d = 0; d < m->count; d++) {
        bool is_said = !has(deletes, d);
        /* One change set deletes every row that the merged one is made of: its first says it. */
        for (unsigned e = 0; !is_said && e < m->count; e++)
            is_said = has(deletes, e) && m->ops[e].device == m->ops[d].device &&
                      m->ops[e].number == m->ops[d].number && m->ops[e].part < m->ops[d].part;
        if (!is_said)
            add_conflict(row, SATCHEL_CONFLICT_DELETE, SATCHEL_COLUMN_ROW, d, (unsigned)keeper);
    }
}

void cluster_compute(const struct cluster_op *ops, unsigned op_count, uint32_t set,
                     enum satchel_delete_policy policy, struct cluster_state *out)
{
    static struct model m;
    m.ops = ops;
    m.count = op_count;
    m.set = set;
    m.policy = policy;
    memset(out, 0, sizeof *out);
    connect(&m, set, m.linked);
    for (unsigned x = 0; x < CLUSTER_ROWS; x++) {
        bool is_first = true;
        for (unsigned y = 0; y < x; y++)
            is_first = is_first && !m.linked[x][y];
        if (is_first)
            compute_cluster(&m, x, out);
    }
}
