/* Owns what the replica's log may say no more: of rows that have left its scope, of columns that
 * are masked from its user by now. Its log is cut as the server cuts what it sends
 * (satchel_entry_cut).
 *
 * A row that leaves is noted in satchel_forget in the transaction that evicts it. When a session
 * has heard that the replica is complete, the log is gone through once, some entries to a
 * transaction: broken off, it begins anew in the next session, and finds what is cut already as it
 * should be. */
#include "sync.h"

#include <satchel/batch.h>
#include <satchel/cut.h>
#include <satchel/log_pack.h>
#include <satchel/log_reader.h>
#include <satchel/mutation.h>

enum {
    RUN_ENTRIES = 256, /* read in one transaction, at most */
    RUN_CHANGED = 32,  /* of them written again */
    COLUMNS_BYTES_MAX = 1 << 20
};

static const char SELECT_NAMES[] = "SELECT name, mark FROM satchel_forget";
static const char HAS_LEFT[] = "SELECT 1 FROM satchel_forget WHERE name = ?1";
static const char DELETE_NAME[] = "DELETE FROM satchel_forget WHERE name = ?1 AND mark = ?2";
static const char SELECT_HIDDEN[] = "SELECT hidden FROM satchel_replica";
static const char IS_ROLE[] = "SELECT coalesce(role, '') = ?1 FROM satchel_replica";
static const char UPDATE_HIDDEN[] = "UPDATE satchel_replica SET hidden = ?1";
static const char SELECT_RECEIPT[] =
    "SELECT receipt, is_cut FROM satchel_receipt WHERE cursor = ?1";
static const char UPDATE_RECEIPT[] =
    "UPDATE satchel_receipt SET receipt = ?2, is_cut = 1 WHERE cursor = ?1";
static const char IS_OWN[] = "SELECT 1 FROM satchel_replica WHERE device = ?1 UNION ALL"
                             " SELECT 1 FROM satchel_ancestor WHERE device = ?1";

struct pass {
    struct satchel_sync *sync;
    struct satchel_arena arena; /* of the pass: names, marks */
    struct satchel_map names;   /* rows to forget */
    satchel_log_mark *marks;    /* theirs; NULL: every entry is looked at */
    uint32_t mark_count;
    struct satchel_buffer hidden; /* columns masked now */
    bool hides_more;
    struct satchel_buffer name, body;
    struct satchel_span role;
    bool is_user_author; /* of the entry in hand */
    sqlite3_stmt *is_role, *has_left, *is_own, *select_receipt, *update_receipt;
    uint64_t cursor; /* up to which the log is cut */
    bool is_over;
};

/* Entries of one transaction that are to be written again. */
struct run {
    struct pass *pass;
    struct satchel_log_reader *reader;
    struct satchel_arena arena, scratch;
    struct satchel_entry entries[RUN_CHANGED];
    bool is_empty[RUN_CHANGED];
    uint32_t count;
};

static enum satchel_status sql_error(const struct pass *pass, struct satchel_error *error)
{
    return satchel_apply_sql_error(pass->sync->apply, "cut the replica's log", error);
}

/* ---- what is to be forgotten ---- */

/* Columns that the user may not see, as "table.column," each. */
static enum satchel_status put_hidden(const struct satchel_schema *schema, struct satchel_span role,
                                      struct satchel_buffer *out)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t t = 0; t < schema->table_count; t++) {
        const struct satchel_table *table = &schema->tables[t];
        for (uint32_t i = 0; status == SATCHEL_OK && i < table->column_count; i++)
            if (!satchel_column_is_seen(table, i, role))
                status = satchel_buffer_format(out, "%u.%u,", (unsigned)table->number, (unsigned)i);
    }
    return status;
}

