/* Messages: what two ends of a session say to each other. One message is one frame is one WebSocket
 * binary message:
 *
 *   frame   = byte 0: 0 raw, 1 zstd (one shot, content size demanded), then the message
 *   message = [ kind, fields... ]                                    MessagePack, one array
 *
 * The fields of each kind are the members of its struct below, in order; trailing fields unknown to
 * the reader are ignored, so that a later version may add some. */
#ifndef SATCHEL_MESSAGE_H
#define SATCHEL_MESSAGE_H

#include <satchel/cursor.h>
#include <satchel/entry.h>

#define SATCHEL_PROTOCOL_VERSION 8

/* Of a frame before and after decompression: an entry with a change set of the largest size fits,
 * and notes of SATCHEL_NOTES_BYTES_MAX, behind a batch of others. */
#define SATCHEL_FRAME_BYTES_MAX (64u << 20)
/* The same for what a server hears from an attached device: a change set of the largest size fits,
 * and, where it is given back, a reason for each of its parts for which that was set aside. */
#define SATCHEL_FRAME_BYTES_MAX_PUSH (SATCHEL_CHANGESET_BYTES_MAX + (24u << 20))
/* Of the notes of one entry; who writes notes keeps them within it. */
#define SATCHEL_NOTES_BYTES_MAX (SATCHEL_FRAME_BYTES_MAX - SATCHEL_CHANGESET_BYTES_MAX - (1u << 20))
/* Change sets in one PUSH: each costs the server far more than its bytes. */
#define SATCHEL_PUSH_ITEMS_MAX 8192
/* The same before the peer has shown a valid token. Admin requests carry schemas, hence 4 MiB
 * there. */
#define SATCHEL_FRAME_BYTES_MAX_EARLY (4u << 20)
#define SATCHEL_NAME_BYTES_MAX 128
#define SATCHEL_ROWS_REQUEST_MAX 1024
/* Rows that a range may hold; ranges of one answer. */
#define SATCHEL_RANGE_ROWS_MAX 4096
#define SATCHEL_RANGES_MAX 1024
/* RANGES_REQUESTs that a server answers in one session within five minutes. */
#define SATCHEL_RANGES_REQUESTS_MAX 512
#define SATCHEL_TOKEN_BYTES 32
#define SATCHEL_JWT_BYTES_MAX 8192
#define SATCHEL_BATCH_BYTES 262144 /* a sender closes a PUSH or ENTRIES batch beyond this */

/* What HELLO says of a device that was revoked (docs/scopes.md). */
enum satchel_drain {
    SATCHEL_NOT_DRAINED,
    SATCHEL_DRAINING, /* takes no more writes, and will have nothing of the workspace in the end */
    SATCHEL_WIPED     /* has nothing of it any more */
};

