/* Capture from inside:
 *
 *   triggers.c       the triggers on tracked tables, and what they pass to the virtual tables
 *   capture.c        the virtual tables: what SQLite calls, transactions and savepoints
 *   capture_rows.c   the operations of the transaction in memory
 *   capture_rules.c  what the schema's rules refuse at the write
 *   capture_data.c   what these ask the database: state machines, rows that point at a row
 *   capture_units.c  columns that are written together
 *   capture_alias.c  rows that were merged into the one that is written
 *   capture_net.c    what several operations on one row come to
 *   capture_parts.c  what the change set says of a row
 *   capture_flush.c  the change set made of them at the commit
 *
 * The operations of one transaction lie one behind the other in a buffer; those on one row are
 * chained. A savepoint is a length of the buffer, its rollback cuts the buffer back. */
#ifndef SATCHEL_CAPTURE_H
#define SATCHEL_CAPTURE_H

#include "replica.h"

/* ---- what a trigger passes: one integer that says what the values are, then the values ---- */

/* Old and new values of the widest table, beside the integer: SQLite's limit on columns is 2000. */
#define SATCHEL_CAPTURE_ARGUMENTS_MAX 1999
/* Numbers of arguments for which there is a virtual table: SQLite fills in those not given, one by
 * one, so that a narrow table does not pay for the widest. */
/* clang-format off */
#define SATCHEL_CAPTURE_WIDTHS {12, 24, 48, 96, 192, 384, 768, SATCHEL_CAPTURE_ARGUMENTS_MAX}
/* clang-format on */
enum { SATCHEL_CAPTURE_WIDTH_COUNT = 8 };

struct satchel_capture_code {
    uint32_t tag; /* of the replica the trigger was made for, 31 bits */
    uint32_t column_count;
    uint32_t table;
    enum satchel_op_kind kind;
};
uint32_t satchel_capture_tag(const struct satchel_id *device);
int64_t satchel_capture_code_pack(const struct satchel_capture_code *code);
bool satchel_capture_code_unpack(int64_t packed, struct satchel_capture_code *code);

/* ---- operations in memory ---- */

#define SATCHEL_CAPTURE_BYTES_MAX (256u << 20)

/* Header of an operation in the buffer, 8-byte aligned; offsets are of headers, 0 is none (the
 * buffer begins with 8 bytes of nothing). Behind it: the key's values, then insert, delete   the
 * new (old) value of each column outside the key, ascending update           value_count times:
 * column (2 bytes), old value, new value A value is its type (1 byte), then 8 bytes (numbers) or a
 * length (4 bytes) and bytes. */
struct satchel_capture_op {
    uint64_t hash;   /* of table and key */
    uint32_t size;   /* with the header, rounded up to 8 */
    uint32_t before; /* the operation before in the buffer */
    uint32_t first;  /* of the chain */
    uint32_t last;   /* of the chain; in all but the first: the one before in the chain */
    uint32_t next;   /* in the chain */
    uint32_t table;
    uint32_t key_bytes;
    uint16_t value_count;
    uint8_t kind; /* enum satchel_op_kind */
    uint8_t reserved;
};

struct satchel_capture_mark {
    uint32_t size, tail, op_count, row_count;
    uint64_t wire_bytes;
};

/* What capture needs to know of a table beyond the schema. */
struct satchel_capture_table {
    const struct satchel_table *table; /* NULL: not tracked */
    bool has_immutable;                /* a column that no update may change */
    bool has_units;                    /* columns that are written together */
    bool has_refusals;                 /* a rule that does not take every value */
    bool has_rights;                   /* a column that not everybody may set */
    bool feeds_machines;               /* satchel_states reads it */
    bool may_replace;                  /* its key may be declared ON CONFLICT REPLACE */
};

/* What every change set needs of satchel_replica and satchel_change; read once and kept as long as
 * nobody else writes to the database. */
struct satchel_capture_state {
    bool is_known;
    uint32_t version; /* satchel_replica_data_version after the last commit */
    satchel_stamp seen_stamp, last_stamp;
    uint64_t last_number;
    bool has_base, has_views;
    uint32_t migration_count;
    char role[SATCHEL_ROLE_BYTES_MAX];
    uint32_t role_bytes;
    struct satchel_vector seen;
    struct satchel_arena seen_arena;
    uint64_t header_bytes; /* of a change set's header, at most */
};

struct satchel_capture {
    struct satchel_replica *replica;
    uint32_t connection_count; /* virtual tables connected: their end finalizes the statements */
    uint32_t tag;

