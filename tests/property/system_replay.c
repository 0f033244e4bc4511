/* Owns arrival-order independence on the real merge: the change sets of a history once more into a
 * fresh store, in another order.
 *
 * What a change set had seen is said in positions, which another order gives anew. A position
 * covers all before it, so an order is possible only where, row by row, what each write had seen
 * stands before what it had not; those orders are found here, and each part gets the exceptions
 * that say the same of its row in the new positions. */
#include "merge.h"
#include "system_world.h"

enum { ENTRIES_MAX = 512, REPLAYS = 2, BATCH_MAX = 6 };

struct replay {
    struct system_world *world;
    const struct system_entry *entries;
    size_t count;
    bool (*before)[ENTRIES_MAX]; /* [a][b]: a must stand before b */
    size_t order[ENTRIES_MAX];   /* of arrival */
    uint64_t seq[ENTRIES_MAX];   /* the new position of each */
    struct satchel_span **names; /* of each part's row */
    bool has_other_refusals;     /* of deals, than where the entries come from */
};

/* ---- which orders are possible ---- */

static uint64_t seq_of(const struct satchel_vector *vector)
{
    return vector->count > 0 ? vector->items[0].seq : 0;
}

static void name_parts(struct replay *replay)
{
    struct system_world *world = replay->world;
    replay->names = SATCHEL_ARENA_ARRAY(&world->arena, struct satchel_span *, replay->count);
    system_check(world, replay->names != NULL, "no memory");
    for (size_t i = 0; i < replay->count; i++) {
        const struct satchel_changeset *content = &replay->entries[i].content;
        replay->names[i] =
            SATCHEL_ARENA_ARRAY(&world->arena, struct satchel_span, content->header.part_count);
        for (uint32_t p = 0; p < content->header.part_count; p++) {
            const struct satchel_part *part = &content->parts[p];
            satchel_buffer_clear(&world->scratch);
            system_ok(world,
                      satchel_row_name(&world->scratch, part->table, part->key, part->key_count),
                      "name a row", NULL);
            replay->names[i][p] =
                satchel_arena_copy(&world->arena, satchel_buffer_span(&world->scratch));
        }
    }
}

static bool writes_row(const struct replay *replay, size_t entry, struct satchel_span name)
{
    for (uint32_t p = 0; p < replay->entries[entry].content.header.part_count; p++)
        if (satchel_span_equal(replay->names[entry][p], name))
            return true;
    return false;
}

static bool is_own(const struct replay *replay, size_t a, size_t b)
{
    return satchel_id_equal(&replay->entries[a].device, &replay->entries[b].device);
}

/* Of the row's writes by others, those up to `seen` stand before those behind it. */
static void keep_prefix(struct replay *replay, size_t entry, struct satchel_span name,
                        uint64_t seen)
{
    for (size_t a = 0; a < replay->count; a++) {
        if (replay->entries[a].seq > seen || is_own(replay, a, entry) ||
            !writes_row(replay, a, name))
            continue;
        for (size_t b = 0; b < replay->count; b++)
            if (replay->entries[b].seq > seen && !is_own(replay, b, entry) &&
                writes_row(replay, b, name))
                replay->before[a][b] = true;
    }
}

/* Whether the entry has inserted the row, and that was not set aside. */
static bool inserts_row(const struct replay *replay, size_t entry, struct satchel_span name)
{
    const struct system_entry *from = &replay->entries[entry];
    for (uint32_t p = 0; p < from->content.header.part_count; p++)
        if (from->content.parts[p].kind == SATCHEL_OP_INSERT && !from->is_quarantined[p] &&
            satchel_span_equal(replay->names[entry][p], name))
            return true;
    return false;
}

/* Of a row whose insert by the same author was set aside: that a later write of his to it was
 * merged is a judgement, too, and kept. It could only be made where another's insert had come. */
static void keep_insert(struct replay *replay, size_t entry, struct satchel_span name)
{
    size_t first = replay->count;
    for (size_t i = replay->count; i-- > 0;) {
        if (!inserts_row(replay, i, name))
            continue;
        if (replay->before[i][entry])
            return;
        first = i;
    }
    if (first < entry)
        replay->before[first][entry] = true;
}

