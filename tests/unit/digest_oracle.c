#include "digest_oracle.h"

#include <satchel/row_io.h>
#include <satchel/sqlite.h>
#include <stdio.h>
#include <stdlib.h>

struct sum {
    int64_t scope, table, col, row_count;
    struct satchel_id digest;
};

struct sums {
    struct sum *items;
    size_t count, capacity;
};

static char words[SATCHEL_ERROR_BYTES];

static struct sum *sum_of(struct sums *sums, int64_t scope, int64_t table, int64_t col)
{
    for (size_t i = 0; i < sums->count; i++) {
        struct sum *sum = &sums->items[i];
        if (sum->scope == scope && sum->table == table && sum->col == col)
            return sum;
    }
    if (sums->count == sums->capacity) {
        sums->capacity = sums->capacity ? 2 * sums->capacity : 64;
        sums->items = realloc(sums->items, sums->capacity * sizeof *sums->items);
        if (!sums->items)
            abort();
    }
    sums->items[sums->count] = (struct sum){.scope = scope, .table = table, .col = col};
    return &sums->items[sums->count++];
}

static int64_t scope_of(sqlite3_stmt *find, const struct satchel_row_walk *walk)
{
    struct satchel_buffer name;
    int64_t scope = 0;
    satchel_buffer_init(&name, 1 << 20, NULL);
    if (walk->table->is_scoped && satchel_row_walk_name(walk, &name) == SATCHEL_OK) {
        sqlite3_bind_blob64(find, 1, name.data, name.size, SQLITE_STATIC);
        if (sqlite3_step(find) == SQLITE_ROW)
            scope = sqlite3_column_int64(find, 0);
        sqlite3_reset(find);
    }
    satchel_buffer_deinit(&name);
    return scope;
}

static enum satchel_status add_table(sqlite3 *db, sqlite3_stmt *find,
                                     const struct satchel_table *table, struct sums *sums,
                                     struct satchel_error *error)
{
    struct satchel_digester digester;
    struct satchel_row_walk walk = {0};
    struct satchel_id terms[SATCHEL_COLUMNS_MAX];
    bool found = true;
    enum satchel_status status = satchel_digester_init(&digester);
    if (status == SATCHEL_OK)
        status = satchel_row_walk_begin(&walk, db, table, NULL, error);
    while (status == SATCHEL_OK &&
           (status = satchel_row_walk_next(&walk, &found, error)) == SATCHEL_OK && found) {
        int64_t scope = scope_of(find, &walk);
        status = satchel_row_terms(&digester, table, walk.values, terms);
        for (uint32_t i = 0; i < satchel_digest_term_count(table); i++) {
            int64_t col = i ? (int64_t)satchel_digest_term_column(table, i) : -1;
            struct sum *sum = sum_of(sums, scope, table->number, col);
            satchel_digest_add(&sum->digest, &terms[i]);
            sum->row_count += i == 0;
        }
    }
    satchel_row_walk_end(&walk);
    satchel_digester_deinit(&digester);
    return status;
}

static const char *compare(sqlite3_stmt *kept, struct sums *sums)
{
    size_t count = sums->count;
    while (sqlite3_step(kept) == SQLITE_ROW) {
        struct satchel_id digest;
        const struct sum *sum =
            sum_of(sums, sqlite3_column_int64(kept, 0), sqlite3_column_int64(kept, 1),
                   sqlite3_column_int64(kept, 2));
        bool is_id = satchel_column_id(kept, 4, &digest);
        if (is_id && sum->row_count == sqlite3_column_int64(kept, 3) &&
            satchel_id_equal(&sum->digest, &digest) && sums->count == count) {
            sums->items[(size_t)(sum - sums->items)].table = 0; /* done with */
            continue;
        }
        snprintf(
            words, sizeof words,
            "of table %lld, set %lld, column %lld a sum over %lld rows is kept, and is not that"
            " of the %lld rows there",
            (long long)sum->table, (long long)sum->scope, (long long)sum->col,
            (long long)sqlite3_column_int64(kept, 3), (long long)sum->row_count);
        return words;
    }
    for (size_t i = 0; i < sums->count; i++) {
        const struct sum *sum = &sums->items[i];
        if (sum->table == 0)
            continue;
        snprintf(words, sizeof words, "of table %lld, set %lld, column %lld no sum is kept",
                 (long long)sum->table, (long long)sum->scope, (long long)sum->col);
        return words;
    }
    return NULL;
}

const char *digest_oracle(sqlite3 *store, const struct satchel_schema *schema)
{
    struct sums sums = {0};
    struct satchel_error error = {0};
    sqlite3_stmt *find = NULL, *kept = NULL;
    const char *said = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(store, "SELECT scope FROM satchel_row WHERE name=?1", -1, &find, NULL) ||
        sqlite3_prepare_v2(store, "SELECT scope, tbl, col, row_count, sum FROM satchel_digest", -1,
                           &kept, NULL))
        said = "the store cannot be read";
    for (uint32_t i = 0; !said && i < schema->table_count && status == SATCHEL_OK; i++)
        if (!schema->tables[i].is_local)
            status = add_table(store, find, &schema->tables[i], &sums, &error);
    if (status != SATCHEL_OK) {
        snprintf(words, sizeof words, "%s", error.message);
        said = words;
    }
    if (!said)
        said = compare(kept, &sums);
    sqlite3_finalize(find);
    sqlite3_finalize(kept);
    free(sums.items);
    return said;
}
