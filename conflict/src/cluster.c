/* Owns clusters: which rows are one by their links (key_links.c), which of them stands for the
 * others, and that row from the writes to all of them. How writes meet is no concern of this file:
 * it only says who had been shown which rows as one. */
#include <satchel/cluster.h>

#include "key_links.h"

#include <stdlib.h>

struct satchel_clusters {
    const struct satchel_table_rules *rules;
    struct satchel_member *members;
    uint32_t member_count;
    struct key_links links;
    uint32_t *groups;    /* equal for the members of one cluster */
    uint32_t *survivors; /* per member */
};

/* Groups of members: equal numbers for those that links join. */
static void groups_init(uint32_t *groups, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        groups[i] = i;
}

static void groups_join(uint32_t *groups, uint32_t count, const struct key_link *link)
{
    uint32_t from = groups[link->a->member], to = groups[link->b->member];
    for (uint32_t i = 0; from != to && i < count; i++)
        if (groups[i] == from)
            groups[i] = to;
}

static bool is_single(const struct satchel_clusters *clusters, uint32_t group)
{
    uint32_t count = 0;
    for (uint32_t m = 0; m < clusters->member_count; m++)
        count += clusters->groups[m] == group;
    return count == 1;
}

/* ---- who had been shown which rows as one ---- */

/* The merge asks about one write many times in a row, and about writes of one change set one after
 * another, so the last answer is kept: it takes a look at every link. With n members of one key,
 * written w times, d of these deletes, a merge is O(w n^2) for the looks and O(w d) for what
 * deletes had seen. */
struct shown {
    const struct satchel_clusters *clusters;
    bool has_looked;
    struct satchel_vector seen;
    uint32_t *groups; /* the members as an author who had seen that was shown them */
    bool *covered;    /* per key: its write is covered by `seen` */
    struct merge_links links;
};

static bool is_same_vector(const struct satchel_vector *a, const struct satchel_vector *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count && a->items != b->items; i++)
        if (a->items[i].seq != b->items[i].seq ||
            !satchel_id_equal(&a->items[i].node, &b->items[i].node))
            return false;
    return true;
}

static void look_through(struct shown *shown, const struct satchel_write *write)
{
    const struct satchel_clusters *clusters = shown->clusters;
    groups_init(shown->groups, clusters->member_count);
    for (uint32_t i = 0; i < clusters->links.key_count; i++)
        shown->covered[i] = key_was_shown(write, clusters->links.keys[i].write);
    for (uint32_t i = 0; i < clusters->links.count; i++) {
        const struct key_link *link = &clusters->links.items[i];
        if (shown->covered[link->a_key] && shown->covered[link->b_key])
            groups_join(shown->groups, clusters->member_count, link);
    }
    shown->seen = write->seen;
    shown->has_looked = true;
}

static bool knew(void *context, const struct satchel_write *write, uint32_t member)
{
    struct shown *shown = context;
    if (!shown->has_looked || !is_same_vector(&shown->seen, &write->seen))
        look_through(shown, write);
    return shown->groups[write->member] == shown->groups[member];
}

/* What a merge of the group sees by: through the links if it has several members. */
static enum satchel_status make_sight(const struct satchel_clusters *clusters, uint32_t group,
                                      struct satchel_arena *arena, struct merge_sight *out)
{
    *out = (struct merge_sight){.rules = clusters->rules};
    if (is_single(clusters, group))
        return SATCHEL_OK;
    struct shown *shown = SATCHEL_ARENA_ARRAY(arena, struct shown, 1);
    if (!shown)
        return SATCHEL_NOMEM;
    shown->clusters = clusters;
    shown->groups = SATCHEL_ARENA_ARRAY(arena, uint32_t, clusters->member_count);
    shown->covered = SATCHEL_ARENA_ARRAY(arena, bool, clusters->links.key_count + 1);
    shown->links = (struct merge_links){knew, shown};
    out->links = &shown->links;
    return shown->groups && shown->covered ? SATCHEL_OK : SATCHEL_NOMEM;
}

/* ---- the writes of a cluster ---- */

