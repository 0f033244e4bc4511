/* The whole system in one thread, one process and one seed.
 *
 * Real code: the replica with capture, apply and sync (satchel_sync_run), the hub and its sessions,
 * the workspace with its queues and threads, store and merge, SQLite itself. Simulated: everything
 * they ask of a machine. What happens is decided by a seed, so that the same seed happens again.
 *
 *   time       one clock (schedule.c). Whoever asks the system for the time gets it, a device with
 *              the error of its own clock. It moves between events only.
 *   threads    what would run at the same time are fibers (fiber.c): applications and syncs of a
 *              device, the server's threads. A fiber runs until it waits: for a lock, a frame, a
 *              job, the disk.
 *   machines   each device and the server (machine.c). A machine runs processes; both can be
 *              killed between any two writes. Whatever a dead process still asks for fails; what it
 *              had open is closed when its fibers have come back.
 *   disk       an SQLite VFS over files in memory (disk*.c). What is not synced is lost
 *              in a power cut: all of it, some of it, half a write of it.
 *   network    a stream of bytes each way per connection (network.c): slow, cut at any byte, half
 *              open for a minute, stopped by a partition. transport.c takes libwebsockets' place on
 *              a device, listener.c on the server.
 *   memory     an allocation fails now and then (memory.c).
 *
 * A run (run.c): the options are drawn from the seed (options.c). For a while applications write
 * (app.c, workload.c), devices sync (device.c), administrators meddle (admin.c) and faults strike
 * (faults.c). Then the faults end, everybody comes back, and within a bounded time everything must
 * be equal (check*.c) and as the ledger says.
 *
 * The ledger (ledger.c) is the independent memory: for every transaction that a device committed,
 * the rows before and after it, as SQLite's preupdate hook and the tables tell. Each must be in the
 * server's history exactly once, unless a power cut took it from the device before it was sent.
 *
 * An operation of the product may fail only where a fault met it: each fault that is delivered is
 * counted at the process that got it (`faults_met`), and an operation that fails while that count
 * stood still fails the run.
 *
 * What a run calls of the product runs in a process of the child that the runner (main.c) forks per
 * seed, so that nothing is left of one run in the next, and a crash is a failure like others. */
#ifndef SATCHEL_SIMULATION_H
#define SATCHEL_SIMULATION_H

#include <satchel.h>
#include <satchel/memory.h>
#include <satchel/schema.h>

#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>

enum {
    SIM_DEVICES_MAX = 6,
    SIM_APPS_MAX = 2,
    SIM_SYNCS_MAX = 2,
    SIM_PROCESSES_MAX = SIM_APPS_MAX + SIM_SYNCS_MAX,
    SIM_COLUMNS_MAX = 48,
    SIM_MIGRATIONS_MAX = 5,
    SIM_DUEL_SEEDS = 6, /* of so many seeds the one with this remainder is a duel */
    SIM_DUEL_SEED = 4,
    SIM_SCOPED_SEED = 1,   /* and with this one is of the world of scopes */
    SIM_RESTORED_SEED = 2, /* and with this one has a server that is restored over and over */
};

/* ---- what happened, over all runs (report.c) ---- */

/* clang-format off */
#define SIM_FAULT_COUNTS(X) \
    X(power_cuts) X(power_cuts_in_an_operation) X(kills) X(kills_in_an_operation) \
    X(server_power_cuts) X(server_kills) X(server_stops) X(server_backups) X(server_restores) \
    X(writes_lost) X(writes_torn) X(files_unlinked) X(files_back) \
    X(disk_full) X(read_errors) X(write_errors) X(sync_errors) X(allocations_failed) \
    X(cuts) X(cuts_in_a_frame) X(half_open) X(late_bytes) X(partitions) X(server_partitions) \
    X(slow_links) X(stalls) X(leaps) X(file_copies) X(files_put_back) X(second_phones) \
    X(clock_jumps) X(clock_drifts) X(reboots) X(damages)
