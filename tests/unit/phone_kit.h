/* Phones and a server in one process: real replica files, a real workspace, and sessions between
 * them whose frames can be cut off anywhere. A phone's file can be copied to another phone. Every
 * step asserts. */
#ifndef PHONE_KIT_H
#define PHONE_KIT_H

#include "sync.h"
#include "workspace_kit.h"

enum { PHONES_MAX = 5, FRAMES_HELD_MAX = 64 };

struct town;

/* What the server has of a session. */
struct phone_peer {
    struct satchel_session *session;
    uint64_t number;
    bool is_attached, is_bootstrapping, is_live, is_outlived, is_drained;
    struct satchel_id device;
    uint64_t cursor, held_number, acked_number;
    struct satchel_scope_state scope;
    uint8_t names[2][256], told[8192]; /* of it */
};

struct phone {
    struct town *town;
    unsigned index;
    char path[100];
    struct satchel_clock clock;
    satchel_replica *app; /* NULL: the application is closed */
    satchel_replica *replica;
    satchel_sync *sync; /* NULL: offline */
    struct phone_peer peer;
    bool is_done;
    bool rotates; /* the next sync is to replace the device's token; false when that is done */

    /* What is cut off. */
    bool loses_copied;    /* the answer to COPY, with the connection */
    unsigned up_frames;   /* the connection is lost after these; 0: never */
    unsigned down_frames; /* the same of what comes down */
    bool holds_on; /* it is not lost by that: phone_talk says BUSY, and goes on when called again */
    int pauses_behind; /* so it does once the server has answered a message of that kind; or -1 */
    bool is_paused;
    void (*watch)(struct phone *phone);       /* after each step of its sync, or NULL */
    void (*behind_rows)(struct phone *phone); /* once, when the server has answered ROWS_REQUEST */
    void (*in_flight)(struct phone *phone); /* once, when the server has answered HELLO and told all
                                               that there was, and the phone has read none of it */
    /* By its application, when the server hears DIGEST_REQUEST, ROWS_REQUEST. */
    const char *writes_at_digests, *writes_at_rows;
    bool is_mute; /* what it says once it is attached, with the connection, when the server has no
                     more to say */

    struct satchel_span held[FRAMES_HELD_MAX]; /* on their way down, see in_flight */
    unsigned held_count, held_next;

    unsigned session_count, copy_count;
    uint64_t pushed_count,
        duplicate_count;     /* change sets said; of them held by the server already */
    uint64_t repaired_count; /* rows that it has told the server to have repaired */
    unsigned ranges_count;   /* RANGES_REQUESTs */
    unsigned past_count;     /* entries that it is told with rows that came */
};

struct town {
    const char *schema;
    struct fixture server;
    struct phone phones[PHONES_MAX];
    unsigned phone_count;
    unsigned commit_count; /* by all applications */
    uint64_t session_count;
    int64_t monotonic_ms; /* of all phones; moves with each commit */
    bool gives_snapshots; /* to a phone that has nothing; else it gets the log */
    bool has_no_past;     /* PAST_REQUEST is not answered */
};

void town_open(struct town *town);
void town_open_with(struct town *town, const char *schema);
void town_close(struct town *town);
/* Beside ann, who is one. */
void town_add_user(struct town *town, const char *login);
/* A migration by which ann and bob are rows, of whom each has a role. */
#define TOWN_USERS                                                                                 \
    "-- @table scope=all delete=edit_wins\n"                                                       \
    "CREATE TABLE person(id TEXT PRIMARY KEY, login TEXT, role TEXT, active INTEGER DEFAULT 1);\n" \
    "INSERT INTO person(id, login, role) VALUES('a', 'ann', 'hq'), ('b', 'bob', 'hq');\n"          \
    "CREATE VIEW satchel_users AS SELECT id, login, role, active FROM person;\n"
/* By an administrator: "column=value"; a migration behind the town's schema. */
void town_set(struct town *town, const char *table, const char *id, const char *field);
void town_deploy(struct town *town, const char *migration);
/* A phone that has joined as ann, or as that user, and has synced. */
struct phone *town_join(struct town *town);
struct phone *town_join_as(struct town *town, const char *login);
struct phone *town_join_offline(struct town *town, const char *login); /* it has yet to sync */
/* Another phone with a copy of the file as it is; the first one's application is closed for that.
 * */
struct phone *town_clone(struct town *town, struct phone *from);
/* Another sync of the same file, beside the phone's own; and one that hears so many frames, those
 * of the clock too, and is cut off. */
struct phone phone_beside(const struct phone *phone);
void phone_beside_hears(const struct phone *phone, unsigned frames);
/* Keeps the phone's file, and puts it back. */
void phone_keep(struct phone *phone);
void phone_put_back(struct phone *phone);

/* Backs the server up, and restores it, or puts its file back by hand; all phones are offline then.
 */
void town_back_up(struct town *town, const char *name);
void town_restore(struct town *town, const char *name, bool by_hand);

/* One transaction of the application; and a sync behind it. */
void phone_write(struct phone *phone, const char *sql);
void phone_write_through(struct phone *phone, const char *sql);
/* Changes the file as no application can: no trigger fires. */
void phone_damage(struct phone *phone, const char *sql);
/* The rows of a query: columns joined by '|', rows by ';', NULL as "null". */
const char *phone_read(struct phone *phone, const char *sql);
void phone_close_app(struct phone *phone);

/* Begins a session; carries frames until nothing moves, the session is done or over; ends it. */
enum satchel_status phone_connect(struct phone *phone);
enum satchel_status phone_talk(struct phone *phone);
void phone_hang_up(struct phone *phone);
/* A whole sync, as satchel_sync_run does it: how many sessions it took. */
unsigned phone_sync(struct phone *phone);
/* Hears all that the server has, and says nothing but who it is. */
void phone_hear(struct phone *phone);
/* Whether nothing is pending in the file, so that nothing is lost with it. */
bool phone_is_uploaded(struct phone *phone);
/* Syncs all until nobody has anything to send. Then every commit is in the server's history once,
 * and all files hold the same. */
void town_settle(struct town *town);

#endif
