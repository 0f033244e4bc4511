/* Owns doing to the state what entries say (see history_replay.h). */
#include "history_replay.h"

#include <satchel/operation.h>
#include <satchel/row_io.h>

enum { ARENA_BYTES_MAX = 512 << 20, NAME_BYTES_MAX = 1 << 30 };

enum satchel_status satchel_history_replay_init(struct satchel_history_replay *replay,
                                                struct satchel_error *error)
{
    satchel_arena_init(&replay->values, ARENA_BYTES_MAX, NULL);
    satchel_arena_init(&replay->place, ARENA_BYTES_MAX, NULL);
    satchel_buffer_init(&replay->name, NAME_BYTES_MAX, NULL);
    return satchel_history_state_new(&replay->state, error);
}

void satchel_history_replay_deinit(struct satchel_history_replay *replay)
{
    satchel_history_state_free(replay->state);
    satchel_arena_deinit(&replay->values);
    satchel_arena_deinit(&replay->place);
    satchel_buffer_deinit(&replay->name);
}

/* The effect that merges the row into another in this entry; NULL: none. */
static const struct satchel_effect *alias_effect(const struct satchel_notes *notes,
                                                 const struct satchel_part *part)
{
    for (uint32_t i = 0; i < notes->effect_count; i++) {
        const struct satchel_effect *effect = &notes->effects[i];
        bool is_same = effect->kind == SATCHEL_EFFECT_ALIAS && effect->table == part->table &&
                       effect->key_count == part->key_count;
        for (uint32_t k = 0; is_same && k < part->key_count; k++)
            is_same = satchel_value_equal(&effect->key[k], &part->key[k]);
        if (is_same)
            return effect;
    }
    return NULL;
}

enum satchel_status satchel_history_replay_place(struct satchel_history_replay *replay,
                                                 const struct satchel_notes *notes,
                                                 const struct satchel_part *part,
                                                 struct satchel_history_place *place)
{
    const struct satchel_effect *merged = alias_effect(notes, part);
    const struct satchel_value *key = merged ? merged->into : part->key;
    uint32_t table;
    bool is_merged = false;
    *place = (struct satchel_history_place){key, part->key_count};
    enum satchel_status status =
        satchel_history_state_row(replay->state, part->table, key, part->key_count);
    if (status == SATCHEL_OK)
        status = satchel_history_state_follow(replay->state, &is_merged);
    if (status != SATCHEL_OK || !is_merged)
        return status;
    satchel_arena_reset(&replay->place);
    struct satchel_span name =
        satchel_arena_copy(&replay->place, satchel_history_state_name(replay->state));
    if (!name.data)
        return SATCHEL_NOMEM;
    return satchel_row_name_read(name, &replay->place, &table, &place->key, &place->key_count);
}

static const struct satchel_column_rules *rules_of(const struct satchel_table *table,
                                                   uint32_t column)
{
    return table && column < table->column_count ? &table->rules.columns[column] : NULL;
}

static enum satchel_status set_fields(struct satchel_history_replay *replay,
                                      const struct satchel_field *fields, uint32_t field_count)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; i < field_count && status == SATCHEL_OK; i++)
        status = satchel_history_state_set(replay->state, fields[i].column, &fields[i].value);
    return status;
}

/* Does what the part says to the value that the chosen row has. */
static enum satchel_status apply_field(struct satchel_history_replay *replay,
                                       const struct satchel_table *table, enum satchel_op_kind kind,
                                       const struct satchel_field *field)
{
    const struct satchel_column_rules *rules = rules_of(table, field->column);
    struct satchel_value present, value = field->value;
    if (!rules)
        return satchel_history_state_set(replay->state, field->column, &value);
    satchel_arena_reset(&replay->values);
    enum satchel_status status =
        satchel_history_state_get(replay->state, field->column, &rules->default_value, &present);
    if (status == SATCHEL_OK)
        status = satchel_value_copy(&replay->values, &present, &present);
    if (status == SATCHEL_OK)
        status =
            satchel_operation_apply(rules, kind, &present, &field->value, &replay->values, &value);
    if (status == SATCHEL_CORRUPT) { /* no such operation: the rule is another today */
        value = field->value;
        status = SATCHEL_OK;
    }
    return status == SATCHEL_OK ? satchel_history_state_set(replay->state, field->column, &value)
                                : status;
}

enum satchel_status satchel_history_replay_part(struct satchel_history_replay *replay,
                                                const struct satchel_table *table,
                                                const struct satchel_part *part)
{
    enum satchel_status status =
        satchel_history_state_row(replay->state, part->table, part->key, part->key_count);
    if (status == SATCHEL_OK && part->kind != SATCHEL_OP_UPDATE)
        status = satchel_history_state_reset(replay->state, part->kind == SATCHEL_OP_INSERT);
    for (uint32_t i = 0; i < part->field_count && status == SATCHEL_OK; i++)
        status = apply_field(replay, table, part->kind, &part->fields[i]);
    return status;
}

static enum satchel_status note_alias(struct satchel_history_replay *replay,
                                      const struct satchel_effect *effect)
{
    satchel_buffer_clear(&replay->name);
    enum satchel_status status =
        satchel_row_name(&replay->name, effect->table, effect->into, effect->key_count);
    return status == SATCHEL_OK
               ? satchel_history_state_alias(replay->state, satchel_buffer_span(&replay->name))
               : status;
}

enum satchel_status satchel_history_replay_effect(struct satchel_history_replay *replay,
                                                  const struct satchel_effect *effect)
{
    enum satchel_status status =
        satchel_history_state_row(replay->state, effect->table, effect->key, effect->key_count);
    if (status == SATCHEL_OK && effect->kind == SATCHEL_EFFECT_ALIAS)
        return note_alias(replay, effect);
    if (status == SATCHEL_OK && effect->kind != SATCHEL_EFFECT_DELTA)
        status = satchel_history_state_reset(replay->state, effect->kind == SATCHEL_EFFECT_WHOLE);
    return status == SATCHEL_OK ? set_fields(replay, effect->fields, effect->field_count) : status;
}
