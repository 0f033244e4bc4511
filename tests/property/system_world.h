/* A whole system in one thread: replicas with real files and capture, a central store with the
 * server's own job functions, sessions whose frames a test carries, loses and splits by hand.
 * Clocks, order and loss come from one seed.
 *
 *   system_schema.c   the schema
 *   system_world.c    clocks, trace, files: what a history begins and ends with
 *   system_server.c   the server's half of a session, as the hub has it, one job at a time
 *   system_link.c     a device's sync and the frames between the two
 *   system_ledger.c   what every device committed, taken from its tables, not from its capture
 *   system_work.c     the application: random SQL
 *   system_shown.c    what a replica must show on the way
 *   system_entries.c  the log, decoded
 *   system_check.c    what must hold at the end
 *   system_reference.c  and that it is what the naive reference says
 *   system_print.c    the log in words, for a history that failed
 *   system_replay.c   the same change sets in other orders of arrival */
#ifndef SATCHEL_TEST_SYSTEM_WORLD_H
#define SATCHEL_TEST_SYSTEM_WORLD_H

#include "../../client-core/src/sync.h"
#include "history.h"
#include "row_change.h"
#include "system_schema.h"
#include "workspace_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum {
    SYSTEM_DEVICES_MAX = 4, /* of a random history */
    SYSTEM_DEVICES_CAPACITY = 12,
    SYSTEM_CONNECTIONS = 2,
    SYSTEM_KEYS = 3,
    SYSTEM_ROW_OPS_MAX = 20,
    SYSTEM_COLUMNS_MAX = 16
};

/* What happened, over all histories. */
/* clang-format off */
#define SYSTEM_COUNTS(X) \
    X(histories) X(change_sets) X(inserts) X(updates) X(deletes) X(reinserts) X(replaces) \
    X(upserts) X(key_updates) X(no_ops) X(statement_aborts) X(savepoint_rollbacks) X(rollbacks) \
    X(refusals) X(undos) X(cuts_up) X(cuts_down) X(lost_acks) X(duplicates) X(partial_pulls) \
    X(split_frames) X(group_commits) X(server_restarts) X(reopens) X(reboots) X(clock_jumps) \
    X(migrations) X(old_schema_change_sets) X(bases) X(exceptions_sent) X(row_exceptions_sent) \
    X(unseen_overwrites) X(seen_overwrites) X(rebuilds_likely) X(quarantined) \
    X(conflicts_ever) X(open_lww) X(open_group) X(open_first) X(open_delete) X(replays) \
    X(replay_swaps) X(second_syncs) X(begun_again) X(shown_checks) X(shown_pending) \
    X(backups) X(restores) X(entries_forwarded) X(rows_asked)
/* clang-format on */
struct system_counts {
#define SYSTEM_COUNT(name) unsigned long name;
    SYSTEM_COUNTS(SYSTEM_COUNT)
#undef SYSTEM_COUNT
};
extern struct system_counts system_counts;

struct system_world;

/* ---- the ledger (system_ledger.c) ---- */

struct system_row {
    const struct satchel_table *table;
    struct satchel_span name; /* satchel_row_name */
    struct satchel_value *values;
};
struct system_snapshot {
    struct system_row *rows;
    size_t count;
};

/* One row's change by one committed transaction. */
struct system_op {
    uint32_t change; /* index in world->changes */
    enum satchel_op_kind kind;
    const struct satchel_table *table;
    struct satchel_span name;
    const struct satchel_value *before, *after; /* whole rows; NULL where there was none */
    /* by column: the cursor up to which others' writes to its unit had been shown; and the row's */
    uint64_t shown[SYSTEM_COLUMNS_MAX];
    uint64_t row_shown;
};

struct system_change {
    unsigned device;
    uint64_t number;
    int64_t true_ms;
    struct satchel_span body;
};

/* ---- the server (system_server.c) ---- */

/* The server's half of one connection. */
struct system_peer {
    struct satchel_session *session;
    uint64_t number; /* of the connection */
    bool is_attached, needs_schema, is_live;
    struct satchel_scope_state scope;
    uint8_t names[2][256], told[8192]; /* of it */
    struct satchel_id device;
    uint64_t schema, cursor;
    uint64_t acked_number, acked_said;
};

