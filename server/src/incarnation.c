/* Owns the node's incarnations: who it was, what it holds, and how it begins a new one. */
#include "incarnation.h"

#include <sodium.h>
#include <stdio.h>

#define SQL_WORKSPACE "SELECT id, node, cursor, seq, secret FROM satchel_workspace"
/* Before there was own_seq, a node gave a position to each entry. */
#define SQL_PAST                                                       \
    "SELECT node, last_cursor, last_seq, ifnull(own_seq, last_cursor)" \
    " FROM satchel_incarnation ORDER BY node"
#define SQL_POSITIONS "SELECT node, seq FROM satchel_position WHERE cursor=?1 ORDER BY node"
#define SQL_ADD_POSITION                                                               \
    "INSERT OR IGNORE INTO satchel_position(cursor, node, seq, late_after, late_turn)" \
    " VALUES(?1,?2,?3,nullif(?4,0),iif(?4,(SELECT ifnull(max(late_turn),0)+1"          \
    " FROM satchel_position WHERE late_turn NOTNULL),NULL))"
#define SQL_ANY_POSITION                                                                     \
    "SELECT EXISTS(SELECT 1 FROM satchel_position), late_turn, late_after FROM (SELECT 1)"   \
    " LEFT JOIN (SELECT late_turn, late_after FROM satchel_position WHERE late_turn NOTNULL" \
    " ORDER BY late_turn DESC LIMIT 1)"
#define SQL_RAISE                                                                     \
    "INSERT INTO satchel_incarnation(node, last_cursor, last_seq) VALUES(?1,NULL,?2)" \
    " ON CONFLICT(node) DO UPDATE SET last_seq=max(last_seq, excluded.last_seq)"
/* No entry is of one that has given none. */
#define SQL_END                                                                                  \
    "INSERT INTO satchel_incarnation(node, last_cursor, last_seq, own_seq)"                      \
    " SELECT node, nullif(cursor, (SELECT max(last_cursor) FROM satchel_incarnation)), seq, seq" \
    " FROM satchel_workspace WHERE true"                                                         \
    " ON CONFLICT(node) DO UPDATE SET last_cursor=excluded.last_cursor,"                         \
    " own_seq=excluded.own_seq"
#define SQL_ADD_OWN "ALTER TABLE satchel_incarnation ADD COLUMN own_seq INTEGER"
#define SQL_ADD_LATE                                              \
    "ALTER TABLE satchel_position ADD COLUMN late_after INTEGER;" \
    "ALTER TABLE satchel_position ADD COLUMN late_turn INTEGER"
#define SQL_LATE_INDEX                                                                \
    "CREATE INDEX IF NOT EXISTS satchel_position_late ON satchel_position(late_turn)" \
    " WHERE late_turn NOTNULL"
#define SQL_BEGIN "UPDATE satchel_workspace SET node=?1"
#define SQL_BRANCH "SELECT name FROM satchel_branch"
#define SQL_SET_BRANCH "UPDATE satchel_branch SET name=?1"

enum { BRANCH_BYTES_MAX = 64, BRANCH_TAIL = 4 };

static enum satchel_status read_workspace(sqlite3 *db, struct incarnations *out,
                                          struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    enum satchel_status status = satchel_query_open(&query, db, SQL_WORKSPACE, error);
    if (status != SATCHEL_OK)
        return status;
    status = satchel_query_step(&query, &has_row, error);
    struct satchel_span secret =
        has_row ? satchel_column_span(query.statement, 4) : satchel_span_of(NULL, 0);
    if (status == SATCHEL_OK &&
        !(has_row && satchel_column_id(query.statement, 0, &out->workspace_id) &&
          satchel_column_id(query.statement, 1, &out->node) && secret.size == sizeof out->secret))
        status = satchel_error_set(error, SATCHEL_CORRUPT,
                                   "satchel_workspace is damaged; restore a backup");
    if (status == SATCHEL_OK) {
        out->cursor = (uint64_t)sqlite3_column_int64(query.statement, 2);
        out->seq = (uint64_t)sqlite3_column_int64(query.statement, 3);
        memcpy(out->secret, secret.data, sizeof out->secret);
    }
    satchel_query_close(&query);
    return status;
}

static enum satchel_status take_past(struct satchel_query *query, struct satchel_arena *arena,
                                     struct incarnations *out, struct satchel_error *error)
{
    struct satchel_id node;
    uint64_t last_seq = (uint64_t)sqlite3_column_int64(query->statement, 2);
    uint64_t own_seq = (uint64_t)sqlite3_column_int64(query->statement, 3);
    enum satchel_status status = SATCHEL_OK;
    if (!satchel_column_id(query->statement, 0, &node))
        return satchel_error_set(error, SATCHEL_CORRUPT,
                                 "satchel_incarnation is damaged; restore a backup");
    uint64_t last_cursor = (uint64_t)sqlite3_column_int64(query->statement, 1);
    if (last_cursor > 0)
        status = satchel_vector_raise(arena, &out->lineage, &node, last_cursor, &out->lineage);
    if (status == SATCHEL_OK && last_cursor > 0 && own_seq > 0)
        status = satchel_vector_raise(arena, &out->own, &node, own_seq, &out->own);
    if (status == SATCHEL_OK && last_seq > 0)
        status = satchel_vector_raise(arena, &out->held, &node, last_seq, &out->held);
    return status;
}

