/* A workspace from inside: what the files of its threads share. */
#ifndef SATCHEL_WORKSPACE_INTERNAL_H
#define SATCHEL_WORKSPACE_INTERNAL_H

#include "merge.h"
#include "scope.h"
#include "store_sqlite.h"
#include "stream_batch.h"
#include "workspace.h"
#include "workspace_files.h"

#include <pthread.h>
#include <satchel/cut.h>
#include <satchel/log_reader.h>
#include <satchel/map.h>

#define WORKSPACE_QUEUE_JOBS_MAX 8192
#define WORKSPACE_QUEUE_BYTES_MAX ((size_t)128 << 20)
/* One group commit. */
#define WORKSPACE_GROUP_CHANGESETS_MAX 512
#define WORKSPACE_GROUP_BYTES_MAX ((size_t)8 << 20)
#define WORKSPACE_JOB_BYTES_MAX ((size_t)256 << 20)
#define WORKSPACE_DEVICES_MAX 1000000
/* Sessions whose jobs may still be in the queue when one of them is refused. */
#define WORKSPACE_REFUSED_MAX 1024

struct workspace_queue {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct satchel_job *first, *last;
    size_t job_count;
    size_t bytes;
    bool is_closing;
};

enum workspace_thread { THREAD_WRITER, THREAD_STREAM, THREAD_QUERY, THREAD_COUNT };

struct workspace_worker {
    struct satchel_workspace *workspace;
    struct workspace_queue queue;
    pthread_t thread;
    bool is_running;
};

/* A reading connection and the schema it sees. */
struct workspace_reader {
    sqlite3 *db;
    struct satchel_identity identity;
    struct satchel_schema *schema;
    uint32_t migration_count;
    sqlite3_stmt *begin, *commit, *version, *count, *hash, *user;
    /* As the store had them when it last changed (reader_known). */
    struct incarnations known;
    struct satchel_arena known_arena;
    int64_t known_version; /* PRAGMA data_version; 0: not read yet */
    struct satchel_log_reader *log;
    struct satchel_buffer scratch, name;
    /* who is answered: the user of the job's device */
    struct scope_viewer *viewer;
    struct satchel_span login; /* in the job's arena */
    struct satchel_arena cut_arena;
    struct snapshots *snapshots; /* snapshot.c; NULL: none was asked for */
    struct stream_batches batches;
};

/* How far a device has come since this process started, as its session asked for entries. */
struct workspace_progress {
    uint64_t cursor;
    int64_t at_ms;
};

/* owner_number of sessions, the last ones that there were. */
struct workspace_sessions {
    uint64_t numbers[WORKSPACE_REFUSED_MAX];
    uint64_t next; /* how many there were; where the next one goes */
};

struct satchel_workspace {
    char name[65];
    char path[WORKSPACE_PATH_BYTES_MAX];
    struct satchel_id id;
    struct satchel_workspace_callbacks callbacks;
    struct workspace_worker workers[THREAD_COUNT];
    struct satchel_store *store;                   /* the writer thread's */
    struct workspace_reader readers[THREAD_COUNT]; /* of THREAD_STREAM and THREAD_QUERY */
    pthread_mutex_t progress_mutex;
    struct satchel_map progress; /* device -> struct workspace_progress */
    struct satchel_arena progress_arena;
    uint64_t pack_cursor; /* below it there is nothing to pack (pack_log.c); the writer thread's */
    struct workspace_sessions refused; /* of which a change set was; what they push is not taken */
    struct workspace_sessions failed;  /* to give back: what they give behind that is not taken */
    bool is_schema_stale;              /* the writer's, in memory: a deployment was taken back */
};

int64_t workspace_now_ms(void);
void workspace_log(struct satchel_workspace *workspace, const char *format, ...)
    SATCHEL_PRINTF(2, 3);
/* Hands a job back to its owner. */
void workspace_complete(struct satchel_workspace *workspace, struct satchel_job *job,
                        enum satchel_status status);
/* An argument of an admin request as text; INVALID naming `what` if it is missing or no text. */
enum satchel_status job_argument(struct satchel_job *job, uint32_t index, const char *what,
                                 struct satchel_span *out) SATCHEL_MUST_USE;
/* Makes the job's first answer an ADMIN_RESULT of one line. */
enum satchel_status job_answer_text(struct satchel_job *job, const char *format, ...)
    SATCHEL_PRINTF(2, 3) SATCHEL_MUST_USE;

/* ---- write_jobs.c: on the writer thread ---- */
/* A chain of jobs taken together: PUSH jobs, or one job of another kind. */
void workspace_write(struct satchel_workspace *workspace, struct satchel_job *jobs);

