/* A complete application on Satchel: notes a visit in its replica, then syncs if there is a
 * network.
 *
 *   visits REPLICA ACCOUNT_ID SUBJECT
 *
 * The replica belongs to the CRM workspace and was enrolled with `satchel join` (or satchel_join).
 */
#include <satchel.h>
#include <sqlite3.h>
#include <stdio.h>

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "visits: %s: %s\n", what, why);
    return 1;
}

static void on_change(void *context, const char *table)
{
    (void)context;
    printf("changed: %s\n", table); /* an application would query that table again */
}

int main(int count, char **words)
{
    if (count != 4)
        return fail("usage", "visits REPLICA ACCOUNT_ID SUBJECT");

    struct satchel_error error = {0};
    satchel_replica *replica = NULL;
    if (satchel_replica_open(&replica, words[1], NULL, &error) != SATCHEL_OK)
        return fail(words[1], error.message);

    /* An ordinary SQLite connection; what is written through it is captured. */
    sqlite3 *db = satchel_replica_db(replica);
    sqlite3_stmt *insert = NULL;
    int code = sqlite3_prepare_v2(db,
                                  "INSERT INTO activity(id, account_id, kind, occurred_at, subject)"
                                  " VALUES(satchel_uuid(), ?1, 'visit', satchel_now(), ?2)",
                                  -1, &insert, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(insert, 1, words[2], -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(insert, 2, words[3], -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_step(insert);
    sqlite3_finalize(insert);
    if (code != SQLITE_DONE) {
        int status = fail("the visit is not noted", sqlite3_errmsg(db));
        satchel_replica_close(replica);
        return status;
    }
    satchel_replica_close(replica);
    puts("noted");

    /* One blocking call; an application runs it on a thread of its own, or drives the session
     * itself. */
    struct satchel_sync_options options = {.size = sizeof options, .changed = on_change};
    struct satchel_sync_report report;
    if (satchel_sync_run(words[1], &options, &report, &error) == SATCHEL_OK)
        printf("synced: %llu sent, %llu received\n", (unsigned long long)report.pushed_change_sets,
               (unsigned long long)report.pulled_entries);
    else
        printf("not synced, nothing lost: %s\n", error.message);
    return 0;
}
