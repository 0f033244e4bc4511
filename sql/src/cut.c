/* Owns what is withheld of an entry. Who may see which row is the caller's. */
#include <satchel/cut.h>

#include <satchel/message.h>

struct cut {
    const struct satchel_audience *audience;
    struct satchel_arena *arena; /* scratch */
    struct satchel_arena *out;
    struct satchel_error *error;
    bool is_author;
    struct satchel_changeset content;
    enum satchel_seen *seen; /* by part */
    bool *keeps;
    uint32_t withheld; /* parts */
    struct satchel_notes before, after;
    struct satchel_effect *effects;
};

static enum satchel_status look(struct cut *cut, uint32_t table, const struct satchel_value *key,
                                uint32_t key_count, enum satchel_seen *seen)
{
    return cut->audience->look(cut->audience->context, table, key, key_count, seen, cut->error);
}

static enum satchel_status sees(struct cut *cut, uint32_t table, const struct satchel_value *key,
                                uint32_t key_count, bool *out)
{
    enum satchel_seen seen = SATCHEL_NO_ROW;
    enum satchel_status status = look(cut, table, key, key_count, &seen);
    *out = seen == SATCHEL_SEEN;
    return status;
}

static enum satchel_status judge_parts(struct cut *cut)
{
    uint32_t count = cut->content.header.part_count;
    enum satchel_status status = SATCHEL_OK;
    cut->keeps = SATCHEL_ARENA_ARRAY(cut->arena, bool, count + 1);
    cut->seen = SATCHEL_ARENA_ARRAY(cut->arena, enum satchel_seen, count + 1);
    if (!cut->keeps || !cut->seen)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < count && status == SATCHEL_OK; i++) {
        const struct satchel_part *part = &cut->content.parts[i];
        status = look(cut, part->table, part->key, part->key_count, &cut->seen[i]);
        cut->keeps[i] = cut->seen[i] == SATCHEL_SEEN;
        cut->withheld += !cut->keeps[i];
    }
    return status;
}

/* The effects on rows that are seen; behind them those that evict. */
static enum satchel_status cut_effects(struct cut *cut)
{
    enum satchel_status status = SATCHEL_OK;
    uint32_t count = 0;
    cut->effects = SATCHEL_ARENA_ARRAY(cut->arena, struct satchel_effect,
                                       cut->before.effect_count + cut->withheld + 1);
    if (!cut->effects)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < cut->before.effect_count && status == SATCHEL_OK; i++) {
        struct satchel_effect effect = cut->before.effects[i];
        bool is_seen = false, sees_other = true;
        status = sees(cut, effect.table, effect.key, effect.key_count, &is_seen);
        if (status == SATCHEL_OK && is_seen && effect.into)
            status = sees(cut, effect.table, effect.into, effect.key_count, &sees_other);
        if (!sees_other) {
            effect.kind = SATCHEL_EFFECT_EVICT;
            effect.into = NULL;
        }
        if (is_seen)
            cut->effects[count++] = effect;
    }
    for (uint32_t i = 0; i < cut->content.header.part_count && status == SATCHEL_OK; i++) {
        const struct satchel_part *part = &cut->content.parts[i];
        if (cut->is_author && cut->seen[i] == SATCHEL_HIDDEN) /* its replica has the row */
            cut->effects[count++] = (struct satchel_effect){.kind = SATCHEL_EFFECT_EVICT,
                                                            .table = part->table,
                                                            .key = part->key,
                                                            .key_count = part->key_count};
    }
    cut->after.effects = cut->effects;
    cut->after.effect_count = count;
    return status;
}

static enum satchel_status cut_conflicts(struct cut *cut)
{
    uint32_t count = cut->before.conflict_count;
    struct satchel_conflict_note *kept =
        SATCHEL_ARENA_ARRAY(cut->arena, struct satchel_conflict_note, count + 1);
    enum satchel_status status = kept ? SATCHEL_OK : SATCHEL_NOMEM;
    for (uint32_t i = 0; i < count && status == SATCHEL_OK; i++) {
        const struct satchel_conflict_note *note = &cut->before.conflicts[i];
        bool is_seen = false;
        status = sees(cut, note->table, note->key, note->key_count, &is_seen);
        if (is_seen)
            kept[cut->after.conflict_count++] = *note;
    }
    cut->after.conflicts = kept;
    return status;
}

/* A part that is withheld takes no effect as it stands. */
static enum satchel_status cut_unlike(struct cut *cut)
{
    uint32_t next = 0, count = 0;
    uint32_t *unlike =
        SATCHEL_ARENA_ARRAY(cut->arena, uint32_t, cut->before.unlike_count + cut->withheld + 1);
    if (!unlike)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < cut->content.header.part_count; i++) {
        bool was_unlike = next < cut->before.unlike_count && cut->before.unlike[next] == i;
        next += was_unlike;
        if (was_unlike || !cut->keeps[i])
            unlike[count++] = i;
    }
    cut->after.unlike = unlike;
    cut->after.unlike_count = count;
    return SATCHEL_OK;
}

