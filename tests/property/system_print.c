/* Owns the words in which a failed history's log is printed. */
#include "system_world.h"

static void print(struct satchel_buffer *out, const char *format, ...) SATCHEL_PRINTF(2, 3);
static void print(struct satchel_buffer *out, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    system_put(out, text, strlen(text));
}

static void print_row(struct satchel_buffer *out, const struct satchel_schema *schema,
                      uint32_t table, const struct satchel_value *key, uint32_t key_count,
                      const struct satchel_field *fields, uint32_t field_count)
{
    const struct satchel_table *of = satchel_schema_table(schema, table);
    print(out, " %s", of ? of->name : "?");
    for (uint32_t i = 0; i < key_count; i++) {
        print(out, i ? "," : "[");
        system_describe_value(out, &key[i]);
    }
    print(out, "]");
    for (uint32_t i = 0; i < field_count; i++) {
        uint32_t column = fields[i].column;
        print(out, " %s=", of && column < of->column_count ? of->columns[column].name : "?");
        system_describe_value(out, &fields[i].value);
    }
}

static void print_vector(struct satchel_buffer *out, const struct satchel_vector *vector)
{
    print(out, "%llu", vector->count ? (unsigned long long)vector->items[0].seq : 0ull);
}

static void print_part(struct satchel_buffer *out, const struct satchel_schema *schema,
                       const struct satchel_part *part)
{
    static const char *const kinds[] = {"insert", "update", "delete"};
    print(out, "    %s", kinds[part->kind]);
    print_row(out, schema, part->table, part->key, part->key_count, part->fields,
              part->field_count);
    for (uint32_t i = 0; i < part->exception_count; i++) {
        print(out, " (exception on %d: ", (int)part->exceptions[i].column);
        print_vector(out, &part->exceptions[i].view.vector);
        print(out, ")");
    }
    print(out, "\n");
}

static void print_notes(struct satchel_buffer *out, const struct satchel_schema *schema,
                        const struct satchel_notes *notes)
{
    static const char *const kinds[] = {"delta", "whole", "gone", "evict"};
    for (uint32_t i = 0; i < notes->unlike_count; i++)
        print(out, "    unlike %u\n", notes->unlike[i]);
    for (uint32_t i = 0; i < notes->effect_count; i++) {
        const struct satchel_effect *effect = &notes->effects[i];
        print(out, "    -> %s", kinds[effect->kind]);
        print_row(out, schema, effect->table, effect->key, effect->key_count, effect->fields,
                  effect->field_count);
        print(out, "\n");
    }
    for (uint32_t i = 0; i < notes->conflict_count; i++)
        print(out, "    conflict on unit %d %s\n", (int)notes->conflicts[i].unit,
              notes->conflicts[i].is_open ? "open" : "closed");
    for (uint32_t i = 0; i < notes->quarantined_count; i++)
        print(out, "    quarantined part %u: %.*s\n", notes->quarantined[i].part,
              (int)notes->quarantined[i].reason.size,
              (const char *)notes->quarantined[i].reason.data);
}

void system_describe_log(struct system_world *world)
{
    const struct satchel_schema *schema = world->schemas[1];
    struct system_entry *entries;
    size_t count;
    system_entries_load(world, &entries, &count);
    for (size_t i = 0; i < count; i++) {
        const struct system_entry *entry = &entries[i];
        unsigned author = SYSTEM_DEVICES_MAX;
        for (unsigned d = 0; d < world->device_count; d++)
            if (satchel_id_equal(&world->devices[d].id, &entry->device))
                author = d;
        print(&world->trace, "entry %llu: change set %u.%llu at %llu.%u, schema %u, seen ",
              (unsigned long long)entry->cursor, author, (unsigned long long)entry->number,
              (unsigned long long)(entry->stamp >> 16), (unsigned)(entry->stamp & 0xffff),
              entry->content.header.schema);
        print_vector(&world->trace, &entry->content.header.seen);
        print(&world->trace, "\n");
        for (uint32_t p = 0; p < entry->content.header.part_count; p++)
            print_part(&world->trace, schema, &entry->content.parts[p]);
        print_notes(&world->trace, schema, &entry->notes);
    }
}
