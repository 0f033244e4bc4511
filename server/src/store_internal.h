/* The SQLite store from inside: what its files share. */
#ifndef SATCHEL_STORE_INTERNAL_H
#define SATCHEL_STORE_INTERNAL_H

#include "digest_keep.h"
#include "scope.h"
#include "store_sqlite.h"

#include <satchel/log_reader.h>
#include <satchel/alias.h>
#include <satchel/map.h>

#define SATCHEL_STORE_FORMAT 5
/* What it was before users were kept, and before scopes were. */
#define SATCHEL_STORE_FORMAT_WITHOUT_USERS 4
#define SATCHEL_STORE_FORMAT_UNSCOPED 3
#define SATCHEL_STORE_IDS_MAX (1u << 24)

enum store_statement {
    STORE_BEGIN,
    STORE_COMMIT,
    STORE_ROLLBACK,
    STORE_SAVE,
    STORE_RELEASE,
    STORE_BACK,
    STORE_HEAD,
    STORE_SET_HEAD,
    STORE_ROW,
    STORE_SET_ROW,
    STORE_DEVICE,
    STORE_SET_DEVICE,
    STORE_HASH,
    STORE_ADD_HASH,
    STORE_ADD_ID,
    STORE_KEYS_OF_ROW,
    STORE_ROWS_OF_KEY,
    STORE_ADD_KEY,
    STORE_FIND_LOST,
    STORE_FIND_GONE,
    STORE_ADD_GONE,
    STORE_LIST_ROWS,
    STORE_MARK,
    STORE_MARK_RELEASE,
    STORE_MARK_BACK,
    STORE_FIND_ENTRY,
    STORE_QUARANTINE,
    STORE_ADD_DEVICE,
    STORE_BRANCH,
    STORE_TAKE_NUMBERS,
    STORE_STATEMENT_COUNT
};

struct satchel_store_sqlite {
    struct satchel_store base; /* first: a store * is a store_sqlite * */
    sqlite3 *db;
    sqlite3_stmt *statements[STORE_STATEMENT_COUNT];
    struct satchel_log *log;
    struct satchel_log_reader *log_reader;
    struct satchel_row_io *rows;
    struct satchel_schema *schema;
    struct satchel_identity identity;
    char node_text[SATCHEL_ID_TEXT_BYTES];

    /* satchel_id in memory: ids[number - 1]; those above id_committed go if the transaction does */
    struct satchel_id *ids;
    size_t id_count, id_capacity;
    size_t id_committed, id_marked; /* of these: in the file for good, before the mark */
    struct satchel_map id_numbers;

    struct satchel_aliases *aliases;
    struct scope_keeper *scopes;
    struct digest_keeper *digests; /* NULL while it is being opened */
    /* While it is opened: of an earlier format, which kept no users, or not even scopes, so far. */
    bool is_earlier, is_unscoped;

    /* store_scope.c */
    struct scope_viewer *viewer;      /* NULL until somebody's right is asked for */
    struct satchel_buffer looked_as;  /* the viewer's user, while `is_looking` */
    bool is_looking;                  /* in this transaction */
    uint64_t shown_seq, shown_cursor; /* the cursor of that seq, found last */
    struct timelines *timelines;      /* NULL until a row's maker is asked for */

    /* the machines of the schema as last read, and those before, which a run may still look at */
    struct satchel_arena machine_arenas[2];
    struct satchel_machine *machines;
    int machine_turn;
    bool has_machines;   /* they are as the file has them */
    bool *machine_feeds; /* per table; NULL: not asked yet */
    struct satchel_arena feeds_arena;
};

static inline struct satchel_store_sqlite *store_of(struct satchel_store *store)
{
    return (struct satchel_store_sqlite *)store;
}

/* ---- store_ids.c ---- */
enum satchel_status store_ids_load(struct satchel_store_sqlite *store,
                                   struct satchel_error *error) SATCHEL_MUST_USE;
void store_ids_deinit(struct satchel_store_sqlite *store);
/* All but the first `count`: their rows have been rolled back. */
void store_ids_forget(struct satchel_store_sqlite *store, size_t count);
/* 0 if the id has no number. */
uint32_t store_ids_find(const struct satchel_store_sqlite *store, const struct satchel_id *id);
enum satchel_status store_ids_number_of(void *context, const struct satchel_id *id,
                                        uint32_t *number);
enum satchel_status store_ids_id_of(void *context, uint32_t number, struct satchel_id *id);

/* ---- store_rows.c ---- */
enum satchel_status store_load_rows(struct satchel_store *base, struct satchel_store_row *rows,
                                    size_t count, struct satchel_arena *arena,
                                    struct satchel_error *error);
enum satchel_status store_write_rows(struct satchel_store *base,
                                     const struct satchel_store_row *rows, size_t count,
                                     struct satchel_span *refusals, struct satchel_arena *arena,
                                     struct satchel_error *error);

/* ---- store_log.c ---- */
enum satchel_status store_load_entries(struct satchel_store *base, const uint64_t *cursors,
                                       size_t count, struct satchel_entry *entries,
                                       struct satchel_span *timelines, struct satchel_arena *arena,
                                       struct satchel_error *error);
enum satchel_status store_append_entries(struct satchel_store *base,
                                         const struct satchel_entry *entries,
                                         const struct satchel_span *timelines,
                                         const uint8_t (*hashes)[SATCHEL_HASH_BYTES], size_t count,
                                         struct satchel_error *error);