static int compare_arrivals(const void *a, const void *b)
{
    const struct satchel_write *left = a, *right = b;
    if (left->arrival != right->arrival)
        return left->arrival < right->arrival ? -1 : 1;
    return satchel_order_compare(&left->order, &right->order);
}

/* All writes to the members of the group, in order of arrival. */
static enum satchel_status gather_writes(const struct satchel_clusters *clusters, uint32_t group,
                                         struct satchel_arena *arena, struct satchel_write **out,
                                         size_t *out_count)
{
    size_t count = 0;
    for (uint32_t m = 0; m < clusters->member_count; m++)
        if (clusters->groups[m] == group)
            count += clusters->members[m].write_count;
    *out = SATCHEL_ARENA_ARRAY(arena, struct satchel_write, count + 1);
    *out_count = 0;
    if (!*out)
        return SATCHEL_NOMEM;
    for (uint32_t m = 0; m < clusters->member_count; m++)
        for (size_t i = 0; clusters->groups[m] == group && i < clusters->members[m].write_count;
             i++)
            (*out)[(*out_count)++] = clusters->members[m].writes[i];
    if (count > 1)
        qsort(*out, count, sizeof **out, compare_arrivals);
    return SATCHEL_OK;
}

/* ---- the survivor ---- */

static bool precedes(const struct satchel_clusters *clusters, const struct satchel_write *a,
                     const struct satchel_write *b)
{
    int order = satchel_order_compare(&a->order, &b->order);
    if (order != 0)
        return order < 0;
    return satchel_span_compare(clusters->members[a->member].name,
                                clusters->members[b->member].name) < 0;
}

/* The earliest insert of the present life; if the row has none, the earliest of all. */
static enum satchel_status choose_survivor(struct satchel_clusters *clusters, uint32_t group,
                                           struct satchel_arena *arena)
{
    struct satchel_write *writes;
    size_t count;
    struct merge_sight sight;
    bool *is_live = NULL;
    enum satchel_status status = gather_writes(clusters, group, arena, &writes, &count);
    if (status == SATCHEL_OK)
        status = make_sight(clusters, group, arena, &sight);
    if (status == SATCHEL_OK)
        status = merge_find_live(&sight, writes, count, arena, &is_live);
    if (status != SATCHEL_OK)
        return status;
    const struct satchel_write *chosen = NULL;
    bool is_chosen_live = false;
    for (size_t i = 0; i < count; i++) {
        if (writes[i].kind != SATCHEL_OP_INSERT || (is_chosen_live && !is_live[i]))
            continue;
        if (!chosen || is_live[i] != is_chosen_live || precedes(clusters, &writes[i], chosen)) {
            chosen = &writes[i];
            is_chosen_live = is_live[i];
        }
    }
    for (uint32_t m = 0; m < clusters->member_count; m++)
        if (clusters->groups[m] == group)
            clusters->survivors[m] = chosen ? chosen->member : group;
    return SATCHEL_OK;
}

enum satchel_status satchel_clusters_new(struct satchel_clusters **out,
                                         const struct satchel_table_rules *rules,
                                         struct satchel_member *members, uint32_t member_count,
                                         struct satchel_arena *arena)
{
    struct satchel_clusters *clusters = SATCHEL_ARENA_ARRAY(arena, struct satchel_clusters, 1);
    if (!clusters)
        return SATCHEL_NOMEM;
    clusters->rules = rules;
    clusters->members = members;
    clusters->member_count = member_count;
    clusters->groups = SATCHEL_ARENA_ARRAY(arena, uint32_t, member_count + 1);
    clusters->survivors = SATCHEL_ARENA_ARRAY(arena, uint32_t, member_count + 1);
    if (!clusters->groups || !clusters->survivors)
        return SATCHEL_NOMEM;
    for (uint32_t m = 0; m < member_count; m++)
        for (size_t i = 0; i < members[m].write_count; i++)
            members[m].writes[i].member = m;