static enum satchel_status read_hidden(struct pass *pass, struct satchel_error *error)
{
    const struct satchel_replica *replica = pass->sync->replica;
    sqlite3_stmt *select = NULL;
    satchel_buffer_clear(&pass->hidden);
    enum satchel_status status = put_hidden(replica->schema, pass->role, &pass->hidden);
    if (status != SATCHEL_OK)
        return status;
    if (sqlite3_prepare_v2(replica->db, SELECT_HIDDEN, -1, &select, NULL) != SQLITE_OK ||
        sqlite3_step(select) != SQLITE_ROW)
        status = sql_error(pass, error);
    else
        pass->hides_more =
            !satchel_span_equal(satchel_column_span(select, 0), satchel_buffer_span(&pass->hidden));
    sqlite3_finalize(select);
    return status;
}

static enum satchel_status add_mark(struct pass *pass, struct satchel_span name, uint32_t index)
{
    struct satchel_buffer text;
    const struct satchel_value *key;
    uint32_t table = 0, key_count = 0;
    satchel_buffer_init(&text, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status =
        satchel_row_name_read(name, &pass->arena, &table, &key, &key_count);
    if (status == SATCHEL_OK)
        status = satchel_key_text(&text, key, key_count);
    if (status == SATCHEL_OK)
        pass->marks[index] = satchel_log_mark_row(table, satchel_buffer_span(&text));
    satchel_buffer_deinit(&text);
    return status;
}

static enum satchel_status mark_names(struct pass *pass)
{
    struct satchel_span name;
    size_t index = 0;
    void *value;
    enum satchel_status status = SATCHEL_OK;
    pass->marks = SATCHEL_ARENA_ARRAY(&pass->arena, satchel_log_mark, pass->names.count + 1);
    if (!pass->marks)
        return SATCHEL_NOMEM;
    while (status == SATCHEL_OK && satchel_map_next(&pass->names, &index, &name, &value))
        status = add_mark(pass, name, pass->mark_count++);
    return status;
}

static enum satchel_status read_names(struct pass *pass, struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    int code = SQLITE_ERROR;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(pass->sync->replica->db, SELECT_NAMES, -1, &select, NULL) == SQLITE_OK)
        while (status == SATCHEL_OK && (code = sqlite3_step(select)) == SQLITE_ROW) {
            struct satchel_span name =
                satchel_arena_copy(&pass->arena, satchel_column_span(select, 0));
            int64_t *mark = SATCHEL_ARENA_ARRAY(&pass->arena, int64_t, 1);
            if (mark)
                *mark = sqlite3_column_int64(select, 1);
            status = name.data && mark ? satchel_map_put(&pass->names, name, mark) : SATCHEL_NOMEM;
        }
    if (status == SATCHEL_OK && code != SQLITE_DONE)
        status = sql_error(pass, error);
    sqlite3_finalize(select);
    return status;
}

/* ---- a run ---- */

/* Another sync of this replica may have brought the row back meanwhile. */
static enum satchel_status look(void *context, uint32_t table, const struct satchel_value *key,
                                uint32_t key_count, enum satchel_seen *seen,
                                struct satchel_error *error)
{
    struct pass *pass = context;
    sqlite3_stmt *has_left = pass->has_left;
    *seen = SATCHEL_SEEN;
    if (pass->is_user_author || SATCHEL_MUTATED(keep_past))
        return SATCHEL_OK;
    satchel_buffer_clear(&pass->name);
    enum satchel_status status = satchel_row_name(&pass->name, table, key, key_count);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "no memory for the name of a row");
    sqlite3_bind_blob64(has_left, 1, pass->name.data, pass->name.size, SQLITE_STATIC);
    int code = sqlite3_step(has_left);
    if (code == SQLITE_ROW)
        *seen = SATCHEL_HIDDEN;
    sqlite3_reset(has_left);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SATCHEL_OK : sql_error(pass, error);
}

/* What this device wrote it keeps whole: nobody else may be able to give it back. */
static enum satchel_status is_own(const struct pass *pass, const struct satchel_entry *entry,
                                  bool *out, struct satchel_error *error)
{
    sqlite3_bind_blob(pass->is_own, 1, &entry->device, sizeof entry->device, SQLITE_STATIC);
    int code = sqlite3_step(pass->is_own);
    *out = code == SQLITE_ROW;
    sqlite3_reset(pass->is_own);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SATCHEL_OK : sql_error(pass, error);
}