#define SIM_EVENT_COUNTS(X) \
    X(commits) X(commits_in_doubt) X(commits_recovered) X(commits_taken_back) X(change_sets) \
    X(inserts) X(updates) X(deletes) X(reinserts) X(refusals) X(busy) X(rollbacks) X(savepoints) \
    X(savepoint_rollbacks) X(bulk_imports) X(big_values) X(undos) X(resolves) X(failed_operations) \
    X(no_op_commits) X(syncs_begun) X(syncs_done) X(syncs_lost) X(syncs_failed) \
    X(connects_refused) \
    X(checkpoints) X(frames) X(deploys) X(admin_resolves) X(retries) X(drops) X(packs) \
    X(device_packs) X(admin_sets) X(store_opens) X(recoveries) X(watch_checks) X(replays) \
    X(reference_checks) X(rows_compared) X(sights) X(passings) X(late_positions) \
    X(frames_checked) X(rows_named) X(marks_read) \
    X(evictions) X(snapshots) X(snapshot_pages) X(parts_masked) X(columns_masked) X(repaired) \
    X(revocations) X(wiped)
#define SIM_OUTCOME_COUNTS(X) \
    X(quarantined_parts) X(conflicts_open) X(conflicts_closed) X(conflicts_review) \
    X(conflicts_info) \
    X(aliases) X(entries) X(old_schema_change_sets)
/* clang-format on */
struct sim_counts {
#define SIM_COUNT(name) uint64_t name;
    SIM_FAULT_COUNTS(SIM_COUNT)
    SIM_EVENT_COUNTS(SIM_COUNT)
    SIM_OUTCOME_COUNTS(SIM_COUNT)
#undef SIM_COUNT
    uint64_t rules[SATCHEL_RULE_COUNT];          /* writes to columns of the rule */
    uint64_t rule_conflicts[SATCHEL_RULE_COUNT]; /* conflicts about them */
    uint64_t delete_policies[8], row_conflicts;
};

/* ---- chance, time, order (schedule.c) ---- */

enum sim_stream { /* independent, so that a fault turned off moves as little else as possible */
                  SIM_OPTIONS,
                  SIM_WORK,
                  SIM_NETWORK,
                  SIM_FAULTS,
                  SIM_DISK,
                  SIM_SECRETS,
                  SIM_ORDER,
                  SIM_STREAM_COUNT
};
uint64_t sim_random(enum sim_stream stream);
unsigned sim_below(enum sim_stream stream, unsigned limit);
bool sim_one_in(enum sim_stream stream, unsigned limit); /* never, if limit is 0 */
/* Mostly little, sometimes much: up to `limit`. */
unsigned sim_skewed(enum sim_stream stream, unsigned limit);

typedef void sim_action(void *context, uint64_t argument);
void sim_at(int64_t at_ms, sim_action *action, void *context, uint64_t argument);
void sim_after(int64_t ms, sim_action *action, void *context, uint64_t argument);
/* Lets everything happen up to that time. */
void sim_run_until(int64_t end_ms);

void sim_trace(const char *format, ...) SATCHEL_PRINTF(1, 2);
/* Into the hash of the run. */
void sim_mix(const void *bytes, size_t size);
/* Ends the run as failed. Does not return. */
void sim_fail(const char *format, ...) SATCHEL_PRINTF(1, 2);
#define sim_check(condition, ...)  \
    do {                           \
        if (!(condition))          \
            sim_fail(__VA_ARGS__); \
    } while (0)
void sim_ok(enum satchel_status status, const char *doing, const struct satchel_error *error);

/* ---- fibers (fiber.c) ---- */

struct sim_process;
struct sim_fiber;

struct sim_fiber *sim_fiber_new(struct sim_process *process, void (*run)(void *context),
                                void *context);
/* Others run meanwhile. Outside of a fiber time just passes. */
void sim_sleep(int64_t ms);
/* Until sim_wake(on) or for that long. */
void sim_wait(const void *on, int64_t ms_max);
void sim_wake(const void *on, int64_t after_ms);
/* Wakes whatever waits of a process that has died. */
void sim_wake_process(const struct sim_process *process);
bool sim_in_fiber(void);
/* Faults that this fiber has met since they were last settled. */
uint64_t sim_fiber_faults(void);
void sim_fiber_note_fault(void);
void sim_fiber_settle_faults(void);

/* ---- machines and processes (machine.c) ---- */

struct sim_process {
    struct sim_machine *machine;
    char name[16];
    bool is_dead;                       /* nothing it asks for succeeds any more */
    bool waits_for_disk;                /* others run while it syncs */
    bool was_server_at_fault;           /* in the session that ended last */
    unsigned fiber_count;               /* alive */
    uint64_t faults_met;                /* what may have made an operation of it fail */
    uint32_t kill_in;                   /* writes and syncs; 0: not */
    uint32_t allocations_until_failure; /* 0: none fails */
    uint32_t allocations_failing;       /* then this many in a row */
    struct sim_shm_copy *shm_at_death;
    void (*on_end)(struct sim_process *process); /* it has died and its last fiber has come back */
};

