/* The comparison of a replica with its server, and the repair of what differs (docs/digests.md).
 *
 * When everything is equal as far as the stream tells, the digests of all tables are asked for. A
 * table that differs is looked through range by range, the rows of a range that differs one by one,
 * and rows that differ are asked for as the node has them. An answer counts only where the replica
 * stands at its cursor; else it is asked for again. check.c owns what is asked when, and the
 * digests of tables; check_rows.c ranges and rows. */
#ifndef SATCHEL_CHECK_H
#define SATCHEL_CHECK_H

#include "compare.h"

struct satchel_sync;

enum check_step {
    CHECK_WAITING, /* for the stream to be equal */
    CHECK_SUMS,    /* the digests of all tables */
    CHECK_HEAD,    /* the HEAD behind them: rows may have moved by then */
    CHECK_SLICE,   /* ranges of a table that is too large to be compared every time */
    CHECK_RANGES,  /* ranges of a table that differs */
    CHECK_NAMES,   /* the rows of a range that differs */
    CHECK_ROWS,    /* rows that differ, as the node has them */
    CHECK_OVER
};

/* Behind the row of the first name, up to and with the second; empty: there is no such bound. */
struct check_range {
    struct satchel_span after, until;
};

struct check_table {
    bool is_compared, differs;
    bool is_suspect;  /* a slice of it differed: it is compared, however large it is */
    bool is_given_up; /* nothing more can be done about it in this session */
    struct satchel_table_digest own, server;
    uint64_t repaired_count; /* rows, in this session */
    uint64_t told_count;     /* of them, told the server */
    uint64_t counted_before; /* repaired_count when it was begun to be looked through */
};

struct sync_check {
    /* verify's */
    bool is_whole;   /* all tables, however large, and until the two sides have met */
    bool only_looks; /* repairs nothing */

    enum check_step step;
    bool is_confirmed; /* the difference was there before the HEAD, too */
    uint32_t ask_count, ranges_count;
    int64_t due_ms, gives_up_ms;
    struct check_table *tables; /* by table number - 1 */
    uint32_t table_count;

    /* the request under way, and its answer */
    bool is_asked, has_answer;
    bool has_head; /* one that is behind the answer has come */
    uint64_t cursor, schema;
    bool is_settled;
    struct satchel_arena answer; /* of what follows */
    struct satchel_table_digest *sums;
    struct satchel_range_digest *ranges;
    uint32_t sum_count, range_count, row_count;
    struct satchel_span notes;

    /* the table that is looked through */
    uint32_t table_number;
    const struct satchel_table *table; /* inside a transaction */
    struct satchel_buffer after;       /* how far RANGES have come */
    bool is_walked;                    /* to the table's end */
    struct satchel_arena found_area;   /* of what follows */
    struct check_range *found;         /* ranges that differ */
    uint32_t found_count, found_index;
    struct satchel_buffer name_after; /* how far NAMES have come in the present one */
    bool is_named;                    /* to its end */
    struct satchel_arena names_area;  /* of what follows */
    struct satchel_row_request *names;
    uint32_t name_count, name_index;
};

void satchel_check_init(struct sync_check *check);
void satchel_check_deinit(struct sync_check *check);
/* Everything is equal: asks what there is to ask. BUSY (verify only): the two sides change too fast
 * to meet. */
enum satchel_status satchel_check_step(struct satchel_sync *sync,
                                       struct satchel_error *error) SATCHEL_MUST_USE;
bool satchel_check_is_over(const struct satchel_sync *sync);
/* Whether an answer has waited for the replica to be at its cursor, and it is. */
bool satchel_check_stops_here(const struct satchel_sync *sync);
/* The replica's cursor has moved, or an answer has come. */
enum satchel_status satchel_check_go_on(struct satchel_sync *sync,
                                        struct satchel_error *error) SATCHEL_MUST_USE;
enum satchel_status satchel_check_take_digests(struct satchel_sync *sync,
                                               const struct satchel_message_digests *digests,
                                               struct satchel_error *error) SATCHEL_MUST_USE;
enum satchel_status satchel_check_take_ranges(struct satchel_sync *sync,
                                              const struct satchel_message_ranges *ranges,
                                              struct satchel_error *error) SATCHEL_MUST_USE;
/* Whether ROWS are the answer to the check's request. */
bool satchel_check_wants_rows(const struct satchel_sync *sync);
enum satchel_status satchel_check_take_rows(struct satchel_sync *sync,
                                            const struct satchel_message_rows *rows,
                                            struct satchel_error *error) SATCHEL_MUST_USE;
/* A HEAD has come. */
void satchel_check_take_head(struct satchel_sync *sync, uint64_t cursor);
/* Rows that were repaired in this session. */
uint64_t satchel_check_repaired(const struct satchel_sync *sync);

/* ---- between check.c and check_rows.c ---- */

/* Begins to look through the first table that differs; asks for the sums again if there is none
 * left, or ends. */
void satchel_check_next_table(struct satchel_sync *sync);
/* Nothing more can be done about the table in this session; tells so. */
void satchel_check_give_up(struct satchel_sync *sync, const struct satchel_table *table,
                           const char *reason);
void satchel_check_end(struct satchel_sync *sync);
/* A transaction at the answer's cursor, which is used up; `*is_there` false: the replica is not
 * there any more, and no transaction is open. */
enum satchel_status satchel_check_begin(struct satchel_sync *sync, bool is_writing, bool *is_there,
                                        struct satchel_error *error) SATCHEL_MUST_USE;
enum satchel_status satchel_check_ask_ranges(struct satchel_sync *sync,
                                             struct satchel_message *message) SATCHEL_MUST_USE;
/* What an answer leads to: of SLICE, RANGES, NAMES, ROWS. */
enum satchel_status satchel_check_use_ranges(struct satchel_sync *sync,
                                             struct satchel_error *error) SATCHEL_MUST_USE;
enum satchel_status satchel_check_use_names(struct satchel_sync *sync,
                                            struct satchel_error *error) SATCHEL_MUST_USE;
enum satchel_status satchel_check_use_rows(struct satchel_sync *sync,
                                           struct satchel_error *error) SATCHEL_MUST_USE;

#endif
