/* Owns the fields of every message, in the order in which they travel, with their limits. */
#include "message_layout.h"

#include "codec.h"

/* All members of the message's union begin at the same address, and that is what offsets count
 * from. */
#define FIELD(type, owner, member, max)                             \
    {                                                               \
        type, offsetof(struct owner, member), max, #member, NULL, 0 \
    }
#define LIST(type, owner, member, counter, max, items)                                             \
    {                                                                                              \
        type, offsetof(struct owner, member), max, #member, items, offsetof(struct owner, counter) \
    }
#define COUNT(fields) (uint32_t)(sizeof(fields) / sizeof((fields)[0]))

#define NAME_MAX SATCHEL_NAME_BYTES_MAX
#define SEQUENCE_MAX SATCHEL_SEQUENCE_MAX

/* ---- items of lists ---- */

static const struct field migration_fields[] = {
    FIELD(FIELD_UNSIGNED, satchel_migration, number, UINT32_MAX),
    FIELD(FIELD_TEXT, satchel_migration, name, NAME_MAX),
    FIELD(FIELD_TEXT, satchel_migration, sql, SATCHEL_FRAME_BYTES_MAX),
};
static const struct list migrations = {migration_fields, COUNT(migration_fields),
                                       sizeof(struct satchel_migration)};

static const struct field push_item_fields[] = {
    FIELD(FIELD_UNSIGNED, satchel_push_item, number, SEQUENCE_MAX),
    FIELD(FIELD_UNSIGNED, satchel_push_item, stamp, UINT64_MAX),
    FIELD(FIELD_SECRET, satchel_push_item, secret, 0),
    FIELD(FIELD_BINARY, satchel_push_item, body, SATCHEL_CHANGESET_BYTES_MAX),
};
static const struct list push_items = {push_item_fields, COUNT(push_item_fields),
                                       sizeof(struct satchel_push_item)};

static const struct field row_request_fields[] = {
    FIELD(FIELD_BINARY, satchel_row_request, name, SATCHEL_CHANGESET_BYTES_MAX),
};
static const struct list row_requests = {row_request_fields, COUNT(row_request_fields),
                                         sizeof(struct satchel_row_request)};

static const struct field digest_fields[] = {
    FIELD(FIELD_UNSIGNED, satchel_table_digest, table, SATCHEL_TABLES_MAX),
    FIELD(FIELD_UNSIGNED, satchel_table_digest, row_count, SEQUENCE_MAX),
    FIELD(FIELD_ID, satchel_table_digest, digest, 0),
};
static const struct list table_digests = {digest_fields, COUNT(digest_fields),
                                          sizeof(struct satchel_table_digest)};

static const struct field repair_fields[] = {
    FIELD(FIELD_UNSIGNED, satchel_table_repair, table, SATCHEL_TABLES_MAX),
    FIELD(FIELD_UNSIGNED, satchel_table_repair, row_count, SEQUENCE_MAX),
};
static const struct list table_repairs = {repair_fields, COUNT(repair_fields),
                                          sizeof(struct satchel_table_repair)};

static const struct field range_fields[] = {
    FIELD(FIELD_BINARY, satchel_range_digest, last, SATCHEL_CHANGESET_BYTES_MAX),
    FIELD(FIELD_UNSIGNED, satchel_range_digest, row_count, SEQUENCE_MAX),
    FIELD(FIELD_ID, satchel_range_digest, digest, 0),
};
static const struct list range_digests = {range_fields, COUNT(range_fields),
                                          sizeof(struct satchel_range_digest)};

/* ---- messages ---- */

