/* The replica from inside: tables beside the application's own, and what one connection keeps of
 * them.
 *
 *   satchel_replica   one row: who this replica is and how far it has come
 *   satchel_change    own change sets the node has not yet sent back as entries: the pending ones,
 *                     and those acknowledged meanwhile
 *   satchel_base      what the node holds *under* pending local writes, for rows that entries have
 *                     touched since those writes; usually empty
 *   satchel_entry, satchel_conflict, satchel_migration, ...   see sql/include/satchel/log.h
 *
 * and for a server that was restored, or a replica that was copied (docs/recovery.md):
 *
 *   satchel_lineage   the incarnations of the node that the log followed before the present one
 *   satchel_receipt   per entry of the log, what proves to the server that it sent it
 *   satchel_lost      entries that the node has lost, until it sends them again with all positions
 *                     that they had; each is given back once to every incarnation. And for a moment
 *                     those of the log whose positions a new incarnation may lack
 *   satchel_doubt     names of rows that lost entries touched: what the node has there is asked for
 *                     once it has everything again
 *   satchel_view      rows in doubt that entries have touched since: what is in fact shown of them
 *   satchel_ancestor  the devices that this one is a copy of, and up to which number it was them
 *   satchel_elsewhere own change sets that are in the log as another device's
 *
 * and of one that is new (docs/bootstrap.md):
 *
 *   satchel_snapshot  one row: the server's snapshot whose pages are coming; satchel_snapshot_page:
 *                     what of them is not in staging tables
 *
 * ## Pending writes, base, view
 *
 * A change set is *pending* until its own entry is applied. The application's tables show the
 * node's values with the pending operations replayed on them (operation.h): a counter adds its
 * deltas, a set and a map what was added and removed, any other rule shows the local value; the
 * columns of a group move together, and so do a leader and its followers. A follower written alone
 * is shown while its leader is what it was written beside.
 *
 * A row that was merged into another (satchel_alias) is not in the tables: what is pending on it is
 * shown on the row that stands for it, and pending fields that point at it point there.
 *
 * Capture costs nothing for this: at a write it stores the old values beside the change set. Only
 * when an entry arrives that touches a (row, unit) with pending writes does apply write a row of
 * satchel_base: the node's values of that row, and for each unit touched the *view* up to which the
 * unit was in fact shown: the replica's `seen` before the first such entry. A later local write to
 * such a unit carries that view as an exception to `seen`; a later write to any other unit needs
 * none, because between the first pending write and now nothing has happened there. The row of
 * satchel_base goes when no pending write to the table row is left.
 *
 * ## Rows in doubt
 *
 * What a restored node has lost the tables go on showing, and `seen` goes on saying so. An entry
 * that comes before the lost ones are back brings values without them. `held` is `seen` without
 * what was lost and is not back: what the log holds in fact. Where such an entry's effects come
 * into view on a row in doubt, `held` with the entry is the view of that unit from then on, or of
 * the whole row if the row came, went or was sent whole; satchel_view keeps it. A later local write
 * to the unit carries the view as an exception to `seen`, as it does one of satchel_base: where the
 * unit is hidden by a pending write, nothing comes into view, and the view of satchel_base begins
 * with what was in view before. What has not been touched shows what was lost, and needs none.
 *
 * Whatever is heard of the row later, the lost entries included, raises its views. They go when the
 * node has said what it has of the row and all that was lost is in the log again, and `held` when
 * that is so of all rows. An own change set that was lost stays the author's own: who writes over
 * it knows it.
 *
 * ## One transaction
 *
 * Capture writes its change set in the transaction that made the changes. Apply writes one entry,
 * its effects, satchel_base, the conflicts, the cursor, and drops the change set it answers in one
 * transaction, BEGIN IMMEDIATE, at most one entry (or a run of small ones within 50 ms). */
#ifndef SATCHEL_REPLICA_INTERNAL_H
#define SATCHEL_REPLICA_INTERNAL_H

#include "pin.h"

#include <satchel.h>
#include <satchel/functions.h>
#include <satchel/log.h>
#include <satchel/pack.h>
#include <satchel/row_io.h>
#include <satchel/schema.h>
#include <satchel/sql_error.h>
#include <satchel/sqlite.h>