/* The log does not say whether the entry was cut before: a mark is made once, of the secret. */
static enum satchel_status read_receipt(const struct pass *pass, struct satchel_entry *entry,
                                        struct satchel_error *error)
{
    sqlite3_bind_int64(pass->select_receipt, 1, (sqlite3_int64)entry->cursor);
    int code = sqlite3_step(pass->select_receipt);
    entry->is_cut = code == SQLITE_ROW && sqlite3_column_int(pass->select_receipt, 1) != 0;
    bool is_there =
        code != SQLITE_ROW || satchel_column_id(pass->select_receipt, 0, &entry->receipt);
    sqlite3_reset(pass->select_receipt);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return sql_error(pass, error);
    return is_there
               ? SATCHEL_OK
               : satchel_error_set(error, SATCHEL_CORRUPT, "receipt %llu of the log is damaged",
                                   (unsigned long long)entry->cursor);
}

/* Of what the user wrote elsewhere no row is forgotten. */
static enum satchel_status cut(struct run *run, const struct satchel_entry *from,
                               struct satchel_error *error)
{
    struct pass *pass = run->pass;
    const struct satchel_replica *replica = pass->sync->replica;
    const struct satchel_audience audience = {pass, look, replica->schema, pass->role};
    struct satchel_entry *entry = &run->entries[run->count];
    struct satchel_span body;
    enum satchel_status status = satchel_body_load(from->body, &pass->body, &body);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "entry %llu of the log is damaged",
                                 (unsigned long long)from->cursor);
    pass->is_user_author =
        satchel_span_equal(from->user, satchel_span_text(replica->user ? replica->user : ""));
    *entry = *from;
    entry->body = body;
    status = read_receipt(pass, entry, error);
    if (status == SATCHEL_OK)
        status = satchel_entry_cut(&audience, SATCHEL_NOT_AUTHOR, &run->scratch, &run->arena, entry,
                                   &run->is_empty[run->count], error);
    if (status != SATCHEL_OK ||
        (entry->body.data == body.data && entry->notes.data == from->notes.data &&
         !run->is_empty[run->count]))
        return status;
    /* By the receipt the node is known again, also by that of an entry of which nothing is left. */
    if (run->is_empty[run->count] && !entry->is_cut) {
        entry->receipt = satchel_entry_cut_receipt(&entry->receipt);
        entry->is_cut = true;
    }
    /* What is borrowed is the reader's. */
    const uint8_t *secret =
        satchel_arena_copy(&run->arena, satchel_span_of(entry->secret, SATCHEL_SECRET_BYTES)).data;
    entry->secret = secret;
    entry->user = satchel_arena_copy(&run->arena, entry->user);
    entry->body = satchel_arena_copy(&run->arena, entry->body);
    entry->notes = satchel_arena_copy(&run->arena, entry->notes);
    run->count++;
    return secret && entry->user.data && entry->body.data && entry->notes.data ? SATCHEL_OK
                                                                               : SATCHEL_NOMEM;
}

static enum satchel_status read_run(struct run *run, struct satchel_error *error)
{
    struct pass *pass = run->pass;
    struct satchel_log_entry read;
    bool found = true;
    enum satchel_status status =
        satchel_log_read_from(run->reader, pass->cursor, pass->marks, pass->mark_count, error);
    for (uint32_t i = 0;
         status == SATCHEL_OK && i < SATCHEL_BATCH_ITEMS(RUN_ENTRIES) && run->count < RUN_CHANGED &&
         (i == 0 || !satchel_sync_is_run_over(pass->sync));
         i++) {
        status = satchel_log_read_next(run->reader, &found, &read, error);
        if (status != SATCHEL_OK || !found)
            break;
        pass->cursor = read.entry.cursor;
        if (read.entry.body.size == 0 || !read.entry.secret)
            continue;
        bool keeps_all = false;
        status = is_own(pass, &read.entry, &keeps_all, error);
        if (status == SATCHEL_OK && !keeps_all)
            status = cut(run, &read.entry, error);
    }
    pass->is_over = !found;
    satchel_log_read_end(run->reader);
    return status;
}

