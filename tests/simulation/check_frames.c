/* Owns that nobody is sent what he may not see: every frame that the server sends is read here, and
 * each row that it says something of, or only names, looked up (sight.c). A row may be spoken of
 * if the user could see it when the answer was read, or since; named, to be evicted, if he could at
 * any moment since the head at which his device was complete. */
#include "simulation.h"

#include "hub_internal.h"
#include "workspace_internal.h"

#include <stdlib.h>
#include <string.h>

struct frame {
    const struct satchel_connection *connection;
    unsigned user;
    char login[16];
    const char *kind;
    size_t read_at, complete_at, now;
    struct satchel_arena arena;
    struct satchel_buffer message;
};

/* ---- when it was read ---- */

void __real_workspace_read(struct satchel_workspace *workspace, struct workspace_reader *reader,
                           struct satchel_job *job);
void __wrap_workspace_read(struct satchel_workspace *workspace, struct workspace_reader *reader,
                           struct satchel_job *job);
void __wrap_workspace_read(struct satchel_workspace *workspace, struct workspace_reader *reader,
                           struct satchel_job *job)
{
    uint64_t owner = job->owner_number;
    if (sim_has_scopes() && job->kind != SATCHEL_JOB_QUERY && job->kind != SATCHEL_JOB_SCHEMA) {
        size_t moment = sim_sight_observe();
        for (struct satchel_connection *c = sim.connections; c; c = c->next) {
            const struct hub_session *session = c->data;
            if (!c->is_open || !session || session->number != owner || c->has_read)
                continue;
            c->has_read = true;
            c->read_at = moment;
        }
    }
    __real_workspace_read(workspace, reader, job);
}

void sim_frames_drained(struct satchel_connection *connection)
{
    const struct hub_session *session = connection->data;
    if (session && !session->is_reading && session->requests_in_flight == 0)
        connection->has_read = false;
}

/* ---- rows ---- */

static void check_row(struct frame *frame, uint32_t table, const struct satchel_value *key,
                      uint32_t key_count, bool is_named_only, const char *what)
{
    size_t from = is_named_only ? frame->complete_at : frame->read_at;
    enum sim_sight sight = sim_sight_of_key(frame->user, table, key, key_count, from, frame->now);
    sim.counts.rows_named++;
    if (sight == SIM_UNKNOWN && sim.options.world == SIM_CRM)
        return; /* it may have come and gone between two moments */
    if (sight == SIM_SEEN && !sim.is_tracing)
        return;
    char text[100] = "";
    if (key_count > 0 && key[0].type == SATCHEL_TEXT)
        snprintf(text, sizeof text, "%.*s", (int)key[0].bytes.size,
                 (const char *)key[0].bytes.data);
    const struct satchel_table *found =
        satchel_schema_table(sim.template->schemas[sim.template->migration_count - 1], table);
    if (sim.is_tracing)
        printf("          %s <- %s: %s of row %s of %s\n", frame->connection->device_machine->name,
               frame->kind, what, text, found ? found->name : "?");
    if (sight == SIM_SEEN)
        return;
    sim_fail("%s is sent %s of row %s of %s in %s, which its user may not see",
             frame->connection->device_machine->name, what, text, found ? found->name : "?",
             frame->kind);
}

static void check_column(struct frame *frame, uint32_t number, uint32_t column, const char *what)
{
    const struct satchel_table *table =
        satchel_schema_table(sim.template->schemas[sim.template->migration_count - 1], number);
    if (table && table->has_masks)
        sim_check(sim_sight_of_column(frame->user, table, column, frame->read_at, frame->now),
                  "%s is sent %s of column %s of %s in %s, which is masked from its user",
                  frame->connection->device_machine->name, what, table->columns[column].name,
                  table->name, frame->kind);
}

static bool is_default(uint32_t number, const struct satchel_field *field)
{
    const struct satchel_table *table =
        satchel_schema_table(sim.template->schemas[sim.template->migration_count - 1], number);
    return table &&
           satchel_value_equal(&field->value, &table->rules.columns[field->column].default_value);
}