static enum satchel_status read_past(sqlite3 *db, struct satchel_arena *arena,
                                     struct incarnations *out, struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = true;
    enum satchel_status status = satchel_query_open(&query, db, SQL_PAST, error);
    if (status != SATCHEL_OK)
        return status;
    while (status == SATCHEL_OK &&
           (status = satchel_query_step(&query, &has_row, error)) == SATCHEL_OK && has_row)
        status = take_past(&query, arena, out, error);
    satchel_query_close(&query);
    return status;
}

static enum satchel_status any_position(sqlite3 *db, struct incarnations *out,
                                        struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    enum satchel_status status = satchel_query_open(&query, db, SQL_ANY_POSITION, error);
    if (status != SATCHEL_OK)
        return status;
    status = satchel_query_step(&query, &has_row, error);
    if (has_row) {
        out->has_positions = sqlite3_column_int(query.statement, 0) != 0;
        out->late_turn = (uint64_t)sqlite3_column_int64(query.statement, 1);
        out->late_after = (uint64_t)sqlite3_column_int64(query.statement, 2);
    }
    satchel_query_close(&query);
    return status;
}

enum satchel_status incarnations_read(sqlite3 *db, struct satchel_arena *arena,
                                      struct incarnations *out, struct satchel_error *error)
{
    memset(out, 0, sizeof *out);
    enum satchel_status status = read_workspace(db, out, error);
    if (status == SATCHEL_OK)
        status = read_past(db, arena, out, error);
    if (status == SATCHEL_OK && out->seq > 0)
        status = satchel_vector_raise(arena, &out->held, &out->node, out->seq, &out->held);
    if (status == SATCHEL_OK && out->seq > 0)
        status = satchel_vector_raise(arena, &out->own, &out->node, out->seq, &out->own);
    if (status == SATCHEL_OK)
        status = any_position(db, out, error);
    return status;
}

const struct satchel_id *incarnation_at(const struct incarnations *incarnations, uint64_t cursor)
{
    const struct satchel_position *found = NULL;
    for (size_t i = 0; i < incarnations->lineage.count; i++) {
        const struct satchel_position *past = &incarnations->lineage.items[i];
        if (past->seq >= cursor && (!found || past->seq < found->seq))
            found = past;
    }
    return found ? &found->node : &incarnations->node;
}

struct satchel_id incarnation_receipt(const struct incarnations *incarnations,
                                      const struct satchel_entry *entry,
                                      const uint8_t hash[SATCHEL_HASH_BYTES])
{
    return satchel_entry_receipt(incarnations->secret, incarnation_at(incarnations, entry->cursor),
                                 entry, hash, satchel_notes_quarantined(entry->notes));
}

bool incarnation_is_own(const struct incarnations *incarnations, const struct satchel_id *id)
{
    return satchel_id_equal(id, &incarnations->node) ||
           satchel_vector_get(&incarnations->held, id) > 0 ||
           satchel_vector_get(&incarnations->lineage, id) > 0;
}

enum satchel_status incarnations_vector(const struct incarnations *incarnations, uint64_t cursor,
                                        uint64_t seq, struct satchel_arena *arena,
                                        struct satchel_vector *out)
{
    const struct satchel_id *node = incarnation_at(incarnations, cursor);
    enum satchel_status status = SATCHEL_OK;
    *out = (struct satchel_vector){NULL, 0};
    for (size_t i = 0; i < incarnations->own.count && status == SATCHEL_OK; i++) {
        const struct satchel_position *own = &incarnations->own.items[i];
        uint64_t last = satchel_vector_get(&incarnations->lineage, &own->node);
        if (last > 0 && last < cursor)
            status = satchel_vector_raise(arena, out, &own->node, own->seq, out);
    }
    return status == SATCHEL_OK && seq > 0 ? satchel_vector_raise(arena, out, node, seq, out)
                                           : status;
}

/* ---- positions of entries ---- */