    struct satchel_capture_table *tables; /* by number, from 1; NULL: to be made from the schema */
    uint32_t table_count;
    struct satchel_row_io *row_io; /* made when first needed */
    /* by the schema's references: whether a row points at a key; made when first needed */
    sqlite3_stmt **select_pointing;
    uint32_t pointing_count;
    struct satchel_aliases *aliases;  /* made when first needed */
    struct satchel_machine *machines; /* the schema's; NULL: to be read */
    struct satchel_arena machines_arena;

    /* the transaction */
    bool is_open;
    struct satchel_buffer ops;
    uint32_t tail; /* the last operation */
    uint32_t op_count, row_count;
    uint64_t wire_bytes; /* what the change set may come to, at most */
    uint32_t *slots;     /* open addressing: first operation of each row; grave: UINT32_MAX */
    uint32_t slot_count, slots_used;
    struct satchel_capture_mark *marks; /* by savepoint level */
    uint32_t mark_count, mark_capacity;
    uint64_t flushed_number; /* the change set written by this transaction, 0: none yet */
    satchel_stamp flushed_stamp;

    struct satchel_capture_state state;
    sqlite3_stmt *select_state, *select_base, *select_view, *insert_change, *delete_change;

    /* scratch of one call */
    bool is_changed[SATCHEL_COLUMNS_MAX], nothing_changed[SATCHEL_COLUMNS_MAX];
    struct satchel_value old_values[SATCHEL_COLUMNS_MAX], new_values[SATCHEL_COLUMNS_MAX];
    struct satchel_field fields[SATCHEL_COLUMNS_MAX];
    uint64_t start_hashes[SATCHEL_COLUMNS_MAX];
    bool is_touched[SATCHEL_COLUMNS_MAX], is_found[SATCHEL_COLUMNS_MAX];
    bool is_written[SATCHEL_COLUMNS_MAX];
    struct satchel_buffer parts, local, body, stored, name;
    struct satchel_arena arena;
    struct satchel_error error;
};

static inline struct satchel_capture_op *satchel_capture_op_at(
    const struct satchel_capture *capture, uint32_t offset)
{
    return (struct satchel_capture_op *)(void *)(capture->ops.data + offset);
}

/* ---- capture_rows.c ---- */

/* Takes in what a trigger passed; `values` are the arguments behind the code. REFUSED, LIMIT or
 * another status with capture->error saying why; nothing is taken in then. */
enum satchel_status satchel_capture_take(struct satchel_capture *capture,
                                         const struct satchel_capture_code *code,
                                         sqlite3_value **values) SATCHEL_MUST_USE;
void satchel_capture_mark_get(const struct satchel_capture *capture,
                              struct satchel_capture_mark *mark);
/* Cuts the buffer back to what it was. */
void satchel_capture_truncate(struct satchel_capture *capture,
                              const struct satchel_capture_mark *mark);
/* The first operation on the row that has the key in `values` (of all columns), 0: none. */
uint32_t satchel_capture_find(struct satchel_capture *capture,
                              const struct satchel_capture_table *table,
                              const struct satchel_value *values);
/* Reading what was taken in: each moves past what it returns. */
uint32_t satchel_capture_read_column(const uint8_t **position);
struct satchel_value satchel_capture_read_value(const uint8_t **position);

/* ---- capture_units.c ---- */

/* Adds to the changed columns all others of their units. */
void satchel_capture_gather_units(const struct satchel_table *table, bool *is_changed);
/* Adds to the written columns those that are written with them: a group's columns with each other,
 * followers with their leader. A follower is written without its leader. */
void satchel_capture_complete_units(const struct satchel_table *table, bool *is_written);
/* Whether `column` is a leader that stayed as it was while a follower of it was written. */
bool satchel_capture_is_beside(const struct satchel_table *table, const bool *is_written,
                               uint32_t column);

/* ---- capture_net.c ---- */

struct satchel_capture_row {
    const struct satchel_table *table;
    struct satchel_value key[SATCHEL_KEY_COLUMNS_MAX];
    bool existed, exists;
    /* by column number, keys aside: old_values where it existed, new_values where it exists. Of an
     * update, is_changed says which columns are written (units whole), and only these have values
     */
    struct satchel_value *old_values, *new_values;
    bool *is_changed;
};
/* What the chain that begins at `first` comes to; values borrow from the buffer or the arena. */
enum satchel_status satchel_capture_net(struct satchel_capture *capture, uint32_t first,
                                        struct satchel_capture_row *out) SATCHEL_MUST_USE;
/* Whether the row existed before the transaction, by the chain alone; and its value of `column`
 * then. */
