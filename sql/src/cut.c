/* Owns what is withheld of an entry. Who may see which row is the caller's. */
#include <satchel/cut.h>

#include <satchel/message.h>
#include <satchel/mutation.h>

struct cut {
    const struct satchel_audience *audience;
    struct satchel_arena *arena; /* scratch */
    struct satchel_arena *out;
    struct satchel_error *error;
    enum satchel_authorship authorship;
    struct satchel_changeset content;
    enum satchel_seen *seen;           /* by part */
    const struct satchel_part **parts; /* what is left of each; NULL: it is withheld */
    uint32_t withheld;                 /* parts */
    uint32_t masked;                   /* parts of which columns are withheld, or all */
    struct satchel_notes before, after;
    struct satchel_effect *effects;
};

/* ---- columns ---- */

enum satchel_status satchel_fields_seen(const struct satchel_table *table, struct satchel_span role,
                                        const struct satchel_field *fields, uint32_t count,
                                        struct satchel_arena *arena,
                                        const struct satchel_field **out, uint32_t *out_count)
{
    struct satchel_field *kept = NULL;
    *out = fields;
    *out_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!satchel_column_is_seen(table, fields[i].column, role) && !SATCHEL_MUTATED(no_mask)) {
            if (!kept && !(kept = SATCHEL_ARENA_ARRAY(arena, struct satchel_field, count)))
                return SATCHEL_NOMEM;
            if (*out == fields && i > 0)
                memcpy(kept, fields, i * sizeof *kept);
            *out = kept;
            continue;
        }
        if (kept)
            kept[*out_count] = fields[i];
        (*out_count)++;
    }
    return SATCHEL_OK;
}

bool satchel_conflict_is_seen(const struct satchel_table *table,
                              const struct satchel_conflict_note *note, struct satchel_span role)
{
    return note->unit == SATCHEL_COLUMN_ROW || satchel_column_is_seen(table, note->unit, role);
}

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

static const struct satchel_table *table_of(const struct cut *cut, uint32_t number)
{
    return satchel_schema_table(cut->audience->schema, number);
}

/* What is left of a part of a row that is seen; nothing of an update of masked columns alone. */
static enum satchel_status mask_part(struct cut *cut, uint32_t index)
{
    const struct satchel_part *part = &cut->content.parts[index];
    const struct satchel_table *table = table_of(cut, part->table);
    struct satchel_span role = cut->audience->role;
    struct satchel_part *masked;
    struct satchel_exception *exceptions;
    if (!table || !table->has_masks)
        return SATCHEL_OK;
    masked = SATCHEL_ARENA_ARRAY(cut->arena, struct satchel_part, 1);
    exceptions =
        SATCHEL_ARENA_ARRAY(cut->arena, struct satchel_exception, part->exception_count + 1);
    if (!masked || !exceptions)
        return SATCHEL_NOMEM;
    *masked = *part;
    masked->bytes = satchel_span_of(NULL, 0);
    masked->exceptions = exceptions;
    masked->exception_count = 0;
    for (uint32_t i = 0; i < part->exception_count; i++)
        if (part->exceptions[i].column == SATCHEL_COLUMN_ROW ||
            satchel_column_is_seen(table, part->exceptions[i].column, role))
            exceptions[masked->exception_count++] = part->exceptions[i];
    enum satchel_status status =
        satchel_fields_seen(table, role, part->fields, part->field_count, cut->arena,
                            &masked->fields, &masked->field_count);
    if (status != SATCHEL_OK || (masked->field_count == part->field_count &&
                                 masked->exception_count == part->exception_count))
        return status;
    bool is_left = part->kind != SATCHEL_OP_UPDATE || masked->field_count > 0;
    cut->parts[index] = is_left ? masked : NULL;
    cut->masked++;
    return SATCHEL_OK;
}

static enum satchel_status judge_parts(struct cut *cut)
{
    uint32_t count = cut->content.header.part_count;
    enum satchel_status status = SATCHEL_OK;
    cut->parts = SATCHEL_ARENA_ARRAY(cut->arena, const struct satchel_part *, count + 1);
    cut->seen = SATCHEL_ARENA_ARRAY(cut->arena, enum satchel_seen, count + 1);
    if (!cut->parts || !cut->seen)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < count && status == SATCHEL_OK; i++) {
        const struct satchel_part *part = &cut->content.parts[i];
        status = look(cut, part->table, part->key, part->key_count, &cut->seen[i]);
        bool is_kept = cut->seen[i] == SATCHEL_SEEN || cut->authorship == SATCHEL_AUTHOR ||
                       cut->authorship == SATCHEL_AUTHOR_DEVICE;
        cut->parts[i] = is_kept ? part : NULL;
        if (status == SATCHEL_OK && is_kept)
            status = mask_part(cut, i);
        cut->withheld += !cut->parts[i];
    }
    return status;
}