#define SATCHEL_REPLICA_FORMAT 8

/* state: 'joining' until the server has confirmed the enrolment, then 'joined'; of a device that
 * was revoked 'draining', then 'wiped' (wipe.c).
 * seen: satchel_pack_vector. seen_stamp: the greatest stamp applied: what a new stamp must exceed.
 * last_number: the greatest number that has left satchel_change (numbers go on from the greater of
 * this and the greatest in satchel_change). acked_number: acknowledged durable by the node.
 * last_stamp: of the greatest own number that was sent or answered, as corrected or fixed: what the
 * next one sent must exceed.
 * reference_*: the clock sample of the last handshake (server_ms at utc_ms/monotonic_ms in boot).
 * held: NULL, or `seen` without what the node has lost and the log has not again.
 * complete: the cursor at which the replica held exactly what its user could see (docs/scopes.md);
 * 0 if nobody knows. moved: the head of the last SCOPE. end: the receipt of HEAD, of the entry at
 * `cursor`, which may not be in the log. hidden: the masked columns that the log says nothing of
 * (forget.c). role_head: the node's head when it named `role`.
 * repaired: how many rows differed from the node's and were written anew, and when last. checked_*:
 * up to which row of which table large tables have been compared, and when (docs/digests.md).
 * begun, past: of a replica that was filled from a snapshot made at the cursor `begun`: what the
 * log has behind `past` up to there is still to come; 0: nothing is.
 * rewinds: how often what a session is about became another: the log was cut back to where a node's
 * parts from it, the user's role or the schema is another. Sessions that began before are over.
 * refused: how many own rows nodes have set aside (quarantined), counted when their entries are
 * applied. file: what the triggers know the replica by: the device it was made for, which it is no
 * more if it is a copy. receipt: of the enrolment, for a server that has lost it. */
#define SATCHEL_REPLICA_DDL                                                                   \
    "CREATE TABLE IF NOT EXISTS satchel_replica("                                             \
    "one INTEGER PRIMARY KEY CHECK(one=1), format INTEGER NOT NULL, state TEXT NOT NULL,"     \
    "server TEXT NOT NULL, workspace TEXT NOT NULL, workspace_id BLOB, device BLOB NOT NULL," \
    "token BLOB NOT NULL, secret BLOB NOT NULL, user TEXT, role TEXT,"                        \
    "node BLOB, cursor INTEGER NOT NULL DEFAULT 0, seen BLOB,"                                \
    "seen_stamp INTEGER NOT NULL DEFAULT 0,"                                                  \
    "last_number INTEGER NOT NULL DEFAULT 0, acked_number INTEGER NOT NULL DEFAULT 0,"        \
    "reference_server_ms INTEGER, reference_utc_ms INTEGER, reference_monotonic_ms INTEGER,"  \
    "reference_boot INTEGER, last_sync_ms INTEGER, refused INTEGER NOT NULL DEFAULT 0,"       \
    "last_stamp INTEGER NOT NULL DEFAULT 0, file BLOB NOT NULL, receipt BLOB, held BLOB,"     \
    "complete INTEGER NOT NULL DEFAULT 0, end BLOB, moved INTEGER NOT NULL DEFAULT 0,"        \
    "hidden TEXT NOT NULL DEFAULT '', role_head INTEGER NOT NULL DEFAULT 0, pin BLOB,"        \
    "next_token BLOB, token_number INTEGER NOT NULL DEFAULT 0,"                               \
    "repaired INTEGER NOT NULL DEFAULT 0, repaired_ms INTEGER,"                               \
    "checked_table INTEGER NOT NULL DEFAULT 0, checked BLOB, checked_ms INTEGER,"             \
    "begun INTEGER NOT NULL DEFAULT 0, past INTEGER NOT NULL DEFAULT 0,"                      \
    "rewinds INTEGER NOT NULL DEFAULT 0)"

/* stamp: as estimated at the commit; utc_ms, monotonic_ms, boot: raw clock readings there, from
 * which the stamp is corrected when it is sent; floor: seen_stamp at the commit, below which a
 * correction never goes. body: stored form (changeset.h). local: what only this device needs: a
 * MessagePack item per part: an update's old values in the order of its columns, and behind them,
 * for each leader that it leaves as it is while it writes a follower, its column and value; a
 * delete's [columns, old values]; nil for an insert. */
