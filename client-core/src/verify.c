/* Owns the comparison of a replica with its server: one sync, then digests of every table at one
 * cursor. Repairs nothing. */
#include "sync.h"
#include "transport.h"

#include <satchel/digest.h>

enum { ASKS_MAX = 100 };

/* ---- digests ---- */

void satchel_sync_forget_digests(struct satchel_sync *sync)
{
    satchel_free(NULL, sync->digests);
    satchel_free(NULL, sync->own_digests);
    sync->digests = sync->own_digests = NULL;
    sync->digest_count = sync->own_digest_count = 0;
    sync->has_digests = sync->are_compared = false;
}

enum satchel_status satchel_sync_compute_digests(struct satchel_sync *sync,
                                                 struct satchel_error *error)
{
    struct satchel_apply *apply = sync->apply;
    enum satchel_status status = satchel_sync_begin(sync, false, error);
    if (status != SATCHEL_OK)
        return status;
    const struct satchel_schema *schema = apply->schema;
    bool is_comparable = apply->cursor == sync->digests_cursor && !apply->pending.first;
    sync->own_digest_count = 0;
    satchel_free(NULL, sync->own_digests);
    sync->own_digests = satchel_alloc_zero(NULL, ((schema ? schema->table_count : 0) + 1) *
                                                     sizeof *sync->own_digests);
    if (!sync->own_digests)
        status = satchel_error_set(error, SATCHEL_NOMEM, "no memory to compute digests");
    for (uint32_t i = 0; is_comparable && schema && i < schema->table_count && status == SATCHEL_OK;
         i++) {
        if (schema->tables[i].is_local)
            continue;
        status = satchel_table_digest_compute(sync->replica->db, &schema->tables[i],
                                              satchel_span_text(""),
                                              &sync->own_digests[sync->own_digest_count++], error);
    }
    satchel_apply_release(apply);
    sync->are_compared = status == SATCHEL_OK && is_comparable;
    sync->has_digests = sync->are_compared;
    return status;
}

enum satchel_status satchel_sync_ask_digests(struct satchel_sync *sync, struct satchel_error *error)
{
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_DIGEST_REQUEST};
    if (sync->wants_digests || sync->has_digests ||
        sync->apply->last_number < sync->sent_number) /* an own entry is still to come */
        return SATCHEL_OK;
    enum satchel_status status = satchel_session_send(sync->session, &message);
    if (status == SATCHEL_BUSY)
        return SATCHEL_OK;
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "cannot ask for digests: %s",
                                 satchel_status_text(status));
    sync->wants_digests = true;
    sync->ask_count++;
    return SATCHEL_OK;
}

enum satchel_status satchel_sync_take_digests(struct satchel_sync *sync,
                                              const struct satchel_message_digests *digests,
                                              struct satchel_error *error)
{
    if (!sync->wants_digests)
        return SATCHEL_OK;
    satchel_sync_forget_digests(sync);
    sync->wants_digests = false;
    size_t bytes = digests->table_count * sizeof *digests->tables;
    sync->digests = satchel_alloc(NULL, bytes);
    if (!sync->digests)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory to compare digests");
    if (bytes)
        memcpy(sync->digests, digests->tables, bytes);
    sync->digest_count = digests->table_count;
    sync->digests_cursor = digests->cursor;
    sync->has_digests = true;
    return sync->apply->cursor >= digests->cursor ? satchel_sync_compute_digests(sync, error)
                                                  : SATCHEL_OK;
}

/* ---- the blocking call ---- */

static enum satchel_status step(void *context, struct satchel_now now, bool *is_done,
                                struct satchel_error *error)
{
    struct satchel_sync *sync = context;
    bool is_equal = false;
    enum satchel_status status = satchel_sync_step(sync, now, &is_equal, error);
    *is_done = status == SATCHEL_OK && sync->are_compared;
    if (status != SATCHEL_OK || !is_equal || *is_done)
        return status;
    if (sync->ask_count >= ASKS_MAX)
        return satchel_error_set(
            error, SATCHEL_BUSY,
            "the replica and the server change faster than they can be compared; "
            "verify again when it is quieter");
    return satchel_sync_ask_digests(sync, error);
}