static const struct field time_fields[] = {
    FIELD(FIELD_INTEGER, satchel_message_time, client_ms, 0),
};
static const struct field time_reply_fields[] = {
    FIELD(FIELD_INTEGER, satchel_message_time_reply, client_ms, 0),
    FIELD(FIELD_INTEGER, satchel_message_time_reply, server_ms, 0),
};
static const struct field join_fields[] = {
    FIELD(FIELD_PROTOCOL, satchel_message_join, protocol, UINT64_MAX),
    FIELD(FIELD_TEXT, satchel_message_join, workspace, NAME_MAX),
    FIELD(FIELD_TEXT, satchel_message_join, invite, NAME_MAX),
    FIELD(FIELD_ID, satchel_message_join, device, 0),
    FIELD(FIELD_TOKEN, satchel_message_join, token, SATCHEL_TOKEN_BYTES),
    FIELD(FIELD_TEXT, satchel_message_join, jwt, SATCHEL_JWT_BYTES_MAX),
};
static const struct field joined_fields[] = {
    FIELD(FIELD_TEXT, satchel_message_joined, user, NAME_MAX),
    FIELD(FIELD_TEXT, satchel_message_joined, role, SATCHEL_ROLE_BYTES_MAX),
    FIELD(FIELD_ID, satchel_message_joined, workspace, 0),
    FIELD(FIELD_ID, satchel_message_joined, receipt, 0),
    FIELD(FIELD_UNSIGNED, satchel_message_joined, token_number, SEQUENCE_MAX),
};
static const struct field hello_fields[] = {
    FIELD(FIELD_PROTOCOL, satchel_message_hello, protocol, UINT64_MAX),
    FIELD(FIELD_TEXT, satchel_message_hello, workspace, NAME_MAX),
    FIELD(FIELD_ID, satchel_message_hello, workspace_id, 0),
    FIELD(FIELD_ID, satchel_message_hello, device, 0),
    FIELD(FIELD_TOKEN, satchel_message_hello, token, SATCHEL_TOKEN_BYTES),
    FIELD(FIELD_ID, satchel_message_hello, node, 0),
    FIELD(FIELD_UNSIGNED, satchel_message_hello, cursor, SEQUENCE_MAX),
    FIELD(FIELD_VECTOR, satchel_message_hello, lineage, 0),
    FIELD(FIELD_UNSIGNED, satchel_message_hello, last_number, SEQUENCE_MAX),
    FIELD(FIELD_UNSIGNED, satchel_message_hello, schema, UINT32_MAX),
    FIELD(FIELD_INTEGER, satchel_message_hello, clock_error_ms, 0),
    FIELD(FIELD_TEXT, satchel_message_hello, software, NAME_MAX),
    FIELD(FIELD_TEXT, satchel_message_hello, user, NAME_MAX),
    FIELD(FIELD_ID, satchel_message_hello, receipt, 0),
    FIELD(FIELD_ID, satchel_message_hello, parent, 0),
    FIELD(FIELD_UNSIGNED, satchel_message_hello, parent_number, SEQUENCE_MAX),
    FIELD(FIELD_VECTOR, satchel_message_hello, receipts, 0),
    FIELD(FIELD_UNSIGNED, satchel_message_hello, complete, SEQUENCE_MAX),
    FIELD(FIELD_UNSIGNED, satchel_message_hello, token_number, SEQUENCE_MAX),
    FIELD(FIELD_UNSIGNED, satchel_message_hello, drain, SATCHEL_WIPED),
    FIELD(FIELD_UNSIGNED, satchel_message_hello, wants_snapshot, 1),
};
static const struct field welcome_fields[] = {
    FIELD(FIELD_ID, satchel_message_welcome, node, 0),
    FIELD(FIELD_VECTOR, satchel_message_welcome, vector, 0),
    FIELD(FIELD_UNSIGNED, satchel_message_welcome, head, SEQUENCE_MAX),
    FIELD(FIELD_UNSIGNED, satchel_message_welcome, last_number, SEQUENCE_MAX),
    FIELD(FIELD_UNSIGNED, satchel_message_welcome, schema, UINT32_MAX),
    FIELD(FIELD_TEXT, satchel_message_welcome, user, NAME_MAX),
    FIELD(FIELD_TEXT, satchel_message_welcome, role, SATCHEL_ROLE_BYTES_MAX),
    FIELD(FIELD_UNSIGNED, satchel_message_welcome, cursor, SEQUENCE_MAX),
    FIELD(FIELD_VECTOR, satchel_message_welcome, lineage, 0),
    FIELD(FIELD_UNSIGNED, satchel_message_welcome, is_drained, 1),
    FIELD(FIELD_UNSIGNED, satchel_message_welcome, has_snapshot, 1),
};
static const struct field schema_fields[] = {
    LIST(FIELD_LIST, satchel_message_schema, migrations, migration_count, UINT32_MAX, &migrations),
};
static const struct field push_fields[] = {
    LIST(FIELD_LIST, satchel_message_push, items, item_count, SATCHEL_PUSH_ITEMS_MAX, &push_items),
};
static const struct field ack_fields[] = {
    FIELD(FIELD_UNSIGNED, satchel_message_ack, number, SEQUENCE_MAX),
};
static const struct field entries_fields[] = {
    LIST(FIELD_ENTRIES, satchel_message_entries, entries, entry_count, UINT32_MAX, NULL),
};
static const struct field head_fields[] = {
    FIELD(FIELD_UNSIGNED, satchel_message_head, cursor, SEQUENCE_MAX),
    FIELD(FIELD_VECTOR, satchel_message_head, vector, 0),
    FIELD(FIELD_ID, satchel_message_head, receipt, 0),
};
static const struct field digests_fields[] = {
    FIELD(FIELD_UNSIGNED, satchel_message_digests, cursor, SEQUENCE_MAX),
    LIST(FIELD_LIST, satchel_message_digests, tables, table_count, SATCHEL_TABLES_MAX,
         &table_digests),
    FIELD(FIELD_UNSIGNED, satchel_message_digests, schema, UINT32_MAX),
    FIELD(FIELD_UNSIGNED, satchel_message_digests, is_settled, 1),
};
static const struct field digest_request_fields[] = {
    LIST(FIELD_LIST, satchel_message_digest_request, repairs, repair_count, MESSAGE_REPAIRS_MAX,
         &table_repairs),
};
static const struct field ranges_request_fields[] = {
    FIELD(FIELD_UNSIGNED, satchel_message_ranges_request, table, SATCHEL_TABLES_MAX),
    FIELD(FIELD_BINARY, satchel_message_ranges_request, after, SATCHEL_CHANGESET_BYTES_MAX),
    FIELD(FIELD_BINARY, satchel_message_ranges_request, until, SATCHEL_CHANGESET_BYTES_MAX),
    FIELD(FIELD_UNSIGNED, satchel_message_ranges_request, row_count, SATCHEL_RANGE_ROWS_MAX),
};
static const struct field ranges_fields[] = {
    FIELD(FIELD_UNSIGNED, satchel_message_ranges, cursor, SEQUENCE_MAX),
    FIELD(FIELD_UNSIGNED, satchel_message_ranges, schema, UINT32_MAX),
    LIST(FIELD_LIST, satchel_message_ranges, ranges, range_count, SATCHEL_RANGES_MAX,
         &range_digests),
};
static const struct field snapshot_request_fields[] = {
    FIELD(FIELD_ID, satchel_message_snapshot_request, snapshot, 0),
    FIELD(FIELD_UNSIGNED, satchel_message_snapshot_request, page, SEQUENCE_MAX),
};
static const struct field snapshot_fields[] = {
    FIELD(FIELD_ID, satchel_message_snapshot, snapshot, 0),
    FIELD(FIELD_UNSIGNED, satchel_message_snapshot, cursor, SEQUENCE_MAX),
    FIELD(FIELD_VECTOR, satchel_message_snapshot, vector, 0),
    FIELD(FIELD_ID, satchel_message_snapshot, receipt, 0),
    FIELD(FIELD_UNSIGNED, satchel_message_snapshot, stamp, UINT64_MAX),
    FIELD(FIELD_UNSIGNED, satchel_message_snapshot, schema, UINT32_MAX),
    FIELD(FIELD_UNSIGNED, satchel_message_snapshot, row_count, SEQUENCE_MAX),
    FIELD(FIELD_UNSIGNED, satchel_message_snapshot, page, SEQUENCE_MAX),
    FIELD(FIELD_UNSIGNED, satchel_message_snapshot, page_count, SEQUENCE_MAX),
    FIELD(FIELD_BINARY, satchel_message_snapshot, notes, SATCHEL_NOTES_BYTES_MAX),
};
static const struct field past_request_fields[] = {
    FIELD(FIELD_UNSIGNED, satchel_message_past_request, after, SEQUENCE_MAX),
    FIELD(FIELD_UNSIGNED, satchel_message_past_request, until, SEQUENCE_MAX),
};
static const struct field past_fields[] = {
    FIELD(FIELD_UNSIGNED, satchel_message_past, reached, SEQUENCE_MAX),
    FIELD(FIELD_UNSIGNED, satchel_message_past, head, SEQUENCE_MAX),
    FIELD(FIELD_UNSIGNED, satchel_message_past, schema, UINT32_MAX),
    LIST(FIELD_ENTRIES, satchel_message_past, entries, entry_count, UINT32_MAX, NULL),
};
static const struct field forward_fields[] = {
    FIELD(FIELD_ID, satchel_message_forward, node, 0),
    LIST(FIELD_ENTRIES, satchel_message_forward, entries, entry_count, SATCHEL_PUSH_ITEMS_MAX,
         NULL),
};
static const struct field forwarded_fields[] = {
    FIELD(FIELD_UNSIGNED, satchel_message_forwarded, entry_count, SEQUENCE_MAX),
    FIELD(FIELD_UNSIGNED, satchel_message_forwarded, refused_count, SEQUENCE_MAX),
};
static const struct field copy_fields[] = {
    FIELD(FIELD_UNSIGNED, satchel_message_copy, number, SEQUENCE_MAX),
    FIELD(FIELD_TOKEN, satchel_message_copy, hash, SATCHEL_HASH_BYTES),
    FIELD(FIELD_TOKEN, satchel_message_copy, token, SATCHEL_TOKEN_BYTES),
};
static const struct field copied_fields[] = {
    FIELD(FIELD_ID, satchel_message_copied, device, 0),
    FIELD(FIELD_ID, satchel_message_copied, receipt, 0),
    FIELD(FIELD_UNSIGNED, satchel_message_copied, token_number, SEQUENCE_MAX),
};
static const struct field rotate_fields[] = {
    FIELD(FIELD_TOKEN, satchel_message_rotate, token, SATCHEL_TOKEN_BYTES),
};
static const struct field rotated_fields[] = {
    FIELD(FIELD_UNSIGNED, satchel_message_rotated, token_number, SEQUENCE_MAX),
    FIELD(FIELD_ID, satchel_message_rotated, receipt, 0),
};
static const struct field rows_request_fields[] = {
    LIST(FIELD_LIST, satchel_message_rows_request, rows, row_count, SATCHEL_ROWS_REQUEST_MAX,
         &row_requests),
};
static const struct field rows_fields[] = {
    FIELD(FIELD_UNSIGNED, satchel_message_rows, cursor, SEQUENCE_MAX),
    FIELD(FIELD_UNSIGNED, satchel_message_rows, row_count, SATCHEL_ROWS_REQUEST_MAX),
    FIELD(FIELD_BINARY, satchel_message_rows, notes, SATCHEL_NOTES_BYTES_MAX),
};
static const struct field scope_fields[] = {
    FIELD(FIELD_UNSIGNED, satchel_message_scope, head, SEQUENCE_MAX),
    FIELD(FIELD_BINARY, satchel_message_scope, notes, SATCHEL_NOTES_BYTES_MAX),
    LIST(FIELD_ENTRIES, satchel_message_scope, entries, entry_count, UINT32_MAX, NULL),
};
static const struct field admin_fields[] = {
    FIELD(FIELD_BINARY, satchel_message_admin, token, NAME_MAX),
    LIST(FIELD_ARGUMENTS, satchel_message_admin, arguments, argument_count, MESSAGE_ARGUMENTS_MAX,
         NULL),
};
static const struct field admin_result_fields[] = {
    FIELD(FIELD_TEXT, satchel_message_admin_result, text, SATCHEL_FRAME_BYTES_MAX),
    LIST(FIELD_TEXTS, satchel_message_admin_result, columns, column_count, MESSAGE_COLUMNS_MAX,
         NULL),
    LIST(FIELD_TABLE, satchel_message_admin_result, values, row_count, UINT32_MAX, NULL),
};
static const struct field error_fields[] = {
    FIELD(FIELD_UNSIGNED, satchel_message_error, status, UINT32_MAX),
    FIELD(FIELD_TEXT, satchel_message_error, text, MESSAGE_ERROR_TEXT_MAX),
};