static void check_notes(struct frame *frame, struct satchel_span bytes, bool may_evict)
{
    struct satchel_notes notes;
    sim_ok(satchel_notes_read(bytes, &frame->arena, &notes), "read notes", NULL);
    for (uint32_t i = 0; i < notes.effect_count; i++) {
        const struct satchel_effect *effect = &notes.effects[i];
        bool is_evict = effect->kind == SATCHEL_EFFECT_EVICT;
        sim.counts.evictions += is_evict;
        if (is_evict && may_evict)
            continue;
        check_row(frame, effect->table, effect->key, effect->key_count, is_evict,
                  is_evict ? "the name" : "an effect");
        for (uint32_t f = 0; f < effect->field_count; f++)
            if (!is_default(effect->table, &effect->fields[f])) /* as what is masked is reset */
                check_column(frame, effect->table, effect->fields[f].column, "an effect");
        if (effect->into)
            check_row(frame, effect->table, effect->into, effect->key_count, false, "an alias");
    }
    for (uint32_t i = 0; i < notes.conflict_count; i++) {
        const struct satchel_conflict_note *conflict = &notes.conflicts[i];
        check_row(frame, conflict->table, conflict->key, conflict->key_count, false, "a conflict");
        if (conflict->alias_key)
            check_row(frame, conflict->table, conflict->alias_key, conflict->key_count, false,
                      "the other row of a conflict");
        for (uint32_t f = 0; f < conflict->column_count; f++)
            check_column(frame, conflict->table, conflict->lost[f].column, "a conflict");
    }
}

static void check_part(struct frame *frame, const struct satchel_part *part, bool is_author)
{
    if (satchel_part_is_withheld(part))
        return;
    if (!is_author)
        check_row(frame, part->table, part->key, part->key_count, false, "a part");
    for (uint32_t f = 0; f < part->field_count; f++)
        check_column(frame, part->table, part->fields[f].column, "a part");
}

static void check_entry(struct frame *frame, const struct satchel_entry *entry)
{
    struct satchel_changeset content = {0};
    struct satchel_error error = {0};
    bool is_author = satchel_span_equal(entry->user, satchel_span_text(frame->login));
    if (sim.is_tracing)
        printf("          %s <- %s: entry %llu%s\n", frame->connection->device_machine->name,
               frame->kind, (unsigned long long)entry->cursor, is_author ? ", its own" : "");
    check_notes(frame, entry->notes, is_author);
    if (entry->body.size == 0)
        return;
    sim_ok(satchel_changeset_decode(entry->body, &frame->arena, &content, &error), "read a body",
           &error);
    for (uint32_t i = 0; i < content.header.part_count; i++)
        check_part(frame, &content.parts[i], is_author);
}

/* All but the last end with a row that the server names; that one may be the device's own word. */
static void check_ranges(struct frame *frame, const struct satchel_message_ranges *ranges)
{
    for (uint32_t i = 0; i + 1 < ranges->range_count; i++) {
        const struct satchel_value *key;
        uint32_t table, key_count;
        sim_ok(
            satchel_row_name_read(ranges->ranges[i].last, &frame->arena, &table, &key, &key_count),
            "read the name of a row", NULL);
        check_row(frame, table, key, key_count, false, "a range");
    }
}

static void check_message(struct frame *frame, const struct satchel_message *message)
{
    switch (message->kind) {
    case SATCHEL_MESSAGE_HEAD:
        if (sim.is_tracing)
            printf("          %s <- HEAD %llu\n", frame->connection->device_machine->name,
                   (unsigned long long)message->head.cursor);
        sim_check(message->head.cursor == 0 || !satchel_id_is_zero(&message->head.receipt),
                  "%s is sent HEAD %llu, and nothing that proves that it has heard it",
                  frame->connection->device_machine->name,
                  (unsigned long long)message->head.cursor);
        break;
    case SATCHEL_MESSAGE_ENTRIES:
        frame->kind = "ENTRIES";
        for (uint32_t i = 0; i < message->entries.entry_count; i++)
            check_entry(frame, &message->entries.entries[i]);
        break;
    case SATCHEL_MESSAGE_SCOPE:
        frame->kind = "SCOPE";
        check_notes(frame, message->scope.notes, false);
        for (uint32_t i = 0; i < message->scope.entry_count; i++)
            check_entry(frame, &message->scope.entries[i]);
        break;
    case SATCHEL_MESSAGE_PAST:
        frame->kind = "PAST";
        for (uint32_t i = 0; i < message->past.entry_count; i++)
            check_entry(frame, &message->past.entries[i]);
        break;
    case SATCHEL_MESSAGE_SNAPSHOT:
        frame->kind = "SNAPSHOT";
        sim.counts.snapshots += message->snapshot.page == 0;
        sim.counts.snapshot_pages++;
        if (message->snapshot.page_count > 0)
            check_notes(frame, message->snapshot.notes, false);
        break;
    case SATCHEL_MESSAGE_RANGES:
        frame->kind = "RANGES";
        check_ranges(frame, &message->ranges);
        break;
    case SATCHEL_MESSAGE_ROWS: /* it evicts what the device has named itself */
        frame->kind = "ROWS";
        check_notes(frame, message->rows.notes, true);
        break;
    default: break;
    }
}

