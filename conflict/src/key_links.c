/* Owns the question which writes link rows: pairs of equal keys that no write to either row has
 * undone. A pair depends on the writes to its two rows alone. */
#include "key_links.h"

#include <satchel/operation.h>

enum { MATCH_BYTES_MAX = 1 << 24 };

struct finder {
    struct merge_sight sight; /* without links: all questions here are about one row */
    struct satchel_arena *arena;
    const struct satchel_member *members;
    uint32_t member_count;
    const struct satchel_write **scratch; /* room for the writes to any one row */
    struct key_links *out;
};

bool key_was_shown(const struct satchel_write *write, const struct satchel_write *key)
{
    return satchel_vector_covers(&write->seen, &key->positions);
}

enum satchel_status key_match_of(const struct satchel_value *value, struct satchel_arena *arena,
                                 struct satchel_span *out)
{
    struct satchel_buffer match;
    satchel_buffer_init(&match, MATCH_BYTES_MAX, arena->allocator);
    enum satchel_status status = satchel_key_match(value, &match);
    if (status == SATCHEL_OK) {
        *out = satchel_arena_copy(arena, satchel_buffer_span(&match));
        status = out->data ? SATCHEL_OK : SATCHEL_NOMEM;
    }
    satchel_buffer_deinit(&match);
    return status;
}

/* ---- writes of keys ---- */

static bool is_key_field(const struct satchel_table_rules *rules, const struct satchel_write *write,
                         const struct satchel_field *field)
{
    return field->column < rules->column_count &&
           rules->columns[field->column].rule == SATCHEL_RULE_KEY &&
           !merge_field_is_default(rules, write, field);
}

/* The field if the write is one of that key, else NULL. */
static const struct satchel_field *find_key(const struct satchel_table_rules *rules,
                                            const struct satchel_write *write, uint32_t column)
{
    for (uint32_t i = 0; i < write->field_count; i++)
        if (write->fields[i].column == column && is_key_field(rules, write, &write->fields[i]))
            return &write->fields[i];
    return NULL;
}

static bool sets_apart(const struct satchel_field *field)
{
    return field->value.type == SATCHEL_BLOB;
}

/* Under delete_wins a delete takes what it had not seen, but not what belongs to a later life. */
static bool outlives(const struct finder *finder, const struct satchel_write *write,
                     const struct satchel_write *delete)
{
    const struct satchel_member *row = &finder->members[write->member];
    for (size_t i = 0; i < row->write_count; i++) {
        const struct satchel_write *other = &row->writes[i];
        if (other->kind == SATCHEL_OP_INSERT &&
            merge_saw_delete(&finder->sight, other, merge_target_write(delete)) &&
            (other == write || satchel_write_saw(write, SATCHEL_COLUMN_ROW, &other->order.device,
                                                 other->order.number, &other->positions)))
            return true;
    }
    return false;
}

/* Whether `write`, to the same row, overwrote the key or deleted the row. */
static bool overwrote(const struct finder *finder, const struct satchel_write *write,
                      const struct key_write *key)
{
    const struct satchel_table_rules *rules = finder->sight.rules;
    if (write == key->write)
        return false;
    if (write->kind == SATCHEL_OP_DELETE)
        return merge_delete_saw(&finder->sight, write, key->write) ||
               (rules->delete_policy == SATCHEL_DELETE_DELETE_WINS &&
                !outlives(finder, key->write, write));
    return find_key(rules, write, key->column) &&
           merge_saw_unit(&finder->sight, write, rules->columns[key->column].unit,
                          merge_target_write(key->write));
}

/* Whether the overwriter undoes the key's pair with every other key. */
static bool undoes_all(const struct finder *finder, const struct satchel_write *write,
                       const struct key_write *key)
{
    const struct satchel_field *field = find_key(finder->sight.rules, write, key->column);
    return (field && sets_apart(field)) || !key_was_shown(write, key->write);
}

static bool covers_vector(const struct satchel_vector *greater, const struct satchel_vector *less)
{
    for (uint32_t i = 0; i < less->count; i++)
        if (satchel_vector_get(greater, &less->items[i].node) < less->items[i].seq)
            return false;
    return true;
}

/* Only those that had been shown least count: what one of them was shown, the others were. */
static void keep_overwriter(struct key_write *key, const struct satchel_write *write)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < key->overwriter_count; i++)
        if (covers_vector(&write->seen, &key->overwriters[i]->seen))
            return;
    for (uint32_t i = 0; i < key->overwriter_count; i++)
        if (!covers_vector(&key->overwriters[i]->seen, &write->seen))
            key->overwriters[kept++] = key->overwriters[i];
    key->overwriters[kept++] = write;
    key->overwriter_count = kept;
}

