/* Owns finding a change set by who made it: in the log, or among this replica's own that no entry
 * has answered yet. */
#include "replica.h"

#include <satchel/changeset.h>
#include <satchel/log_reader.h>

static const char SELECT_BODY[] = "SELECT body FROM main.satchel_change WHERE number=?2"
                                  " AND ?1=(SELECT device FROM main.satchel_replica)";

static enum satchel_status decode(struct satchel_span stored, struct satchel_buffer *scratch,
                                  struct satchel_arena *arena, struct satchel_changeset *out,
                                  struct satchel_error *error)
{
    struct satchel_span body;
    enum satchel_status status = satchel_body_load(stored, scratch, &body);
    if (status != SATCHEL_OK)
        return status;
    body = satchel_arena_copy(arena, body);
    return body.data ? satchel_changeset_decode(body, arena, out, error) : SATCHEL_NOMEM;
}

static enum satchel_status find_in_log(struct satchel_replica *replica,
                                       const struct satchel_id *device, uint64_t number,
                                       struct satchel_buffer *scratch, struct satchel_arena *arena,
                                       struct satchel_changeset *out, bool *found,
                                       struct satchel_error *error)
{
    struct satchel_log_reader *reader;
    struct satchel_log_entry entry;
    enum satchel_status status = satchel_log_reader_new(&reader, replica->db);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "no memory to read the history");
    status = satchel_log_read_change(reader, device, number, found, &entry, error);
    *found = status == SATCHEL_OK && *found && entry.entry.body.size > 0;
    if (*found)
        status = decode(entry.entry.body, scratch, arena, out, error);
    satchel_log_reader_free(reader);
    return status;
}

static enum satchel_status find_pending(struct satchel_replica *replica,
                                        const struct satchel_id *device, uint64_t number,
                                        struct satchel_buffer *scratch, struct satchel_arena *arena,
                                        struct satchel_changeset *out, bool *found,
                                        struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(replica->db, SELECT_BODY, -1, &select, NULL) != SQLITE_OK)
        return satchel_sql_error(error, replica->db, "cannot read the history");
    sqlite3_bind_blob(select, 1, device->bytes, sizeof device->bytes, SQLITE_STATIC);
    sqlite3_bind_int64(select, 2, (sqlite3_int64)number);
    int code = sqlite3_step(select);
    if (code == SQLITE_ROW) {
        struct satchel_span stored = satchel_column_span(select, 0);
        *found = true;
        status = decode(stored, scratch, arena, out, error);
    } else if (code != SQLITE_DONE) {
        status = satchel_sql_error(error, replica->db, "cannot read the history");
    }
    sqlite3_finalize(select);
    return status;
}

enum satchel_status satchel_replica_find_change(struct satchel_replica *replica,
                                                const struct satchel_id *device, uint64_t number,
                                                struct satchel_arena *arena,
                                                struct satchel_changeset *out, bool *found,
                                                struct satchel_error *error)
{
    struct satchel_buffer scratch;
    *found = false;
    satchel_buffer_init(&scratch, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status =
        find_in_log(replica, device, number, &scratch, arena, out, found, error);
    if (status == SATCHEL_OK && !*found)
        status = find_pending(replica, device, number, &scratch, arena, out, found, error);
    satchel_buffer_deinit(&scratch);
    return status;
}
