/* Owns migrations: what may be deployed on what, and in which order. */
#include "workspace_internal.h"

enum satchel_status satchel_migrations_of_arguments(
    const struct satchel_value *arguments, uint32_t argument_count, struct satchel_arena *arena,
    struct satchel_migration **out, uint32_t *out_count, struct satchel_error *error)
{
    *out_count = argument_count / 2;
    *out = SATCHEL_ARENA_ARRAY(arena, struct satchel_migration, *out_count + 1);
    if (!*out)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory for migrations");
    if (argument_count == 0 || argument_count % 2 != 0)
        return satchel_error_set(error, SATCHEL_INVALID,
                                 "a schema is a folder with 001_NAME.sql, 002_NAME.sql, ...");
    for (uint32_t i = 0; i < *out_count; i++) {
        const struct satchel_value *name = &arguments[2 * i], *sql = &arguments[2 * i + 1];
        struct satchel_migration *migration = &(*out)[i];
        if (name->type != SATCHEL_TEXT || sql->type != SATCHEL_TEXT)
            return satchel_error_set(error, SATCHEL_INVALID, "migration %u is no text", i + 1);
        migration->name = name->bytes;
        migration->sql = sql->bytes;
        for (size_t c = 0; c < name->bytes.size && c < 9; c++) {
            uint8_t digit = name->bytes.data[c];
            if (digit < '0' || digit > '9')
                break;
            migration->number = migration->number * 10 + (uint64_t)(digit - '0');
        }
        if (migration->number != i + 1)
            return satchel_error_set(
                error, SATCHEL_SCHEMA,
                "%.*s stands where migration %03u is expected: number the files "
                "001_, 002_, ... without a gap",
                (int)(name->bytes.size < 200 ? name->bytes.size : 200),
                (const char *)name->bytes.data, i + 1);
    }
    return SATCHEL_OK;
}

/* What is deployed must come again, byte for byte. */
static enum satchel_status check_deployed(struct satchel_store *store,
                                          const struct satchel_migration *migrations,
                                          uint32_t migration_count, struct satchel_arena *arena,
                                          uint32_t *deployed_count, struct satchel_error *error)
{
    struct satchel_migration *deployed;
    enum satchel_status status = satchel_schema_migrations(satchel_store_sqlite_db(store), 0, arena,
                                                           &deployed, deployed_count, error);
    for (uint32_t i = 0; status == SATCHEL_OK && i < *deployed_count; i++) {
        int size = (int)(deployed[i].name.size < 200 ? deployed[i].name.size : 200);
        if (i >= migration_count)
            status = satchel_error_set(error, SATCHEL_SCHEMA,
                                       "%.*s has been deployed and is missing here: put it back",
                                       size, (const char *)deployed[i].name.data);
        else if (!satchel_span_equal(deployed[i].sql, migrations[i].sql))
            status =
                satchel_error_set(error, SATCHEL_SCHEMA,
                                  "%.*s was edited after it was deployed; put the change into a "
                                  "new migration",
                                  size, (const char *)deployed[i].name.data);
    }
    return status;
}

/* The store gets the schema of `count` migrations: `*last`, which it then owns, if it is that. */
static enum satchel_status use_schema(struct satchel_store *store,
                                      const struct satchel_migration *migrations, uint32_t count,
                                      struct satchel_schema **last, struct satchel_error *error)
{
    struct satchel_schema *schema = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (count == (*last)->migration_count) {
        schema = *last;
        *last = NULL;
    } else {
        status = satchel_schema_new(&schema, migrations, count, error);
    }
    if (status == SATCHEL_OK)
        status = satchel_store_sqlite_take_schema(store, schema, error);
    return status;
}

static enum satchel_status copy_notice(const struct satchel_schema *schema,
                                       struct satchel_arena *arena, const char **notice,
                                       struct satchel_error *error)
{
    if (!schema->scope_notice)
        return SATCHEL_OK;
    *notice = (const char *)satchel_arena_copy(arena, satchel_span_text(schema->scope_notice)).data;
    return *notice ? SATCHEL_OK : satchel_error_set(error, SATCHEL_NOMEM, "no memory for a notice");
}

enum satchel_status deploy_migrations(struct satchel_store *store,
                                      const struct satchel_migration *migrations,
                                      uint32_t migration_count, int64_t now_ms,
                                      struct satchel_arena *arena, const char **notice,
                                      struct satchel_error *error)
{
    sqlite3 *db = satchel_store_sqlite_db(store);
    struct satchel_schema *whole = NULL;
    uint32_t deployed_count = 0;
    *notice = NULL;
    /* All of it is judged before any of it is run. */
    enum satchel_status status =
        check_deployed(store, migrations, migration_count, arena, &deployed_count, error);
    if (status == SATCHEL_OK)
        status = satchel_schema_new(&whole, migrations, migration_count, error);
    if (status == SATCHEL_OK)
        status = copy_notice(whole, arena, notice, error);
    if (status == SATCHEL_OK)
        status = deploy_check_rules(store, whole, arena, error);
    /* One after the other: first rows are written for the tables as they are at that migration. */
    for (uint32_t i = deployed_count; status == SATCHEL_OK && i < migration_count; i++) {
        status = satchel_schema_install(db, migrations, i + 1, error);
        if (status == SATCHEL_OK)
            status = use_schema(store, migrations, i + 1, &whole, error);
        if (status == SATCHEL_OK)
            status = first_rows_merge(store, &migrations[i], now_ms, error);
    }
    satchel_schema_free(whole);
    return status;
}

enum satchel_status deploy_reload(struct satchel_store *store, struct satchel_error *error)
{
    struct satchel_schema *schema = NULL;
    store->ops->rollback(store); /* if there was no memory for the caller's */
    if (!sqlite3_get_autocommit(satchel_store_sqlite_db(store)))
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory to roll back");
    enum satchel_status status =
        satchel_schema_load(satchel_store_sqlite_db(store), &schema, error);
    if (status == SATCHEL_OK)
        status = satchel_store_sqlite_take_schema(store, schema, error);
    return status;
}

enum satchel_status deploy_job(struct satchel_workspace *workspace, struct satchel_job *job)
{
    const struct satchel_message_admin *request = &job->request.admin;
    struct satchel_migration *migrations;
    uint32_t migration_count;
    const char *notice;
    if (request->argument_count < 2)
        return satchel_error_set(&job->error, SATCHEL_INVALID, "the workspace is missing");
    enum satchel_status status =
        satchel_migrations_of_arguments(request->arguments + 2, request->argument_count - 2,
                                        &job->arena, &migrations, &migration_count, &job->error);
    if (status == SATCHEL_OK)
        status = deploy_migrations(workspace->store, migrations, migration_count,
                                   workspace_now_ms(), &job->arena, &notice, &job->error);
    if (status != SATCHEL_OK)
        return status;
    workspace_log(workspace, "schema %u is deployed", migration_count);
    return job_answer_text(job, "workspace %s is at migration %u%s%s", workspace->name,
                           migration_count, notice ? "\n" : "", notice ? notice : "");
}
