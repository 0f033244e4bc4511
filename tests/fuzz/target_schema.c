/* Migrations: the scanner, the annotations and the schema that SQLite makes of them. Input: the
 * texts of up to three migrations, apart by a zero byte. What is refused is refused in words; what
 * is accepted can be installed in an empty database and is the same schema when loaded from it. */
#include "fuzz.h"

#include "scanner.h"

#include <satchel/annotation.h>
#include <satchel/schema.h>
#include <satchel/sqlite.h>

#include <stdlib.h>

enum { MIGRATIONS_MAX = 3, STEPS_MAX = 2000 };

static void scan(struct satchel_span sql)
{
    struct satchel_scanner scanner = satchel_scanner_of(sql, 1);
    size_t size = 0;
    for (;;) {
        struct satchel_token token = satchel_scanner_next(&scanner);
        if (token.kind == SATCHEL_TOKEN_END)
            break;
        FUZZ_REQUIRE(token.text.data == sql.data + size && token.text.size > 0);
        FUZZ_REQUIRE(token.line <= token.line_end);
        size += token.text.size;
    }
    FUZZ_REQUIRE(size == sql.size);
    scanner = satchel_scanner_of(sql, 1);
    for (const uint8_t *at = NULL; scanner.at < scanner.end && scanner.at != at;) {
        at = scanner.at;
        struct satchel_statement_end end = satchel_scanner_skip_statement(&scanner);
        if (end.unterminated.kind == SATCHEL_TOKEN_UNTERMINATED)
            break;
        FUZZ_REQUIRE(scanner.at > at);
    }
}

static void annotate(struct satchel_span sql)
{
    struct satchel_annotations annotations;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    struct satchel_arena arena;
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    enum satchel_status status =
        satchel_annotations_read("001.sql", sql, &arena, &annotations, &error);
    FUZZ_REQUIRE(status == SATCHEL_OK || status == SATCHEL_SCHEMA);
    FUZZ_REQUIRE((status == SATCHEL_OK) == (error.message[0] == '\0'));
    satchel_arena_deinit(&arena);
}

/* Hostile SQL may be slow; how slow is not what is asked here. */
static int enough(void *context)
{
    return ++*(int *)context > STEPS_MAX;
}

static void require_installs(const struct satchel_migration *migrations, uint32_t count,
                             const struct satchel_schema *schema)
{
    struct satchel_schema *loaded = NULL;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    sqlite3 *db = NULL;
    int steps = 0;
    FUZZ_REQUIRE(sqlite3_open(":memory:", &db) == SQLITE_OK);
    sqlite3_progress_handler(db, 1000, enough, &steps);
    enum satchel_status status = satchel_schema_install(db, migrations, count, &error);
    if (status == SATCHEL_OK)
        status = satchel_schema_load(db, &loaded, &error);
    FUZZ_REQUIRE(status == SATCHEL_OK || steps > STEPS_MAX);
    if (status == SATCHEL_OK) {
        FUZZ_REQUIRE(loaded->table_count == schema->table_count &&
                     loaded->reference_count == schema->reference_count &&
                     loaded->machine_count == schema->machine_count);
        for (uint32_t i = 0; i < schema->table_count; i++)
            FUZZ_REQUIRE(strcmp(loaded->tables[i].name, schema->tables[i].name) == 0 &&
                         loaded->tables[i].column_count == schema->tables[i].column_count);
    }
    satchel_schema_free(loaded);
    sqlite3_close(db);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct satchel_migration migrations[MIGRATIONS_MAX];
    struct satchel_schema *schema = NULL;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    uint8_t *copies[MIGRATIONS_MAX] = {NULL};
    uint32_t count = 0;
    for (bool is_more = true; is_more && count < MIGRATIONS_MAX; count++) {
        const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
        size_t length = zero ? (size_t)(zero - data) : size;
        copies[count] = fuzz_copy(satchel_span_of(data, length));
        migrations[count] = (struct satchel_migration){count + 1, satchel_span_text("001.sql"),
                                                       satchel_span_of(copies[count], length)};
        scan(migrations[count].sql);
        annotate(migrations[count].sql);
        is_more = zero != NULL;
        data += is_more ? length + 1 : length;
        size -= is_more ? length + 1 : length;
    }
    enum satchel_status status = satchel_schema_new(&schema, migrations, count, &error);
    if (status == SATCHEL_OK) {
        require_installs(migrations, count, schema);
        fuzz_accepted_count += schema->table_count > 0;
    } else {
        FUZZ_REQUIRE(schema == NULL && error.message[0] != '\0');
    }
    satchel_schema_free(schema);
    for (uint32_t i = 0; i < count; i++)
        free(copies[i]);
    return 0;
}
