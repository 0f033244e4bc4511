/* A sync from inside: the session driver (sync.c, sync_push.c, copy.c) and what the blocking loop
 * and verify need of it. */
#ifndef SATCHEL_SYNC_H
#define SATCHEL_SYNC_H

#include "apply.h"
#include "check.h"
#include "staging.h"

#define SATCHEL_SOFTWARE "satchel " SATCHEL_VERSION_TEXT " sqlite "

enum {
    SATCHEL_SILENCE_MS_MAX = 9000, /* a lost server is noticed within 10 s */
    SYNC_BATCHES_MAX = 64,         /* PUSH messages without acknowledgement */
    /* Begun one after the other without coming to an end: a copy of a copy needs one for each. */
    SATCHEL_SYNC_SESSIONS_MAX = 32
};

/* A PUSH that waits for its acknowledgement. */
struct sync_batch {
    uint64_t last_number;
    satchel_stamp last_stamp;
    size_t bytes;
};

/* Giving back what the node has lost, and asking for the rows in doubt (recover.h). */
struct sync_recovery {
    struct satchel_id node;           /* that it is given back to */
    int64_t lost_id_min, lost_id_max; /* in satchel_lost when it began */
    int64_t sent_id;
    uint64_t sent_count, confirmed_count, refused_count; /* entries, of this round */
    uint64_t refused_before;                             /* in the round before */
    bool is_over;                                        /* all rounds are */
    bool has_doubt;
    bool has_numbers; /* of documents, or other change sets of the node itself, to be given back */
    bool is_asking;   /* no answer yet */
    struct satchel_row_request *asked;
    uint32_t asked_count, ask_count;
    struct satchel_arena arena; /* of `asked` */
    bool has_rows;              /* an answer waits for the replica to be at its cursor */
    uint64_t rows_cursor;
    uint32_t row_count;
    struct satchel_buffer rows; /* its notes */
};

/* Filling a new replica (bootstrap.c). */
struct sync_bootstrap {
    bool is_on;                 /* the session has no stream, but a snapshot */
    struct satchel_id snapshot; /* zero: none yet */
    bool is_confirmed;          /* the server has it, as this session has heard */
    uint64_t page_next;         /* the first that is not here */
    uint64_t page_ask;          /* and that has not been asked for */
    uint64_t page_count, row_count;
    uint64_t schema;                 /* migrations that its rows need */
    uint64_t asked_count;            /* pages that have not come */
    struct satchel_staging *staging; /* NULL until a page comes */
};

/* What its log lacks then (bootstrap.c): behind `after`, up to `until`. */
struct sync_past {
    uint64_t after, until;
    bool is_asked;
};

struct satchel_sync {
    struct satchel_replica *replica;
    struct satchel_sync_options options;
    struct satchel_session *session;
    struct satchel_apply *apply;
    struct satchel_pins pins; /* the replica's, or other ones that are to be kept */
    bool had_foreign_keys;    /* put back when the sync ends */
    sqlite3_stmt *select_last, *select_unsent, *write_ack;

    /* of the handshake */
    bool is_welcome;
    uint64_t head_target; /* the server's end when it began */
    uint64_t heard_head;  /* what has come since was cut by the scope of that head or a later one */
    uint64_t complete_target; /* the same: what its scope was then is here when HEAD says so */
    uint64_t number_target;   /* the replica's last change set when it began */
    uint64_t schema_target;
    uint64_t hello_cursor, hello_answered; /* as told in HELLO: cursor, own numbers answered */
    struct satchel_id hello_node;
    uint64_t hello_complete, hello_moved; /* complete and moved_head then, see satchel_replica */
    uint64_t rewinds;                     /* of the log that HELLO and the stream are about */
    uint64_t welcome_acked;               /* what nodes had acknowledged before this handshake */
    struct satchel_clock_reference before, after; /* this handshake's clock sample is `after` */

    /* uploads */
    uint64_t held_number; /* of the own ones, by the node when the session began */
    bool compares_lost;   /* of which this replica had sent some that the node has lost */
    uint64_t sent_number, acked_number;
    satchel_stamp sent_stamp;
    struct sync_batch batches[SYNC_BATCHES_MAX];
    uint32_t batch_first, batch_count;
    size_t unacked_bytes;
    struct satchel_arena push_arena;
    struct satchel_buffer push_scratch;

    /* by the system's monotonic clock: how long the write lock was held without a pause in which a
     * waiting writer would have found it free, and when it was let go last */
    int64_t held_ms, released_ms, began_run_ms;

    struct sync_recovery recovery;
    struct sync_bootstrap bootstrap;
    struct sync_past past;
    /* This replica is a copy: nothing is pushed or applied any more in this session. */
    bool is_copy, has_asked_copy;
    bool is_drained, is_wiped; /* the device was revoked (wipe.c); WIPED is said */