/* ---- marks ---- */

/* Each text of the world of scopes names its row: ~table:key:mark~; !table:key:mark! is masked from
 * all but a boss, even from who wrote it. */
static void check_marks(struct frame *frame, struct satchel_span message, char sign)
{
    char format[32];
    snprintf(format, sizeof format, "%c%%u:%%7[k0-9]:%%llu%c", sign, sign);
    const struct satchel_schema *schema = sim.template->schemas[sim.template->migration_count - 1];
    const uint8_t *at = message.data, *end = message.data + message.size;
    while (at < end && (at = memchr(at, sign, (size_t)(end - at))) != NULL) {
        char text[40] = "", id[8] = "";
        unsigned number = 0;
        unsigned long long mark = 0;
        size_t size = (size_t)(end - at) < sizeof text - 1 ? (size_t)(end - at) : sizeof text - 1;
        memcpy(text, at, size);
        text[size] = '\0';
        at++;
        if (sscanf(text, format, &number, id, &mark) != 3)
            continue;
        const struct satchel_table *table = satchel_schema_table(schema, number);
        int author = sim_scoped_author(mark);
        if (!table || author < 0)
            continue;
        struct satchel_value key = satchel_value_text(satchel_span_text(id));
        sim.counts.marks_read++;
        if (sign == '!')
            check_column(frame, number, satchel_table_find_column(table, "m")->number, "the text");
        sim_check(author == (int)frame->user ||
                      sim_sight_of_key(frame->user, number, &key, 1, 0, frame->now) == SIM_SEEN,
                  "%s is sent the text %.30s of a row that its user never could see",
                  frame->connection->device_machine->name, text);
    }
}

/* ---- frames ---- */

static bool read_frame(struct frame *frame, struct satchel_span bytes,
                       struct satchel_message *message, struct satchel_span *text)
{
    struct satchel_error error = {0};
    satchel_arena_init(&frame->arena, (size_t)1 << 30, NULL);
    satchel_buffer_init(&frame->message, SATCHEL_FRAME_BYTES_MAX, NULL);
    return satchel_frame_read(bytes, SATCHEL_FRAME_BYTES_MAX, &frame->message, text, &error) ==
               SATCHEL_OK &&
           satchel_message_read(*text, &frame->arena, message, &error) == SATCHEL_OK;
}

void sim_check_frame(struct satchel_connection *connection, struct satchel_span bytes)
{
    struct frame frame = {.connection = connection};
    struct satchel_message message;
    struct satchel_span text;
    if (!sim_has_scopes())
        return;
    struct sim_process *running = sim_enter(NULL);
    sim_check(read_frame(&frame, bytes, &message, &text), "the server sends what is no message");
    if (message.kind != SATCHEL_MESSAGE_SCHEMA &&
        connection->device_machine->index < SIM_DEVICES_MAX) {
        frame.user = sim.devices[connection->device_machine->index].user;
        snprintf(frame.login, sizeof frame.login, "user%u", frame.user);
        frame.now = sim_sight_observe();
        frame.read_at = connection->has_read ? connection->read_at : frame.now;
        frame.complete_at = sim_sight_at(connection->complete_cursor);
        sim.counts.frames_checked++;
        check_message(&frame, &message);
        check_marks(&frame, text, '~');
        check_marks(&frame, text, '!');
    }
    satchel_arena_deinit(&frame.arena);
    satchel_buffer_deinit(&frame.message);
    sim_leave(running);
}

void sim_note_frame(struct satchel_connection *connection, struct satchel_span bytes)
{
    struct frame frame = {.connection = connection};
    struct satchel_message message;
    struct satchel_span text;
    if (!sim_has_scopes())
        return;
    struct sim_process *running = sim_enter(NULL);
    if (read_frame(&frame, bytes, &message, &text) && message.kind == SATCHEL_MESSAGE_HELLO)
        connection->complete_cursor = message.hello.complete;
    satchel_arena_deinit(&frame.arena);
    satchel_buffer_deinit(&frame.message);
    sim_leave(running);
}
