/* Owns packing a replica's log when a sync has nothing else to do. How it is packed is
 * log_pack.h's. A replica that is locked, or a disk that is full, packs another time. */
#include "sync.h"

#include <satchel/log_pack.h>

enum { SEGMENTS_MAX = 4 /* at a time: the application's writes wait meanwhile */ };

static bool pack_segment(sqlite3 *db)
{
    uint32_t packed = 0;
    if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return false;
    enum satchel_status status =
        satchel_log_pack(db, SATCHEL_LOG_PACK_KEEP, SATCHEL_SEGMENT_ENTRIES_MAX, &packed, NULL);
    if (status == SATCHEL_OK && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
        return packed > 0;
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return false;
}

void satchel_sync_pack(struct satchel_sync *sync)
{
    uint64_t cursor = sync->apply->cursor;
    if (cursor < sync->pack_cursor || !satchel_past_is_over(sync))
        return;
    int packed = 0;
    while (packed < SEGMENTS_MAX && pack_segment(sync->replica->db))
        packed++;
    if (packed < SEGMENTS_MAX)
        sync->pack_cursor = cursor + SATCHEL_SEGMENT_ENTRIES_MAX;
}
