/* Owns who is granted what: the views satchel_users and satchel_grants, or the server's own table
 * of users, read again in full when they may say something else, and the difference kept. */
#include "scope_internal.h"

#define SQL_VIEW_USERS "SELECT id, login FROM satchel_users"
#define SQL_VIEW_GRANTS "SELECT user, value FROM satchel_grants"
#define SQL_TABLE_USERS "SELECT login, login FROM satchel_user"
#define SQL_TABLE_GRANTS "SELECT user, value FROM satchel_grant"

/* A user; more than one may have an id. */
struct holder {
    struct satchel_span login;
    struct holder *next;
};

struct grant {
    struct satchel_span login;
    struct satchel_span packed; /* the value */
    bool is_held;               /* it was before */
};

struct reading {
    struct scope_keeper *keeper;
    struct satchel_error *error;
    struct satchel_arena arena;
    struct satchel_map by_id;    /* packed id -> struct holder */
    struct satchel_map by_login; /* packed login -> struct holder */
    struct satchel_map grants;   /* packed login and value -> struct grant */
    struct satchel_buffer key, value;
    uint64_t cursor;
};

/* ---- when ---- */

static enum satchel_status ask_what_feeds(struct scope_keeper *keeper, struct satchel_error *error)
{
    const struct satchel_schema *schema = keeper->schema;
    bool *feeds = satchel_alloc_zero(NULL, 2 * schema->table_count * sizeof(bool));
    bool *more = feeds ? feeds + schema->table_count : NULL;
    enum satchel_status status = feeds ? SATCHEL_OK : SATCHEL_NOMEM;
    if (status == SATCHEL_OK && schema->defines_users)
        status = satchel_view_tables(keeper->db, schema, "satchel_users", feeds, error);
    if (status == SATCHEL_OK && schema->defines_users && schema->defines_grants)
        status = satchel_view_tables(keeper->db, schema, "satchel_grants", more, error);
    for (uint32_t i = 0; status == SATCHEL_OK && i < schema->table_count; i++)
        feeds[i] = feeds[i] || more[i];
    if (status == SATCHEL_OK)
        keeper->feeds_users = feeds;
    else
        satchel_free(NULL, feeds);
    return status;
}

enum satchel_status scope_users_are_old(struct scope_keeper *keeper, bool *out,
                                        struct satchel_error *error)
{
    const struct satchel_schema *schema = keeper->schema;
    bool is_any_written = false;
    *out = keeper->has_users_to_read;
    for (uint32_t i = 0; i < schema->table_count; i++)
        is_any_written = is_any_written || keeper->was_written[i];
    if (*out || !is_any_written || !schema->defines_users)
        return SATCHEL_OK;
    enum satchel_status status = keeper->feeds_users ? SATCHEL_OK : ask_what_feeds(keeper, error);
    /* Triggers may write local tables whatever was written. */
    for (uint32_t i = 0; status == SATCHEL_OK && i < schema->table_count; i++)
        *out = *out ||
               (keeper->feeds_users[i] && (keeper->was_written[i] || schema->tables[i].is_local));
    return status;
}

/* ---- what they say ---- */

static enum satchel_status pack(struct satchel_buffer *out, const struct satchel_value *value)
{
    satchel_buffer_clear(out);
    return scope_value_pack(out, value);
}

static enum satchel_status add_grant(struct reading *reading, struct satchel_span login,
                                     const struct satchel_value *value)
{
    struct satchel_value user = satchel_value_text(login);
    if (value->type == SATCHEL_NULL)
        return SATCHEL_OK;
    enum satchel_status status = pack(&reading->value, value);
    if (status == SATCHEL_OK)
        status = pack(&reading->key, &user);
    if (status == SATCHEL_OK)
        status = satchel_buffer_append(&reading->key, reading->value.data, reading->value.size);
    struct satchel_span key = satchel_buffer_span(&reading->key);
    if (status != SATCHEL_OK || satchel_map_get(&reading->grants, key))
        return status;
    struct grant *grant = SATCHEL_ARENA_ARRAY(&reading->arena, struct grant, 1);
    if (!grant)
        return SATCHEL_NOMEM;
    grant->login = satchel_arena_copy(&reading->arena, login);
    grant->packed = satchel_arena_copy(&reading->arena, satchel_buffer_span(&reading->value));
    return grant->login.data && grant->packed.data ? satchel_map_put(&reading->grants, key, grant)
                                                   : SATCHEL_NOMEM;
}

