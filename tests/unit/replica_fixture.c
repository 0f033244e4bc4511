#include "replica_fixture.h"

#include "../../client-core/src/replica.h"

#include <stdio.h>
#include <unistd.h>

static const char INSERT_REPLICA[] = "INSERT INTO satchel_replica(one, format, state, server, "
                                     "workspace, workspace_id, device, token,"
                                     " secret, user, role, file, receipt) VALUES(1, 8, 'joined', "
                                     "'ws://127.0.0.1:1', 'test', ?1, ?2, ?3, ?3, ?4, ?5, ?2, ?2)";

void fixture_remove(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal", "-ckpt"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

static enum satchel_status insert_replica(sqlite3 *db, const char *path, const char *login,
                                          const char *role)
{
    static const uint8_t workspace[16] = "test-workspace!!";
    uint8_t secret[32] = {0};
    size_t length = strlen(path);
    size_t tail = length < sizeof secret ? length : sizeof secret;
    sqlite3_stmt *statement = NULL;
    memcpy(secret, path + length - tail, tail);
    for (size_t i = tail; i > 1; i--) /* mixed, so that the first 16 bytes depend on all of them */
        secret[i - 2] = (uint8_t)(secret[i - 2] * 31 + secret[i - 1]);
    if (sqlite3_prepare_v2(db, INSERT_REPLICA, -1, &statement, NULL) != SQLITE_OK)
        return SATCHEL_SQL;
    sqlite3_bind_blob(statement, 1, workspace, sizeof workspace, SQLITE_STATIC);
    sqlite3_bind_blob(statement, 2, secret, 16, SQLITE_STATIC);
    sqlite3_bind_blob(statement, 3, secret, sizeof secret, SQLITE_STATIC);
    sqlite3_bind_text(statement, 4, login, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 5, role, -1, SQLITE_STATIC);
    int code = sqlite3_step(statement);
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? SATCHEL_OK : SATCHEL_SQL;
}

static enum satchel_status create(const char *path, const struct satchel_migration *migrations,
                                  uint32_t migration_count, const char *login, const char *role,
                                  const struct satchel_open_options *options,
                                  struct satchel_error *error)
{
    sqlite3 *db = NULL;
    satchel_replica *replica = NULL;
    enum satchel_status status = SATCHEL_SQL;
    if (sqlite3_open(path, &db) != SQLITE_OK)
        goto cleanup;
    status = satchel_replica_execute(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; BEGIN",
                                     error);
    if (status == SATCHEL_OK)
        status = satchel_replica_create_tables(db, error);
    if (status == SATCHEL_OK)
        status = insert_replica(db, path, login, role);
    if (status == SATCHEL_OK)
        status = satchel_replica_attach(&replica, db, options, error);
    if (status == SATCHEL_OK)
        status = satchel_replica_migrate(replica, migrations, migration_count, error);
    if (status == SATCHEL_OK)
        status = satchel_replica_execute(db, "COMMIT", error);
cleanup:
    if (status != SATCHEL_OK && db)
        fprintf(stderr, "fixture: %s\n", sqlite3_errmsg(db));
    sqlite3_close(db);
    return status;
}

enum satchel_status fixture_replica_of(const char *path, const struct satchel_migration *migrations,
                                       uint32_t migration_count, const char *login,
                                       const char *role, const struct satchel_clock *clock,
                                       satchel_replica **out)
{
    const struct satchel_open_options options = {sizeof options, clock};
    struct satchel_error error = {0};
    fixture_remove(path);
    enum satchel_status status =
        create(path, migrations, migration_count, login, role, &options, &error);
    if (status == SATCHEL_OK)
        status = satchel_replica_open(out, path, &options, &error);
    if (status != SATCHEL_OK)
        fprintf(stderr, "fixture: %s: %s\n", satchel_status_name(status), error.message);
    return status;
}

enum satchel_status fixture_replica(const char *path, const char *sql, const char *login,
                                    const char *role, const struct satchel_clock *clock,
                                    satchel_replica **out)
{
    const struct satchel_migration migration = {1, satchel_span_text("001_init.sql"),
                                                satchel_span_text(sql)};
    return fixture_replica_of(path, &migration, 1, login, role, clock, out);
}