static enum satchel_status write_receipt(struct pass *pass, const struct satchel_entry *entry,
                                         struct satchel_error *error)
{
    const struct satchel_id *receipt = &entry->receipt;
    sqlite3_bind_int64(pass->update_receipt, 1, (sqlite3_int64)entry->cursor);
    sqlite3_bind_blob(pass->update_receipt, 2, receipt->bytes, sizeof receipt->bytes,
                      SQLITE_STATIC);
    int code = sqlite3_step(pass->update_receipt);
    sqlite3_reset(pass->update_receipt);
    return code == SQLITE_DONE ? SATCHEL_OK : sql_error(pass, error);
}

static enum satchel_status write_run(struct run *run, struct satchel_error *error)
{
    struct pass *pass = run->pass;
    struct satchel_apply *apply = pass->sync->apply;
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; i < run->count && status == SATCHEL_OK; i++) {
        struct satchel_entry *entry = &run->entries[i];
        status = satchel_log_take(apply->replica->db, entry->cursor, error);
        if (status == SATCHEL_OK && entry->is_cut)
            status = write_receipt(pass, entry, error);
        if (status != SATCHEL_OK || run->is_empty[i])
            continue;
        satchel_buffer_clear(&apply->stored);
        status = satchel_body_store(entry->body, &apply->stored);
        entry->body = satchel_buffer_span(&apply->stored);
        if (status == SATCHEL_OK)
            status = satchel_log_append(apply->log, entry, satchel_span_of(NULL, 0), error);
    }
    return status;
}

/* ---- the pass ---- */

static enum satchel_status forget_names(struct pass *pass, struct satchel_error *error)
{
    sqlite3 *db = pass->sync->replica->db;
    sqlite3_stmt *delete = NULL, *update = NULL;
    struct satchel_span name;
    size_t index = 0;
    void *value;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(db, DELETE_NAME, -1, &delete, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db, UPDATE_HIDDEN, -1, &update, NULL) != SQLITE_OK)
        status = sql_error(pass, error);
    while (status == SATCHEL_OK && satchel_map_next(&pass->names, &index, &name, &value)) {
        sqlite3_bind_blob64(delete, 1, name.data, name.size, SQLITE_STATIC);
        sqlite3_bind_int64(delete, 2, *(int64_t *)value);
        if (sqlite3_step(delete) != SQLITE_DONE)
            status = sql_error(pass, error);
        sqlite3_reset(delete);
    }
    if (status == SATCHEL_OK) {
        sqlite3_bind_text(update, 1, satchel_buffer_text(&pass->hidden), -1, SQLITE_STATIC);
        if (sqlite3_step(update) != SQLITE_DONE)
            status = sql_error(pass, error);
    }
    sqlite3_finalize(delete);
    sqlite3_finalize(update);
    return status;
}

/* AGAIN: another sync of this replica has heard of another role meanwhile, and been sent what it
 * sees. */
static enum satchel_status check_role(struct pass *pass, struct satchel_error *error)
{
    sqlite3_bind_text64(pass->is_role, 1, (const char *)pass->role.data, pass->role.size,
                        SQLITE_STATIC, SQLITE_UTF8);
    int code = sqlite3_step(pass->is_role);
    bool is_same = code == SQLITE_ROW && sqlite3_column_int(pass->is_role, 0) != 0;
    sqlite3_reset(pass->is_role);
    if (code != SQLITE_ROW)
        return sql_error(pass, error);
    return is_same ? SATCHEL_OK
                   : satchel_error_set(error, SATCHEL_AGAIN,
                                       "the replica's user has another role by now; sync again");
}