enum satchel_status store_load_hash(struct satchel_store *base, const struct satchel_id *device,
                                    uint64_t number, uint8_t hash[SATCHEL_HASH_BYTES],
                                    struct satchel_error *error);
enum satchel_status store_write_conflicts(struct satchel_store *base,
                                          const struct satchel_conflict_note *notes, size_t count,
                                          struct satchel_error *error);
enum satchel_status store_write_quarantine(struct satchel_store *base,
                                           const struct satchel_store_quarantine *parts,
                                           size_t count, struct satchel_error *error);
enum satchel_status store_find_entry(struct satchel_store *base, const struct satchel_id *device,
                                     uint64_t number, uint64_t *cursor,
                                     struct satchel_error *error);
enum satchel_status store_find_conflict(struct satchel_store *base, const struct satchel_id *id,
                                        struct satchel_arena *arena,
                                        struct satchel_conflict_note *note,
                                        struct satchel_error *error);
enum satchel_status store_load_devices(struct satchel_store *base,
                                       struct satchel_store_device *devices, size_t count,
                                       struct satchel_arena *arena, struct satchel_error *error);
enum satchel_status store_add_device(struct satchel_store *base, const struct satchel_id *device,
                                     struct satchel_span user, int64_t now_ms,
                                     struct satchel_error *error);
enum satchel_status store_write_devices(struct satchel_store *base,
                                        const struct satchel_store_device *devices, size_t count,
                                        struct satchel_error *error);

/* ---- store_links.c ---- */
enum satchel_status store_any_alias(struct satchel_store *base, bool *any,
                                    struct satchel_error *error);
enum satchel_status store_find_alias(struct satchel_store *base, struct satchel_span name,
                                     struct satchel_arena *arena, struct satchel_span *survivor,
                                     struct satchel_error *error);
enum satchel_status store_write_aliases(struct satchel_store *base,
                                        const struct satchel_store_alias *aliases, size_t count,
                                        struct satchel_error *error);
enum satchel_status store_keys_of_row(struct satchel_store *base, struct satchel_span name,
                                      struct satchel_arena *arena, struct satchel_store_key **keys,
                                      size_t *count, struct satchel_error *error);
enum satchel_status store_rows_of_key(struct satchel_store *base, uint32_t table, uint32_t column,
                                      struct satchel_span match, size_t limit,
                                      struct satchel_arena *arena, struct satchel_span **names,
                                      size_t *count, struct satchel_error *error);
enum satchel_status store_write_keys(struct satchel_store *base,
                                     const struct satchel_store_key *keys, size_t count,
                                     struct satchel_error *error);
enum satchel_status store_find_references(struct satchel_store *base,
                                          const struct satchel_table *table, uint32_t column,
                                          const struct satchel_value *value,
                                          struct satchel_arena *arena,
                                          const struct satchel_value ***keys, size_t *count,
                                          struct satchel_error *error);
enum satchel_status store_find_lost(struct satchel_store *base, const struct satchel_table *table,
                                    uint32_t column, const struct satchel_value *value,
                                    struct satchel_arena *arena, struct satchel_span **names,
                                    size_t *count, struct satchel_error *error);
enum satchel_status store_find_gone(struct satchel_store *base, struct satchel_span parent,
                                    struct satchel_arena *arena, struct satchel_span **names,
                                    size_t *count, struct satchel_error *error);
enum satchel_status store_write_gone(struct satchel_store *base,
                                     const struct satchel_store_gone *gone, size_t count,
                                     struct satchel_error *error);
enum satchel_status store_list_rows(struct satchel_store *base, uint32_t table,
                                    struct satchel_span after, size_t limit,
                                    struct satchel_arena *arena, struct satchel_span **names,
                                    size_t *count, struct satchel_error *error);
/* Indexes for what the merge looks up by reference; idempotent. */
enum satchel_status store_index_references(struct satchel_store_sqlite *store,
                                           struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- store_scope.c ---- */
enum satchel_status store_look(struct satchel_store *base,
                               const struct satchel_store_author *author,
                               const struct satchel_table *table, struct satchel_span name,
                               enum satchel_sight *sight, struct satchel_error *error);
enum satchel_status store_is_granted(struct satchel_store *base,
                                     const struct satchel_store_author *author,
                                     const struct satchel_value *value, bool *is_granted,
                                     struct satchel_error *error);

/* ---- store_machines.c ---- */
enum satchel_status store_load_machines(struct satchel_store *base, bool again,
                                        const struct satchel_machine **machines,
                                        struct satchel_error *error);
enum satchel_status store_machine_tables(struct satchel_store *base, bool *is_read,
                                         struct satchel_error *error);
void store_machines_init(struct satchel_store_sqlite *store);
/* They may not be as the file has them any more; after a change of schema, their tables neither. */
void store_machines_forget(struct satchel_store_sqlite *store, bool with_schema);
void store_machines_deinit(struct satchel_store_sqlite *store);

/* ---- store_numbers.c ---- */
enum satchel_status store_load_numbering(struct satchel_store *base,
                                         struct satchel_store_numbering *numbering,
                                         struct satchel_arena *arena, struct satchel_error *error);
enum satchel_status store_take_numbers(struct satchel_store *base, struct satchel_span series,
                                       struct satchel_span branch, int year, uint64_t count,
                                       uint64_t *first, struct satchel_error *error);

#endif