struct sim_machine {
    unsigned index;
    char name[16];
    bool is_server, is_off;
    bool is_powersafe; /* an overwrite never harms the bytes beside it */
    unsigned sector_bytes;
    struct sim_process *processes[SIM_PROCESSES_MAX];
    unsigned process_count;

    /* faults of the disk */
    bool is_disk_full;
    unsigned io_error_one_in; /* 0: none */
    uint32_t power_cut_in;    /* writes and syncs; 0: not */

    int64_t partitioned_until_ms;
    int64_t clock_error_ms, booted_ms;
    int drift_ppm;
    int64_t drift_since_ms;
    uint64_t boot;
    bool had_power_cut;            /* and has not come up again */
    bool lost_power;               /* at any time */
    bool has_jumped, has_rebooted; /* after both nobody can know the time of its writes */
};

void sim_machine_init(struct sim_machine *machine, unsigned index, bool is_server);
void sim_process_init(struct sim_process *process, struct sim_machine *machine, const char *name);
int64_t sim_machine_utc_ms(const struct sim_machine *machine);
/* Counts a fault against the process that runs now. */
void sim_fault_met(void);
/* kill -9: what it wrote stays. */
void sim_process_kill(struct sim_process *process);
/* Everything on it stops, and what was not synced is in doubt. */
void sim_machine_power_cut(struct sim_machine *machine);
/* A point between two writes: false if the process is dead (by now). */
bool sim_process_goes_on(struct sim_process *process);
/* Calls into the product on behalf of a process, from outside of its fibers. */
struct sim_process *sim_enter(struct sim_process *process);
void sim_leave(struct sim_process *before);
/* What a dead process still does to come back and free its memory is not to be seen by those who
 * share memory with it: kept when it dies, put back when it has done. */
void sim_process_keep_shm(struct sim_process *process);
void sim_process_restore_shm(struct sim_process *process);

/* ---- disk (disk.c, disk_vfs.c) ---- */

struct sim_file;
void sim_disk_init(void); /* registers the VFS */
/* Makes all SQLite has kept of chance and memory as it is at the start. */
void sim_disk_reset(void);
void sim_disk_power_cut(const struct sim_machine *machine);
void sim_disk_drop_locks(const struct sim_process *process);
struct sim_shm_copy *sim_disk_keep_shm(const struct sim_machine *machine);
void sim_disk_restore_shm(struct sim_shm_copy *copy);
void sim_disk_copy(const char *from, const char *to); /* with its WAL */
void sim_disk_remove(const char *path);
bool sim_disk_exists(const char *path);
/* Of a database: while it is the same, a reader reads the same. What is committed of the WAL stands
 * in the header of its index, which changes without a write to a file. No padding: for memcmp. */
struct sim_disk_state {
    uint64_t changes, wal_changes;
    uint8_t wal_index[48];
};
struct sim_disk_state sim_disk_state(const char *path);

/* ---- memory (memory.c) ---- */

void sim_memory_init(void);

/* ---- network (network.c, transport.c, listener.c) ---- */

struct satchel_connection;
/* A stream of bytes in one direction. */
struct sim_pipe {
    uint8_t *bytes;
    size_t size, capacity; /* sent, not arrived */
    struct sim_segment {
        int64_t at_ms;
        size_t size;
    } * segments;
    size_t segment_count, segment_capacity;
    bool is_scheduled, is_closed; /* the sender is gone: nothing more is put in */
    uint8_t header[4];            /* of the frame that is arriving */
    unsigned header_bytes;
    size_t frame_left;
};
struct satchel_connection {
    struct satchel_connection *next;
    unsigned number;
    struct sim_process *device; /* NULL: has left */
    struct sim_machine *device_machine;
    const void *device_wait; /* what its fiber waits on */
    void (*device_receive)(void *context, const void *bytes, size_t size, bool is_last);
    void *device_context;
    bool is_connected, is_refused;
    bool device_closed, server_closed; /* that side has been told that it is over */
    bool is_cut, is_slow;
    struct sim_pipe up, down;