/* ---- the result ---- */

static const struct satchel_table_digest *find_digest(const struct satchel_table_digest *digests,
                                                      uint32_t count, uint64_t table)
{
    for (uint32_t i = 0; i < count; i++)
        if (digests[i].table == table)
            return &digests[i];
    return NULL;
}

/* A table that a side does not name has no rows there. */
static void fill(struct satchel_verify_table *out, const struct satchel_table *table,
                 const struct satchel_table_digest *own, const struct satchel_table_digest *server)
{
    static const struct satchel_table_digest NONE;
    size_t size = strlen(table->name);
    own = own ? own : &NONE;
    server = server ? server : &NONE;
    memset(out, 0, sizeof *out);
    memcpy(out->name, table->name, size < sizeof out->name ? size : sizeof out->name - 1);
    out->row_count = own->row_count;
    out->server_row_count = server->row_count;
    satchel_id_text(&own->digest, out->digest);
    satchel_id_text(&server->digest, out->server_digest);
    out->is_equal =
        own->row_count == server->row_count && satchel_id_equal(&own->digest, &server->digest);
}

static enum satchel_status make_tables(const struct satchel_sync *sync,
                                       struct satchel_verify_table **tables, size_t *count,
                                       struct satchel_error *error)
{
    const struct satchel_schema *schema = sync->apply->schema;
    uint32_t table_count = schema ? schema->table_count : 0;
    *tables = satchel_alloc_zero(NULL, (table_count + 1) * sizeof **tables);
    *count = 0;
    if (!*tables)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory for the result");
    for (uint32_t i = 0; i < table_count; i++) {
        const struct satchel_table *table = &schema->tables[i];
        if (table->is_local)
            continue;
        fill(&(*tables)[(*count)++], table,
             find_digest(sync->own_digests, sync->own_digest_count, table->number),
             find_digest(sync->digests, sync->digest_count, table->number));
    }
    return SATCHEL_OK;
}

static enum satchel_status verify_once(const char *path, const struct satchel_sync_options *options,
                                       struct satchel_verify_table **tables, size_t *count_out,
                                       struct satchel_error *error)
{
    struct satchel_replica *replica = NULL;
    struct satchel_sync *sync = NULL;
    const struct satchel_clock *clock = satchel_clock_or_system(options ? options->clock : NULL);
    enum satchel_status status = satchel_sync_open(&replica, path, options, error);
    if (status == SATCHEL_OK)
        status = satchel_sync_new(&sync, replica, options, satchel_transport_now(clock), error);
    if (status == SATCHEL_OK) {
        sync->options.rotate = false; /* a sync's own business */
        status = satchel_sync_connect(sync, step, error);
    }
    if (status == SATCHEL_OK && !sync->are_compared)
        status =
            satchel_error_set(error, SATCHEL_STATE, "verify was stopped before the comparison");
    if (status == SATCHEL_OK)
        status = make_tables(sync, tables, count_out, error);
    satchel_sync_free(sync);
    satchel_replica_close(replica);
    return status;
}

enum satchel_status satchel_verify(const char *path, const struct satchel_sync_options *options,
                                   struct satchel_verify_table **tables, size_t *count_out,
                                   struct satchel_error *error)
{
    uint32_t session_count = 0;
    enum satchel_status status;
    *tables = NULL;
    *count_out = 0;
    do
        status = verify_once(path, options, tables, count_out, error);
    while (satchel_sync_is_to_begin_again(status, false, &session_count));
    return status;
}

void satchel_verify_free(struct satchel_verify_table *tables)
{
    satchel_free(NULL, tables);
}