#define SATCHEL_CHANGE_DDL                                                          \
    "CREATE TABLE IF NOT EXISTS satchel_change("                                    \
    "number INTEGER PRIMARY KEY, stamp INTEGER NOT NULL, utc_ms INTEGER NOT NULL,"  \
    "monotonic_ms INTEGER NOT NULL, boot INTEGER NOT NULL, floor INTEGER NOT NULL," \
    "body BLOB NOT NULL, local BLOB NOT NULL)"

/* name: satchel_row_name; base: satchel_base_encode. */
#define SATCHEL_BASE_DDL                                                                          \
    "CREATE TABLE IF NOT EXISTS satchel_base(name BLOB PRIMARY KEY, base BLOB NOT NULL) WITHOUT " \
    "ROWID"

/* last_cursor: of the log, the incarnation's last. positions: a vector (satchel_pack_vector).
 * node: the incarnation that sent the entry; notes: satchel_notes_quarantined of them; body:
 * stored form; previous, is_cut: of the entry. mark: its cut secret. is_own: this replica's
 * device was its author; the replica may be another one since. given: the incarnation that has
 * taken it back last. Lost entries are given back in the order of their ids (recover.c); a node
 * that was put back by hand may have given one cursor to two of them. satchel_elsewhere.device:
 * as whose the change set is in the log. satchel_forget: rows that have left, of which the log may
 * say something still (forget.c); mark: tells one leaving from another. */
#define SATCHEL_RECOVERY_DDL                                                                       \
    "CREATE TABLE IF NOT EXISTS satchel_lineage(node BLOB PRIMARY KEY, last_cursor INTEGER NOT "   \
    "NULL) WITHOUT ROWID;"                                                                         \
    "CREATE TABLE IF NOT EXISTS satchel_receipt(cursor INTEGER PRIMARY KEY, receipt BLOB NOT "     \
    "NULL, positions BLOB, previous INTEGER NOT NULL, is_cut INTEGER NOT NULL);"                   \
    "CREATE TABLE IF NOT EXISTS satchel_lost(id INTEGER PRIMARY KEY, node BLOB NOT NULL,"          \
    "cursor INTEGER NOT NULL, seq INTEGER NOT NULL, device BLOB NOT NULL,"                         \
    "number INTEGER NOT NULL, stamp INTEGER NOT NULL, user TEXT, secret BLOB, body BLOB NOT NULL," \
    "notes BLOB NOT NULL, positions BLOB, receipt BLOB NOT NULL, previous INTEGER NOT NULL,"       \
    "is_cut INTEGER NOT NULL, mark BLOB NOT NULL, is_own INTEGER NOT NULL, given BLOB,"            \
    "UNIQUE(secret, node, cursor));"                                                               \
    "CREATE INDEX IF NOT EXISTS satchel_lost_mark ON satchel_lost(mark);"                          \
    "CREATE INDEX IF NOT EXISTS satchel_lost_own ON satchel_lost(number) WHERE is_own;"            \
    "CREATE TABLE IF NOT EXISTS satchel_doubt(name BLOB PRIMARY KEY) WITHOUT ROWID;"               \
    "CREATE TABLE IF NOT EXISTS satchel_view(name BLOB PRIMARY KEY, views BLOB NOT NULL) WITHOUT " \
    "ROWID;"                                                                                       \
    "CREATE TABLE IF NOT EXISTS satchel_ancestor(device BLOB PRIMARY KEY, last_number INTEGER "    \
    "NOT NULL) WITHOUT ROWID;"                                                                     \
    "CREATE TABLE IF NOT EXISTS satchel_elsewhere(number INTEGER PRIMARY KEY, device BLOB NOT "    \
    "NULL);"                                                                                       \
    "CREATE TABLE IF NOT EXISTS satchel_forget(name BLOB PRIMARY KEY, mark INTEGER NOT NULL"       \
    " DEFAULT (random())) WITHOUT ROWID"

/* Of a row of satchel_lost: it is not in the log again. */
#define SATCHEL_LOST_IS_MISSING "(device, number) NOT IN (SELECT device, number FROM satchel_entry)"