static enum satchel_status add_holder(struct reading *reading, struct satchel_map *map,
                                      const struct satchel_value *id, struct satchel_span login)
{
    enum satchel_status status = pack(&reading->key, id);
    struct holder *holder = SATCHEL_ARENA_ARRAY(&reading->arena, struct holder, 1);
    if (status != SATCHEL_OK || !holder)
        return status == SATCHEL_OK ? SATCHEL_NOMEM : status;
    holder->login = satchel_arena_copy(&reading->arena, login);
    holder->next = satchel_map_get(map, satchel_buffer_span(&reading->key));
    return holder->login.data ? satchel_map_put(map, satchel_buffer_span(&reading->key), holder)
                              : SATCHEL_NOMEM;
}

/* A row of (id, login). Who has grants without satchel_grants has the two. */
static enum satchel_status take_user(struct reading *reading, const struct satchel_value *id,
                                     const struct satchel_value *login)
{
    const struct satchel_schema *schema = reading->keeper->schema;
    enum satchel_status status = SATCHEL_OK;
    if (login->type != SATCHEL_TEXT)
        return SATCHEL_OK;
    if (schema->defines_users && schema->defines_grants)
        return id->type == SATCHEL_NULL ? SATCHEL_OK
                                        : add_holder(reading, &reading->by_id, id, login->bytes);
    status = add_holder(reading, &reading->by_login, login, login->bytes);
    if (status == SATCHEL_OK)
        status = add_grant(reading, login->bytes, id);
    return status == SATCHEL_OK ? add_grant(reading, login->bytes, login) : status;
}

/* A row of (user, value). */
static enum satchel_status take_grant(struct reading *reading, const struct satchel_value *user,
                                      const struct satchel_value *value)
{
    const struct satchel_schema *schema = reading->keeper->schema;
    const struct satchel_map *map =
        schema->defines_users && schema->defines_grants ? &reading->by_id : &reading->by_login;
    enum satchel_status status = pack(&reading->key, user);
    const struct holder *holder =
        status == SATCHEL_OK ? satchel_map_get(map, satchel_buffer_span(&reading->key)) : NULL;
    for (; status == SATCHEL_OK && holder; holder = holder->next)
        status = add_grant(reading, holder->login, value);
    return status;
}

static enum satchel_status read_pairs(struct reading *reading, const char *sql,
                                      enum satchel_status (*take)(struct reading *,
                                                                  const struct satchel_value *,
                                                                  const struct satchel_value *))
{
    struct satchel_query query;
    bool has_row = false;
    enum satchel_status status =
        satchel_query_open(&query, reading->keeper->db, sql, reading->error);
    if (status != SATCHEL_OK)
        return status;
    do {
        status = satchel_query_step(&query, &has_row, reading->error);
        if (status == SATCHEL_OK && has_row) {
            struct satchel_value first = satchel_value_of_column(query.statement, 0);
            struct satchel_value second = satchel_value_of_column(query.statement, 1);
            status = take(reading, &first, &second);
        }
    } while (status == SATCHEL_OK && has_row);
    satchel_query_close(&query);
    return status;
}

static enum satchel_status read_views(struct reading *reading)
{
    const struct satchel_schema *schema = reading->keeper->schema;
    bool by_view = schema->defines_users && schema->defines_grants;
    enum satchel_status status =
        read_pairs(reading, schema->defines_users ? SQL_VIEW_USERS : SQL_TABLE_USERS, take_user);
    return status == SATCHEL_OK
               ? read_pairs(reading, by_view ? SQL_VIEW_GRANTS : SQL_TABLE_GRANTS, take_grant)
               : status;
}

/* ---- the difference ---- */

static enum satchel_status write(struct reading *reading, enum scope_statement which,
                                 const struct grant *grant)
{
    struct satchel_query query;
    struct satchel_value value = scope_value_of(grant->packed);
    satchel_query_begin(&query, reading->keeper->db, reading->keeper->statements[which]);
    satchel_query_text(&query, grant->login);
    satchel_query_value(&query, &value);
    if (which == SCOPE_ADD_GRANT_MOVE) {
        satchel_query_integer(&query, (int64_t)reading->cursor);
        satchel_query_integer(&query, !grant->is_held);
    }
    return satchel_query_run(&query, reading->error);
}