static const struct layout layouts[] = {
#define LAYOUT(name, fields)                                 \
    {                                                        \
        SATCHEL_MESSAGE_##name, #name, fields, COUNT(fields) \
    }
    LAYOUT(TIME, time_fields),
    LAYOUT(JOIN, join_fields),
    LAYOUT(HELLO, hello_fields),
    LAYOUT(PUSH, push_fields),
    LAYOUT(DIGEST_REQUEST, digest_request_fields),
    LAYOUT(ADMIN, admin_fields),
    LAYOUT(FORWARD, forward_fields),
    LAYOUT(COPY, copy_fields),
    LAYOUT(ROWS_REQUEST, rows_request_fields),
    {SATCHEL_MESSAGE_WIPED, "WIPED", NULL, 0},
    LAYOUT(ROTATE, rotate_fields),
    LAYOUT(RANGES_REQUEST, ranges_request_fields),
    LAYOUT(SNAPSHOT_REQUEST, snapshot_request_fields),
    LAYOUT(PAST_REQUEST, past_request_fields),
    LAYOUT(TIME_REPLY, time_reply_fields),
    LAYOUT(JOINED, joined_fields),
    LAYOUT(WELCOME, welcome_fields),
    LAYOUT(SCHEMA, schema_fields),
    LAYOUT(ENTRIES, entries_fields),
    LAYOUT(ACK, ack_fields),
    LAYOUT(HEAD, head_fields),
    LAYOUT(DIGESTS, digests_fields),
    LAYOUT(ADMIN_RESULT, admin_result_fields),
    LAYOUT(COPIED, copied_fields),
    LAYOUT(ROWS, rows_fields),
    LAYOUT(FORWARDED, forwarded_fields),
    LAYOUT(SCOPE, scope_fields),
    LAYOUT(ROTATED, rotated_fields),
    LAYOUT(RANGES, ranges_fields),
    LAYOUT(SNAPSHOT, snapshot_fields),
    LAYOUT(PAST, past_fields),
    LAYOUT(ERROR, error_fields),
#undef LAYOUT
};

