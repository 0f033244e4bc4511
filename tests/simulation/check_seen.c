/* Owns the check that in the server's log each change set comes after every other that its author
 * had been shown, and that each of those is known there by the position by which he had been shown
 * it, and was before his came, after any number of restores (docs/recovery.md). What a position
 * meant in a store that was put back is kept from before. And that what the node wrote by itself is
 * never set aside. */
#include "simulation.h"

#include "incarnation.h"

#include <satchel/changeset.h>
#include <satchel/log_reader.h>
#include <satchel/map.h>
#include <sodium.h>

enum { NAMES_BYTES_MAX = 1 << 22 };

struct place {
    /* Of the change set's body: under which device and number it is held may be another thing after
     * a restore, where files were copied. Zeros: not known. */
    struct satchel_id hash;
    bool is_known;       /* the store read last has the change set under this position */
    uint64_t late_after; /* in the log at the end the position came behind that entry, or 0 */
    /* The greatest, in the log at the end, of this one and those before. */
    uint64_t last_cursor, last_late;
};

struct node {
    struct satchel_id id;
    struct place *places; /* by seq - 1 */
    size_t count, capacity;
    uint64_t first_unknown; /* seq of a change set that is in the log at the end without it, or 0 */
};
static struct {
    struct node *nodes;
    size_t count, capacity;
} kept;

static struct node *find_node(const struct satchel_id *id)
{
    for (size_t i = 0; i < kept.count; i++)
        if (satchel_id_equal(&kept.nodes[i].id, id))
            return &kept.nodes[i];
    return NULL;
}

static struct node *node_of(const struct satchel_id *id)
{
    struct node *found = find_node(id);
    if (found)
        return found;
    SIM_GROW(kept.nodes, kept.count, kept.capacity);
    kept.nodes[kept.count] = (struct node){.id = *id};
    return &kept.nodes[kept.count++];
}

static struct satchel_id hash_of(struct satchel_span body)
{
    struct satchel_id hash;
    crypto_generichash(hash.bytes, sizeof hash, body.data, body.size, NULL, 0);
    return hash;
}

static void keep(const struct satchel_id *id, uint64_t seq, const struct satchel_id *hash)
{
    static const struct satchel_id NONE;
    struct node *node = node_of(id);
    while (node->count < seq) {
        SIM_GROW(node->places, node->count, node->capacity);
        node->places[node->count++] = (struct place){.hash = NONE};
    }
    struct place *place = &node->places[seq - 1];
    sim_check(satchel_id_equal(&place->hash, &NONE) || satchel_id_equal(&place->hash, hash),
              "two change sets had one position, %llu", (unsigned long long)seq);
    place->hash = *hash;
    place->is_known = true;
}

static void forget_known(void)
{
    for (size_t n = 0; n < kept.count; n++)
        for (size_t i = 0; i < kept.nodes[n].count; i++)
            kept.nodes[n].places[i].is_known = false;
}

/* ---- the server's log ---- */

struct log {
    struct satchel_log_reader *reader;
    struct satchel_arena arena;
    struct satchel_buffer text;
    struct incarnations known;
};

static void open_log(struct log *log, sqlite3 *db)
{
    struct satchel_error error = {0};
    satchel_arena_init(&log->arena, (size_t)1 << 30, NULL);
    satchel_buffer_init(&log->text, 256 << 20, NULL);
    sim_ok(incarnations_read(db, &log->arena, &log->known, &error), "read incarnations", &error);
    sim_ok(satchel_log_reader_new(&log->reader, db), "read the log", NULL);
    sim_ok(satchel_log_read_from(log->reader, 0, NULL, 0, &error), "read the log", &error);
}

/* Its body is as it was written. */
static bool next_entry(struct log *log, struct satchel_entry *out)
{
    struct satchel_log_entry read;
    struct satchel_error error = {0};
    bool found = false;
    sim_ok(satchel_log_read_next(log->reader, &found, &read, &error), "read the log", &error);
    if (!found)
        return false;
    *out = read.entry;
    satchel_buffer_clear(&log->text);
    sim_ok(satchel_body_load(read.entry.body, &log->text, &out->body), "read a body", NULL);
    return true;
}

static void close_log(struct log *log)
{
    satchel_log_read_end(log->reader);
    satchel_log_reader_free(log->reader);
    satchel_buffer_deinit(&log->text);
    satchel_arena_deinit(&log->arena);
}

void sim_seen_keep(sqlite3 *store)
{
    struct log log;
    struct satchel_entry entry;
    forget_known();
    open_log(&log, store);
    while (next_entry(&log, &entry)) {
        struct satchel_vector earlier;
        struct satchel_error error = {0};
        struct satchel_id hash = hash_of(entry.body);
        keep(incarnation_at(&log.known, entry.cursor), entry.seq, &hash);
        sim_ok(positions_read(store, entry.cursor, &log.arena, &earlier, &error), "read positions",
               &error);
        for (size_t i = 0; i < earlier.count; i++)
            keep(&earlier.items[i].node, earlier.items[i].seq, &hash);
    }
    close_log(&log);
}

