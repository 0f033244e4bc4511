/* Owns the checks of a part against the schema: what no merge could make sense of, and what its
 * author has no right to. A device checks
 * the same at the write; what arrives here in spite of that is set aside with its reason, never
 * lost. */
#include "affinity.h"
#include "merge_internal.h"

#include <stdarg.h>
#include <stdio.h>

struct satchel_span merge_reason(struct satchel_arena *arena, const char *text)
{
    struct satchel_span span = satchel_span_text(text);
    if (span.size > MERGE_REASON_BYTES_MAX) {
        span.size = MERGE_REASON_BYTES_MAX;
        while (span.size > 0 && (span.data[span.size] & 0xc0) == 0x80)
            span.size--; /* never half a character */
    }
    return satchel_arena_copy(arena, span);
}

enum satchel_status merge_because(struct merge_batch *batch, struct merge_part *part,
                                  const char *format, ...)
{
    char text[2 * MERGE_REASON_BYTES_MAX]; /* merge_reason cuts it where a character ends */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    part->reason = merge_reason(&batch->arena, text);
    return part->reason.data ? SATCHEL_OK : SATCHEL_NOMEM;
}

/* Who wrote it, as far as that is judged here: what came back to a restored node was judged once,
 * and the server itself may do anything that a rule lets it. */
struct author {
    bool is_own, is_judged;
    struct satchel_span role;
};

static enum satchel_status check_right(struct merge_batch *batch, const struct author *author,
                                       uint32_t column, struct merge_part *out)
{
    char words[SATCHEL_RIGHT_BYTES];
    if (author->is_own || author->is_judged ||
        satchel_column_may_set(out->table, column, author->role, words))
        return SATCHEL_OK;
    return merge_because(batch, out, "%s.%s is %s", out->table->name,
                         out->table->columns[column].name, words);
}

static enum satchel_status check_fields(struct merge_batch *batch, const struct satchel_part *part,
                                        const struct author *author, struct merge_part *out)
{
    const struct satchel_table *table = out->table;
    for (uint32_t i = 0; i < part->field_count; i++) {
        uint32_t number = part->fields[i].column;
        if (number >= table->column_count)
            return merge_because(batch, out, "%s has no column %u", table->name, number);
        const struct satchel_column *column = &table->columns[number];
        const struct satchel_value *value = &part->fields[i].value;
        if (column->key_position > 0)
            return merge_because(batch, out,
                                 "a change set may not write %s.%s, which is in the key",
                                 table->name, column->name);
        if (column->rule == SATCHEL_RULE_SERVER && !author->is_own)
            return merge_because(batch, out, "%s.%s is @server: only the server writes it",
                                 table->name, column->name);
        enum satchel_status status = check_right(batch, author, number, out);
        if (status != SATCHEL_OK || out->reason.data)
            return status;
        if (column->rule == SATCHEL_RULE_COUNTER) {
            if (value->type != SATCHEL_INTEGER)
                return merge_because(batch, out, "the counter %s.%s is given no integer",
                                     table->name, column->name);
        } else if (affinity_converts(table, column, value)) {
            return merge_because(batch, out, "a value of %s.%s is not of the column's type %s",
                                 table->name, column->name, column->declared_type);
        }
    }
    if (part->kind == SATCHEL_OP_DELETE && part->field_count > 0)
        return merge_because(batch, out, "a delete in %s writes fields", table->name);
    return SATCHEL_OK;
}

static enum satchel_status check_part(struct merge_batch *batch, const struct satchel_part *part,
                                      const struct author *author, struct merge_part *out)
{
    const struct satchel_table *table = satchel_schema_table(batch->store->schema, part->table);
    if (!table || table->is_local)
        return merge_because(batch, out, "the schema has no synced table number %u", part->table);
    if (part->key_count != table->key_count)
        return merge_because(batch, out, "the key of %s has %u columns, not %u", table->name,
                             table->key_count, part->key_count);
    for (uint32_t i = 0; i < part->key_count; i++) {
        const struct satchel_column *column = &table->columns[table->key_columns[i]];
        if (affinity_is_ambiguous(table, column, &part->key[i]))
            return merge_because(
                batch, out, "the key value %.17g of %s.%s equals one of another kind: use integers",
                part->key[i].real, table->name, column->name);
        if (part->key[i].type == SATCHEL_NULL || affinity_converts(table, column, &part->key[i]))
            return merge_because(batch, out,
                                 "a key value of %s.%s is NULL or not of the column's type %s",
                                 table->name, column->name, column->declared_type);
    }
    out->table = table;
    for (uint32_t i = 0; part->kind == SATCHEL_OP_INSERT && i < part->key_count; i++) {
        enum satchel_status status = check_right(batch, author, table->key_columns[i], out);
        if (status != SATCHEL_OK || out->reason.data)
            return status;
    }
    return check_fields(batch, part, author, out);
}

/* What was set aside before this node was restored stays so, whatever it would be judged now. */
static enum satchel_status keep_quarantined(struct merge_batch *batch,
                                            struct merge_changeset *changeset)
{
    struct satchel_notes notes;
    enum satchel_status status =
        satchel_notes_quarantined_read(changeset->incoming->quarantined, &batch->arena, &notes);
    if (status != SATCHEL_OK)
        return status;
    for (uint32_t i = 0; i < notes.quarantined_count; i++) {
        uint32_t index = notes.quarantined[i].part;
        if (index >= changeset->content.header.part_count || changeset->parts[index].reason.data)
            continue;
        changeset->parts[index].reason =
            satchel_arena_copy(&batch->arena, notes.quarantined[i].reason);
        if (!changeset->parts[index].reason.data)
            return SATCHEL_NOMEM;
    }
    return SATCHEL_OK;
}

enum satchel_status merge_check_parts(struct merge_batch *batch, struct merge_changeset *changeset)
{
    uint32_t part_count = changeset->content.header.part_count;
    changeset->parts = SATCHEL_ARENA_ARRAY(&batch->arena, struct merge_part, part_count);
    if (!changeset->parts)
        return SATCHEL_NOMEM;
    const struct satchel_incoming *incoming = changeset->incoming;
    const struct author author = {incarnation_is_own(&batch->known, &incoming->device),
                                  incoming->is_forwarded, changeset->content.header.role};
    const struct satchel_store_author who = {incoming->user, &changeset->content.header.seen,
                                             &batch->known};
    bool is_scoped = batch->store->schema && batch->store->schema->has_scopes && !author.is_own &&
                     !author.is_judged;
    for (uint32_t i = 0; i < part_count; i++) {
        struct merge_part *part = &changeset->parts[i];
        enum satchel_status status = check_part(batch, &changeset->content.parts[i], &author, part);
        if (status == SATCHEL_OK && incoming->refusal.size > 0 && !part->reason.data) {
            part->reason = satchel_arena_copy(&batch->arena, incoming->refusal);
            status = part->reason.data ? SATCHEL_OK : SATCHEL_NOMEM;
        }
        if (status == SATCHEL_OK && is_scoped && !part->reason.data)
            status = merge_check_scope(batch, &who, &changeset->content.parts[i], part);
        if (status != SATCHEL_OK)
            return status;
    }
    return incoming->quarantined.size > 0 ? keep_quarantined(batch, changeset) : SATCHEL_OK;
}