enum satchel_message_kind {
    /* device or admin -> server */
    SATCHEL_MESSAGE_TIME = 1,
    SATCHEL_MESSAGE_JOIN = 2,
    SATCHEL_MESSAGE_HELLO = 3,
    SATCHEL_MESSAGE_PUSH = 4,
    SATCHEL_MESSAGE_DIGEST_REQUEST = 5,
    SATCHEL_MESSAGE_ADMIN = 6,
    SATCHEL_MESSAGE_FORWARD = 7,
    SATCHEL_MESSAGE_COPY = 8,
    SATCHEL_MESSAGE_ROWS_REQUEST = 9,
    SATCHEL_MESSAGE_WIPED = 10, /* no fields: a drained device has nothing of the workspace left */
    SATCHEL_MESSAGE_ROTATE = 11,
    SATCHEL_MESSAGE_RANGES_REQUEST = 12,
    SATCHEL_MESSAGE_SNAPSHOT_REQUEST = 13,
    SATCHEL_MESSAGE_PAST_REQUEST = 14,
    /* server -> device or admin */
    SATCHEL_MESSAGE_TIME_REPLY = 33,
    SATCHEL_MESSAGE_JOINED = 34,
    SATCHEL_MESSAGE_WELCOME = 35,
    SATCHEL_MESSAGE_SCHEMA = 36,
    SATCHEL_MESSAGE_ENTRIES = 37,
    SATCHEL_MESSAGE_ACK = 38,
    SATCHEL_MESSAGE_HEAD = 39,
    SATCHEL_MESSAGE_DIGESTS = 40,
    SATCHEL_MESSAGE_ADMIN_RESULT = 41,
    SATCHEL_MESSAGE_COPIED = 42,
    SATCHEL_MESSAGE_ROWS = 43,
    SATCHEL_MESSAGE_FORWARDED = 44,
    SATCHEL_MESSAGE_SCOPE = 45,
    SATCHEL_MESSAGE_ROTATED = 47,
    SATCHEL_MESSAGE_RANGES = 48,
    SATCHEL_MESSAGE_SNAPSHOT = 49,
    SATCHEL_MESSAGE_PAST = 50,
    /* either */
    SATCHEL_MESSAGE_ERROR = 64
};

/* Clock measurement; answered by the session itself. Milliseconds; client_ms is the client's
 * monotonic clock and comes back untouched. */
struct satchel_message_time {
    int64_t client_ms;
};
struct satchel_message_time_reply {
    int64_t client_ms;
    int64_t server_ms; /* UTC, ms since 1970 */
};

/* Enrolment. The device makes its id and token itself, so that a repeated JOIN after a lost answer
 * is the same JOIN. With the id of a device that its user has already it gives that one a new
 * token. */
struct satchel_message_join {
    uint64_t protocol;
    struct satchel_span workspace;
    struct satchel_span invite; /* empty where the JWT stands for it */
    struct satchel_id device;
    struct satchel_span token; /* SATCHEL_TOKEN_BYTES; the server stores its hash */
    struct satchel_span jwt;   /* what the application's own login has given out; or empty */
};
struct satchel_message_joined {
    struct satchel_span user; /* login */
    struct satchel_span role;
    struct satchel_id workspace; /* the workspace's own id */
    /* What enrols the device again at a server that was restored to a moment before it joined:
     * satchel_enrolment_receipt. */
    struct satchel_id receipt;
    uint64_t token_number; /* how many tokens the device had before this one */
};

/* The attach rule (docs/wire-format.md), the device's half ... */
struct satchel_message_hello {
    uint64_t protocol;
    struct satchel_span workspace;
    struct satchel_id workspace_id;
    struct satchel_id device;
    struct satchel_span token;
    struct satchel_id node; /* the incarnation its cursor belongs to; zero: none yet */
    uint64_t cursor;
    /* The incarnations that its log follows, and up to which cursor: `node` up to `cursor`. */
    struct satchel_vector lineage;
    uint64_t last_number;   /* the highest number it has ever committed */
    uint64_t schema;        /* migrations it has applied */
    int64_t clock_error_ms; /* device clock minus server clock, as just measured */
    struct satchel_span software;
    struct satchel_span user;  /* as JOINED said, with the receipt */
    struct satchel_id receipt; /* of JOINED, COPIED or ROTATED */
    struct satchel_id parent;  /* the device that it is a copy of; zero: none */
    uint64_t parent_number;    /* the last that both share */
    /* {receipt: cursor} of entries of its log: the last, and earlier ones ever further apart. */
    struct satchel_vector receipts;
    /* The cursor at which the replica held exactly what its user could see (docs/scopes.md); 0:
     * never yet, or nobody knows. */
    uint64_t complete;
    uint64_t token_number; /* as told with the receipt */
    uint64_t drain;        /* enum satchel_drain */
    /* 1: the replica has nothing yet, and takes a snapshot if that is less than the log. Else 0. */
    uint64_t wants_snapshot;
};
/* ... and the node's. */
struct satchel_message_welcome {
    struct satchel_id node;       /* this incarnation */
    struct satchel_vector vector; /* what the node holds */
    uint64_t head;                /* cursor of its last entry */
    uint64_t last_number; /* of this device, held by the node: it accepts from the next on */
    uint64_t schema;      /* migrations deployed */
    struct satchel_span user;
    struct satchel_span role;
    /* Behind which the stream begins: the device's own, or less where its log and the node's part:
     * what the device holds beyond it, this node has lost. */
    uint64_t cursor;
    /* The node's earlier incarnations, and up to which cursor the log is theirs. */
    struct satchel_vector lineage;
    /* 1: the device was revoked, or its user is one no more. It uploads what it has, hears no more
     * than that it has come, removes the workspace's data, and says WIPED. Else 0. */
    uint64_t is_drained;
    /* 1: there is no stream in this session: the device asks for a snapshot (docs/bootstrap.md).
     * Else 0. */
    uint64_t has_snapshot;
};