/* ---- at the end ---- */

static void find_late(sqlite3 *store)
{
    sqlite3_stmt *select = sim_prepare(store, "SELECT node, seq, late_after FROM satchel_position"
                                              " WHERE late_turn NOTNULL");
    while (sqlite3_step(select) == SQLITE_ROW) {
        struct satchel_id id;
        satchel_column_id(select, 0, &id);
        struct node *node = node_of(&id); /* sim_seen_keep has made its place */
        node->places[sqlite3_column_int64(select, 1) - 1].late_after =
            (uint64_t)sqlite3_column_int64(select, 2);
        sim.counts.late_positions++;
    }
    sqlite3_finalize(select);
}

static struct satchel_span name_of(const struct satchel_id *hash)
{
    return satchel_span_of(hash->bytes, sizeof *hash);
}

static void find_cursors_of(struct node *node, const struct satchel_map *cursors)
{
    uint64_t last = 0, late = 0;
    node->first_unknown = 0;
    for (size_t i = 0; i < node->count; i++) {
        struct place *place = &node->places[i];
        uintptr_t cursor = (uintptr_t)satchel_map_get(cursors, name_of(&place->hash));
        last = cursor > last ? cursor : last;
        late = place->late_after > late ? place->late_after : late;
        place->last_cursor = last;
        place->last_late = late;
        if (cursor > 0 && !place->is_known && node->first_unknown == 0)
            node->first_unknown = i + 1;
    }
}

/* Of two that say the same, the first. */
static void find_cursors(struct log *log)
{
    struct satchel_map cursors;
    struct satchel_entry entry;
    satchel_map_init(&cursors, NAMES_BYTES_MAX, NULL);
    while (next_entry(log, &entry)) {
        struct satchel_id hash = hash_of(entry.body);
        if (!satchel_map_get(&cursors, name_of(&hash)))
            sim_ok(satchel_map_put(&cursors, satchel_arena_copy(&log->arena, name_of(&hash)),
                                   (void *)(uintptr_t)entry.cursor),
                   "keep cursors", NULL);
    }
    for (size_t n = 0; n < kept.count; n++)
        find_cursors_of(&kept.nodes[n], &cursors);
    satchel_map_deinit(&cursors);
}

static void check_vector(const struct satchel_entry *entry, const struct satchel_vector *seen)
{
    for (size_t i = 0; i < seen->count; i++) {
        const struct node *node = node_of(&seen->items[i].node);
        uint64_t seq = seen->items[i].seq < node->count ? seen->items[i].seq : node->count;
        uint64_t last = seq > 0 ? node->places[seq - 1].last_cursor : 0;
        sim_check(last < entry->cursor,
                  "entry %llu had seen what comes after it in the log, entry %llu",
                  (unsigned long long)entry->cursor, (unsigned long long)last);
        uint64_t late = seq > 0 ? node->places[seq - 1].last_late : 0;
        sim_check(late < entry->cursor,
                  "entry %llu had seen what got that position behind it, after entry %llu",
                  (unsigned long long)entry->cursor, (unsigned long long)late);
        sim_check(
            node->first_unknown == 0 || node->first_unknown > seq,
            "entry %llu had seen up to %llu of a node, and what was %llu is in the log without "
            "that position",
            (unsigned long long)entry->cursor, (unsigned long long)seq,
            (unsigned long long)node->first_unknown);
    }
}

static void check_entry(const struct satchel_entry *entry)
{
    struct satchel_changeset content;
    struct satchel_arena arena;
    struct satchel_error error = {0};
    satchel_arena_init(&arena, (size_t)1 << 30, NULL);
    sim_check(!find_node(&entry->device) || satchel_notes_quarantined(entry->notes).size == 0,
              "entry %llu, the node's own, is set aside", (unsigned long long)entry->cursor);
    sim_ok(satchel_changeset_decode(entry->body, &arena, &content, &error), "read a body", &error);
    check_vector(entry, &content.header.seen);
    for (uint32_t p = 0; p < content.header.part_count; p++)
        for (uint32_t i = 0; i < content.parts[p].exception_count; i++)
            check_vector(entry, &content.parts[p].exceptions[i].view.vector);
    satchel_arena_deinit(&arena);
}

void sim_check_seen(sqlite3 *store)
{
    struct log log;
    struct satchel_entry entry;
    struct satchel_error error = {0};
    sim_seen_keep(store);
    find_late(store);
    open_log(&log, store);
    find_cursors(&log);
    sim_ok(satchel_log_read_from(log.reader, 0, NULL, 0, &error), "read the log", &error);
    while (next_entry(&log, &entry))
        check_entry(&entry);
    close_log(&log);
}