static enum satchel_status mask_effect(struct cut *cut, struct satchel_effect *effect)
{
    const struct satchel_table *table = table_of(cut, effect->table);
    return satchel_fields_seen(table, cut->audience->role, effect->fields, effect->field_count,
                               cut->arena, &effect->fields, &effect->field_count);
}

/* What its author set of a row that is seen, and may not see: it has its default. */
static enum satchel_status hide_own(struct cut *cut, const struct satchel_part *part,
                                    struct satchel_effect *effect)
{
    const struct satchel_table *table = table_of(cut, part->table);
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(cut->arena, struct satchel_field, part->field_count + 1);
    if (!fields)
        return SATCHEL_NOMEM;
    *effect = (struct satchel_effect){.kind = SATCHEL_EFFECT_DELTA,
                                      .table = part->table,
                                      .key = part->key,
                                      .key_count = part->key_count,
                                      .fields = fields};
    for (uint32_t i = 0; i < part->field_count; i++) {
        uint32_t column = part->fields[i].column;
        if (column < table->column_count &&
            !satchel_column_is_seen(table, column, cut->audience->role))
            fields[effect->field_count++] =
                (struct satchel_field){column, table->rules.columns[column].default_value};
    }
    return SATCHEL_OK;
}

static enum satchel_status cut_effect(struct cut *cut, struct satchel_effect effect,
                                      uint32_t *count)
{
    bool is_seen = false, sees_other = true, had_fields = effect.field_count > 0;
    enum satchel_status status = sees(cut, effect.table, effect.key, effect.key_count, &is_seen);
    if (status == SATCHEL_OK && is_seen && effect.into)
        status = sees(cut, effect.table, effect.into, effect.key_count, &sees_other);
    if (status == SATCHEL_OK && is_seen && had_fields)
        status = mask_effect(cut, &effect);
    if (!sees_other) {
        effect.kind = SATCHEL_EFFECT_EVICT;
        effect.into = NULL;
    }
    bool is_left = effect.kind != SATCHEL_EFFECT_DELTA || effect.field_count > 0;
    if (status == SATCHEL_OK && is_seen && is_left)
        cut->effects[(*count)++] = effect;
    return status;
}

/* What the author's replicas have and may not keep. */
static enum satchel_status add_own_effects(struct cut *cut, uint32_t *count)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; i < cut->content.header.part_count && status == SATCHEL_OK; i++) {
        const struct satchel_part *part = &cut->content.parts[i];
        struct satchel_effect *effect = &cut->effects[*count];
        bool is_masked = cut->seen[i] == SATCHEL_SEEN && cut->parts[i] != part;
        if (cut->seen[i] == SATCHEL_HIDDEN) {
            *effect = (struct satchel_effect){.kind = SATCHEL_EFFECT_EVICT,
                                              .table = part->table,
                                              .key = part->key,
                                              .key_count = part->key_count};
            (*count)++;
        } else if (is_masked) {
            status = hide_own(cut, part, effect);
            *count += effect->field_count > 0;
        }
    }
    return status;
}

/* The effects on what is seen; behind them those that take away what its author set. */
static enum satchel_status cut_effects(struct cut *cut)
{
    enum satchel_status status = SATCHEL_OK;
    uint32_t count = 0;
    cut->effects =
        SATCHEL_ARENA_ARRAY(cut->arena, struct satchel_effect,
                            cut->before.effect_count + cut->content.header.part_count + 1);
    if (!cut->effects)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < cut->before.effect_count && status == SATCHEL_OK; i++)
        status = cut_effect(cut, cut->before.effects[i], &count);
    if (status == SATCHEL_OK && cut->authorship != SATCHEL_NOT_AUTHOR)
        status = add_own_effects(cut, &count);
    cut->after.effects = cut->effects;
    cut->after.effect_count = count;
    return status;
}