/* What overwrote the key, unless that undid all its pairs. */
static enum satchel_status find_overwriters(const struct finder *finder, struct key_write *key,
                                            bool *links_nothing)
{
    const struct satchel_member *row = &finder->members[key->write->member];
    size_t own = (size_t)(key->write - row->writes);
    key->overwriters = finder->scratch;
    *links_nothing = false;
    /* From the next one on: who overwrote it usually follows soon. */
    for (size_t k = 1; k < row->write_count && !*links_nothing; k++) {
        const struct satchel_write *write = &row->writes[(own + k) % row->write_count];
        if (!overwrote(finder, write, key))
            continue;
        *links_nothing = undoes_all(finder, write, key);
        keep_overwriter(key, write);
    }
    if (*links_nothing || key->overwriter_count == 0)
        return SATCHEL_OK;
    key->overwriters =
        SATCHEL_ARENA_ARRAY(finder->arena, const struct satchel_write *, key->overwriter_count);
    if (!key->overwriters)
        return SATCHEL_NOMEM;
    memcpy(key->overwriters, finder->scratch, key->overwriter_count * sizeof *finder->scratch);
    return SATCHEL_OK;
}

static enum satchel_status read_keys(const struct finder *finder, const struct satchel_write *write)
{
    for (uint32_t i = 0; i < write->field_count; i++) {
        const struct satchel_field *field = &write->fields[i];
        if (!is_key_field(finder->sight.rules, write, field) || sets_apart(field))
            continue;
        struct key_write *key = &finder->out->keys[finder->out->key_count];
        *key = (struct key_write){.write = write, .column = field->column};
        enum satchel_status status = key_match_of(&field->value, finder->arena, &key->match);
        if (status != SATCHEL_OK)
            return status;
        if (key->match.size == 0)
            continue;
        bool links_nothing;
        status = find_overwriters(finder, key, &links_nothing);
        if (status != SATCHEL_OK)
            return status;
        finder->out->key_count += !links_nothing;
    }
    return SATCHEL_OK;
}

static enum satchel_status gather_keys(const struct finder *finder)
{
    size_t most = 0;
    for (uint32_t m = 0; m < finder->member_count; m++)
        for (size_t i = 0; i < finder->members[m].write_count; i++)
            most += finder->members[m].writes[i].field_count;
    finder->out->keys = SATCHEL_ARENA_ARRAY(finder->arena, struct key_write, most + 1);
    if (!finder->out->keys)
        return SATCHEL_NOMEM;
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t m = 0; m < finder->member_count; m++)
        for (size_t i = 0; status == SATCHEL_OK && i < finder->members[m].write_count; i++)
            status = read_keys(finder, &finder->members[m].writes[i]);
    return status;
}

/* ---- links ---- */

/* Whether a write that overwrote `key` undid its pair with `other`. */
static bool is_undone(const struct key_write *key, const struct key_write *other)
{
    for (uint32_t i = 0; i < key->overwriter_count; i++) {
        if (!key_was_shown(key->overwriters[i], other->write))
            return true;
    }
    return false;
}

static bool are_linked(const struct key_write *a, const struct key_write *b)
{
    return a->column == b->column && a->write->member != b->write->member &&
           satchel_span_equal(a->match, b->match) && !is_undone(a, b) && !is_undone(b, a);
}

static enum satchel_status gather_links(const struct finder *finder)
{
    struct key_links *out = finder->out;
    uint32_t capacity = 0;
    for (uint32_t i = 0; i < out->key_count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (!are_linked(&out->keys[j], &out->keys[i]))
                continue;
            if (out->count == capacity) {
                capacity = 2 * capacity + 8;
                struct key_link *items =
                    SATCHEL_ARENA_ARRAY(finder->arena, struct key_link, capacity);
                if (!items)
                    return SATCHEL_NOMEM;
                if (out->count > 0)
                    memcpy(items, out->items, out->count * sizeof *items);
                out->items = items;
            }
            out->items[out->count++] = (struct key_link){out->keys[j].write, out->keys[i].write, j,
                                                         i, out->keys[i].column};
        }
    }
    return SATCHEL_OK;
}

enum satchel_status key_links_find(const struct satchel_table_rules *rules,
                                   const struct satchel_member *members, uint32_t member_count,
                                   struct satchel_arena *arena, struct key_links *out)
{
    size_t most = 1;
    for (uint32_t m = 0; m < member_count; m++)
        most = members[m].write_count > most ? members[m].write_count : most;
    *out = (struct key_links){0};
    const struct finder finder = {
        .sight = {.rules = rules},
        .arena = arena,
        .members = members,
        .member_count = member_count,
        .scratch = SATCHEL_ARENA_ARRAY(arena, const struct satchel_write *, most),
        .out = out};
    if (!finder.scratch)
        return SATCHEL_NOMEM;
    enum satchel_status status = gather_keys(&finder);
    return status == SATCHEL_OK ? gather_links(&finder) : status;
}