/* vector, receipt, stamp: of the message SNAPSHOT. page_next: the first that is not here, but for
 * row_next of its rows. migrations: how many there were when its staging tables were made. notes:
 * stored form, as of a body. */
#define SATCHEL_SNAPSHOT_DDL                                                                     \
    "CREATE TABLE IF NOT EXISTS satchel_snapshot(one INTEGER PRIMARY KEY CHECK(one=1),"          \
    "id BLOB NOT NULL, cursor INTEGER NOT NULL, vector BLOB NOT NULL, receipt BLOB NOT NULL,"    \
    "stamp INTEGER NOT NULL, schema INTEGER NOT NULL, row_count INTEGER NOT NULL,"               \
    "page_count INTEGER NOT NULL, page_next INTEGER NOT NULL DEFAULT 0,"                         \
    "row_next INTEGER NOT NULL DEFAULT 0, migrations INTEGER NOT NULL);"                         \
    "CREATE TABLE IF NOT EXISTS satchel_snapshot_page(part INTEGER PRIMARY KEY, notes BLOB NOT " \
    "NULL)"

/* What every SQLite can read of the replica: one row, as `satchel status` prints it. */
#define SATCHEL_STATUS_DDL                                                                         \
    "CREATE VIEW IF NOT EXISTS satchel_status AS SELECT lower(hex(device)) AS device, user, role," \
    " workspace, server, CASE WHEN node NOTNULL THEN lower(hex(node)) END AS node, cursor,"        \
    " (SELECT count(*) FROM satchel_change) AS pending, last_sync_ms AS last_sync,"                \
    " reference_utc_ms - reference_server_ms AS clock_error_ms, refused,"                          \
    " (SELECT count(*) FROM satchel_conflict WHERE resolved IS NULL) AS conflicts,"                \
    " repaired, repaired_ms AS last_repair,"                                                       \
    " sqlite_version() AS sqlite_version, (SELECT lower(hex(a.device)) FROM satchel_ancestor a"    \
    " ORDER BY a.last_number DESC LIMIT 1) AS copy_of,"                                            \
    " iif(state IN ('draining', 'wiped'), state, NULL) AS revoked,"                                \
    " (SELECT nullif(count(*), 0) FROM satchel_lost l WHERE NOT l.is_cut AND l.given IS NOT"       \
    " satchel_replica.node) AS to_give_back,"                                                      \
    " (SELECT nullif(count(*), 0) FROM satchel_doubt) AS in_doubt,"                                \
    " (SELECT iif(page_count > 0, nullif(page_count - page_next, 0), 1) FROM satchel_snapshot)"    \
    " AS pages_to_come,"                                                                           \
    " nullif(begun - past, 0) AS entries_to_come"                                                  \
    " FROM satchel_replica"

/* A clock sample of a handshake: the server's time at two raw readings of this device's clocks. */
struct satchel_clock_reference {
    bool is_set;
    int64_t server_ms, utc_ms, monotonic_ms;
    uint64_t boot;
};

enum { SATCHEL_BUSY_TIMEOUT_MS = 5000 }; /* of the connections that the library opens */

/* What one connection keeps. Its memory belongs to the connection: it is freed when that closes. */
struct satchel_replica {
    sqlite3 *db;
    bool owns_db;
    struct satchel_clock clock;

    /* as last read from satchel_replica; who it is changes only when a copy is known as one */
    bool is_enrolled;
    bool is_revoked, is_wiped; /* 'draining' or 'wiped'; 'wiped' */
    struct satchel_id device;
    struct satchel_id file; /* what the triggers know it by */
    struct satchel_id receipt;
    char device_text[SATCHEL_ID_TEXT_BYTES];
    uint32_t device_version; /* of the data when they were read, see satchel_replica_data_version */
    uint8_t token[SATCHEL_TOKEN_BYTES];
    uint64_t token_number; /* how many it had before */
    uint8_t secret[32];
    char *server, *workspace, *user, *role;
    struct satchel_id workspace_id;
    struct satchel_pins pins;

    struct satchel_schema *schema; /* reloaded when the count of satchel_migration has changed */
    struct satchel_identity identity;
    bool
        is_applying; /* this connection is writing an entry's effects: capture ignores its writes */

