/* Satchel for applications: a real SQLite replica that captures local writes and syncs them.
 *
 * Three ways to use it:
 *   1. open a replica and use `sqlite3 *` as always: every write through it is captured;
 *   2. sync in one blocking call (satchel_sync_run), from any thread or process;
 *   3. drive a session by hand over the platform's own socket and loop (satchel_sync_new, then
 *      satchel_session_receive, satchel_sync_step, satchel_session_next_output,
 *      satchel_session_tick).
 *
 * No globals; a handle is used by one thread at a time; no threads of its own. Functions return
 * enum satchel_status and, where they take a `struct satchel_error *` (may be NULL), say in one
 * line what failed, where, and what to do. Options structs begin with their size: set `.size =
 * sizeof options`. */
#ifndef SATCHEL_CLIENT_H
#define SATCHEL_CLIENT_H

#include <satchel/id.h> /* and with it every standard header, outside of what follows */

#ifdef __cplusplus
extern "C" {
#endif

#include <satchel/session.h>

#define SATCHEL_VERSION_TEXT "0.1.0"

struct sqlite3;
typedef struct satchel_replica satchel_replica;
typedef struct satchel_sync satchel_sync;

/* ---- clocks ---- */

/* What a device can read of time. NULL in options: the system's clocks. */
struct satchel_clock {
    void *context;
    int64_t (*utc_ms)(void *context);       /* the wall clock, which may be wrong and may jump */
    int64_t (*monotonic_ms)(void *context); /* counts while asleep, restarts at boot */
    uint64_t (*boot)(void *context);        /* differs between boots */
};

/* ---- opening ---- */

struct satchel_open_options {
    size_t size;
    const struct satchel_clock *clock; /* borrowed for the replica's life */
};

/* Opens an enrolled replica with its own connection. `options` may be NULL. The connection is in
 * WAL mode, has recursive_triggers on, a busy timeout of 5 s, and an authorizer that keeps synced
 * tables from being dropped or altered ("not authorized": they change by the workspace's
 * migrations). NOT_FOUND no such file; CORRUPT not a database; MISMATCH a database, but no
 * replica; SCHEMA a trigger of the application writes a synced table unguarded, or tracked tables
 * were dropped or changed behind Satchel's back (named); SQL, IO, NOMEM. */
enum satchel_status satchel_replica_open(satchel_replica **out, const char *path,
                                         const struct satchel_open_options *options,
                                         struct satchel_error *error) SATCHEL_MUST_USE;
/* Attaches Satchel to a connection the application opened (what the loadable extension does). The
 * replica handle lives until the connection closes; `*out` (may be NULL) is borrowed. On a
 * database that is no replica only the SQL functions are registered and *out is NULL. EXISTS:
 * attached already, unchanged. */
enum satchel_status satchel_replica_attach(satchel_replica **out, struct sqlite3 *db,
                                           const struct satchel_open_options *options,
                                           struct satchel_error *error) SATCHEL_MUST_USE;
/* Closes a replica from satchel_replica_open; statements must be finalized. NULL is fine. */
void satchel_replica_close(satchel_replica *replica);
/* The connection, borrowed. */
struct sqlite3 *satchel_replica_db(satchel_replica *replica);

/* ---- enrolment ---- */

struct satchel_join_options {
    size_t size;
    const char *server; /* ws://HOST:PORT or wss://HOST:PORT */
    const char *workspace;
    const char *invite; /* one-time code; NULL where the JWT stands for it */
    const struct satchel_clock *clock;
    const char *jwt; /* what the application's login gave out; NULL where there is an invite */
    /* PIN[,PIN]... (up to four), each the SHA-256 of a public key (SubjectPublicKeyInfo) in base64
     * or hex: the server's certificate must have one of these keys, now and in every later sync,
     * and is asked for nothing else. NULL or "none": certificates that the system trusts. */
    const char *pin;
};

/* Creates the replica file and enrols it: device id and token are made here, the invite is used
 * up, the schema is fetched. If the answer is lost, the same call again finishes the same
 * enrolment. EXISTS: the file exists and is another thing or joined already (untouched); DENIED:
 * the invite is wrong, used or expired, or the JWT is refused; BUSY: too many were, from this
 * address (no file is left behind in either case); NETWORK, TIMEOUT, SQL, IO. */
enum satchel_status satchel_join(const char *path, const struct satchel_join_options *options,
                                 struct satchel_error *error) SATCHEL_MUST_USE;

/* Lets a replica in again whose token the server does not know any more (DENIED from a sync):
 * because it was put back from, or is, a copy that was made before the token was replaced. An
 * invite or a JWT of the same user gives it another, and takes its present one from whoever has
 * that; all that is in the file stays. `options`: invite or jwt, pin, clock; server and workspace
 * are the replica's. After NETWORK or TIMEOUT the same call again. DENIED as satchel_join, or the
 * device is another user's; MISMATCH, SQL, IO. */
enum satchel_status satchel_rejoin(const char *path, const struct satchel_join_options *options,
                                   struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- sync ---- */

struct satchel_sync_report {
    uint64_t pushed_change_sets;         /* acknowledged in this sync */
    uint64_t pulled_entries;             /* applied, own ones included */
    uint64_t conflicts;                  /* opened by the entries pulled */
    uint64_t quarantined;                /* own rows set aside by the server */
    uint64_t bytes_sent, bytes_received; /* WebSocket payloads */
    double seconds;
    uint64_t cursor, pending; /* when it ended */
    uint64_t repaired;        /* rows that differed from the server's, docs/digests.md */
    /* Of a new replica that is filled with rows from a snapshot (docs/bootstrap.md): how many these
     * are, and while they come, in how many pages, and how many of these are here; else 0. The
     * first two are 0, too, as long as the server is still reading them. */
    uint64_t snapshot_rows, snapshot_pages, snapshot_pages_here;
};

struct satchel_sync_options {
    size_t size;
    bool watch; /* go on after everything is equal, until `stop` or the server is lost */
    const struct satchel_clock *clock;
    void *context;               /* of the callbacks below; each may be NULL */
    bool (*stop)(void *context); /* asked several times a second; true ends the sync */
    void (*progress)(void *context, const struct satchel_sync_report *report);
    void (*changed)(void *context, const char *table); /* after a commit: what to query again */
    void (*notice)(void *context, const char *line);   /* one line worth telling a person */
    /* As in satchel_join_options, instead of what the replica keeps, and kept from the moment on in
     * which such a server has let the device in; NULL: what the replica keeps. */
    const char *pin;
    /* The device makes itself another token, once everything is equal; the one before is worth
     * nothing from then on, in this file's copies too. By hand: AGAIN when it is done; go on
     * without. */
    bool rotate;
    bool repairs; /* satchel_verify: repairs what differs, as every sync does, and compares again */
};

/* Syncs the replica at `path` over libwebsockets with a connection of its own: returns when
 * everything pending at the start is acknowledged, its own entries are applied, and the cursor has
 * reached what was the server's end at the start. `report` (may be NULL) is filled also on
 * failure. A replica that turns out to be a copy (docs/recovery.md) goes on as a device of its
 * own, by itself. NETWORK, TIMEOUT (10 s of silence), BUSY (the file is locked for long, or the
 * server has no room now): try again; DENIED, MISMATCH, SQL, IO, and whatever the server says. */
enum satchel_status satchel_sync_run(const char *path, const struct satchel_sync_options *options,
                                     struct satchel_sync_report *report,
                                     struct satchel_error *error) SATCHEL_MUST_USE;

/* By hand: a sync over any transport. The replica must not be used for anything else meanwhile.
 * The HELLO is queued at once; send what satchel_session_next_output gives. */
enum satchel_status satchel_sync_new(satchel_sync **out, satchel_replica *replica,
                                     const struct satchel_sync_options *options,
                                     struct satchel_now now,
                                     struct satchel_error *error) SATCHEL_MUST_USE;
void satchel_sync_free(satchel_sync *sync);
/* Feed it with satchel_session_receive and _tick, empty it with _next_output. Borrowed. */
struct satchel_session *satchel_sync_session(satchel_sync *sync);
/* Acts on what has arrived and on new local writes; call after each receive, after each output
 * that was sent, and at least once a second. `*is_done`: everything is equal (with watch: it was,
 * and goes on). AGAIN: the sync must be begun anew, at once: free this one, call satchel_sync_new.
 */
enum satchel_status satchel_sync_step(satchel_sync *sync, struct satchel_now now, bool *is_done,
                                      struct satchel_error *error) SATCHEL_MUST_USE;
void satchel_sync_get_report(const satchel_sync *sync, struct satchel_sync_report *report);

/* ---- verify, undo, resolve, administration ---- */

struct satchel_verify_table {
    char name[128];
    uint64_t row_count, server_row_count;
    char digest[33], server_digest[33];
    bool is_equal;
    uint64_t repaired_count; /* rows, before they were compared at last */
};

/* Syncs, then compares the digest of every synced table with the server's at one cursor, and
 * repairs nothing unless it is asked to. Rows with pending writes count with what the server has
 * beneath. `*tables` is freed with satchel_verify_free. OK also when tables differ. */
enum satchel_status satchel_verify(const char *path, const struct satchel_sync_options *options,
                                   struct satchel_verify_table **tables, size_t *count,
                                   struct satchel_error *error) SATCHEL_MUST_USE;
void satchel_verify_free(struct satchel_verify_table *tables);

/* Writes the value a write replaced (`history_id` of satchel_history) back as a new change.
 * NOT_FOUND, REFUSED (the rule does not allow it, in words), SQL. */
enum satchel_status satchel_undo(satchel_replica *replica, const char *history_id,
                                 struct satchel_error *error) SATCHEL_MUST_USE;

/* Settles an open conflict (`conflict_id` of satchel_conflicts) by a write that knows both sides:
 * `take` is "winner" (what stands is written again), "loser" (what lost is), or a value as text. A
 * lost delete: winner keeps the row, loser deletes it; two rows with one key: winner leaves them
 * one, loser sets them apart. NOT_FOUND; STATE it is settled already, the row is gone, or the open
 * transaction has written before; REFUSED such a write cannot win (in words), SQL. */
enum satchel_status satchel_resolve(satchel_replica *replica, const char *conflict_id,
                                    const char *take, struct satchel_error *error) SATCHEL_MUST_USE;

/* One administration request: `arguments[0]` is the verb. `result` gets the answer's bytes in
 * `arena`. */
enum satchel_status satchel_admin(const char *server, const char *token_file,
                                  const struct satchel_value *arguments, uint32_t argument_count,
                                  struct satchel_arena *arena,
                                  struct satchel_message_admin_result *result,
                                  struct satchel_error *error) SATCHEL_MUST_USE;

/* Several requests on one connection, one after another: `next` takes the answer to the last one
 * (NULL at first; borrowed for the call) and says the next, which it keeps until it is called
 * again; no argument ends the talk. */
struct satchel_admin_request {
    const struct satchel_value *arguments; /* the first is the verb */
    uint32_t argument_count;
};
struct satchel_admin_talk {
    void *context;
    enum satchel_status (*next)(void *context, const struct satchel_message_admin_result *answer,
                                struct satchel_admin_request *request, struct satchel_error *error);
};
/* NETWORK, TIMEOUT (a minute without an answer), INVALID, IO, what `next` returns and what the
 * server says. */
enum satchel_status satchel_admin_run(const char *server, const char *token_file,
                                      const struct satchel_admin_talk *talk,
                                      struct satchel_error *error) SATCHEL_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