    /* the server's side (listener.c) */
    void *data;
    bool is_open, is_paused, is_finishing, is_write_scheduled;
    uint64_t server_faults; /* that its process had met when the connection came */

    /* check_frames.c */
    bool has_read;            /* what may not all be sent yet */
    size_t read_at;           /* the moment of the first of it */
    uint64_t complete_cursor; /* as the device said when it attached */
};
/* From a device's fiber. */
struct satchel_connection *sim_connect(struct sim_process *process,
                                       void (*receive)(void *context, const void *bytes,
                                                       size_t size, bool is_last),
                                       void *context);
void sim_disconnect(struct satchel_connection *connection);
/* Puts a frame into a pipe; false if it is full or over. */
bool sim_send(struct satchel_connection *connection, bool is_up, struct satchel_span frame);
size_t sim_pipe_room(const struct sim_pipe *pipe);
/* The wire breaks; each side learns of it in its own time. */
void sim_cut(struct satchel_connection *connection);
void sim_cut_all(const struct sim_machine *machine);
struct satchel_connection *sim_some_connection(void);
void sim_deliver_again(struct satchel_connection *connection, bool is_up);
/* The server's side learns of a new connection, of bytes, of the end. */
void sim_listener_open(struct satchel_connection *connection);
size_t sim_listener_receive(struct satchel_connection *connection, const void *bytes, size_t size,
                            bool is_last);
void sim_listener_close(struct satchel_connection *connection);

/* ---- the server (server.c) ---- */

enum { SIM_FAILED_PUSHES = 64 };
struct sim_server {
    struct sim_machine machine;
    struct sim_process process;
    bool is_up, is_stopping;
    bool has_backup, is_to_be_restored, was_restored;
    struct satchel_hub *hub;
    uint64_t failed_pushes[SIM_FAILED_PUSHES]; /* their sessions */
    unsigned failed_push_count;
};
void sim_server_start(void);
/* What a session, or all of them, have acknowledged: a crash may not take it back. */
void sim_server_note_promise(const void *session);
void sim_server_note_promises(void);
sim_action sim_server_bury; /* of a process that has died */
void sim_server_stop(void); /* in order, as by SIGTERM */
/* Its file as it is at this moment; and back to it: the server is killed, and when it comes again
 * it is another incarnation. Not to before a deployment, which an administrator would repeat. */
void sim_server_back_up(void);
void sim_server_restore(void);
/* Read by a connection of the simulator's own, which no fault meets. */
sqlite3 *sim_observe(const char *path);
void sim_unobserve(sqlite3 *db);
sqlite3_stmt *sim_prepare(sqlite3 *db, const char *sql);
/* Of the first row; 0 if there is none. */
uint64_t sim_integer(sqlite3 *db, const char *sql);

/* ---- devices (device.c), applications (app.c), workloads ---- */

struct sim_app {
    struct sim_process process;
    struct sim_device *device;
    unsigned index;
    struct satchel_replica *replica; /* NULL: closed */
    bool is_enforcing;
    bool is_acting;                      /* in the middle of something that it may still commit */
    struct sim_transaction *transaction; /* whose rows are being watched; NULL: none */
};
struct sim_sync {
    struct sim_process process;
    struct sim_device *device;
    unsigned index;
    bool is_done; /* in this run everything was equal once */
};
struct sim_device {
    struct sim_machine machine;
    unsigned index;
    char path[64];
    unsigned user; /* its login is user0, user1, … */
    const char *role;
    struct satchel_id id;
    struct satchel_clock clock;
    struct sim_app apps[SIM_APPS_MAX];
    struct sim_sync syncs[SIM_SYNCS_MAX];
    unsigned app_count, sync_count;
    int64_t offline_until_ms;
    bool was_damaged; /* a row of its file, by nobody */

    /* as the ledger knows it */
    uint64_t last_number;    /* of the last commit */
    uint64_t durable_number; /* commits that no power cut may take back */
    bool was_copied;         /* the file is, or has, a copy: others write under its numbers, too */
    bool has_copy, is_to_be_put_back;
    size_t changes_at_copy;
    uint64_t last_at_copy; /* of the copy; what failed just then may come out in it alone */
    bool had_doubt_at_copy;
    struct sim_transaction *doubt; /* a commit of which nobody knows whether it was one */
};
void sim_device_init(struct sim_device *device, unsigned index);
void sim_device_start(struct sim_device *device);
sim_action sim_device_boot; /* after a power cut */
/* Its file as it is now is kept; the kept one takes its place; a second phone goes on with it. */
void sim_device_copy(struct sim_device *device);
void sim_device_put_back(struct sim_device *device);
void sim_device_clone(struct sim_device *device);
/* Whether the server knows the device that the file is of now as revoked. */
bool sim_is_revoked(const struct sim_device *device);
void sim_app_start(struct sim_app *app);
void sim_sync_start(struct sim_sync *sync);