/* ---- enrol.c: each inside the caller's transaction ---- */
enum satchel_status enrol_join(struct satchel_workspace *workspace,
                               struct satchel_job *job) SATCHEL_MUST_USE;
enum satchel_status enrol_attach(struct satchel_workspace *workspace,
                                 struct satchel_job *job) SATCHEL_MUST_USE;

/* What the server enrols a device with again, should it lose it; of the token, not its hash. */
struct incarnations;
struct satchel_enrolment;
struct satchel_id enrolment_receipt(const struct incarnations *known, struct satchel_span token,
                                    const struct satchel_enrolment *enrolment);

/* ---- tokens.c: inside the caller's transaction ---- */
/* ROTATE: the device's next token, which counts when it is shown. */
enum satchel_status token_rotate(struct satchel_workspace *workspace,
                                 struct satchel_job *job) SATCHEL_MUST_USE;
/* The device has another token from now on, before which it had `number`. */
enum satchel_status token_replace(sqlite3 *db, const struct satchel_id *device, const uint8_t *hash,
                                  uint64_t number, struct satchel_error *error) SATCHEL_MUST_USE;
/* How many tokens it had before its present one, and whether that is another than this. */
enum satchel_status token_look(sqlite3 *db, const struct satchel_id *device, const uint8_t *hash,
                               uint64_t *number, bool *is_another,
                               struct satchel_error *error) SATCHEL_MUST_USE;