struct system_link {
    struct satchel_replica *replica; /* the sync's own connection; NULL: not connected */
    struct satchel_sync *sync;
    struct system_peer peer;
    bool is_done;
};

enum { SYSTEM_LATE_FRAMES_MAX = 8 };

/* A connection that the device has given up, and what it had sent: it arrives late. */
struct system_late {
    struct system_peer peer; /* session NULL: none */
    struct satchel_span frames[SYSTEM_LATE_FRAMES_MAX];
    unsigned frame_count;
};

struct system_device {
    struct system_world *world;
    unsigned index;
    char path[256];
    struct satchel_id id;
    struct satchel_clock clock;
    int64_t clock_error_ms, booted_ms;
    bool has_rebooted, has_jumped; /* after both nobody can know the time of its writes */
    uint64_t boot;
    struct satchel_replica *connections[SYSTEM_CONNECTIONS]; /* the application's; NULL: closed */
    struct system_link link;
    struct system_link parked; /* another sync of the same replica, in another process */
    struct system_late late;
    uint64_t last_number;
    bool is_enforcing; /* foreign_keys=ON */
};

struct system_world {
    uint64_t seed;
    struct history_random random;
    struct satchel_arena arena; /* of the history */
    struct satchel_buffer trace, scratch;
    char folder[64];
    int64_t now_ms;                             /* true time: the server's */
    const struct satchel_migration *migrations; /* of the workspace */
    struct satchel_schema *schemas[2];

    struct satchel_workspace server;
    bool is_server_open, is_failing;
    bool is_delivering_twice; /* every upload comes a second time */
    struct satchel_job *done; /* the job that was completed last */
    struct satchel_job *pushes, *last_push;
    uint64_t head;
    bool is_deployed; /* the second migration */

    struct system_device devices[SYSTEM_DEVICES_CAPACITY];
    unsigned device_count;

    struct system_change *changes;
    struct system_op *ops;
    size_t change_count, op_count, change_capacity, op_capacity;
    uint64_t next_value, next_peer;
    bool has_rules; /* the tables whose rules combine, and whose rows are merged, are much in use */
    bool is_restored_at_times; /* a backup may be taken and put back */
    bool has_backup, was_restored;
    bool was_deployed; /* at the backup */
    bool has_stock;    /* the table whose rows may be quarantined is in use */
};

/* ---- system_world.c ---- */

/* Made once: template files, schemas. */
void system_world_init(struct system_world *world);
void system_world_deinit(struct system_world *world);
/* A history's beginning: an empty server, `device_count` joined replicas. And its end. */
void system_world_open(struct system_world *world, uint64_t seed);
void system_world_close(struct system_world *world);
/* Writes a fresh central store to `path`: of the first migration, or (for replays) of all
 * migrations and without first rows. */
void system_store_write(const struct system_world *world, const char *path, bool is_for_replay);

unsigned system_below(struct system_world *world, unsigned limit);
bool system_one_in(struct system_world *world, unsigned limit);
void system_trace(struct system_world *world, const char *format, ...) SATCHEL_PRINTF(2, 3);
/* Appends to a text that is only for people. */
void system_put(struct satchel_buffer *buffer, const void *bytes, size_t size);
/* Prints the history and fails the test. */
void system_fail(struct system_world *world, const char *format, ...) SATCHEL_PRINTF(2, 3);
#define system_check(world, condition, ...)    \
    do {                                       \
        if (!(condition))                      \
            system_fail((world), __VA_ARGS__); \
    } while (0)
void system_ok(struct system_world *world, enum satchel_status status, const char *doing,
               const struct satchel_error *error);
struct satchel_now system_device_now(const struct system_device *device);
struct satchel_replica *system_open_replica(struct system_device *device);
/* The application's connection `which`, opened if need be. */
sqlite3 *system_app(struct system_device *device, unsigned which);
void system_close_apps(struct system_device *device);
int64_t system_integer(struct system_world *world, sqlite3 *db, const char *sql);
/* The schema as a device or the store has it now. */
const struct satchel_schema *system_schema(struct system_world *world, sqlite3 *db);