/* What is held already is marked so; what is held no more is added to `lost`. */
static enum satchel_status compare_held(struct reading *reading, struct grant **lost,
                                        size_t *lost_count)
{
    struct satchel_query query;
    size_t capacity = 0;
    bool has_row = false;
    enum satchel_status status;
    satchel_query_begin(&query, reading->keeper->db, reading->keeper->statements[SCOPE_HELD]);
    while ((status = satchel_query_step(&query, &has_row, reading->error)) == SATCHEL_OK &&
           has_row) {
        struct satchel_value user = satchel_value_of_column(query.statement, 0);
        struct satchel_value value = satchel_value_of_column(query.statement, 1);
        status = pack(&reading->value, &value);
        if (status == SATCHEL_OK)
            status = pack(&reading->key, &user);
        if (status == SATCHEL_OK)
            status = satchel_buffer_append(&reading->key, reading->value.data, reading->value.size);
        struct grant *grant =
            status == SATCHEL_OK
                ? satchel_map_get(&reading->grants, satchel_buffer_span(&reading->key))
                : NULL;
        if (grant)
            grant->is_held = true;
        if (grant && status == SATCHEL_OK)
            continue;
        if (status == SATCHEL_OK && *lost_count == capacity) {
            capacity = capacity ? capacity * 2 : 64;
            struct grant *grown = SATCHEL_ARENA_ARRAY(&reading->arena, struct grant, capacity);
            status = grown ? SATCHEL_OK : SATCHEL_NOMEM;
            if (grown && *lost_count > 0)
                memcpy(grown, *lost, *lost_count * sizeof *grown);
            *lost = grown;
        }
        if (status != SATCHEL_OK)
            break;
        grant = &(*lost)[(*lost_count)++];
        grant->is_held = true;
        grant->login = satchel_arena_copy(&reading->arena, user.bytes);
        grant->packed = satchel_arena_copy(&reading->arena, satchel_buffer_span(&reading->value));
        if (!grant->login.data || !grant->packed.data) {
            status = SATCHEL_NOMEM;
            break;
        }
    }
    satchel_query_end(&query);
    return status;
}

static enum satchel_status keep_difference(struct reading *reading)
{
    struct grant *lost = NULL;
    size_t lost_count = 0, index = 0;
    struct satchel_span key;
    void *value;
    enum satchel_status status = compare_held(reading, &lost, &lost_count);
    for (size_t i = 0; status == SATCHEL_OK && i < lost_count; i++) {
        status = write(reading, SCOPE_DROP_HELD, &lost[i]);
        if (status == SATCHEL_OK)
            status = write(reading, SCOPE_ADD_GRANT_MOVE, &lost[i]);
    }
    while (status == SATCHEL_OK && satchel_map_next(&reading->grants, &index, &key, &value)) {
        const struct grant *grant = value;
        if (grant->is_held)
            continue;
        status = write(reading, SCOPE_ADD_HELD, grant);
        if (status == SATCHEL_OK)
            status = write(reading, SCOPE_ADD_GRANT_MOVE, grant);
    }
    return status;
}

enum satchel_status scope_grants_read(struct scope_keeper *keeper, uint64_t cursor,
                                      struct satchel_error *error)
{
    struct reading reading = {.keeper = keeper, .error = error, .cursor = cursor};
    satchel_arena_init(&reading.arena, SIZE_MAX / 2, NULL);
    satchel_map_init(&reading.by_id, SCOPE_ROWS_MAX, NULL);
    satchel_map_init(&reading.by_login, SCOPE_ROWS_MAX, NULL);
    satchel_map_init(&reading.grants, SCOPE_ROWS_MAX, NULL);
    satchel_buffer_init(&reading.key, SCOPE_BYTES_MAX, NULL);
    satchel_buffer_init(&reading.value, SCOPE_BYTES_MAX, NULL);
    enum satchel_status status = read_views(&reading);
    if (status == SATCHEL_OK)
        status = keep_difference(&reading);
    satchel_buffer_deinit(&reading.value);
    satchel_buffer_deinit(&reading.key);
    satchel_map_deinit(&reading.grants);
    satchel_map_deinit(&reading.by_login);
    satchel_map_deinit(&reading.by_id);
    satchel_arena_deinit(&reading.arena);
    return status;
}