    enum satchel_status status =
        key_links_find(rules, members, member_count, arena, &clusters->links);
    if (status != SATCHEL_OK)
        return status;
    groups_init(clusters->groups, member_count);
    groups_init(clusters->survivors, member_count);
    for (uint32_t i = 0; i < clusters->links.count; i++)
        groups_join(clusters->groups, member_count, &clusters->links.items[i]);
    /* A group is named by one of its members, which joining leaves with its own number. */
    for (uint32_t m = 0; status == SATCHEL_OK && m < member_count; m++)
        if (clusters->groups[m] == m && !is_single(clusters, m))
            status = choose_survivor(clusters, m, arena);
    if (status == SATCHEL_OK)
        *out = clusters;
    return status;
}

uint32_t satchel_clusters_survivor(const struct satchel_clusters *clusters, uint32_t member)
{
    return clusters->survivors[member];
}

/* ---- duplicates ---- */

static bool is_end(const struct satchel_write *end, const struct merge_write *head)
{
    return head && end->member == head->member &&
           satchel_order_compare(&end->order, &head->order) == 0;
}

static const struct merge_write *find_head(const struct merge_unit *unit,
                                           const struct satchel_write *end)
{
    for (uint32_t i = 0; i < unit->head_count; i++)
        if (is_end(end, unit->heads[i].write))
            return unit->heads[i].write;
    return NULL;
}

/* What the head is a duplicate of: the earliest head linked to it, on a row that its author had not
 * been shown as the same. */
static const struct merge_write *find_original(struct shown *shown, const struct merge_unit *unit,
                                               const struct merge_write *loser)
{
    const struct key_links *links = &shown->clusters->links;
    const struct merge_write *original = NULL;
    for (uint32_t i = 0; i < links->count; i++) {
        const struct key_link *link = &links->items[i];
        bool is_a = is_end(link->a, loser);
        if (link->column != unit->unit || (!is_a && !is_end(link->b, loser)))
            continue;
        const struct satchel_write *own = is_a ? link->a : link->b;
        const struct satchel_write *other = is_a ? link->b : link->a;
        const struct merge_write *head = find_head(unit, other);
        if (head && !knew(shown, own, other->member) &&
            (!original || satchel_order_compare(&head->order, &original->order) < 0))
            original = head;
    }
    return original;
}

static struct satchel_value head_value(const struct satchel_table_rules *rules,
                                       const struct satchel_row *row, const struct merge_unit *unit,
                                       uint32_t index)
{
    const struct merge_head *head = &unit->heads[index];
    uint32_t place = 0; /* the key's among the unit's columns: followers may come before it */
    for (uint32_t i = 0; i < unit->unit; i++)
        place += rules->columns[i].unit == unit->unit;
    return head->values ? head->values[place] : row->values[unit->unit];
}

/* For the list of conflicts: the key heads of aliases that nobody has written upon knowing of the
 * merge. */
static enum satchel_status note_duplicates(struct shown *shown, uint32_t survivor,
                                           const struct satchel_row *row,
                                           struct satchel_arena *arena)
{
    const struct satchel_table_rules *rules = shown->clusters->rules;
    struct satchel_version *version = row->version;
    size_t most = 0;
    for (uint32_t i = 0; i < version->unit_count; i++)
        most += version->units[i].head_count;
    struct merge_duplicate *duplicates =
        SATCHEL_ARENA_ARRAY(arena, struct merge_duplicate, most + 1);
    if (!duplicates)
        return SATCHEL_NOMEM;
    version->duplicate_count = 0;
    for (uint32_t c = 0; c < rules->column_count; c++) {
        if (rules->columns[c].rule != SATCHEL_RULE_KEY)
            continue;
        const struct merge_unit *unit = merge_version_find(version, c);
        for (uint32_t i = 0; unit && i < unit->head_count; i++) {
            const struct merge_write *loser = unit->heads[i].write;
            const struct merge_write *original =
                !loser || loser->member == survivor ? NULL : find_original(shown, unit, loser);
            if (original)
                duplicates[version->duplicate_count++] =
                    (struct merge_duplicate){c, loser, original, head_value(rules, row, unit, i)};
        }
    }
    version->duplicates = duplicates;
    return SATCHEL_OK;
}

/* ---- the row ---- */