struct satchel_migration {
    uint64_t number;          /* 1, 2, ... as in 001_init.sql */
    struct satchel_span name; /* the file's name */
    struct satchel_span sql;  /* the file, annotations and all */
};
/* Migrations the device lacks, in order; sent before any entry that needs them. */
struct satchel_message_schema {
    struct satchel_migration *migrations;
    uint32_t migration_count;
};

struct satchel_push_item {
    uint64_t number;
    satchel_stamp stamp;   /* corrected by the device after the handshake's clock measurement */
    const uint8_t *secret; /* SATCHEL_SECRET_BYTES */
    struct satchel_span body;
};
/* Change sets in ascending contiguous number. */
struct satchel_message_push {
    struct satchel_push_item *items;
    uint32_t item_count;
};
/* Everything up to `number` of this device is committed durably here. */
struct satchel_message_ack {
    uint64_t number;
};
/* Entries in ascending cursor. */
struct satchel_message_entries {
    struct satchel_entry *entries;
    uint32_t entry_count;
};
/* The device has been sent everything up to this cursor, which was the end, and holds exactly
 * the rows that its user may see; `vector` belongs to it. Sent when a session first reaches the
 * end, and as a heartbeat. `receipt`: satchel_entry_cut_receipt of the entry there, which the
 * device may not have been sent; zero if there is none. */
struct satchel_message_head {
    uint64_t cursor;
    struct satchel_vector vector;
    struct satchel_id receipt;
};

/* Entries that the device has and a restored node lost, as that node's earlier incarnation `node`
 * sent them, in ascending cursor; each with the receipt that proves it. */
struct satchel_message_forward {
    struct satchel_id node;
    struct satchel_entry *entries;
    uint32_t entry_count;
};

/* So many of the entries forwarded in this session have been dealt with: the node holds them now,
 * but for those that it could not take: not yet (what they build on is still to come) or never (a
 * copied replica's). */
struct satchel_message_forwarded {
    uint64_t entry_count;
    uint64_t refused_count; /* of them */
};

/* This replica is a copy: change set `number` of its device is another one here than the node
 * holds. It goes on as a device of its own, whose id follows from the old one, the last number they
 * share and this hash (satchel_copy_id). */
struct satchel_message_copy {
    uint64_t number;
    struct satchel_span hash;  /* SATCHEL_HASH_BYTES: of its own change set `number` */
    struct satchel_span token; /* SATCHEL_TOKEN_BYTES: the new device's, satchel_copy_token */
};
/* The copy is enrolled; the next HELLO is its own. */
struct satchel_message_copied {
    struct satchel_id device;
    struct satchel_id receipt; /* as JOINED's */
    uint64_t token_number;     /* likewise */
};

/* The device has made itself another token. The old one is good until the new one is shown in a
 * HELLO. */