static void constrain(struct replay *replay)
{
    bool keeps_judgement = replay->world->schemas[1]->has_scopes;
    for (size_t i = 0; i < replay->count; i++) {
        const struct system_entry *entry = &replay->entries[i];
        uint64_t seen = seq_of(&entry->content.header.seen);
        for (size_t j = 0; j < replay->count; j++)
            if (replay->entries[j].seq <= seen ||
                (is_own(replay, i, j) && replay->entries[j].number < entry->number))
                replay->before[j][i] = true;
        for (uint32_t p = 0; p < entry->content.header.part_count; p++) {
            const struct satchel_part *part = &entry->content.parts[p];
            keep_prefix(replay, i, replay->names[i][p], seen);
            for (uint32_t e = 0; e < part->exception_count; e++)
                keep_prefix(replay, i, replay->names[i][p],
                            seq_of(&part->exceptions[e].view.vector));
            if (keeps_judgement && part->kind != SATCHEL_OP_INSERT && !entry->is_quarantined[p])
                keep_insert(replay, i, replay->names[i][p]);
        }
    }
}

static void choose_order(struct replay *replay)
{
    struct system_world *world = replay->world;
    bool is_taken[ENTRIES_MAX] = {false};
    for (size_t place = 0; place < replay->count; place++) {
        size_t ready[ENTRIES_MAX], ready_count = 0;
        for (size_t i = 0; i < replay->count; i++) {
            bool is_ready = !is_taken[i];
            for (size_t j = 0; is_ready && j < replay->count; j++)
                is_ready = is_taken[j] || !replay->before[j][i] || j == i;
            if (is_ready)
                ready[ready_count++] = i;
        }
        system_check(world, ready_count > 0, "no order of arrival is possible");
        size_t chosen = ready[system_below(world, (unsigned)ready_count)];
        system_counts.replay_swaps += chosen != ready[0];
        is_taken[chosen] = true;
        replay->order[place] = chosen;
        replay->seq[chosen] = place + 1;
    }
}

/* ---- the same change set in new positions ---- */

/* The new position that covers of the row's writes by others just those up to `seen`. */
static uint64_t translate(const struct replay *replay, size_t entry, struct satchel_span name,
                          uint64_t seen)
{
    uint64_t seq = 0;
    for (size_t a = 0; a < replay->count; a++)
        if (replay->entries[a].seq <= seen && !is_own(replay, a, entry) &&
            writes_row(replay, a, name) && replay->seq[a] > seq)
            seq = replay->seq[a];
    return seq;
}

static void set_exception(struct replay *replay, struct satchel_exception *exception,
                          uint32_t column, const struct satchel_id *node, uint64_t seq)
{
    struct satchel_position *position =
        SATCHEL_ARENA_ARRAY(&replay->world->arena, struct satchel_position, 1);
    system_check(replay->world, position != NULL, "no memory");
    *position = (struct satchel_position){*node, seq};
    *exception = (struct satchel_exception){column, {SATCHEL_VIEW_SEEN, {position, seq > 0}}};
}

static void write_part(struct replay *replay, size_t entry, uint32_t index,
                       const struct satchel_id *node, struct satchel_buffer *out)
{
    struct system_world *world = replay->world;
    struct satchel_part part = replay->entries[entry].content.parts[index];
    struct satchel_exception *exceptions =
        SATCHEL_ARENA_ARRAY(&world->arena, struct satchel_exception, part.exception_count + 1);
    uint32_t count = 0;
    uint64_t row_seen = seq_of(&replay->entries[entry].content.header.seen);
    struct satchel_span name = replay->names[entry][index];
    system_check(world, exceptions != NULL, "no memory");
    for (uint32_t e = 0; e < part.exception_count; e++) {
        uint64_t seen = seq_of(&part.exceptions[e].view.vector);
        if (part.exceptions[e].column == SATCHEL_COLUMN_ROW)
            row_seen = seen < row_seen ? seen : row_seen;
        else
            set_exception(replay, &exceptions[count++], part.exceptions[e].column, node,
                          translate(replay, entry, name, seen));
    }
    set_exception(replay, &exceptions[count++], SATCHEL_COLUMN_ROW, node,
                  translate(replay, entry, name, row_seen));
    part.exceptions = exceptions;
    part.exception_count = count;
    system_ok(world, satchel_changeset_write_part(out, &part), "write a part", NULL);
}

/* Rights are judged once, by what the author could see then: as if the change set were given
 * back. */
static void keep_judgement(struct replay *replay, const struct system_entry *from,
                           struct satchel_incoming *incoming)
{
    struct system_world *world = replay->world;
    const struct satchel_notes notes = {.quarantined = from->notes.quarantined,
                                        .quarantined_count = from->notes.quarantined_count};
    struct satchel_buffer bytes;
    satchel_buffer_init(&bytes, SATCHEL_NOTES_BYTES_MAX, NULL);
    system_ok(world, satchel_notes_write(&bytes, &notes), "write notes", NULL);
    incoming->quarantined =
        satchel_notes_quarantined(satchel_arena_copy(&world->arena, satchel_buffer_span(&bytes)));
    incoming->is_forwarded = true;
    satchel_buffer_deinit(&bytes);
}