    uint8_t shown_token[SATCHEL_TOKEN_BYTES]; /* in HELLO */
    bool has_asked_rotate, has_rotated;
    uint8_t next_token[SATCHEL_TOKEN_BYTES]; /* that was said */

    bool is_equal;            /* as far as the stream tells */
    bool is_done;             /* and the check is over */
    uint64_t pack_cursor;     /* below it there is nothing to pack (pack.c) */
    int64_t began_ms, now_ms; /* monotonic, the caller's clock */
    uint64_t pushed_count, bytes_sent, bytes_received;

    struct sync_check check; /* when everything is equal */
};

/* The frame was sent or has come; for the report. */
void satchel_sync_count_bytes(struct satchel_sync *sync, size_t sent, size_t received);
/* The session's clock sample on the replica's own clocks, whatever clock `now_ms` comes from;
 * `*out` stays as it is if there is none. */
void satchel_sync_clock(const struct satchel_session *session, struct satchel_replica *replica,
                        int64_t now_ms, struct satchel_clock_reference *out);
/* Opens the replica at `path` with a connection for sync. */
enum satchel_status satchel_sync_open(struct satchel_replica **out, const char *path,
                                      const struct satchel_sync_options *options,
                                      struct satchel_error *error) SATCHEL_MUST_USE;
/* Runs a sync over libwebsockets with its owner's `step`, until it is done, fails or is stopped. */
enum satchel_status satchel_sync_connect(struct satchel_sync *sync,
                                         enum satchel_status (*step)(void *sync,
                                                                     struct satchel_now now,
                                                                     bool *is_done,
                                                                     struct satchel_error *error),
                                         struct satchel_error *error) SATCHEL_MUST_USE;
/* Whether the sync goes on in another session. `*count` is the caller's, 0 at first. */
bool satchel_sync_is_to_begin_again(enum satchel_status status, bool was_done, uint32_t *count);

/* ---- bootstrap.c ---- */

/* WELCOME has said that the session is for a snapshot: what an earlier one has brought is here. */
enum satchel_status satchel_bootstrap_begin(struct satchel_sync *sync,
                                            struct satchel_error *error) SATCHEL_MUST_USE;
enum satchel_status satchel_bootstrap_take(struct satchel_sync *sync,
                                           const struct satchel_message_snapshot *snapshot,
                                           struct satchel_error *error) SATCHEL_MUST_USE;
/* Asks for the next pages. AGAIN: all are here and the replica has its rows; or another sync has
 * filled it. */
enum satchel_status satchel_bootstrap_step(struct satchel_sync *sync,
                                           struct satchel_error *error) SATCHEL_MUST_USE;

/* There is no snapshot for it, or no more: in WELCOME's transaction. */
enum satchel_status satchel_bootstrap_drop(struct satchel_sync *sync,
                                           struct satchel_error *error) SATCHEL_MUST_USE;

/* Of a replica that was filled so: the log from before the snapshot comes when everything is
 * equal, and nobody waits for it. */
enum satchel_status satchel_past_begin(struct satchel_sync *sync,
                                       struct satchel_error *error) SATCHEL_MUST_USE;
enum satchel_status satchel_past_step(struct satchel_sync *sync,
                                      struct satchel_error *error) SATCHEL_MUST_USE;
enum satchel_status satchel_past_take(struct satchel_sync *sync,
                                      const struct satchel_message_past *past,
                                      struct satchel_error *error) SATCHEL_MUST_USE;
