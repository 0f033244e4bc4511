/* What the files of the hub share: hub.c (its life, its clock, the way back from the workspaces'
 * threads), hub_workspaces.c (the table of workspaces), hub_session.c (what a session asks and is
 * told), hub_stream.c (entries and heads for attached devices), hub_join.c (who may
 * try to join), hub_pace.c (how fast a peer may talk), hub_admin.c (verbs the hub answers
 * itself), hub_transfer.c (backup and restore), hub_clerk.c (threads for what both take long for).
 */
#ifndef SATCHEL_HUB_INTERNAL_H
#define SATCHEL_HUB_INTERNAL_H

#include "attempts.h"
#include "hub.h"
#include "workspace.h"

#include <ev.h>
#include <pthread.h>
#include <satchel/session.h>

enum {
    SESSION_REQUESTS_MAX = 4,            /* in flight; then the peer is not read from */
    SESSION_REQUEST_BYTES_MAX = 1 << 20, /* likewise */
    SESSION_OUTPUT_BYTES_MAX = 1 << 20,
    EARLY_BYTES_MAX = 64 << 20,   /* in unfinished messages of all that are not attached ... */
    EARLY_BYTES_SMALL = 64 << 10, /* ... beside those that are small */
    WORKSPACES_MAX = 1024,
    CLERKS = 4,
    CLAIMS_MAX = 8,                    /* workspaces being created, backed up or restored */
    TRANSFERS_MAX = 3,                 /* backups and restores under way: one clerk is left */
    UNATTACHED_MS_MAX = 10000,         /* without a request ... */
    UNATTACHED_MESSAGE_MS_MAX = 60000, /* ... or if one is arriving */
    HEARTBEAT_MS = 5000,
    RANGES_MS = 300000, /* in which a session may say SATCHEL_RANGES_REQUESTS_MAX ... */
    SESSION_WALKED_ROWS_MAX = 4 << 20, /* ... and has so many rows read for them */
    SESSION_SNAPSHOTS_MAX = 4,         /* that are made for a session */
    SESSION_PAST_REPEATS_MAX = 64      /* PAST_REQUESTs that go no further than the last */
};

/* The queues of a workspace's threads; each may be full while the others are not. */
enum hub_queue { HUB_QUEUE_WRITER, HUB_QUEUE_STREAM, HUB_QUEUE_QUERY, HUB_QUEUE_COUNT };

struct hub_session;
struct hub_transfer;

struct hub_session_list {
    struct hub_session *first, *last;
};

struct hub_workspace {
    struct satchel_hub *hub;
    struct satchel_workspace *workspace;
    struct hub_workspace *next;

    /* Written by the workspace's threads, under hub->mutex. */
    struct satchel_job *completed_first, *completed_last;
    uint64_t advanced_head;
    uint64_t advanced_count;
    bool is_signalled;
    struct hub_workspace *next_signalled;

    uint64_t head;             /* highest end known */
    bool must_wake;            /* attached sessions may have something to do that had not */
    uint64_t end_cursor;       /* an end whose vector is known */
    struct satchel_vector end; /* owned */
    struct satchel_id end_receipt;
    uint32_t deploys_in_flight;
    bool is_closing;              /* a restore takes its place: nobody attaches any more */
    struct hub_session *sessions; /* attached */
    struct hub_session_list waiting[HUB_QUEUE_COUNT]; /* for room in a queue */
};

struct hub_session {
    struct satchel_hub *hub;
    struct satchel_connection *connection;
    struct satchel_session *session;
    uint64_t number; /* generation and place in hub->slots: how an answer finds it, or nobody */
    bool is_over;    /* failed or told to go: says what is left and nothing new */

    /* requests */
    int64_t idle_since_ms; /* monotonic: last request or answer, before it is attached */
    bool is_receiving;     /* part of a message has come */
    size_t early_bytes;    /* of that, while it is not attached */
    uint32_t requests_in_flight;
    size_t request_bytes;
    struct rate rates[HUB_RATE_COUNT];
    bool is_administrator;       /* has shown the token: no rate is kept of it */
    bool is_slowed;              /* has been, and the log says so */
    struct satchel_job *stalled; /* a request that found its queue full */
    struct hub_workspace *stalled_workspace;
    struct satchel_job *answers_first, *answers_last; /* complete, not said yet */
    uint32_t answers_said;                            /* of answers_first */