static enum satchel_status check_writes(const struct satchel_clusters *clusters,
                                        const struct satchel_row *row,
                                        const struct satchel_write *writes, size_t count,
                                        const struct satchel_write *last,
                                        struct satchel_arena *arena, struct satchel_error *error)
{
    enum satchel_status status =
        last ? merge_check_write(clusters->rules, row->context, last, arena, error) : SATCHEL_OK;
    for (size_t i = 0; status == SATCHEL_OK && i < count; i++)
        status = merge_check_columns(clusters->rules, &writes[i], i, error);
    return status;
}

enum satchel_status satchel_clusters_rebuild(const struct satchel_clusters *clusters,
                                             uint32_t member, struct satchel_row *row,
                                             const struct satchel_write *last,
                                             struct satchel_arena *arena,
                                             struct satchel_merge_result *result,
                                             struct satchel_error *error)
{
    struct satchel_write *writes;
    size_t count;
    struct merge_sight sight;
    uint32_t group = clusters->groups[member];
    enum satchel_status status = gather_writes(clusters, group, arena, &writes, &count);
    if (status == SATCHEL_OK)
        status = make_sight(clusters, group, arena, &sight);
    if (status == SATCHEL_OK)
        status = check_writes(clusters, row, writes, count, last, arena, error);
    if (status == SATCHEL_OK)
        status = merge_rebuild(&sight, row, writes, count, last, arena, result, error);
    if (status != SATCHEL_OK || !row->exists || !sight.links)
        return status;
    return note_duplicates(sight.links->context, member, row, arena);
}

/* ---- keys of rows ---- */

static bool has_row_key(const struct satchel_row_key *keys, uint32_t count, uint32_t column,
                        struct satchel_span match)
{
    for (uint32_t i = 0; i < count; i++)
        if (keys[i].column == column && satchel_span_equal(keys[i].match, match))
            return true;
    return false;
}

static enum satchel_status add_row_key(uint32_t column, const struct satchel_value *value,
                                       struct satchel_arena *arena, struct satchel_row_key *keys,
                                       uint32_t *count)
{
    struct satchel_span match;
    enum satchel_status status = key_match_of(value, arena, &match);
    if (status == SATCHEL_OK && match.size > 0 && !has_row_key(keys, *count, column, match))
        keys[(*count)++] = (struct satchel_row_key){column, match};
    return status;
}

enum satchel_status satchel_row_keys(const struct satchel_table_rules *rules,
                                     const struct satchel_row *row, struct satchel_arena *arena,
                                     struct satchel_row_key **out, uint32_t *out_count)
{
    size_t most = rules->column_count;
    for (uint32_t i = 0; i < row->version->unit_count; i++)
        most += row->version->units[i].head_count;
    *out_count = 0;
    *out = SATCHEL_ARENA_ARRAY(arena, struct satchel_row_key, most);
    if (!*out)
        return SATCHEL_NOMEM;
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t c = 0; row->exists && c < rules->column_count; c++) {
        if (rules->columns[c].rule != SATCHEL_RULE_KEY)
            continue;
        const struct merge_unit *unit = merge_version_find(row->version, c);
        /* Without a record: the insert's value, or the default, which nobody wrote. */
        if (!unit && !satchel_value_equal(&row->values[c], &rules->columns[c].default_value))
            status = add_row_key(c, &row->values[c], arena, *out, out_count);
        for (uint32_t i = 0; status == SATCHEL_OK && unit && i < unit->head_count; i++) {
            const struct satchel_value value = head_value(rules, row, unit, i);
            status = add_row_key(c, &value, arena, *out, out_count);
        }
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

enum satchel_status satchel_clusters_keys(const struct satchel_clusters *clusters, uint32_t member,
                                          struct satchel_arena *arena, struct satchel_row_key **out,
                                          uint32_t *out_count)
{
    const struct key_links *links = &clusters->links;
    *out_count = 0;
    *out = SATCHEL_ARENA_ARRAY(arena, struct satchel_row_key, links->key_count + 1);
    if (!*out)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < links->key_count; i++) {
        const struct key_write *key = &links->keys[i];
        if (key->write->member == member && key->overwriter_count == 0 &&
            !has_row_key(*out, *out_count, key->column, key->match))
            (*out)[(*out_count)++] = (struct satchel_row_key){key->column, key->match};
    }
    return SATCHEL_OK;
}