/* The same of one that is new here. */
enum satchel_status token_set_number(sqlite3 *db, const struct satchel_id *device, uint64_t number,
                                     struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- copy.c: inside the caller's transaction ---- */
/* MISMATCH: the device holds no other change set of that number than the store. */
enum satchel_status enrol_copy(struct satchel_workspace *workspace,
                               struct satchel_job *job) SATCHEL_MUST_USE;
/* Enrols a device that was given back before it came, without a token: a copy of `parent`, from
 * which it goes on behind `number`. One that is known already goes on from there. */
enum satchel_status copy_place(struct satchel_workspace *workspace, const struct satchel_id *id,
                               struct satchel_span user, const struct satchel_id *parent,
                               uint64_t number, struct satchel_arena *arena,
                               struct satchel_error *error) SATCHEL_MUST_USE;
/* Whether `entry` is an earlier change set of the device of `later`, or of one that this is a copy
 * of, up to the copy. */
enum satchel_status copy_is_own_earlier(struct satchel_store *store,
                                        const struct satchel_entry *later,
                                        const struct satchel_entry *entry,
                                        struct satchel_arena *arena, bool *out,
                                        struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- fork.c: inside the caller's transaction ---- */
/* The last cursor up to which the log of who says HELLO and the store's are the same, as far as
 * HELLO tells: not beyond the truth. */
enum satchel_status fork_find(struct satchel_workspace *workspace, struct satchel_job *job,
                              const struct incarnations *known, uint64_t *out) SATCHEL_MUST_USE;

/* ---- forward.c: inside the caller's transaction ---- */
enum satchel_status forward_job(struct satchel_workspace *workspace,
                                struct satchel_job *job) SATCHEL_MUST_USE;

/* ---- read_rows.c: on a reader thread ---- */
/* Whether the reader's viewer may see the row of that key. */
enum satchel_status reader_sees(struct workspace_reader *reader, const struct satchel_table *table,
                                const struct satchel_value *key, bool *out,
                                struct satchel_error *error) SATCHEL_MUST_USE;
enum satchel_status rows_read(struct workspace_reader *reader,
                              struct satchel_job *job) SATCHEL_MUST_USE;

/* ---- read_scope.c: on a reader thread ---- */
/* Rows that the device must not keep any more: an answer of the job, if there are any. `*is_whole`
 * false: there are more. */
enum satchel_status scope_read_left(struct workspace_reader *reader, struct satchel_job *job,
                                    uint64_t head, bool *is_whole) SATCHEL_MUST_USE;
/* Rows that have come into the device's scope, for one that has everything else up to the head: an
 * answer of the job, if there are any. */
enum satchel_status scope_read_came(struct workspace_reader *reader, struct satchel_job *job,
                                    const struct incarnations *known) SATCHEL_MUST_USE;
/* ---- read_positions.c: on a reader thread ---- */
/* Entries up to `after` that have got a late position, which the device has yet to hear: an answer
 * of the job, if there are any. `*is_whole` false: there are more. */
enum satchel_status positions_tell(struct workspace_reader *reader, struct satchel_job *job,
                                   const struct incarnations *known,
                                   bool *is_whole) SATCHEL_MUST_USE;
/* ---- read_digests.c: on a reader thread ---- */
/* Of what the reader's viewer may see; what the device says to have repaired is logged. */
enum satchel_status digests_read(struct satchel_workspace *workspace,
                                 struct workspace_reader *reader,
                                 struct satchel_job *job) SATCHEL_MUST_USE;
enum satchel_status ranges_read(struct workspace_reader *reader,
                                struct satchel_job *job) SATCHEL_MUST_USE;

/* ---- revoke.c ---- */
struct device_revoked {
    bool is_revoked; /* by an administrator */
    bool is_wiped;   /* it has said WIPED */
    bool is_late;    /* it, or one that it is a copy of, had before it said this */
};
enum satchel_status revoke_find(sqlite3 *db, const struct satchel_id *device,
                                struct device_revoked *out,
                                struct satchel_error *error) SATCHEL_MUST_USE;
/* The verb device.revoke; of WIPED. */
enum satchel_status revoke_job(struct satchel_workspace *workspace,
                               struct satchel_job *job) SATCHEL_MUST_USE;
enum satchel_status revoke_wiped(struct satchel_workspace *workspace,
                                 struct satchel_job *job) SATCHEL_MUST_USE;
/* A copy is revoked as its parent is. */
enum satchel_status revoke_copy(sqlite3 *db, const struct satchel_id *copy,
                                const struct satchel_id *parent,
                                struct satchel_error *error) SATCHEL_MUST_USE;
/* Sets the refusal of a change set that came too late. */
enum satchel_status revoke_check(sqlite3 *db, struct satchel_incoming *incoming,
                                 struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- roles.c ---- */
/* The device is told that its user has `role` (empty: none). */
enum satchel_status role_told(sqlite3 *db, const struct satchel_id *device,
                              struct satchel_span role, int64_t now_ms,
                              struct satchel_error *error) SATCHEL_MUST_USE;
/* What was found last, for as long as the transaction: change sets of one device come together. */
struct role_known {
    bool is_asked;
    struct satchel_id device;
    struct satchel_span role;
    bool was_told;
    int64_t until_ms; /* what it wrote later is not in this role */
};
/* Sets the refusal of a change set that claims a role its device had not been told. */
enum satchel_status role_check(sqlite3 *db, struct satchel_incoming *incoming,
                               struct role_known *known, struct satchel_arena *arena,
                               struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- users.c ---- */
struct workspace_user {
    bool is_found;
    bool is_active;
    struct satchel_span role; /* in the arena; empty for none */
};
enum satchel_status user_find(struct satchel_store *store, struct satchel_span login,
                              struct satchel_arena *arena, struct workspace_user *out,
                              struct satchel_error *error) SATCHEL_MUST_USE;
enum satchel_status user_add(struct satchel_workspace *workspace,
                             struct satchel_job *job) SATCHEL_MUST_USE;
enum satchel_status user_invite(struct satchel_workspace *workspace,
                                struct satchel_job *job) SATCHEL_MUST_USE;
/* The kept hash of an invite as a person typed it, of a token. */
#define INVITE_HASH_BYTES 32
bool invite_hash(struct satchel_span typed, uint8_t hash[INVITE_HASH_BYTES]);
void token_hash(struct satchel_span token, uint8_t hash[INVITE_HASH_BYTES]);

/* ---- deploy.c ---- */
/* Brings the store to `migrations`, first rows included, inside the caller's transaction. On
 * failure the caller rolls back and calls deploy_reload. `*notice` (may be NULL as a result) lives
 * in the arena. */
enum satchel_status deploy_migrations(struct satchel_store *store,
                                      const struct satchel_migration *migrations,
                                      uint32_t migration_count, int64_t now_ms,
                                      struct satchel_arena *arena, const char **notice,
                                      struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- deploy_rules.c ---- */
/* SCHEMA: `whole` changes rules of a table with rows in a way that these do not survive. */
enum satchel_status deploy_check_rules(struct satchel_store *store,
                                       const struct satchel_schema *whole,
                                       struct satchel_arena *arena,
                                       struct satchel_error *error) SATCHEL_MUST_USE;

/* The schema as the file has it, after a rollback. */
enum satchel_status deploy_reload(struct satchel_store *store,
                                  struct satchel_error *error) SATCHEL_MUST_USE;
enum satchel_status deploy_job(struct satchel_workspace *workspace,
                               struct satchel_job *job) SATCHEL_MUST_USE;

/* ---- admin_set.c, admin_resolve.c, admin_quarantine.c: inside the caller's transaction ---- */
enum satchel_status set_job(struct satchel_workspace *workspace,
                            struct satchel_job *job) SATCHEL_MUST_USE;
enum satchel_status branch_job(struct satchel_workspace *workspace,
                               struct satchel_job *job) SATCHEL_MUST_USE;
enum satchel_status resolve_job(struct satchel_workspace *workspace,
                                struct satchel_job *job) SATCHEL_MUST_USE;
enum satchel_status quarantine_retry_job(struct satchel_workspace *workspace,
                                         struct satchel_job *job) SATCHEL_MUST_USE;
enum satchel_status quarantine_drop_job(struct satchel_workspace *workspace,
                                        struct satchel_job *job) SATCHEL_MUST_USE;

/* ---- first_rows.c ---- */
/* Merges the rows that the INSERTs of a migration make as a change set of the server itself. */
enum satchel_status first_rows_merge(struct satchel_store *store,
                                     const struct satchel_migration *migration, int64_t now_ms,
                                     struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- read_jobs.c: on a reader thread, in its transaction ---- */
/* Read anew only where somebody has written since; vectors are the reader's, until the next job. */
enum satchel_status reader_known(struct workspace_reader *reader, struct satchel_job *job,
                                 struct incarnations *out) SATCHEL_MUST_USE;

/* ---- read_entries.c: on a reader thread ---- */
enum satchel_status entries_read(struct satchel_workspace *workspace,
                                 struct workspace_reader *reader,
                                 struct satchel_job *job) SATCHEL_MUST_USE;
/* What a replica lacks of the log that was filled from a snapshot; a drained one has no use for
 * it. */
enum satchel_status past_read(struct workspace_reader *reader,
                              struct satchel_job *job) SATCHEL_MUST_USE;
/* Of the store as the transaction sees it: the job's `head`, `vector` and `end`. */
enum satchel_status reader_end(struct workspace_reader *reader,
                               struct satchel_job *job) SATCHEL_MUST_USE;
/* An entry as it is sent to the job's device, in the job's arena. `*is_empty`: it is not. */
enum satchel_status entry_read(struct workspace_reader *reader, struct satchel_job *job,
                               const struct incarnations *known, const struct satchel_entry *from,
                               struct satchel_entry *entry, bool *is_empty) SATCHEL_MUST_USE;
/* Entries for one message, and what they come to. */
struct entry_batch {
    struct satchel_message_entries entries; /* in the job's arena */
    uint32_t capacity;
    size_t bytes;
};
/* The entry as entry_read makes it, unless it is empty. */
enum satchel_status entry_add(struct workspace_reader *reader, struct satchel_job *job,
                              const struct incarnations *known, const struct satchel_entry *from,
                              struct entry_batch *batch) SATCHEL_MUST_USE;
enum satchel_status reader_open(struct workspace_reader *reader, const char *path,
                                struct satchel_error *error) SATCHEL_MUST_USE;
void reader_close(struct workspace_reader *reader);
/* Begins a transaction that sees the store as it is, for the user of the job's device. It ends with
 * the connection. */
enum satchel_status reader_begin(struct workspace_reader *reader,
                                 struct satchel_job *job) SATCHEL_MUST_USE;
void workspace_read(struct satchel_workspace *workspace, struct workspace_reader *reader,
                    struct satchel_job *job);
/* Adds SCHEMA to the job's answers: the migrations after that one, without their first rows. */
enum satchel_status tell_schema(sqlite3 *db, uint64_t after,
                                struct satchel_job *job) SATCHEL_MUST_USE;

/* ---- pack_log.c: on the writer thread ---- */
/* A step of packing the log; false if there is nothing to pack for now. */
bool pack_when_idle(struct satchel_workspace *workspace);
enum satchel_status pack_job(struct satchel_workspace *workspace,
                             struct satchel_job *job) SATCHEL_MUST_USE;

/* ---- query.c ---- */
enum satchel_status query_verb(struct satchel_workspace *workspace, struct workspace_reader *reader,
                               struct satchel_job *job) SATCHEL_MUST_USE;
/* A result being put together, bounded. */
struct query_result {
    struct satchel_job *job;
    struct satchel_value *values;
    uint32_t value_count, value_capacity;
    uint32_t column_count;
    size_t bytes;
};
enum satchel_status query_result_begin(struct query_result *result, struct satchel_job *job,
                                       const char *const *columns,
                                       uint32_t column_count) SATCHEL_MUST_USE;
/* Adds a value, copied. LIMIT. */
enum satchel_status query_result_add(struct query_result *result,
                                     const struct satchel_value *value) SATCHEL_MUST_USE;
void query_result_end(struct query_result *result);
/* ---- quarantine.c ---- */
enum satchel_status quarantine_list(struct workspace_reader *reader,
                                    struct satchel_job *job) SATCHEL_MUST_USE;

#endif