enum satchel_status positions_read(sqlite3 *db, uint64_t cursor, struct satchel_arena *arena,
                                   struct satchel_vector *out, struct satchel_error *error)
{
    struct satchel_query query;
    struct satchel_id node;
    bool has_row = true;
    *out = (struct satchel_vector){NULL, 0};
    enum satchel_status status = satchel_query_open(&query, db, SQL_POSITIONS, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_integer(&query, (int64_t)cursor);
    while (status == SATCHEL_OK &&
           (status = satchel_query_step(&query, &has_row, error)) == SATCHEL_OK && has_row) {
        if (!satchel_column_id(query.statement, 0, &node))
            status = satchel_error_set(error, SATCHEL_CORRUPT,
                                       "satchel_position is damaged; restore a backup");
        else
            status = satchel_vector_raise(arena, out, &node,
                                          (uint64_t)sqlite3_column_int64(query.statement, 1), out);
    }
    satchel_query_close(&query);
    return status;
}

enum satchel_status positions_add(sqlite3 *db, uint64_t cursor,
                                  const struct satchel_position *position, uint64_t late_after,
                                  struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row;
    enum satchel_status status = satchel_query_open(&query, db, SQL_ADD_POSITION, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_integer(&query, (int64_t)cursor);
    satchel_query_id(&query, &position->node);
    satchel_query_integer(&query, (int64_t)position->seq);
    satchel_query_integer(&query, (int64_t)late_after);
    status = satchel_query_step(&query, &has_row, error);
    satchel_query_close(&query);
    return status;
}

enum satchel_status incarnation_raise(sqlite3 *db, const struct satchel_id *node, uint64_t seq,
                                      struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row;
    enum satchel_status status = satchel_query_open(&query, db, SQL_RAISE, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_id(&query, node);
    satchel_query_integer(&query, (int64_t)seq);
    status = satchel_query_step(&query, &has_row, error);
    satchel_query_close(&query);
    return status;
}

/* ---- a new incarnation ---- */

static enum satchel_status rename_node(sqlite3 *db, struct satchel_error *error)
{
    struct satchel_query query;
    struct satchel_id node;
    bool has_row;
    enum satchel_status status = satchel_query_open(&query, db, SQL_BEGIN, error);
    if (status != SATCHEL_OK)
        return status;
    randombytes_buf(node.bytes, sizeof node.bytes);
    satchel_query_id(&query, &node);
    status = satchel_query_step(&query, &has_row, error);
    satchel_query_close(&query);
    return status;
}

/* HQ becomes HQ-7K3F: numbers that the lost entries gave stay theirs. Counting up would give the
 * same name twice where one backup is restored twice. */
static enum satchel_status rename_branch(sqlite3 *db, struct satchel_error *error)
{
    static const char DIGITS[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    struct satchel_query query;
    char name[BRANCH_BYTES_MAX + BRANCH_TAIL + 2] = "", tail[BRANCH_TAIL + 1] = "";
    bool has_row = false;
    for (int i = 0; i < BRANCH_TAIL; i++)
        tail[i] = DIGITS[randombytes_uniform(sizeof DIGITS - 1)];
    enum satchel_status status = satchel_query_open(&query, db, SQL_BRANCH, error);
    if (status != SATCHEL_OK)
        return status;
    status = satchel_query_step(&query, &has_row, error);
    if (status == SATCHEL_OK && has_row) {
        struct satchel_span old = satchel_column_span(query.statement, 0);
        size_t size = 0;
        while (size < old.size && size < BRANCH_BYTES_MAX && old.data[size] != '-')
            size++;
        (void)snprintf(name, sizeof name, "%.*s-%s", (int)size, (const char *)old.data, tail);
    }
    satchel_query_close(&query);
    if (status == SATCHEL_OK)
        status = satchel_query_open(&query, db, SQL_SET_BRANCH, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_text(&query, satchel_span_text(name));
    status = satchel_query_step(&query, &has_row, error);
    satchel_query_close(&query);
    return status;
}

static bool has_column(sqlite3 *db, const char *table, const char *column)
{
    return sqlite3_table_column_metadata(db, "main", table, column, NULL, NULL, NULL, NULL, NULL) ==
           SQLITE_OK;
}

enum satchel_status incarnations_make_ready(sqlite3 *db, struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    if (!has_column(db, "satchel_incarnation", "own_seq"))
        status = satchel_db_exec(db, SQL_ADD_OWN, error);
    if (status == SATCHEL_OK && !has_column(db, "satchel_position", "late_turn"))
        status = satchel_db_exec(db, SQL_ADD_LATE, error);
    return status == SATCHEL_OK ? satchel_db_exec(db, SQL_LATE_INDEX, error) : status;
}

enum satchel_status incarnation_begin(sqlite3 *db, struct satchel_error *error)
{
    enum satchel_status status = incarnations_make_ready(db, error);
    if (status == SATCHEL_OK)
        status = satchel_db_exec(db, SQL_END, error);
    if (status == SATCHEL_OK)
        status = rename_node(db, error);
    return status == SATCHEL_OK ? rename_branch(db, error) : status;
}
