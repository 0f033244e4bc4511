/* One workspace on a server: its store, its schema, and the threads that work on them.
 *
 * The writer thread owns the store's writing connection (the only one that checkpoints): it takes
 * jobs from a bounded queue, merges as many PUSH jobs as have gathered in one transaction (group
 * commit, synchronous=FULL) and completes them only after the commit. Two reader threads own a
 * read-only connection each: one sends entries, migrations and digests, the other answers what may
 * take long, ranges of rows and SQL. Every job is completed exactly once, by a call of `complete`
 * on one of these threads (jobs of different threads in any order); nobody else ever blocks on
 * SQLite. */
#ifndef SATCHEL_WORKSPACE_H
#define SATCHEL_WORKSPACE_H

#include <satchel/message.h>

struct satchel_workspace;

enum satchel_job_kind {
    /* writer */
    SATCHEL_JOB_JOIN,    /* message.join, login -> joined + schema */
    SATCHEL_JOB_ATTACH,  /* message.hello -> welcome (checks the token; records device facts) */
    SATCHEL_JOB_PUSH,    /* device, message.push -> acked_number */
    SATCHEL_JOB_COPY,    /* device, message.copy -> copied */
    SATCHEL_JOB_ROTATE,  /* device, message.rotate -> rotated */
    SATCHEL_JOB_FORWARD, /* message.forward -> forwarded */
    SATCHEL_JOB_WIPED,   /* `device` has nothing of the workspace any more */
    SATCHEL_JOB_ADMIN,   /* writing verbs */
    /* reader */
    SATCHEL_JOB_SCHEMA,   /* migrations after `after` */
    SATCHEL_JOB_ENTRIES,  /* entries after cursor `after` for `device` */
    SATCHEL_JOB_ROWS,     /* message.rows_request */
    SATCHEL_JOB_DIGESTS,  /* message.digest_request */
    SATCHEL_JOB_RANGES,   /* message.ranges_request */
    SATCHEL_JOB_SNAPSHOT, /* message.snapshot_request */
    SATCHEL_JOB_PAST,     /* message.past_request */
    SATCHEL_JOB_QUERY     /* reading verbs of admin */
};

/* What a session knows of its device's scope (docs/scopes.md): told with each ENTRIES job, and
 * brought up to date by it. Rows that left and came are told page by page. */
struct satchel_scope_state {
    uint64_t cut;      /* the head for which the last answer was cut */
    uint64_t complete; /* the head at which the device was complete */
    /* The heads at which the pages under way began; 0: none are. */
    uint64_t next_cut, next_complete;
    struct satchel_span left_after, came_after; /* names of the last rows of these pages */
    struct satchel_span told; /* cursors of entries of many rows that the pages of rows that came
                                 have told: once for all of them */
    uint64_t late_turn; /* of the last late position that the device needs not be told any more */
};

/* A request and its answer. The submitter fills the first part; all memory of request and answer
 * lives in `arena`, which belongs to the job. `owner` is the submitter's. */
struct satchel_job {
    enum satchel_job_kind kind;
    void *owner;
    uint64_t owner_number;
    struct satchel_arena arena;
    struct satchel_job *next;

    struct satchel_id device; /* PUSH, COPY, ROTATE, ENTRIES: authenticated by ATTACH */
    bool has_walked_enough;   /* RANGES: to be answered without any */
    uint64_t after;
    /* ENTRIES: numbers above and up to which the device has the bodies of its own change sets */
    uint64_t number_min, number_max;
    struct satchel_scope_state scope; /* ENTRIES; of ATTACH the answer */
    bool wants_head;                  /* ENTRIES: a HEAD at the end, moves or not */
    /* Of ATTACH the answer, for reading jobs: the device is drained (docs/scopes.md), and hears
     * nothing but of its own change sets that they have come. */
    bool is_drained;
    struct satchel_message request; /* join, hello, push, copy, rotate, admin */
    struct satchel_span login;      /* JOIN: whose JWT it came with; no data: an invite says it */

    /* the answer */
    enum satchel_status status;
    struct satchel_error error;
    uint64_t acked_number;        /* PUSH: everything up to it is durable */
    uint64_t reached;             /* ENTRIES: everything up to it is sent, or not for the device */
    bool reached_end;             /* ENTRIES: nothing after that at that moment */
    struct satchel_vector vector; /* ENTRIES: belongs to `reached` */
    struct satchel_id end;        /* ENTRIES, at the end: as HEAD's receipt */
    bool has_head;                /* ENTRIES: it is among the answers */
    bool is_cut;                  /* it was answered for somebody who may not see everything */
    struct satchel_span role; /* whom a device's reading job was answered for; data NULL: none */
    uint64_t head;            /* ENTRIES: cursor of the last entry of the store */
    uint64_t repaired_count;  /* DIGESTS: rows that the device says to have repaired */
    uint64_t walked_count;    /* RANGES: rows that were read for it */
    bool has_made_snapshot;   /* SNAPSHOT: the page is of a new one */
    struct satchel_message answers[5]; /* messages to send, e.g. JOINED and SCHEMA */
    uint32_t answer_count;
    struct stream_batch *batch; /* ENTRIES: what that answer is of, for others as well; or NULL */
    bool has_revoked;           /* ADMIN: `device`, whose sessions must end */
    bool is_renewed; /* FORWARD: the node is another incarnation now; all its sessions must end */
    /* ATTACH says so, and FORWARD is told: the device has followed a later incarnation. */
    bool is_outlived;
    /* FORWARD: the device's number is another file's here. It is a copy, and hears so: what it
     * pushes in this session is not that device's. */
    bool is_copy;
    /* JOIN, ATTACH, COPY: a device that has another token now, not zero; sessions that it began
     * with the one before must end. */
    struct satchel_id renewed;
};

