/* Owns which roles a device may write in: those it has been told when it joined or attached. A role
 * that was replaced by another stays good for what was written before the device heard of it. */
#include "workspace_internal.h"

#include <satchel/cursor.h>

/* A device's measured clock is this good. */
#define ROLE_GRACE_MS 60000

#define SQL_SUPERSEDE                                                  \
    "UPDATE satchel_device_role SET superseded=?1 WHERE device=?2 AND" \
    " role<>?3 AND superseded IS NULL"
#define SQL_TOLD                                                   \
    "INSERT INTO satchel_device_role(device, role) VALUES(?1, ?2)" \
    " ON CONFLICT(device, role) DO UPDATE SET superseded=NULL WHERE superseded IS NOT NULL"
#define SQL_FIND "SELECT superseded FROM satchel_device_role WHERE device=?1 AND role=?2"

enum satchel_status role_told(sqlite3 *db, const struct satchel_id *device,
                              struct satchel_span role, int64_t now_ms, struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row;
    enum satchel_status status = satchel_query_open(&query, db, SQL_SUPERSEDE, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_integer(&query, now_ms);
    satchel_query_id(&query, device);
    satchel_query_text(&query, role);
    status = satchel_query_step(&query, &has_row, error);
    satchel_query_close(&query);
    if (status == SATCHEL_OK)
        status = satchel_query_open(&query, db, SQL_TOLD, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_id(&query, device);
    satchel_query_text(&query, role);
    status = satchel_query_step(&query, &has_row, error);
    satchel_query_close(&query);
    return status;
}

/* What is known of a role that the device claims; `known` keeps the last answer. */
static enum satchel_status look_up(sqlite3 *db, const struct satchel_id *device,
                                   struct satchel_span role, struct role_known *known,
                                   struct satchel_error *error)
{
    struct satchel_query query;
    if (known->is_asked && satchel_id_equal(&known->device, device) &&
        satchel_span_equal(known->role, role))
        return SATCHEL_OK;
    enum satchel_status status = satchel_query_open(&query, db, SQL_FIND, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_id(&query, device);
    satchel_query_text(&query, role);
    status = satchel_query_step(&query, &known->was_told, error);
    known->until_ms = INT64_MAX;
    if (status == SATCHEL_OK && known->was_told &&
        sqlite3_column_type(query.statement, 0) != SQLITE_NULL)
        known->until_ms = sqlite3_column_int64(query.statement, 0) + ROLE_GRACE_MS;
    satchel_query_close(&query);
    known->is_asked = status == SATCHEL_OK;
    known->device = *device;
    known->role = role;
    return status;
}

/* The role in the header of a change set; empty for none, and for one that is malformed, which the
 * merge refuses. */
static struct satchel_span role_of(struct satchel_span body, struct satchel_arena *arena)
{
    struct satchel_cursor cursor = satchel_cursor_of(body);
    struct satchel_changeset_header header = {0};
    if (satchel_changeset_read_header(&cursor, arena, &header) != SATCHEL_OK)
        return satchel_span_of(NULL, 0);
    return header.role;
}

enum satchel_status role_check(sqlite3 *db, struct satchel_incoming *incoming,
                               struct role_known *known, struct satchel_arena *arena,
                               struct satchel_error *error)
{
    struct satchel_span role = role_of(incoming->body, arena);
    if (role.size == 0)
        return SATCHEL_OK;
    enum satchel_status status = look_up(db, &incoming->device, role, known, error);
    if (status != SATCHEL_OK ||
        (known->was_told && satchel_stamp_ms(incoming->stamp) <= known->until_ms))
        return status;
    struct satchel_buffer reason;
    satchel_buffer_init(&reason, 512, NULL);
    status = satchel_buffer_format(
        &reason, "%.*s did not have the role '%.*s' when this was written",
        (int)(incoming->user.size < 64 ? incoming->user.size : 64),
        (const char *)incoming->user.data, (int)role.size, (const char *)role.data);
    if (status == SATCHEL_OK) {
        incoming->refusal = satchel_arena_copy(arena, satchel_buffer_span(&reason));
        status = incoming->refusal.data ? SATCHEL_OK : SATCHEL_NOMEM;
    }
    satchel_buffer_deinit(&reason);
    return status;
}
