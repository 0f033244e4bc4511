/* Owns what an entry that a restored node had lost means when it comes again (docs/recovery.md): it
 * need not be given back any more, and an own change set may be another device's now. How it is
 * lost and given back is recover.c's. */
#include "apply.h"

/* An own change set may be another device's here by now. The node does not know then that this
 * device goes on from it, until it is sent once more (sync_push.c). */
static enum satchel_status note_lost_own(struct satchel_apply *apply,
                                         const struct satchel_entry *entry,
                                         struct satchel_error *error)
{
    bool is_own = satchel_id_equal(&entry->device, &apply->replica->device);
    enum satchel_apply_statement which = is_own ? APPLY_FORGET_OWN : APPLY_NOTE_LOST_OWN;
    sqlite3_stmt *note = apply->statements[which];
    uint8_t mark[SATCHEL_SECRET_BYTES];
    if (is_own) {
        sqlite3_bind_int64(note, 1, (sqlite3_int64)entry->number);
    } else {
        satchel_entry_cut_mark(entry, mark);
        sqlite3_bind_blob(note, 1, mark, sizeof mark, SQLITE_STATIC);
        sqlite3_bind_blob(note, 2, entry->device.bytes, sizeof entry->device.bytes, SQLITE_STATIC);
    }
    return satchel_apply_run(apply, which, "write satchel_elsewhere", error);
}

enum satchel_status satchel_apply_note_own(struct satchel_apply *apply,
                                           const struct satchel_entry *entry,
                                           struct satchel_error *error)
{
    sqlite3_stmt *note = apply->statements[APPLY_NOTE_OWN];
    if (satchel_id_equal(&entry->device, &apply->replica->device))
        return SATCHEL_OK;
    sqlite3_bind_int64(note, 1, (sqlite3_int64)entry->number);
    sqlite3_bind_blob(note, 2, entry->device.bytes, sizeof entry->device.bytes, SQLITE_STATIC);
    return satchel_apply_run(apply, APPLY_NOTE_OWN, "write satchel_elsewhere", error);
}

/* Whether the node knows the entry by all positions in `packed`, of one that it had lost. */
static enum satchel_status has_all(struct satchel_apply *apply, const struct satchel_entry *entry,
                                   const struct satchel_vector *positions,
                                   struct satchel_span packed, bool *out)
{
    const struct satchel_id *node = satchel_apply_node_at(apply, entry->cursor);
    struct satchel_vector lost;
    enum satchel_status status = satchel_vector_unpack(packed, &apply->arena, &lost);
    *out = status == SATCHEL_OK;
    for (size_t i = 0; i < lost.count && *out; i++)
        *out = satchel_vector_get(positions, &lost.items[i].node) == lost.items[i].seq ||
               (satchel_id_equal(&lost.items[i].node, node) && lost.items[i].seq == entry->seq);
    return status;
}

/* The entry may be one that the node had lost, and have its positions again: then the node needs
 * nothing more of this device. It may have become another device's, a copy's, on the way; no other
 * change set has its secret. */
static enum satchel_status drop_lost_at(struct satchel_apply *apply,
                                        const struct satchel_entry *entry,
                                        const struct satchel_vector *positions,
                                        const struct satchel_id *node, uint64_t seq,
                                        struct satchel_error *error)
{
    sqlite3_stmt *find = apply->statements[APPLY_FIND_LOST];
    uint8_t mark[SATCHEL_SECRET_BYTES];
    enum satchel_status status = SATCHEL_OK;
    int code;
    satchel_entry_cut_mark(entry, mark);
    sqlite3_bind_blob(find, 1, mark, sizeof mark, SQLITE_STATIC);
    sqlite3_bind_blob(find, 2, node->bytes, sizeof node->bytes, SQLITE_STATIC);
    sqlite3_bind_int64(find, 3, (sqlite3_int64)seq);
    while ((code = sqlite3_step(find)) == SQLITE_ROW && status == SATCHEL_OK) {
        bool is_back = false;
        status = has_all(apply, entry, positions, satchel_column_span(find, 1), &is_back);
        sqlite3_bind_int64(apply->statements[APPLY_DROP_LOST], 1, sqlite3_column_int64(find, 0));
        if (status == SATCHEL_OK && is_back)
            status = satchel_apply_run(apply, APPLY_DROP_LOST, "write satchel_lost", error);
    }
    if (status == SATCHEL_OK && code != SQLITE_DONE)
        status = satchel_apply_sql_error(apply, "read satchel_lost", error);
    sqlite3_reset(find);
    return status;
}

enum satchel_status satchel_apply_drop_lost(struct satchel_apply *apply,
                                            const struct satchel_entry *entry,
                                            struct satchel_error *error)
{
    struct satchel_vector positions;
    enum satchel_status status = satchel_vector_unpack(entry->positions, &apply->arena, &positions);
    if (status == SATCHEL_OK)
        status = note_lost_own(apply, entry, error);
    if (status == SATCHEL_OK) /* it may not have been lost after all */
        status = drop_lost_at(apply, entry, &positions, satchel_apply_node_at(apply, entry->cursor),
                              entry->seq, error);
    for (size_t i = 0; i < positions.count && status == SATCHEL_OK; i++)
        status = drop_lost_at(apply, entry, &positions, &positions.items[i].node,
                              positions.items[i].seq, error);
    return status;
}

/* Whether what the entry says is more than what the log has; `*is_cut`: which is cut. */
static enum satchel_status has_more(struct satchel_apply *apply, const struct satchel_entry *entry,
                                    bool *out, bool *is_cut, struct satchel_error *error)
{
    sqlite3_stmt *select = apply->statements[APPLY_READ_RECEIPT];
    struct satchel_vector here = {NULL, 0}, there;
    enum satchel_status status = satchel_vector_unpack(entry->positions, &apply->arena, &there);
    *out = *is_cut = false;
    sqlite3_bind_int64(select, 1, (sqlite3_int64)entry->cursor);
    int code = sqlite3_step(select);
    if (status == SATCHEL_OK && code == SQLITE_ROW) {
        status = satchel_vector_unpack(satchel_column_span(select, 0), &apply->arena, &here);
        *is_cut = sqlite3_column_int(select, 1) != 0;
        *out = status == SATCHEL_OK && satchel_vector_includes(&there, &here) &&
               !satchel_vector_includes(&here, &there);
    } else if (status == SATCHEL_OK && code != SQLITE_DONE) {
        status = satchel_apply_sql_error(apply, "read satchel_receipt", error);
    }
    sqlite3_reset(select);
    return status;
}

enum satchel_status satchel_apply_take_positions(struct satchel_apply *apply,
                                                 const struct satchel_entry *entry,
                                                 struct satchel_error *error)
{
    struct satchel_entry kept = *entry;
    bool is_new = false, is_cut = false;
    if (entry->positions.size == 0)
        return SATCHEL_OK;
    satchel_arena_reset(&apply->arena);
    enum satchel_status status = has_more(apply, entry, &is_new, &is_cut, error);
    bool is_own = satchel_id_equal(&entry->device, &apply->replica->device);
    /* What is whole here and cut there is proved by its old receipt, with the old positions. */
    if (status != SATCHEL_OK || !is_new || (entry->is_cut && !is_cut && !is_own))
        return status;
    if (is_cut && !entry->is_cut)
        kept.receipt = satchel_entry_cut_receipt(&entry->receipt);
    status = satchel_apply_keep_receipt(apply, &kept, is_cut, error);
    return status == SATCHEL_OK && apply->has_lost ? satchel_apply_drop_lost(apply, entry, error)
                                                   : status;
}