struct satchel_job *satchel_job_new(enum satchel_job_kind kind);
void satchel_job_free(struct satchel_job *job);
/* Copies a decoded message into the job's arena as its request. NOMEM, LIMIT. */
enum satchel_status satchel_job_take_request(
    struct satchel_job *job, const struct satchel_message *message) SATCHEL_MUST_USE;

struct satchel_workspace_callbacks {
    void *context;
    /* From a workspace thread: the job is done; the receiver owns it again. */
    void (*complete)(void *context, struct satchel_workspace *workspace, struct satchel_job *job);
    /* From the writer thread, after a commit that appended entries: the new end. */
    void (*advanced)(void *context, struct satchel_workspace *workspace, uint64_t head);
    void (*log)(void *context, const char *line);
};

/* Opens DATA/NAME.db and starts its threads. IO, SQL, CORRUPT, MISMATCH (no central store). */
enum satchel_status satchel_workspace_open(struct satchel_workspace **out,
                                           const char *data_directory, const char *name,
                                           const struct satchel_workspace_callbacks *callbacks,
                                           struct satchel_error *error) SATCHEL_MUST_USE;
/* Checks the schema, creates DATA/NAME.db (atomically: a crash leaves nothing usable by that name)
 * with the first rows of the migrations as a change set of the node, then opens it. EXISTS, SCHEMA,
 * INVALID. */
enum satchel_status satchel_workspace_create(
    struct satchel_workspace **out, const char *data_directory, const char *name,
    const struct satchel_migration *migrations, uint32_t migration_count,
    const struct satchel_workspace_callbacks *callbacks, struct satchel_span *notice,
    struct satchel_arena *arena, struct satchel_error *error) SATCHEL_MUST_USE;
/* Finishes the commit in hand, completes queued jobs with STATE, stops the threads, closes. */
void satchel_workspace_close(struct satchel_workspace *workspace);
const char *satchel_workspace_name(const struct satchel_workspace *workspace);
struct satchel_id satchel_workspace_id(const struct satchel_workspace *workspace);

/* Queues a job. BUSY: the queue is full (the job stays the caller's): stop reading from that peer
 * and try again. STATE: the workspace is closing. */
enum satchel_status satchel_workspace_submit(struct satchel_workspace *workspace,
                                             struct satchel_job *job) SATCHEL_MUST_USE;

/* Migrations from FILE SQL pairs of a verb's arguments; the number is the one the name begins with.
 * Borrows from the arguments. INVALID, NOMEM. */
enum satchel_status satchel_migrations_of_arguments(const struct satchel_value *arguments,
                                                    uint32_t argument_count,
                                                    struct satchel_arena *arena,
                                                    struct satchel_migration **out,
                                                    uint32_t *out_count,
                                                    struct satchel_error *error) SATCHEL_MUST_USE;
/* Removes what a crash while a workspace was made, backed up or restored left in the data
 * directory. For the server's start, before any workspace is opened. IO. */
enum satchel_status satchel_workspace_sweep(const char *data_directory,
                                            struct satchel_error *error) SATCHEL_MUST_USE;

/* Names allowed for a workspace: 1-64 of a-z A-Z 0-9 _ -, not beginning with - . */
bool satchel_workspace_name_is_valid(struct satchel_span name);

/* ---- verbs of ADMIN / QUERY jobs: request.admin.arguments[0] ----
 * The hub answers workspace.create NAME FILE SQL [FILE SQL]… and workspace.list itself; the rest
 * name the workspace in arguments[1]:
 *   writer: workspace.deploy W FILE SQL [FILE SQL]…   all migrations; held ones unchanged
 *           user.add W LOGIN ROLE|NULL [GRANT]…       not where the schema has satchel_users
 *           invite W LOGIN                            -> text: the code
 *           workspace.set W TABLE KEY FIELD=VALUE…    FIELD alone: NULL; a change set of the server
 *           workspace.branch W NAME                   this node's short name in document numbers
 *           resolve W ID winner|loser|VALUE           closes a conflict
 *           quarantine.retry W [ID]…                  -> rows: id, state, reason
 *           quarantine.drop W ID…
 *           device.revoke W ID                        it is drained and wiped
 *   reader: workspace.sql W SQL                       one SELECT (read-only enforced by SQLite)
 *           device.list W
 *           conflicts W ["open"]
 *           history W TABLE KEY [FIELD]
 *           quarantine.list W
 *           status W                                  name, schema, head, devices, entries */
bool satchel_verb_is_writing(struct satchel_span verb);

#endif