/* ---- the ledger (ledger.c) ---- */

struct sim_row {
    const struct satchel_table *table;
    struct satchel_span name;                   /* satchel_row_name */
    const struct satchel_value *known;          /* as it was once: for the key */
    const struct satchel_value *before, *after; /* whole rows; NULL: none */
};
struct sim_transaction {
    struct sim_device *device;
    struct sim_app *app;
    struct sim_row *rows;
    size_t count, capacity;
    bool may_repeat;         /* it may write values again that are there already, as a sign */
    uint64_t pending_before; /* the last number that waited when it began */
    int64_t doubted_ms;      /* when its commit failed; 0: it did not */
    struct sim_transaction *earlier; /* that is in doubt as well */
};
/* A change set that is LOST was never sent. One that is IN_DOUBT was in a file that is no more, or
 * is the older again: it may have reached the server before. */
enum sim_fate { SIM_COMMITTED, SIM_IN_DOUBT, SIM_LOST };
struct sim_change {
    unsigned device;
    uint64_t number;
    enum sim_fate fate;
    bool is_shared;  /* another copy of the file has it, too */
    bool is_past;    /* written before an older copy was put back */
    bool is_matched; /* found in the history */
    int64_t true_ms;
    uint32_t schema;          /* migrations its replica had */
    struct satchel_span body; /* as captured */
    struct sim_row *rows;
    size_t row_count;
};
void sim_ledger_attach(struct sim_app *app, sqlite3 *db);
struct sim_transaction *sim_ledger_begin(struct sim_app *app);
/* Reads what the transaction has made of the rows it has touched. */
void sim_ledger_read_after(struct sim_transaction *transaction, sqlite3 *db);
void sim_ledger_committed(struct sim_transaction *transaction, sqlite3 *db, bool is_durable);
void sim_ledger_in_doubt(struct sim_transaction *transaction);
void sim_ledger_rolled_back(struct sim_transaction *transaction);
/* A connection has been opened: what was in doubt may be there now. */
void sim_ledger_opened(struct sim_device *device);
/* After a crash, before anything is written again. */
void sim_ledger_recover(struct sim_device *device);
/* The device's file was copied; an older copy has taken its place; this is a copy of that. */
void sim_ledger_shared(struct sim_device *device);
void sim_ledger_put_back(struct sim_device *device);
void sim_ledger_cloned(struct sim_device *clone, struct sim_device *device);

/* ---- the workload (workload.c) ---- */

struct sim_sql {
    char *text;
    size_t size, capacity;
};
void sim_put(struct sim_sql *sql, const char *format, ...) SATCHEL_PRINTF(2, 3);
/* A statement for an application whose replica has that schema. */
void sim_work_statement(const struct satchel_schema *schema, struct sim_sql *sql);
/* An insert of a row that nobody else has. */
void sim_work_import(const struct satchel_schema *schema, const struct satchel_table *table,
                     struct sim_sql *sql);
const struct satchel_table *sim_work_table(const struct satchel_schema *schema);
/* The duel's schema, its first rows, and its statements (duel.c). */
extern const char sim_duel_tables[], sim_duel_rows[];
void sim_duel_statement(struct sim_sql *sql);
/* Of an application there between two writes, at most. */
unsigned sim_duel_pause_ms(const struct sim_device *device);
void sim_duel_start(void);

/* The world of scopes: its schema and first rows, with masked columns or without; its statements
 * (scoped.c). */
void sim_scoped_tables(bool has_masks, struct satchel_buffer *out);
void sim_scoped_rows(bool has_masks, struct satchel_buffer *out);
void sim_scoped_statement(const struct satchel_schema *schema, struct sim_sql *sql);
/* Who wrote the text with that mark; negative: nobody. */
int sim_scoped_author(unsigned long long mark);

/* ---- options, faults, administration ---- */