static enum satchel_status do_run(struct pass *pass, struct satchel_error *error)
{
    struct satchel_sync *sync = pass->sync;
    struct run run = {.pass = pass};
    satchel_arena_init(&run.arena, SIZE_MAX / 2, NULL);
    satchel_arena_init(&run.scratch, SIZE_MAX / 2, NULL);
    enum satchel_status status = satchel_log_reader_new(&run.reader, sync->replica->db);
    if (status == SATCHEL_OK)
        status = satchel_sync_begin_run(sync, error);
    if (status == SATCHEL_OK) {
        status = check_role(pass, error);
        if (status == SATCHEL_OK)
            status = read_run(&run, error);
        if (status == SATCHEL_OK)
            status = write_run(&run, error);
        if (status == SATCHEL_OK && pass->is_over)
            status = forget_names(pass, error);
        status = satchel_sync_finish_run(sync, status, error);
    }
    satchel_log_reader_free(run.reader);
    satchel_arena_deinit(&run.scratch);
    satchel_arena_deinit(&run.arena);
    return status;
}

static enum satchel_status run_pass(struct pass *pass, struct satchel_error *error)
{
    struct satchel_sync *sync = pass->sync;
    sqlite3 *db = sync->replica->db;
    enum satchel_status status = SATCHEL_OK;
    if (!pass->hides_more)
        status = mark_names(pass);
    if (status == SATCHEL_OK &&
        (sqlite3_prepare_v2(db, IS_ROLE, -1, &pass->is_role, NULL) != SQLITE_OK ||
         sqlite3_prepare_v2(db, HAS_LEFT, -1, &pass->has_left, NULL) != SQLITE_OK ||
         sqlite3_prepare_v2(db, IS_OWN, -1, &pass->is_own, NULL) != SQLITE_OK ||
         sqlite3_prepare_v2(db, SELECT_RECEIPT, -1, &pass->select_receipt, NULL) != SQLITE_OK ||
         sqlite3_prepare_v2(db, UPDATE_RECEIPT, -1, &pass->update_receipt, NULL) != SQLITE_OK))
        status = sql_error(pass, error);
    while (status == SATCHEL_OK && !pass->is_over && !satchel_sync_is_stopped(sync))
        status = do_run(pass, error);
    sqlite3_finalize(pass->is_role);
    sqlite3_finalize(pass->has_left);
    sqlite3_finalize(pass->is_own);
    sqlite3_finalize(pass->select_receipt);
    sqlite3_finalize(pass->update_receipt);
    return status;
}

enum satchel_status satchel_forget_step(struct satchel_sync *sync, struct satchel_error *error)
{
    const char *role = sync->replica->role;
    struct pass pass = {.sync = sync, .role = satchel_span_text(role ? role : "")};
    if (!sync->apply->must_forget || !sync->replica->schema || sync->is_copy ||
        sync->apply->complete != sync->apply->cursor)
        return SATCHEL_OK;
    sync->apply->must_forget = false;
    satchel_arena_init(&pass.arena, SIZE_MAX / 2, NULL);
    satchel_map_init(&pass.names, UINT32_MAX, NULL);
    satchel_buffer_init(&pass.hidden, COLUMNS_BYTES_MAX, NULL);
    satchel_buffer_init(&pass.name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    satchel_buffer_init(&pass.body, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status = read_hidden(&pass, error);
    if (status == SATCHEL_OK)
        status = read_names(&pass, error);
    if (status == SATCHEL_OK && (pass.hides_more || pass.names.count > 0))
        status = run_pass(&pass, error);
    satchel_buffer_deinit(&pass.body);
    satchel_buffer_deinit(&pass.name);
    satchel_buffer_deinit(&pass.hidden);
    satchel_map_deinit(&pass.names);
    satchel_arena_deinit(&pass.arena);
    return status == SATCHEL_OK || status == SATCHEL_BUSY /* the next session goes on */
               ? SATCHEL_OK
               : satchel_error_default(error, status, "the replica's log cannot be cut: %s",
                                       satchel_status_text(status));
}
