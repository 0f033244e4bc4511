/* Owns packing the log on the writer thread: a step at a time while no job waits, and all of it
 * when the administrator says so. How it is packed is log_pack.h's. */
#include "workspace_internal.h"

#include <satchel/log_pack.h>

/* A job of its own holds up the writer, and does not do so for long. */
enum { STEPS_MAX = 256, PACK_NOW_ENTRIES_MIN = 64 };

static enum satchel_status pack_step(struct satchel_store *store, uint32_t *packed,
                                     struct satchel_error *error)
{
    enum satchel_status status = store->ops->begin(store, error);
    if (status != SATCHEL_OK)
        return status;
    status = satchel_log_pack(satchel_store_sqlite_db(store), SATCHEL_LOG_PACK_KEEP,
                              SATCHEL_SEGMENT_ENTRIES_MAX, packed, error);
    if (status == SATCHEL_OK)
        status = store->ops->commit(store, error);
    if (status != SATCHEL_OK)
        store->ops->rollback(store);
    return status;
}

bool pack_when_idle(struct satchel_workspace *workspace)
{
    struct satchel_store_head head = {0};
    struct satchel_error error = {0};
    uint32_t packed = 0;
    enum satchel_status status = workspace->store->ops->load_head(workspace->store, &head, &error);
    if (status == SATCHEL_OK && head.cursor < workspace->pack_cursor)
        return false;
    if (status == SATCHEL_OK)
        status = pack_step(workspace->store, &packed, &error);
    if (status != SATCHEL_OK)
        workspace_log(workspace, "the log could not be packed: %s", error.message);
    if (status == SATCHEL_OK && packed > 0)
        return true;
    workspace->pack_cursor = head.cursor + SATCHEL_SEGMENT_ENTRIES_MAX;
    return false;
}

enum satchel_status pack_job(struct satchel_workspace *workspace, struct satchel_job *job)
{
    sqlite3 *db = satchel_store_sqlite_db(workspace->store);
    unsigned long long entries = 0;
    uint32_t packed = 1, segments = 0;
    while (packed > 0 && segments < STEPS_MAX) {
        enum satchel_status status =
            satchel_log_pack(db, 0, PACK_NOW_ENTRIES_MIN, &packed, &job->error);
        if (status != SATCHEL_OK)
            return status;
        entries += packed;
        segments += packed > 0;
    }
    return job_answer_text(job, "packed %llu entries into %u segments%s", entries, segments,
                           packed > 0 ? "; there are more: pack again" : "");
}