enum sim_world { SIM_RULES, SIM_CRM, SIM_DUEL, SIM_SCOPED, SIM_MASKED, SIM_WORLD_COUNT };
/* SCOPED, or that with masked columns. */
bool sim_is_scoped(enum sim_world world);
/* clang-format off */
#define SIM_FAULT_KINDS(X) \
    X(power_cut) X(kill) X(server_power_cut) X(server_kill) X(server_stop) X(disk_full) \
    X(io_error) \
    X(memory) X(cut) X(partition) X(server_partition) X(slow_link) X(stall) X(leap) X(clock) \
    X(reboot) X(server_restore) X(old_copy) X(second_phone)
/* clang-format on */
enum sim_fault_kind {
#define SIM_KIND(name) SIM_FAULT_##name,
    SIM_FAULT_KINDS(SIM_KIND)
#undef SIM_KIND
        SIM_FAULT_KIND_COUNT
};
struct sim_options {
    enum sim_world world;
    unsigned device_count, app_count, sync_count;
    int64_t span_ms;       /* of the workload */
    unsigned actions;      /* of all applications, about */
    unsigned think_ms_max; /* between the statements of a transaction */
    unsigned key_count;    /* rows of a table that everybody writes */
    unsigned bulk_one_in, big_one_in, undo_one_in, resolve_one_in, transaction_one_in, pack_one_in;
    unsigned sync_pause_ms; /* between two syncs of a device */
    bool is_watching;       /* syncs stay connected */
    unsigned wake_ms;       /* how often a sync looks around */
    unsigned latency_ms, bytes_per_ms;
    unsigned queue_delay_ms; /* until a thread of the server takes its job */
    unsigned disk_ms;        /* a sync of the disk takes up to */
    unsigned cache_pages, server_checkpoint_pages, wal_scale;
    bool is_durable;         /* applications commit with synchronous=FULL */
    bool has_numbers;        /* they write rows that the node numbers */
    bool is_enforcing;       /* foreign keys */
    bool is_rotating;        /* devices replace their tokens */
    bool is_revoking;        /* a device is revoked */
    unsigned fault_pause_ms; /* between two faults; 0: none */
    unsigned fault_weights[SIM_FAULT_KIND_COUNT];
    unsigned admin_pause_ms;   /* 0: none */
    unsigned snapshot_entries; /* 0: new devices get the log */
    unsigned batch_items;      /* of a message or transaction; 0: as many as everywhere */
    bool checks_watch, checks_replay;
};
void sim_options_draw(struct sim_options *options);
void sim_options_describe(const struct sim_options *options, struct satchel_buffer *out);
/* Turns a fault kind off by name; false: there is none. */
bool sim_options_forbid(const char *name);
/* In every run devices replace their tokens, and files are not copied. */
void sim_options_rotate(void);
const char *sim_fault_name(unsigned kind);
void sim_faults_start(void);
void sim_faults_end(void);
/* Rows of some replicas become others, without a trigger, as by a failing disk. */
void sim_faults_damage(void);
void sim_admin_start(void);
bool sim_admin_is_idle(void);
void sim_admin_end(void); /* learns what was deployed */

/* ---- the checks ---- */

/* Whether nothing is on its way any more. Without `why`, it stops at the first that is. */
bool sim_is_quiet(struct satchel_buffer *why);
void sim_check_all(void);
/* No device has repaired a row, as long as nobody has damaged any. */
void sim_check_repaired(void);
void sim_check_ledger(void);
/* Each change set comes after what it had seen: what the store has is kept before it is put
 * back. */
void sim_seen_keep(sqlite3 *store);
void sim_check_seen(sqlite3 *store);
void sim_check_reference(bool is_end);
/* The rows with keys of the duel. */
struct system_world;
struct system_entry;
struct system_snapshot;
void sim_check_clusters(struct system_world *world, const struct system_entry *entries,
                        size_t count, const struct system_snapshot *store);
/* The server has committed; a device has come to rest for a moment. */
void sim_watch_server(void);
void sim_watch_device(const struct sim_device *device, sqlite3 *db);
/* The server's log in words. */
void sim_describe_log(struct satchel_buffer *out);

/* ---- who may see what (sight.c), what was sent (check_frames.c) ---- */

