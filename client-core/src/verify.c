/* Owns the blocking comparison of a replica with its server: one sync, then the digests of every
 * table at one cursor (check.h). */
#include "sync.h"
#include "transport.h"

static enum satchel_status step(void *context, struct satchel_now now, bool *is_done,
                                struct satchel_error *error)
{
    return satchel_sync_step(context, now, is_done, error);
}

/* ---- the result ---- */

static void fill(struct satchel_verify_table *out, const struct satchel_table *table,
                 const struct check_table *compared)
{
    size_t size = strlen(table->name);
    memset(out, 0, sizeof *out);
    memcpy(out->name, table->name, size < sizeof out->name ? size : sizeof out->name - 1);
    out->row_count = compared->own.row_count;
    out->server_row_count = compared->server.row_count;
    satchel_id_text(&compared->own.digest, out->digest);
    satchel_id_text(&compared->server.digest, out->server_digest);
    out->is_equal = out->row_count == out->server_row_count &&
                    satchel_id_equal(&compared->own.digest, &compared->server.digest);
    out->repaired_count = compared->repaired_count;
}

static enum satchel_status make_tables(const struct satchel_sync *sync,
                                       struct satchel_verify_table **tables, size_t *count,
                                       struct satchel_error *error)
{
    const struct satchel_schema *schema = sync->apply->schema;
    uint32_t table_count = schema && sync->check.tables ? sync->check.table_count : 0;
    *tables = satchel_alloc_zero(NULL, (table_count + 1) * sizeof **tables);
    *count = 0;
    if (!*tables)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory for the result");
    for (uint32_t i = 0; i < table_count; i++) {
        const struct satchel_table *table = &schema->tables[i];
        if (table->is_local)
            continue;
        fill(&(*tables)[(*count)++], table, &sync->check.tables[i]);
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
        sync->check.is_whole = true;
        sync->check.only_looks = !options || !options->repairs;
        status = satchel_sync_connect(sync, step, error);
    }
    if (status == SATCHEL_OK && !sync->is_done)
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