    /* attached */
    struct hub_workspace *workspace; /* NULL: not attached */
    struct hub_session *next_attached, *previous_attached;
    struct satchel_id device;
    uint8_t role[SATCHEL_ROLE_BYTES_MAX]; /* its user's, as WELCOME said */
    size_t role_bytes;
    uint64_t
        held_number; /* of its change sets, when it attached; those above came in this session */
    uint64_t acked_number, acked_said;
    bool is_drained;       /* hears only that what it sends has come */
    bool is_outlived;      /* the device has followed a later incarnation of the workspace */
    bool has_copied;       /* said COPY: the next session is the copy's */
    uint32_t ranges_count; /* RANGES_REQUESTs said since ranges_since_ms */
    uint64_t walked_count; /* rows read for them */
    int64_t ranges_since_ms;
    bool is_bootstrapping;   /* asks for a snapshot, and has no stream */
    uint32_t snapshot_count; /* that were made for it */
    bool has_asked_past;     /* PAST_REQUEST, at last behind past_after */
    uint64_t past_after;
    uint32_t past_repeats;
    uint64_t schema;
    uint64_t cursor; /* given everything up to it */
    /* of its device; the names are the session's memory */
    struct satchel_scope_state scope;
    bool needs_schema;
    bool is_reading; /* a SCHEMA or ENTRIES job is in flight */
    bool is_live;    /* has reached the end once */
    bool needs_head;
    int64_t said_ms; /* monotonic: last frame sent */

    struct hub_transfer *transfer; /* its backup or restore */

    struct hub_workspace *waiting_for[HUB_QUEUE_COUNT];
    struct hub_session *next_waiting[HUB_QUEUE_COUNT];
    struct hub_session *previous_waiting[HUB_QUEUE_COUNT];
};

/* What a clerk does; the first member of the struct it belongs to. */
struct hub_errand {
    struct hub_errand *next;
    void (*run)(struct hub_errand *errand);  /* on a clerk's thread */
    void (*done)(struct hub_errand *errand); /* then on the loop's */
    void (*drop)(struct hub_errand *errand); /* instead of `done`: the hub ends */
};

/* The name of a workspace that is being made, copied or replaced. */
struct hub_claim {
    struct hub_claim *next;
    char name[65];
    bool is_held;
    bool is_switching;    /* it is not served for a moment ... */
    struct satchel_id id; /* ... and then is this one */
};

struct hub_clerks;

struct satchel_hub {
    struct ev_loop *loop;
    const struct satchel_data_directory *directory;
    struct satchel_metrics *metrics;
    ev_async wake;
    ev_timer tick;
    bool is_stopping;

    pthread_mutex_t mutex; /* over `signalled` and what hub_workspace says */
    struct hub_workspace *signalled;

    struct hub_workspace *workspaces;
    uint32_t workspace_count;

    struct hub_session **slots;
    uint32_t *generations;
    uint32_t slot_count;
    uint32_t free_slot; /* none below it is free */

    size_t early_bytes; /* of all sessions */

    struct hub_clerks *clerks;
    struct hub_claim *claims;
    uint32_t transfer_count;
    uint64_t transfer_number; /* of the last one */

    const struct satchel_login_key *login_key; /* NULL: no JWT is taken */
    struct attempts attempts;                  /* to join */
    struct rate_limit rate_limits[HUB_RATE_COUNT];
    uint64_t snapshot_entries;
};

/* ---- hub.c ---- */

struct satchel_now hub_now(void);
int64_t hub_monotonic_ms(void);
/* The session an answer is for, or NULL: it has gone. */
struct hub_session *hub_find_session(struct satchel_hub *hub, uint64_t number);
/* Wakes the loop for this workspace. From any thread, with hub->mutex held. */
void hub_signal(struct hub_workspace *workspace);
/* Takes what the workspace's threads have completed. */
void hub_take_completed(struct hub_workspace *workspace);

/* ---- hub_workspaces.c ---- */

struct satchel_workspace_callbacks hub_workspace_callbacks(struct hub_workspace *workspace);
struct hub_workspace *hub_workspace_find(struct satchel_hub *hub, struct satchel_span name);
/* Takes over an open workspace. */
void hub_workspace_add(struct satchel_hub *hub, struct hub_workspace *workspace);
/* Takes it out of the table and sends its sessions away; it is the caller's then. */
void hub_workspace_remove(struct hub_workspace *workspace);
struct hub_workspace *hub_workspace_new(struct satchel_hub *hub); /* NULL: no memory */
/* Closes it if it is open, and frees what waits in it. */
void hub_workspace_free(struct hub_workspace *workspace);
/* Gives a job on behalf of a session. BUSY: the session is in line for room. */
enum satchel_status hub_workspace_submit(struct hub_workspace *workspace,
                                         struct hub_session *session,
                                         struct satchel_job *job) SATCHEL_MUST_USE;
/* There may be room: those in line try again. */
void hub_workspace_serve_waiting(struct hub_workspace *workspace);
/* Lists an attached session; forget undoes it. */
void hub_workspace_attach_session(struct hub_workspace *workspace, struct hub_session *session);
void hub_workspace_forget_session(struct hub_session *session);
/* There are entries up to there: who waits for them is woken. */
void hub_workspace_raise_head(struct hub_workspace *workspace, uint64_t head);
/* Remembers the end that an ENTRIES job has reached. */
enum satchel_status hub_workspace_set_end(struct hub_workspace *workspace,
                                          const struct satchel_job *job) SATCHEL_MUST_USE;

/* ---- hub_session.c ---- */

struct hub_session *hub_session_new(struct satchel_hub *hub, struct satchel_connection *connection);
void hub_session_free(struct hub_session *session);
void hub_session_received(struct hub_session *session, const void *bytes, size_t size,
                          bool is_last);