bool sim_has_scopes(void);
/* Looks at what is committed now: a moment, by its number. */
size_t sim_sight_observe(void);
size_t sim_sight_now(void);
/* The last moment with at most this cursor. */
size_t sim_sight_at(uint64_t cursor);
enum sim_sight {
    SIM_HIDDEN,
    SIM_SEEN,
    SIM_UNKNOWN /* no moment has shown the row: it came and went between two */
};
/* Whether the user could see the row at any of these moments; of one that is gone, as it was. */
enum sim_sight sim_sight_of(unsigned user, const struct satchel_table *table,
                            struct satchel_span name, size_t from, size_t to);
enum sim_sight sim_sight_of_key(unsigned user, uint32_t table, const struct satchel_value *key,
                                uint32_t key_count, size_t from, size_t to);
/* Whether the user was in a role that sees the column, at any of these moments. */
bool sim_sight_of_column(unsigned user, const struct satchel_table *table, uint32_t column,
                         size_t from, size_t to);
/* The cursor behind which the row was first there. */
uint64_t sim_sight_begun(uint32_t table, const struct satchel_value *key, uint32_t key_count);
struct satchel_span sim_row_name(const struct satchel_table *table, sqlite3_stmt *row);
/* A frame goes down, or up. */
void sim_check_frame(struct satchel_connection *connection, struct satchel_span frame);
void sim_note_frame(struct satchel_connection *connection, struct satchel_span frame);
/* All that was read for the connection has been sent. */
void sim_frames_drained(struct satchel_connection *connection);

/* ---- templates (template.c) ---- */

struct sim_template {
    struct satchel_migration migrations[SIM_MIGRATIONS_MAX];
    struct satchel_migration bare[SIM_MIGRATIONS_MAX]; /* without first rows */
    unsigned migration_count, first_count; /* of all; of those the workspace begins with */
    struct satchel_schema *schemas[SIM_MIGRATIONS_MAX];
    struct satchel_id devices[SIM_DEVICES_MAX];
};
extern struct sim_template sim_templates[SIM_WORLD_COUNT];
void sim_templates_make(void);
void sim_template_use(enum sim_world world);
const char *sim_role_of(unsigned device);
unsigned sim_user_of(enum sim_world world, unsigned device);
/* The schema after so many migrations. */
const struct satchel_schema *sim_schema(unsigned migration_count);

/* ---- the run (run.c) ---- */

struct sim_result {
    uint64_t seed, hash, events;
    int64_t virtual_ms;
    bool is_finished, is_failed;
    uint32_t text_bytes;
    struct sim_counts counts;
};
enum sim_phase { SIM_PHASE_SETUP, SIM_PHASE_WORK, SIM_PHASE_HEAL, SIM_PHASE_CHECK };

struct simulation {
    uint64_t seed;
    int64_t now_ms; /* true time: the server's */
    int64_t begun_ms;
    enum sim_phase phase;
    struct sim_options options;
    struct sim_process *process; /* that runs now; NULL: the simulator itself */
    struct sim_server server;
    struct sim_device devices[SIM_DEVICES_MAX];
    unsigned device_count;
    struct satchel_arena arena;
    struct satchel_buffer scratch;
    struct sim_change *changes;
    size_t change_count, change_capacity;
    struct satchel_connection *connections;
    struct sim_counts counts;
    uint64_t hash, events;
    const struct sim_template *template;
    unsigned deployed; /* migrations */
    bool had_copies;
    unsigned unknown_changes; /* commits of copies of which nobody knows whether they were some */
    bool is_tracing;
    bool machine_is_slow[SIM_DEVICES_MAX + 1];
    struct sim_result *result;
    char *text; /* of a failure */
    size_t text_capacity;
};
extern struct simulation sim;

/* Runs a seed to its end; what came of it is in `result`. */
void sim_run(uint64_t seed, bool is_tracing, struct sim_result *result, char *text,
             size_t text_capacity);

/* Memory that no fault meets. */
void *sim_alloc(void *memory, size_t size);
/* The heap, until a run has begun. */
void sim_pool_begin(void);
void *sim_pool_alloc(size_t size);
void *sim_pool_realloc(void *memory, size_t size);
void sim_pool_free(void *memory);
/* Of what the pool has. */
size_t sim_pool_size(void *memory);
bool sim_pool_has(const void *memory);
#define SIM_GROW(items, count, capacity)                                \
    do {                                                                \
        if ((count) == (capacity)) {                                    \
            (capacity) = (capacity) ? (capacity)*2 : 16;                \
            (items) = sim_alloc((items), (capacity) * sizeof *(items)); \
        }                                                               \
    } while (0)

#endif