bool satchel_past_is_over(const struct satchel_sync *sync);
/* The log ends at the cursor now. */
enum satchel_status satchel_past_rewind(struct satchel_sync *sync, uint64_t cursor,
                                        struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- forget.c ---- */

/* Cuts out of the log what its user may see no more, if there is such and the replica is
 * complete. */
enum satchel_status satchel_forget_step(struct satchel_sync *sync,
                                        struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- wipe.c ---- */

/* WELCOME was heard, in its transaction; `is_told`: it says that the device is drained. */
enum satchel_status satchel_wipe_begin(struct satchel_sync *sync, bool is_told,
                                       struct satchel_error *error) SATCHEL_MUST_USE;
/* Removes what the workspace has here when all that waited is answered, and says WIPED. BUSY:
 * another program has the file open. */
enum satchel_status satchel_wipe_step(struct satchel_sync *sync,
                                      struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- pack.c ---- */

/* Packs what is old of the replica's log, a bounded piece of it. */
void satchel_sync_pack(struct satchel_sync *sync);

/* ---- sync_push.c ---- */

/* Where uploads go on: what the node holds already is not sent, and the next stamp is above theirs.
 */
enum satchel_status satchel_sync_push_begin(struct satchel_sync *sync, uint64_t held_number,
                                            struct satchel_error *error) SATCHEL_MUST_USE;
/* Queues what is not yet sent, as far as the session and the limit on unacknowledged bytes allow.
 */
enum satchel_status satchel_sync_push(struct satchel_sync *sync,
                                      struct satchel_error *error) SATCHEL_MUST_USE;
/* What is committed survives a power cut. */
enum satchel_status satchel_sync_make_durable(struct satchel_sync *sync,
                                              struct satchel_error *error) SATCHEL_MUST_USE;
/* Own change sets among what was given back need not be sent again. */
void satchel_sync_push_forwarded(struct satchel_sync *sync,
                                 const struct satchel_message_forward *forward);
/* Everything up to `number` is committed on the server. */
enum satchel_status satchel_sync_push_acked(struct satchel_sync *sync, uint64_t number,
                                            struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- sync_attach.c ---- */

/* Reads where the replica stands and queues the HELLO. */
enum satchel_status satchel_sync_send_hello(struct satchel_sync *sync,
                                            struct satchel_error *error) SATCHEL_MUST_USE;
/* MISMATCH: the node is another or has gone back, or this replica has. */
enum satchel_status satchel_sync_take_welcome(struct satchel_sync *sync,
                                              const struct satchel_message_welcome *welcome,
                                              struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- copy.c ---- */

/* The node holds another change set than the own one at diverged_number, and everything before it
 * has been applied. BUSY: it has not. */
enum satchel_status satchel_sync_copy_found(struct satchel_sync *sync,
                                            struct satchel_error *error) SATCHEL_MUST_USE;
/* Says COPY, if it has not been said. */
enum satchel_status satchel_sync_send_copy(struct satchel_sync *sync,
                                           struct satchel_error *error) SATCHEL_MUST_USE;
/* The replica goes on as a device of its own. AGAIN: it does, in another session. */
enum satchel_status satchel_sync_take_copied(struct satchel_sync *sync,
                                             const struct satchel_message_copied *copied,
                                             struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- token.c ---- */

/* The token that the device is going to have, which is made if there is none yet; in the caller's
 * transaction, if it has one. */
enum satchel_status satchel_token_next(sqlite3 *db, uint8_t token[SATCHEL_TOKEN_BYTES],
                                       struct satchel_error *error) SATCHEL_MUST_USE;
/* The server has it. Nothing happens where another process was faster. */
enum satchel_status satchel_token_take(sqlite3 *db, const uint8_t token[SATCHEL_TOKEN_BYTES],
                                       const struct satchel_id *receipt, uint64_t token_number,
                                       struct satchel_error *error) SATCHEL_MUST_USE;
/* Says ROTATE, if it has not been said. */
enum satchel_status satchel_sync_send_rotate(struct satchel_sync *sync,
                                             struct satchel_error *error) SATCHEL_MUST_USE;
/* AGAIN: the device has another token, in another session. */
enum satchel_status satchel_sync_take_rotated(struct satchel_sync *sync,
                                              const struct satchel_message_rotated *rotated,
                                              struct satchel_error *error) SATCHEL_MUST_USE;
/* Whether another process has replaced the token that this session has shown. */
bool satchel_sync_is_token_old(const struct satchel_sync *sync);

/* ---- join.c ---- */

/* INVALID: neither an invite nor a JWT, or both. */
enum satchel_status satchel_join_check_proof(const struct satchel_join_options *options,
                                             struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- sync.c ---- */

/* Commits, and tells the observers. */
enum satchel_status satchel_sync_commit(struct satchel_sync *sync,
                                        struct satchel_error *error) SATCHEL_MUST_USE;

/* A transaction that writes, behind a pause in which other writers find the lock free if it was
 * held for long; `_end_run` when it is committed or rolled back. */
enum satchel_status satchel_sync_begin_run(struct satchel_sync *sync,
                                           struct satchel_error *error) SATCHEL_MUST_USE;
/* How long it has held the write lock; whether as long as it may. */
int64_t satchel_sync_run_ms(const struct satchel_sync *sync);
bool satchel_sync_is_run_over(const struct satchel_sync *sync);
void satchel_sync_end_run(struct satchel_sync *sync);
/* Commits the run if `status` is SATCHEL_OK, else rolls it back and keeps `status`; ends it. */
enum satchel_status satchel_sync_finish_run(struct satchel_sync *sync, enum satchel_status status,
                                            struct satchel_error *error) SATCHEL_MUST_USE;
bool satchel_sync_is_stopped(const struct satchel_sync *sync);

/* satchel_apply_begin, tried again while another connection holds the lock. */
enum satchel_status satchel_sync_begin(struct satchel_sync *sync, bool is_writing,
                                       struct satchel_error *error) SATCHEL_MUST_USE;
/* In this transaction what sessions are about becomes another (satchel_replica.rewinds): this one
 * goes on, those that began before are over. */
enum satchel_status satchel_sync_begin_anew(struct satchel_sync *sync,
                                            struct satchel_error *error) SATCHEL_MUST_USE;

#endif