bool hub_session_next_frame(struct hub_session *session, struct satchel_span *frame);
/* Does whatever can be done now: retry, answer, acknowledge, stream, pause or resume. */
void hub_session_step(struct hub_session *session);
/* A job of this session is complete; takes the job. */
void hub_session_complete(struct hub_session *session, struct hub_workspace *workspace,
                          struct satchel_job *job);
/* Says what a request or job came to, in the order of requests; takes the job. */
void hub_session_answer(struct hub_session *session, struct satchel_job *job);
void hub_session_fail(struct hub_session *session, enum satchel_status status, const char *text);
/* Ends it with 1001, which is no failure: the peer comes again. `reason` is a literal. */
void hub_session_send_away(struct hub_session *session, const char *reason);
/* There is no such workspace, or not at this moment. */
void hub_session_no_workspace(struct hub_session *session, struct satchel_span name);
/* The same with what a job came to. */
void hub_session_fail_job(struct hub_session *session, const struct satchel_job *job);
/* Says a message; a failure other than BUSY ends the session. */
enum satchel_status hub_session_say(struct hub_session *session,
                                    const struct satchel_message *message) SATCHEL_MUST_USE;
/* Makes a job for this session; NULL (and the session is over): no memory. */
struct satchel_job *hub_session_job(struct hub_session *session, enum satchel_job_kind kind);
/* Submits a job of a request, which it takes; its memory is the job's already. */
void hub_session_submit(struct hub_session *session, struct hub_workspace *workspace,
                        struct satchel_job *job);
/* Makes and submits the job of a request. */
void hub_session_request(struct hub_session *session, struct hub_workspace *workspace,
                         enum satchel_job_kind kind, const struct satchel_message *message);
void hub_session_tick(struct hub_session *session, struct satchel_now now);

/* ---- hub_join.c ---- */

void hub_join_request(struct hub_session *session, const struct satchel_message *message);
/* What a JOIN came to: whether the attempt counts. */
void hub_join_complete(struct hub_session *session, enum satchel_status status);

/* ---- hub_pace.c ---- */

void hub_pace_start(struct hub_session *session, int64_t now_ms);
void hub_pace_count(struct hub_session *session, enum hub_rate rate, int64_t amount);
/* Whether the peer may be read from. */
bool hub_pace_is_kept(struct hub_session *session);

/* ---- hub_stream.c ---- */

void hub_stream_step(struct hub_session *session);
/* Frees what the session keeps for its stream. */
void hub_stream_forget(struct hub_session *session);
void hub_stream_complete(struct hub_session *session, struct satchel_job *job);

/* ---- hub_clerk.c ---- */

enum satchel_status hub_clerks_start(struct satchel_hub *hub,
                                     struct satchel_error *error) SATCHEL_MUST_USE;
void hub_clerks_stop(struct satchel_hub *hub);
/* Calls `done` of every errand that is. */
void hub_clerks_collect(struct satchel_hub *hub);
void hub_clerks_ask(struct satchel_hub *hub, struct hub_errand *errand);
/* NULL: nobody has it. */
struct hub_claim *hub_claim_find(struct satchel_hub *hub, struct satchel_span name);
/* `name` is valid and nobody's. */
void hub_claim(struct satchel_hub *hub, struct hub_claim *claim, struct satchel_span name);
void hub_claim_release(struct satchel_hub *hub, struct hub_claim *claim);

/* ---- hub_admin.c ---- */

void hub_admin_request(struct hub_session *session, const struct satchel_message *message);
bool hub_admin_is_deploy(const struct satchel_job *job);
/* An argument that is text, or an empty span. */
struct satchel_span hub_admin_argument(const struct satchel_message_admin *admin, uint32_t index);
/* Whether the name may be claimed; if not, the session has failed with the reason. */
bool hub_admin_may_claim(struct hub_session *session, struct satchel_span name);

/* ---- hub_transfer.c ---- */

/* Answers a verb of backup or restore; false: it is none. */
bool hub_transfer_request(struct hub_session *session, const struct satchel_message *message);
/* Time passes: says how far a long step is. */
void hub_transfer_tick(struct hub_session *session, struct satchel_now now);
/* A long step is given up, unless it cannot be any more. */
void hub_transfer_cancel(struct hub_session *session);
/* The session ends: so does its transfer. */
void hub_transfer_leave(struct hub_session *session);

/* ---- hub_bootstrap.c ---- */

/* Whether the session that begins with this WELCOME is for a snapshot. */
bool hub_bootstrap_is_due(const struct hub_session *session,
                          const struct satchel_message_hello *hello,
                          const struct satchel_message_welcome *welcome);
void hub_bootstrap_request(struct hub_session *session, const struct satchel_message *event);
void hub_bootstrap_request_past(struct hub_session *session, const struct satchel_message *event);
/* Whether the answer is not to be said, but the log read on. */
bool hub_bootstrap_reads_on(struct hub_session *session, struct hub_workspace *workspace,
                            const struct satchel_job *job);
/* A heartbeat. */
void hub_bootstrap_say_alive(struct hub_session *session);

#endif