/* What was written to a row that was merged into another, and is none of it any more, is not seen
 * by those who see that one alone. */
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
        if (status == SATCHEL_OK && is_seen && note->alias_key)
            status = sees(cut, note->table, note->alias_key, note->key_count, &is_seen);
        if (is_seen &&
            satchel_conflict_is_seen(table_of(cut, note->table), note, cut->audience->role))
            kept[cut->after.conflict_count++] = *note;
    }
    cut->after.conflicts = kept;
    return status;
}

/* A part that is withheld takes no effect as it stands, nor one of a row that its author may not
 * see. */
static enum satchel_status cut_unlike(struct cut *cut)
{
    uint32_t next = 0, count = 0;
    uint32_t *unlike =
        SATCHEL_ARENA_ARRAY(cut->arena, uint32_t, cut->content.header.part_count + 1);
    if (!unlike)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < cut->content.header.part_count; i++) {
        bool was_unlike = next < cut->before.unlike_count && cut->before.unlike[next] == i;
        next += was_unlike;
        if (was_unlike || !cut->parts[i] || cut->seen[i] != SATCHEL_SEEN)
            unlike[count++] = i;
    }
    cut->after.unlike = unlike;
    cut->after.unlike_count = count;
    return SATCHEL_OK;
}

/* Its author is told of everything that was set aside; others, of parts that they have whole. */
static enum satchel_status cut_quarantined(struct cut *cut)
{
    struct satchel_quarantine_note *kept;
    uint32_t count = cut->before.quarantined_count;
    cut->after.quarantined = cut->before.quarantined;
    cut->after.quarantined_count = count;
    if (cut->authorship != SATCHEL_NOT_AUTHOR)
        return SATCHEL_OK;
    kept = SATCHEL_ARENA_ARRAY(cut->arena, struct satchel_quarantine_note, count + 1);
    if (!kept)
        return SATCHEL_NOMEM;
    cut->after.quarantined = kept;
    cut->after.quarantined_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t part = cut->before.quarantined[i].part;
        if (part < cut->content.header.part_count && cut->parts[part] == &cut->content.parts[part])
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
    enum satchel_status status =
        satchel_changeset_cut(entry->body, cut->parts, cut->content.header.part_count, &body);
    if (status == SATCHEL_OK) {
        entry->body = satchel_arena_copy(cut->out, satchel_buffer_span(&body));
        status = entry->body.data ? SATCHEL_OK : SATCHEL_NOMEM;
    }
    satchel_buffer_deinit(&body);
    satchel_entry_cut_mark(entry, secret);
    entry->secret = secret;
    if (!entry->is_cut && cut->authorship == SATCHEL_NOT_AUTHOR)
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

static bool are_notes_whole(const struct cut *cut)
{
    const struct satchel_notes *before = &cut->before, *after = &cut->after;
    bool are_whole = after->effect_count == before->effect_count &&
                     after->conflict_count == before->conflict_count &&
                     after->quarantined_count == before->quarantined_count;
    for (uint32_t i = 0; i < after->effect_count && are_whole; i++)
        are_whole = after->effects[i].kind == before->effects[i].kind &&
                    after->effects[i].field_count == before->effects[i].field_count;
    return are_whole;
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
    bool is_author = cut->authorship != SATCHEL_NOT_AUTHOR;
    bool keeps_part = cut->withheld < cut->content.header.part_count;
    bool is_body_whole = cut->withheld == 0 && cut->masked == 0;
    *is_empty =
        !is_author && !keeps_part && cut->after.effect_count == 0 && cut->after.conflict_count == 0;
    if (*is_empty || (is_body_whole && are_notes_whole(cut)))
        return SATCHEL_OK;
    status = write_notes(cut, entry);
    return status == SATCHEL_OK && !is_body_whole ? withhold(cut, entry) : status;
}

enum satchel_status satchel_entry_cut(const struct satchel_audience *audience,
                                      enum satchel_authorship authorship,
                                      struct satchel_arena *scratch, struct satchel_arena *arena,
                                      struct satchel_entry *entry, bool *is_empty,
                                      struct satchel_error *error)
{
    struct cut cut = {.audience = audience,
                      .arena = scratch,
                      .out = arena,
                      .error = error,
                      .authorship = authorship};
    *is_empty = false;
    satchel_arena_reset(scratch);
    enum satchel_status status = run(&cut, entry, is_empty);
    return status == SATCHEL_OK
               ? SATCHEL_OK
               : satchel_error_default(error, status, "entry %llu cannot be cut to a scope: %s",
                                       (unsigned long long)entry->cursor,
                                       satchel_status_text(status));
}