    struct satchel_clock_reference reference; /* as last read */
    uint32_t reference_version; /* of the data then, see satchel_replica_data_version */
    uint64_t system_boot;       /* of the system's clock, read once; 0: not yet */

    struct satchel_capture *capture; /* capture.c */
    uint32_t module_count;           /* virtual table modules that hold this handle */
    bool is_sync;        /* the connection is a sync's own: nothing of the application runs on it */
    int busy_wait_ms;    /* how long that connection waits for a lock */
    int wal_pages;       /* in the WAL, after the last commit */
    int64_t released_ms; /* the monotonic clock when the last commit let the write lock go */
    int checkpoint_lock; /* fd of REPLICA-ckpt when this connection checkpoints, else -1 */
    char *path;          /* of the main database, "" if none */
};

/* ---- replica.c ---- */
/* Reads satchel_replica's constant part into the handle. MISMATCH if the file is no replica. */
enum satchel_status satchel_replica_read_identity(struct satchel_replica *replica,
                                                  struct satchel_error *error) SATCHEL_MUST_USE;
/* Creates all internal tables (join). In the caller's transaction. */
enum satchel_status satchel_replica_create_tables(sqlite3 *db,
                                                  struct satchel_error *error) SATCHEL_MUST_USE;
/* Reloads the schema if migrations were added. */
enum satchel_status satchel_replica_refresh_schema(struct satchel_replica *replica,
                                                   struct satchel_error *error) SATCHEL_MUST_USE;
/* Installs migrations and (re)creates the capture triggers, in the caller's transaction. */
enum satchel_status satchel_replica_migrate(struct satchel_replica *replica,
                                            const struct satchel_migration *migrations,
                                            uint32_t migration_count,
                                            struct satchel_error *error) SATCHEL_MUST_USE;

/* Frees the handle, not the connection. */
void satchel_replica_free(struct satchel_replica *replica);
/* Changes whenever the database has changed, by this connection or another; as of the last time
 * this connection looked (began to read). */