struct satchel_message_rotate {
    struct satchel_span token; /* SATCHEL_TOKEN_BYTES */
};
struct satchel_message_rotated {
    uint64_t token_number;     /* of the new token */
    struct satchel_id receipt; /* likewise */
};

/* Asks for rows as the node has them, by name (satchel_row_name). */
struct satchel_row_request {
    struct satchel_span name;
};
struct satchel_message_rows_request {
    struct satchel_row_request *rows;
    uint32_t row_count;
};
/* The first `row_count` rows asked for, as they are after the entry at `cursor`: notes (entry.h)
 * with an effect for each row and all its conflicts, open and closed. */
struct satchel_message_rows {
    uint64_t cursor;
    uint64_t row_count;
    struct satchel_span notes;
};

/* Rows that leave the device's scope or come into it (docs/scopes.md): notes with an effect for
 * each, EVICT or what the node has, and all conflicts of those that come; `entries`, ascending,
 * is what the log has about these. Or no rows, and entries that the device was sent before and that
 * have got a position since. */
struct satchel_message_scope {
    uint64_t head; /* of the node, as of which this is */
    struct satchel_span notes;
    struct satchel_entry *entries;
    uint32_t entry_count;
};

/* How many rows of a table the device has repaired since it asked last (docs/digests.md). */
struct satchel_table_repair {
    uint64_t table; /* number in the schema */
    uint64_t row_count;
};
/* Asks for the digests of all tables. */
struct satchel_message_digest_request {
    struct satchel_table_repair *repairs;
    uint32_t repair_count;
};

struct satchel_table_digest {
    uint64_t table; /* number in the schema */
    uint64_t row_count;
    struct satchel_id digest; /* sum of row digests, see sql/include/satchel/digest.h */
};
struct satchel_message_digests {
    uint64_t cursor; /* the digests are of the state after this entry */
    struct satchel_table_digest *tables;
    uint32_t table_count;
    uint64_t schema;     /* migrations deployed at that moment */
    uint64_t is_settled; /* 0: rows may have moved by then of which a HEAD tells; it follows */
};

/* Asks for the digests of a table's rows in ranges, in the order of their keys: behind the row of
 * the name `after` (satchel_row_name; empty: from the first) up to and with `until` (empty: to the
 * last). Rows whose key holds a NULL are in none. */
struct satchel_message_ranges_request {
    uint64_t table;
    struct satchel_span after, until;
    uint64_t row_count; /* of a range; 1: the digests of single rows */
};
struct satchel_range_digest {
    struct satchel_span last; /* name of the last row of the range; `until` itself where it ends */
    uint64_t row_count;
    struct satchel_id digest;
};
/* Ranges one behind the other, the first behind `after`. Where the last one is not `until`, it was
 * too much for one answer: to be asked again from there. None: even to the next row that the user
 * may see it was, or the session has had enough. */
struct satchel_message_ranges {
    uint64_t cursor, schema; /* as in DIGESTS */
    struct satchel_range_digest *ranges;
    uint32_t range_count;
};

/* Asks for a page of the snapshot with that id; zero: for a new one, whose first page is the
 * answer. */
struct satchel_message_snapshot_request {
    struct satchel_id snapshot;
    uint64_t page; /* from 0 */
};
/* One page of all rows that the device's user may see, as they are after the entry at `cursor`:
 * notes (entry.h) with an effect for each row, WHOLE, ALIAS or, where only its conflicts are left,
 * GONE, and all its conflicts. Where rows have left the scope meanwhile they are not in it.
 * `snapshot` zero: there is none of the id asked for any more. */
struct satchel_message_snapshot {
    struct satchel_id snapshot;
    uint64_t cursor;
    struct satchel_vector vector; /* belongs to `cursor`, as in HEAD */
    struct satchel_id receipt;    /* likewise */
    satchel_stamp stamp;          /* the greatest that the node holds there */
    uint64_t schema;              /* migrations deployed there */
    uint64_t row_count;           /* of all pages together; with page_count */
    uint64_t page;
    uint64_t page_count;       /* at least 1; 0: not known yet, the node is still reading */
    struct satchel_span notes; /* empty: there is no such page */
};