static struct satchel_incoming incoming_of(struct replay *replay, size_t entry,
                                           const struct satchel_id *node)
{
    struct system_world *world = replay->world;
    const struct system_entry *from = &replay->entries[entry];
    struct satchel_changeset_header header = from->content.header;
    struct satchel_position position = {*node, 0};
    struct satchel_buffer body;
    /* Everything it depends on has come; what it had seen of a row, its exceptions say. */
    for (size_t j = 0; j < replay->count; j++)
        if (from->content.header.seen.count > 0 &&
            replay->entries[j].seq <= seq_of(&from->content.header.seen) &&
            replay->seq[j] > position.seq)
            position.seq = replay->seq[j];
    header.seen = (struct satchel_vector){&position, position.seq > 0};
    satchel_buffer_init(&body, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    system_ok(world, satchel_changeset_write_header(&body, &header), "write a header", NULL);
    for (uint32_t p = 0; p < header.part_count; p++)
        write_part(replay, entry, p, node, &body);
    struct satchel_incoming incoming = {
        .device = from->device, .user = from->user, .number = from->number, .stamp = from->stamp};
    memcpy(incoming.secret, from->secret, sizeof incoming.secret);
    incoming.body = satchel_arena_copy(&world->arena, satchel_buffer_span(&body));
    satchel_buffer_deinit(&body);
    if (world->schemas[1]->has_scopes)
        keep_judgement(replay, from, &incoming);
    return incoming;
}

/* ---- one more arrival ---- */

static bool writes_deals(const struct replay *replay, const struct system_entry *entry)
{
    const struct satchel_table *deal = satchel_schema_find(replay->world->schemas[1], "deal");
    bool is_one = false;
    for (uint32_t p = 0; p < entry->content.header.part_count; p++)
        is_one = is_one || (deal && entry->content.parts[p].table == deal->number);
    return is_one;
}

static void merge_all(struct replay *replay, struct satchel_store *store)
{
    struct system_world *world = replay->world;
    struct satchel_store_head head;
    struct satchel_error error = {0};
    system_ok(world, store->ops->load_head(store, &head, &error), "read the head", &error);
    for (size_t place = 0; place < replay->count;) {
        struct satchel_incoming batch[BATCH_MAX];
        struct satchel_incoming_outcome outcomes[BATCH_MAX];
        size_t count = 0, wanted = 1 + system_below(world, BATCH_MAX);
        while (count < wanted && place + count < replay->count) {
            batch[count] = incoming_of(replay, replay->order[place + count], &head.node);
            /* Nobody can have seen what comes in the same batch. */
            struct satchel_changeset content;
            system_ok(world,
                      satchel_changeset_decode(batch[count].body, &world->arena, &content, &error),
                      "read a change set", &error);
            if (seq_of(&content.header.seen) > place)
                break;
            count++;
        }
        system_ok(world, store->ops->begin(store, &error), "begin", &error);
        system_ok(world,
                  satchel_merge_batch(store, batch, count, world->now_ms + INT64_C(100000000000),
                                      outcomes, &error),
                  "merge", &error);
        system_ok(world, store->ops->commit(store, &error), "commit", &error);
        for (size_t i = 0; i < count; i++) {
            const struct system_entry *entry = &replay->entries[replay->order[place + i]];
            system_check(world, outcomes[i].result == SATCHEL_INCOMING_MERGED,
                         "a change set is refused in another order: %s", outcomes[i].error.message);
            replay->has_other_refusals |=
                outcomes[i].quarantined_count != entry->notes.quarantined_count &&
                writes_deals(replay, entry);
        }
        place += count;
    }
}

/* What a CHECK or a machine that changes refuses depends on the order; and whether rows with one
 * key are one depends on what was seen of the other row, which exceptions on the one cannot say. */
static bool is_bound_to_order(const struct replay *replay, const struct system_row *row)
{
    return strcmp(row->table->name, "stock") == 0 || row->table->rules.has_keys ||
           (replay->has_other_refusals && strcmp(row->table->name, "deal") == 0);
}

static void compare_rows(struct replay *replay, sqlite3 *db)
{
    struct system_world *world = replay->world;
    struct system_snapshot ours, theirs;
    system_snapshot_take(world, satchel_store_sqlite_db(world->server.store), &ours);
    system_snapshot_take(world, db, &theirs);
    for (int side = 0; side < 2; side++) {
        const struct system_snapshot *from = side ? &theirs : &ours, *in = side ? &ours : &theirs;
        for (size_t i = 0; i < from->count; i++) {
            const struct system_row *row = &from->rows[i];
            const struct system_row *other = system_snapshot_find(in, row->name);
            bool is_same = other != NULL;
            for (uint32_t c = 0; is_same && c < row->table->column_count; c++)
                is_same = satchel_value_equal(&row->values[c], &other->values[c]);
            if (!is_same && !is_bound_to_order(replay, row)) {
                struct satchel_buffer text;
                satchel_buffer_init(&text, 1 << 20, NULL);
                system_describe_row(world, &text, row);
                system_put(&text, " against ", 9);
                if (other)
                    system_describe_row(world, &text, other);
                system_fail(world, "another order of arrival gives another row: %s",
                            satchel_buffer_text(&text));
            }
        }
    }
}

static void compare_conflicts(struct replay *replay, sqlite3 *db)
{
    static const char sql[] =
        "SELECT count(*), group_concat(line, char(10)) FROM (SELECT tbl||' '||key||' '||field||' "
        "'||"
        "severity||' '||at||' '||quote(mine)||' '||quote(theirs)||' '||quote(kept)||' "
        "'||by_user||' '||"
        "hex(loser_device)||loser_number||' '||winner_user||' '||winner_at||' "
        "'||hex(winner_device)||"
        "winner_number AS line FROM satchel_conflict WHERE resolved IS NULL"
        " AND tbl NOT IN('stock', 'firm', 'twin', ?1) ORDER BY id)";
    struct system_world *world = replay->world;
    sqlite3 *both[2] = {satchel_store_sqlite_db(world->server.store), db};
    struct satchel_span lines[2];
    for (int i = 0; i < 2; i++) {
        sqlite3_stmt *select = NULL;
        if (sqlite3_prepare_v2(both[i], sql, -1, &select, NULL) != SQLITE_OK ||
            sqlite3_bind_text(select, 1, replay->has_other_refusals ? "deal" : "", -1,
                              SQLITE_STATIC) != SQLITE_OK ||
            sqlite3_step(select) != SQLITE_ROW)
            system_fail(world, "%s", sqlite3_errmsg(both[i]));
        lines[i] = satchel_arena_copy(&world->arena,
                                      satchel_span_of(sqlite3_column_text(select, 1),
                                                      (size_t)sqlite3_column_bytes(select, 1)));
        sqlite3_finalize(select);
    }
    if (satchel_span_equal(lines[0], lines[1]))
        return;
    system_trace(world, "conflicts before:\n%.3000s\nconflicts now:\n%.3000s",
                 (const char *)lines[0].data, (const char *)lines[1].data);
    system_fail(world, "another order of arrival leaves other conflicts open");
}

static void trace_order(struct replay *replay)
{
    struct satchel_buffer text;
    satchel_buffer_init(&text, 1 << 16, NULL);
    for (size_t i = 0; i < replay->count; i++) {
        char number[32];
        snprintf(number, sizeof number, " %llu",
                 (unsigned long long)replay->entries[replay->order[i]].cursor);
        system_put(&text, number, strlen(number));
    }
    system_trace(replay->world, "replay in the order%s", satchel_buffer_text(&text));
    satchel_buffer_deinit(&text);
}

static void replay_once(struct replay *replay)
{
    struct system_world *world = replay->world;
    struct satchel_store *store = NULL;
    struct satchel_error error = {0};
    char path[256];
    replay->has_other_refusals = false;
    choose_order(replay);
    trace_order(replay);
    snprintf(path, sizeof path, "%s/replay.db", world->folder);
    system_store_write(world, path, true);
    system_ok(world, satchel_store_sqlite_open(&store, path, &error), "open a store", &error);
    sqlite3 *db = satchel_store_sqlite_db(store);
    system_ok(world, satchel_db_exec(db, "PRAGMA synchronous=OFF", &error), "set up", &error);
    merge_all(replay, store);
    compare_rows(replay, db);
    compare_conflicts(replay, db);
    store->ops->close(store);
    system_counts.replays++;
}

void system_replay(struct system_world *world, const struct system_entry *entries, size_t count)
{
    static bool before[ENTRIES_MAX][ENTRIES_MAX];
    static struct replay replay;
    if (!world->is_deployed || count > ENTRIES_MAX)
        return; /* the fresh store has all migrations */
    memset(before, 0, sizeof before);
    replay = (struct replay){.world = world, .entries = entries, .count = count, .before = before};
    name_parts(&replay);
    constrain(&replay);
    for (int i = 0; i < REPLAYS; i++)
        replay_once(&replay);
}