/* ---- system_server.c ---- */
void system_server_open(struct system_world *world);
void system_server_close(struct system_world *world);
/* An administrator's request; its arguments end with NULL. */
void system_server_admin(struct system_world *world, const char *verb, ...);
void system_server_deploy(struct system_world *world);
void system_server_back_up(struct system_world *world);
/* Puts the backup back: the server goes on as a new incarnation. Nothing is connected to it. */
void system_server_restore(struct system_world *world);
/* Runs the uploads that have gathered, as one group. */
void system_server_flush(struct system_world *world);
void system_peer_open(struct system_world *world, struct system_peer *peer);
void system_peer_close(struct system_world *world, struct system_peer *peer);
void system_peer_receive(struct system_world *world, struct system_peer *peer,
                         struct satchel_span frame);
/* Says what there is to say now. */
void system_peer_step(struct system_world *world, struct system_peer *peer);

/* ---- system_link.c ---- */
void system_link_open(struct system_device *device);
/* Both syncs of the device end. */
void system_link_close(struct system_device *device);
/* The other sync of the replica goes on, this one waits. */
void system_link_swap(struct system_device *device);
/* Carries up to `frames` frames; false when there was nothing left to carry. */
bool system_link_pump(struct system_device *device, unsigned frames);
/* The same, but nothing that the device says once it is attached arrives yet. */
void system_link_hear(struct system_device *device, unsigned frames);
/* What was still on its way of an older connection arrives. */
void system_link_arrive_late(struct system_device *device);
void system_link_forget_late(struct system_device *device);
/* The connection breaks. */
void system_link_cut(struct system_device *device);
/* The device connects and sends what is pending; it arrives, and the connection breaks before an
 * answer does. */
void system_link_lose_answers(struct system_device *device);
/* Everybody connects and syncs until nothing moves. */
void system_drain(struct system_world *world);

/* ---- system_ledger.c ---- */
void system_snapshot_take(struct system_world *world, sqlite3 *db, struct system_snapshot *out);
const struct system_row *system_snapshot_find(const struct system_snapshot *snapshot,
                                              struct satchel_span name);
/* Compares what a transaction did to the tables with what was captured, and keeps both. */
void system_ledger_commit(struct system_device *device, sqlite3 *db,
                          const struct system_snapshot *before);
/* What the change set says of the row by what the transaction did: how many fields. */
uint32_t system_op_fields(struct system_world *world, const struct system_op *op,
                          struct satchel_field *fields);
/* Whether an op writes a unit. */
bool system_op_writes(const struct system_op *op, uint32_t unit);
/* Whether the naive reference knows every rule of the table. */
bool system_has_reference(const struct satchel_table *table);
/* How many ops the busiest row has. */
size_t system_ledger_busiest(const struct system_world *world);
void system_describe_value(struct satchel_buffer *out, const struct satchel_value *value);
void system_describe_row(struct system_world *world, struct satchel_buffer *out,
                         const struct system_row *row);

/* ---- system_work.c ---- */
void system_write(struct system_device *device);

/* ---- system_shown.c ---- */
/* A replica that has heard everything shows the server's values with its pending writes on them. */
void system_check_shown(struct system_device *device);

/* ---- system_check.c ---- */
void system_check_all(struct system_world *world);

/* ---- system_entries.c ---- */

/* An entry of the store, decoded, for checks and replays. */
struct system_entry {
    uint64_t cursor, seq, number;
    struct satchel_id device;
    satchel_stamp stamp;
    struct satchel_span user, body;
    uint8_t secret[SATCHEL_SECRET_BYTES];
    struct satchel_changeset content;
    struct satchel_notes notes;
    bool *is_quarantined; /* per part */
};
void system_entries_load(struct system_world *world, struct system_entry **out, size_t *count);

/* ---- system_reference.c ---- */
/* The device's place among all, as ties break by it. */
unsigned system_device_rank(const struct system_world *world, const struct satchel_id *id);
void system_check_reference(struct system_world *world, const struct system_entry *entries,
                            size_t count, const struct system_snapshot *store);

/* ---- system_print.c ---- */
/* The server's log, in words, into the trace. */
void system_describe_log(struct system_world *world);

/* ---- system_replay.c ---- */
void system_replay(struct system_world *world, const struct system_entry *entries, size_t count);

#endif