/* Its author is told of everything that was set aside. */
static enum satchel_status cut_quarantined(struct cut *cut)
{
    struct satchel_quarantine_note *kept;
    uint32_t count = cut->before.quarantined_count;
    cut->after.quarantined = cut->before.quarantined;
    cut->after.quarantined_count = count;
    if (cut->is_author)
        return SATCHEL_OK;
    kept = SATCHEL_ARENA_ARRAY(cut->arena, struct satchel_quarantine_note, count + 1);
    if (!kept)
        return SATCHEL_NOMEM;
    cut->after.quarantined = kept;
    cut->after.quarantined_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t part = cut->before.quarantined[i].part;
        if (part < cut->content.header.part_count && cut->keeps[part])
            kept[cut->after.quarantined_count++] = cut->before.quarantined[i];
    }
    return SATCHEL_OK;
}

static enum satchel_status write_notes(struct cut *cut, struct satchel_entry *entry)
{
    struct satchel_buffer bytes;
    satchel_buffer_init(&bytes, SATCHEL_NOTES_BYTES_MAX, NULL);
    enum satchel_status status = satchel_notes_write(&bytes, &cut->after);
    if (status == SATCHEL_OK) {
        entry->notes = satchel_arena_copy(cut->out, satchel_buffer_span(&bytes));
        status = entry->notes.data ? SATCHEL_OK : SATCHEL_NOMEM;
    }
    satchel_buffer_deinit(&bytes);
    return status;
}

static enum satchel_status withhold(struct cut *cut, struct satchel_entry *entry)
{
    struct satchel_buffer body;
    uint8_t *secret = satchel_arena_alloc(cut->out, SATCHEL_SECRET_BYTES);
    if (!secret)
        return SATCHEL_NOMEM;
    satchel_buffer_init(&body, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status = satchel_changeset_cut(entry->body, cut->keeps, &body);
    if (status == SATCHEL_OK) {
        entry->body = satchel_arena_copy(cut->out, satchel_buffer_span(&body));
        status = entry->body.data ? SATCHEL_OK : SATCHEL_NOMEM;
    }
    satchel_buffer_deinit(&body);
    satchel_entry_cut_mark(entry, secret);
    entry->secret = secret;
    if (!entry->is_cut)
        entry->receipt = satchel_entry_cut_receipt(&entry->receipt);
    entry->is_cut = true;
    return status;
}

static enum satchel_status cut_notes(struct cut *cut)
{
    enum satchel_status status = cut_effects(cut);
    if (status == SATCHEL_OK)
        status = cut_conflicts(cut);
    if (status == SATCHEL_OK)
        status = cut_unlike(cut);
    return status == SATCHEL_OK ? cut_quarantined(cut) : status;
}

static enum satchel_status run(struct cut *cut, struct satchel_entry *entry, bool *is_empty)
{
    enum satchel_status status =
        satchel_changeset_decode(entry->body, cut->arena, &cut->content, cut->error);
    if (status == SATCHEL_OK)
        status = satchel_notes_read(entry->notes, cut->arena, &cut->before);
    if (status == SATCHEL_OK)
        status = judge_parts(cut);
    if (status == SATCHEL_OK)
        status = cut_notes(cut);
    if (status != SATCHEL_OK)
        return status;
    bool keeps_part = cut->withheld < cut->content.header.part_count;
    *is_empty = !cut->is_author && !keeps_part && cut->after.effect_count == 0 &&
                cut->after.conflict_count == 0;
    bool is_whole = cut->withheld == 0 && cut->after.effect_count == cut->before.effect_count &&
                    cut->after.conflict_count == cut->before.conflict_count;
    for (uint32_t i = 0; i < cut->after.effect_count && is_whole; i++)
        is_whole = cut->after.effects[i].kind == cut->before.effects[i].kind;
    if (*is_empty || is_whole)
        return SATCHEL_OK;
    status = write_notes(cut, entry);
    return status == SATCHEL_OK && cut->withheld > 0 && !cut->is_author ? withhold(cut, entry)
                                                                        : status;
}

enum satchel_status satchel_entry_cut(const struct satchel_audience *audience, bool is_author,
                                      struct satchel_arena *scratch, struct satchel_arena *arena,
                                      struct satchel_entry *entry, bool *is_empty,
                                      struct satchel_error *error)
{
    struct cut cut = {.audience = audience,
                      .arena = scratch,
                      .out = arena,
                      .error = error,
                      .is_author = is_author};
    *is_empty = false;
    satchel_arena_reset(scratch);
    enum satchel_status status = run(&cut, entry, is_empty);
    return status == SATCHEL_OK
               ? SATCHEL_OK
               : satchel_error_default(error, status, "entry %llu cannot be cut to a scope: %s",
                                       (unsigned long long)entry->cursor,
                                       satchel_status_text(status));
}