bool satchel_capture_chain_start(const struct satchel_capture *capture, uint32_t first,
                                 uint32_t column, struct satchel_value *start);

/* ---- rules that hold at the write (capture_rules.c) ---- */

enum satchel_status satchel_capture_check_update(struct satchel_capture *capture,
                                                 const struct satchel_capture_table *table,
                                                 const struct satchel_value *old_values,
                                                 const struct satchel_value *new_values,
                                                 const bool *is_changed) SATCHEL_MUST_USE;
enum satchel_status satchel_capture_check_insert(
    struct satchel_capture *capture, const struct satchel_capture_table *table,
    const struct satchel_value *new_values) SATCHEL_MUST_USE;
enum satchel_status satchel_capture_check_delete(struct satchel_capture *capture,
                                                 const struct satchel_capture_table *table,
                                                 const struct satchel_value *old_values,
                                                 bool is_key_update) SATCHEL_MUST_USE;

/* ---- what rules ask the database (capture_data.c) ---- */

/* The schema's machine `index` as satchel_states has it now. Borrowed until the next write. */
enum satchel_status satchel_capture_machine(struct satchel_capture *capture, uint32_t index,
                                            const struct satchel_machine **out) SATCHEL_MUST_USE;
/* Rows that satchel_states reads may have changed. */
void satchel_capture_forget_machines(struct satchel_capture *capture);
/* A column by which some row other than the one with `values` points at that one, or NULL. */
enum satchel_status satchel_capture_find_pointing(
    struct satchel_capture *capture, const struct satchel_table *table,
    const struct satchel_value *values, const struct satchel_reference **out) SATCHEL_MUST_USE;
void satchel_capture_finalize_pointing(struct satchel_capture *capture);

/* ---- capture_parts.c ---- */

/* Gives the part the exceptions to `seen` that satchel_base and satchel_view have for it. */
enum satchel_status satchel_capture_make_exceptions(struct satchel_capture *capture,
                                                    const struct satchel_capture_row *row,
                                                    struct satchel_part *part) SATCHEL_MUST_USE;
/* All rows of the transaction into capture->parts and capture->local. */
enum satchel_status satchel_capture_write_parts(struct satchel_capture *capture,
                                                uint32_t *part_count) SATCHEL_MUST_USE;

/* ---- capture_flush.c ---- */

/* At the first write of a transaction: the state is read unless it is known, the schema refreshed.
 */
enum satchel_status satchel_capture_begin(struct satchel_capture *capture) SATCHEL_MUST_USE;
/* At the commit: writes the change set, if there is something to write. */
enum satchel_status satchel_capture_flush(struct satchel_capture *capture) SATCHEL_MUST_USE;
/* An update that no statement makes: fields written as they are, or of a row that is an alias. A
 * change set of this one part, its fields operations, in the caller's transaction; `values` are the
 * row's as it is shown. STATE: something is captured that is not yet committed. */
enum satchel_status satchel_capture_write(struct satchel_capture *capture,
                                          const struct satchel_part *part,
                                          struct satchel_value *values) SATCHEL_MUST_USE;
/* Whether the author may have been shown less of a row of the table than `seen` says: capture looks
 * for it. */
static inline bool satchel_capture_has_views(const struct satchel_capture *capture,
                                             const struct satchel_table *table)
{
    return capture->state.has_base || capture->state.has_views || table->has_masks;
}
/* What the row's units were in fact shown, where that is less than `seen`: of satchel_base, and of
 * satchel_view where that has none. In capture->arena. */
enum satchel_status satchel_capture_views(struct satchel_capture *capture,
                                          const struct satchel_table *table,
                                          const struct satchel_value *key,
                                          struct satchel_exception **views,
                                          uint32_t *count) SATCHEL_MUST_USE;
/* Appends a part to the change set. */
enum satchel_status satchel_capture_put_part(struct satchel_capture *capture,
                                             const struct satchel_capture_row *row,
                                             const struct satchel_part *part) SATCHEL_MUST_USE;
/* Whether the part travels with an exception for that view. */
bool satchel_capture_is_excepted(const struct satchel_part *part, const struct satchel_table *table,
                                 const struct satchel_exception *view);
void satchel_capture_finalize_statements(struct satchel_capture *capture);

/* ---- capture_alias.c ---- */

/* Parts for the rows that `written`'s row stands for, added to the count. */
enum satchel_status satchel_capture_write_aliases(struct satchel_capture *capture,
                                                  const struct satchel_capture_row *row,
                                                  const struct satchel_part *written,
                                                  uint32_t *part_count) SATCHEL_MUST_USE;
void satchel_capture_finalize_aliases(struct satchel_capture *capture);

#endif
