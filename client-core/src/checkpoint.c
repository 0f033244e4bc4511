/* Owns the choice of the one connection that checkpoints a replica: whoever holds the lock on the
 * file REPLICA-ckpt. SQLite before 3.51.3 may corrupt a database when a checkpoint starts while
 * another connection commits over a WAL that was just checkpointed. Knows nothing of
 * what is written.
 *
 * The commit hook below takes the place of SQLite's automatic checkpoint on every connection: it
 * checkpoints only under the lock. A connection without the lock does not checkpoint at its close
 * either; when the holder has gone, the first commit that finds the WAL long takes the lock over.
 *
 * A sync that leaves the lock to others for a while checkpoints meanwhile; its commits do so only
 * where it has not for long.
 *
 * A passive checkpoint never finishes while others keep committing, and a WAL that is never
 * finished is never begun again: a sync that holds the lock beside a busy application would let it
 * grow without end. So when it has grown long, the sync's own connection holds writers up for the
 * rest of the copying.
 */
#include "replica.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

enum {
    WAL_PAGES_MAX = 1000,
    WAL_PAGES_WORTH = WAL_PAGES_MAX / 2, /* of a pause */
    WAL_PAGES_LONG = 4 * WAL_PAGES_MAX,
    RESTART_WAIT_MS = 20 /* for a writer or reader in the way; the next commit tries again */
};

static bool take_lock(struct satchel_replica *replica)
{
    if (replica->checkpoint_lock >= 0)
        return true;
    char *path = sqlite3_mprintf("%s-ckpt", replica->path);
    if (!path)
        return false;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    sqlite3_free(path);
    if (fd < 0)
        return false; /* a folder that is read-only: somebody else will have to checkpoint */
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 ||
        sqlite3_db_config(replica->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL) != SQLITE_OK) {
        close(fd);
        return false;
    }
    replica->checkpoint_lock = fd;
    return true;
}

static void note_released(struct satchel_replica *replica)
{
    const struct satchel_clock *clock = &satchel_clock_system;
    replica->released_ms = clock->monotonic_ms(clock->context);
}

static int after_commit(void *context, sqlite3 *db, const char *name, int page_count)
{
    struct satchel_replica *replica = context;
    int pages_max = replica->is_sync ? 2 * WAL_PAGES_MAX : WAL_PAGES_MAX;
    note_released(replica); /* others may write while a passive checkpoint copies */
    if (strcmp(name, "main") != 0)
        return SQLITE_OK;
    replica->wal_pages = page_count;
    if (page_count < pages_max || !take_lock(replica))
        return SQLITE_OK;
    /* BUSY only means that a reader or writer was in the way: the next commit tries again. */
    if (page_count >= WAL_PAGES_LONG && replica->is_sync) {
        replica->busy_wait_ms = RESTART_WAIT_MS;
        sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
        replica->busy_wait_ms = SATCHEL_BUSY_TIMEOUT_MS;
        note_released(replica);
    } else {
        sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    }
    return SQLITE_OK;
}

void satchel_checkpoint_in_pause(struct satchel_replica *replica)
{
    if (replica->wal_pages < WAL_PAGES_WORTH || !take_lock(replica))
        return;
    sqlite3_wal_checkpoint_v2(replica->db, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    replica->wal_pages = 0; /* or as the next commit says */
}

enum satchel_status satchel_checkpoint_attach(struct satchel_replica *replica,
                                              struct satchel_error *error)
{
    if (replica->path[0] == '\0' || !replica->device_text[0])
        return SATCHEL_OK; /* in memory, or no replica: SQLite's own way */
    if (sqlite3_db_config(replica->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL) != SQLITE_OK)
        return satchel_sql_error(error, replica->db, "cannot switch off the checkpoint at close");
    sqlite3_wal_hook(replica->db, after_commit, replica);
    take_lock(replica);
    return SATCHEL_OK;
}

enum satchel_status satchel_checkpoint_truncate(struct satchel_replica *replica,
                                                struct satchel_error *error)
{
    if (!take_lock(replica))
        return satchel_error_set(error, SATCHEL_BUSY, "another program holds %s-ckpt",
                                 replica->path);
    return sqlite3_wal_checkpoint_v2(replica->db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) ==
                   SQLITE_OK
               ? SATCHEL_OK
               : satchel_sql_error(error, replica->db, "cannot empty the WAL of %s", replica->path);
}

void satchel_checkpoint_offer(struct satchel_replica *replica)
{
    if (replica->path[0] != '\0' && replica->device_text[0])
        take_lock(replica);
}

/* Called when the connection has closed its files: a last checkpoint of its own lies behind it. */
void satchel_checkpoint_detach(struct satchel_replica *replica)
{
    if (replica->checkpoint_lock >= 0)
        close(replica->checkpoint_lock);
    replica->checkpoint_lock = -1;
}