/* Asks for what the log has behind `after` up to `until`: a replica that was filled from a snapshot
 * made there has its rows already. */
struct satchel_message_past_request {
    uint64_t after, until;
};
/* So much of it as one message should hold, in ascending cursor: all up to `reached`, cut to what
 * the user may see at `head`, by a schema of so many migrations. */
struct satchel_message_past {
    uint64_t reached, head, schema;
    struct satchel_entry *entries;
    uint32_t entry_count;
};

/* Administration: a verb and its arguments as text or NULL, with the data directory's admin token.
 */
struct satchel_message_admin {
    struct satchel_span token;
    struct satchel_value *arguments; /* [0] is the verb, e.g. "workspace.create" */
    uint32_t argument_count;
};
/* A table; or only `text`, a line to print. Row-major values. Failures come as ERROR. */
struct satchel_message_admin_result {
    struct satchel_span text;
    struct satchel_span *columns;
    uint32_t column_count;
    struct satchel_value *values;
    uint32_t row_count;
};

/* The sender closes after it. */
struct satchel_message_error {
    uint64_t status; /* enum satchel_status */
    struct satchel_span text;
};

struct satchel_message {
    enum satchel_message_kind kind;
    union {
        struct satchel_message_time time;
        struct satchel_message_time_reply time_reply;
        struct satchel_message_join join;
        struct satchel_message_joined joined;
        struct satchel_message_hello hello;
        struct satchel_message_welcome welcome;
        struct satchel_message_schema schema;
        struct satchel_message_push push;
        struct satchel_message_ack ack;
        struct satchel_message_entries entries;
        struct satchel_message_head head;
        struct satchel_message_digest_request digest_request;
        struct satchel_message_digests digests;
        struct satchel_message_ranges_request ranges_request;
        struct satchel_message_ranges ranges;
        struct satchel_message_snapshot_request snapshot_request;
        struct satchel_message_snapshot snapshot;
        struct satchel_message_past_request past_request;
        struct satchel_message_past past;
        struct satchel_message_forward forward;
        struct satchel_message_forwarded forwarded;
        struct satchel_message_copy copy;
        struct satchel_message_copied copied;
        struct satchel_message_rotate rotate;
        struct satchel_message_rotated rotated;
        struct satchel_message_rows_request rows_request;
        struct satchel_message_rows rows;
        struct satchel_message_scope scope;
        struct satchel_message_admin admin;
        struct satchel_message_admin_result admin_result;
        struct satchel_message_error error;
    };
};

/* Appends the message (without the frame's byte). */
enum satchel_status satchel_message_write(struct satchel_buffer *out,
                                          const struct satchel_message *message) SATCHEL_MUST_USE;
/* Decodes and validates one whole message; spans borrow from `bytes`, arrays live in `arena`.
 * CORRUPT (with what and where), VERSION, LIMIT, NOMEM. */
enum satchel_status satchel_message_read(struct satchel_span bytes, struct satchel_arena *arena,
                                         struct satchel_message *out,
                                         struct satchel_error *error) SATCHEL_MUST_USE;

/* Frame = compression byte + message. Compresses from 200 bytes on if that is smaller. */
enum satchel_status satchel_frame_write(struct satchel_buffer *out,
                                        struct satchel_span message) SATCHEL_MUST_USE;
/* The message of a frame: borrowed, or decompressed into `scratch` (cleared first), at most
 * bytes_max. */
enum satchel_status satchel_frame_read(struct satchel_span frame, size_t bytes_max,
                                       struct satchel_buffer *scratch, struct satchel_span *message,
                                       struct satchel_error *error) SATCHEL_MUST_USE;

#endif