uint32_t satchel_replica_data_version(const struct satchel_replica *replica);
enum satchel_status satchel_replica_execute(sqlite3 *db, const char *sql,
                                            struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- find_change.c ---- */
/* The change set of a device, decoded in `arena`: from the log, or one of this replica's own that
 * is not answered yet. */
struct satchel_changeset;
enum satchel_status satchel_replica_find_change(struct satchel_replica *replica,
                                                const struct satchel_id *device, uint64_t number,
                                                struct satchel_arena *arena,
                                                struct satchel_changeset *out, bool *found,
                                                struct satchel_error *error) SATCHEL_MUST_USE;

/* Whether the row's column is the id of the device that this handle knows the replica as. */
bool satchel_replica_is_device(const struct satchel_replica *replica, sqlite3_stmt *row,
                               int column);

/* ---- clock.c ---- */
extern const struct satchel_clock satchel_clock_system;
/* The boot of the replica's clock; the system's is read only once. */
uint64_t satchel_replica_boot(struct satchel_replica *replica);
/* The true time by the replica's clock and its last reference. */
int64_t satchel_replica_now_ms(struct satchel_replica *replica);
/* Reads the reference again if the data version is another than when it was last read. An SQLite
 * code: OK also if the database is busy, and the reference stays as it was. On another the
 * transaction around it may be gone: an I/O error rolls it back, whatever was reading. */
int satchel_replica_refresh_reference(struct satchel_replica *replica);
/* The true (server's) time of a moment given by raw readings: by the monotonic clock within the
 * reference's boot, else by the wall clock and the error it had at the reference. */
int64_t satchel_clock_correct(const struct satchel_clock_reference *reference, int64_t utc_ms,
                              int64_t monotonic_ms, uint64_t boot);
/* The same when two references are known, the one before the moment and the one after:
 * the one of the same boot wins; else the one whose result lies between `floor_ms` and the newer
 * reference's server_ms; else the newer. */
int64_t satchel_clock_correct_between(const struct satchel_clock_reference *before,
                                      const struct satchel_clock_reference *after, int64_t floor_ms,
                                      int64_t utc_ms, int64_t monotonic_ms, uint64_t boot);

/* ---- capture.c, triggers.c: triggers -> virtual tables satchel_capture_N -> satchel_change ----
 */
/* An SQLite code. From the first success on the modules own the handle: it is freed with the last.
 */
int satchel_capture_register(struct satchel_replica *replica);
void satchel_capture_free(struct satchel_capture *capture);
/* Called before the replica's schema is replaced; NULL is fine. */
void satchel_capture_forget_schema(struct satchel_capture *capture);
/* CREATE TRIGGER statements for one table, appended, each ending in ';'. Names: satchel_insert_T,
 * satchel_update_T, satchel_delete_T. `device`: they work for this replica only, so that a replica
 * attached to another's connection is not captured into the wrong log. LIMIT: too many columns. */
enum satchel_status satchel_capture_triggers(const struct satchel_table *table,
                                             const struct satchel_id *device,
                                             struct satchel_buffer *sql) SATCHEL_MUST_USE;
/* Whether every tracked table has its triggers and columns; SCHEMA naming what is missing. */
enum satchel_status satchel_capture_check(struct satchel_replica *replica,
                                          struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- base.c ---- */
struct satchel_base {
    bool exists;                  /* the node has the row */
    struct satchel_value *values; /* the node's, table->column_count, if it exists */
    uint32_t value_count; /* decoding: how many were stored; columns that a migration has added
                             since are beyond it, NULL in `values`, and have their default */
    struct satchel_exception
        *views; /* per unit touched (its lowest column), or SATCHEL_COLUMN_ROW */
    uint32_t view_count;
};
/* That of the column, or of SATCHEL_COLUMN_ROW; NULL: there is none. */
static inline struct satchel_exception *satchel_exception_find(struct satchel_exception *views,
                                                               uint32_t count, uint32_t column)
{
    for (uint32_t i = 0; i < count; i++)
        if (views[i].column == column)
            return &views[i];
    return NULL;
}
enum satchel_status satchel_base_encode(struct satchel_buffer *out, const struct satchel_base *base,
                                        uint32_t column_count) SATCHEL_MUST_USE;
enum satchel_status satchel_base_decode(struct satchel_span bytes, uint32_t column_count,
                                        struct satchel_arena *arena,
                                        struct satchel_base *out) SATCHEL_MUST_USE;

/* ---- savepoint.c ---- */
/* What is written on the application's connection, all or none of it. Both ways out are prepared
 * beforehand: without memory a savepoint must not stay open, and what the application writes next
 * stand in it. */
struct satchel_savepoint {
    sqlite3 *db;
    sqlite3_stmt *back, *release;
};
enum satchel_status satchel_savepoint_open(struct satchel_savepoint *savepoint, sqlite3 *db,
                                           struct satchel_error *error) SATCHEL_MUST_USE;
/* Keeps what was written if `status` is OK, else takes it back; so it does when it cannot be kept,
 * which capture may say only at the commit. No statement may be running. The status, or why it
 * could not be kept. */
enum satchel_status satchel_savepoint_close(struct satchel_savepoint *savepoint,
                                            enum satchel_status status,
                                            struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- guard.c ---- */
/* Synced tables are not dropped or altered through this connection; it fails with "not authorized".
 */
void satchel_guard_attach(struct satchel_replica *replica);
void satchel_guard_detach(struct satchel_replica *replica);

/* ---- checkpoint.c ---- */
/* Takes part in the choice of the one connection that checkpoints. */
enum satchel_status satchel_checkpoint_attach(struct satchel_replica *replica,
                                              struct satchel_error *error) SATCHEL_MUST_USE;
void satchel_checkpoint_detach(struct satchel_replica *replica);
/* While the write lock is left to others: copies what has come into the WAL, if it is worth it. */
void satchel_checkpoint_in_pause(struct satchel_replica *replica);
/* Before a close: if nobody holds the lock, the last connection checkpoints as it closes. */
void satchel_checkpoint_offer(struct satchel_replica *replica);
/* Everything goes from the WAL into the file, and the WAL becomes empty. BUSY: others are in the
 * way. */
enum satchel_status satchel_checkpoint_truncate(struct satchel_replica *replica,
                                                struct satchel_error *error) SATCHEL_MUST_USE;

#endif