const struct layout *satchel_message_layout(uint64_t kind)
{
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++)
        if ((uint64_t)layouts[i].kind == kind)
            return &layouts[i];
    return NULL;
}

static const char *flaw_of_order(const struct satchel_entry *entries, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        if (entries[i].cursor <= entries[i - 1].cursor)
            return "the cursors of entries must ascend";
    return NULL;
}

static const char *flaw_of_entries(const struct satchel_entry *entries, uint32_t count)
{
    return count == 0 ? "at least one entry is needed" : flaw_of_order(entries, count);
}

const char *satchel_message_flaw(const struct satchel_message *message)
{
    switch (message->kind) {
    case SATCHEL_MESSAGE_PUSH:
        if (message->push.item_count == 0 || message->push.items[0].number == 0)
            return "a push holds at least one change set, numbered from 1";
        for (uint32_t i = 1; i < message->push.item_count; i++)
            if (message->push.items[i].number != message->push.items[i - 1].number + 1)
                return "the numbers of pushed change sets must be contiguous";
        return NULL;
    case SATCHEL_MESSAGE_ENTRIES:
        return flaw_of_entries(message->entries.entries, message->entries.entry_count);
    case SATCHEL_MESSAGE_FORWARD:
        return flaw_of_entries(message->forward.entries, message->forward.entry_count);
    case SATCHEL_MESSAGE_PAST:
        return flaw_of_order(message->past.entries, message->past.entry_count);
    case SATCHEL_MESSAGE_SCOPE:
        return flaw_of_order(message->scope.entries, message->scope.entry_count);
    case SATCHEL_MESSAGE_COPY:
        return message->copy.number == 0 ? "change sets are numbered from 1" : NULL;
    case SATCHEL_MESSAGE_ROWS_REQUEST:
        return message->rows_request.row_count == 0 ? "at least one row is needed" : NULL;
    case SATCHEL_MESSAGE_RANGES_REQUEST:
        return message->ranges_request.row_count == 0 ? "a range holds at least one row" : NULL;
    case SATCHEL_MESSAGE_SNAPSHOT:
        return message->snapshot.page_count > 0 && message->snapshot.notes.size > 0 &&
                       message->snapshot.page >= message->snapshot.page_count
                   ? "a page that the snapshot has not"
                   : NULL;
    case SATCHEL_MESSAGE_SCHEMA:
        for (uint32_t i = 0; i < message->schema.migration_count; i++)
            if (message->schema.migrations[i].number == 0 ||
                (i > 0 &&
                 message->schema.migrations[i].number <= message->schema.migrations[i - 1].number))
                return "the numbers of migrations must ascend from 1";
        return NULL;
    case SATCHEL_MESSAGE_ADMIN:
        if (message->admin.argument_count == 0 || message->admin.arguments[0].type != SATCHEL_TEXT)
            return "the first argument is the verb";
        return NULL;
    default: return NULL;
    }
}
