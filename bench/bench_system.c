/* What a workspace costs as a whole, real processes at both ends: bytes on the wire, storage, rows
 * from one device to another, the time until another device has a change, and the server's memory
 * for a device that has nothing to say. */
#include "bench_contacts.h"
#include "bench_place.h"

#include <satchel.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROWS = 10000, CHANGES = 100, IDLE_DEVICES = 200, IDLE_BEFORE = 20 };
enum { QUIET_US = 150000 }; /* by then nothing goes on of what there was */

static void fail(const char *why)
{
    bench_fail("system", why);
}

static satchel_replica *open_replica(const struct bench_place *place, const char *name)
{
    char path[BENCH_PATH_BYTES];
    satchel_replica *replica = NULL;
    struct satchel_error error = {0};
    bench_place_path(place, name, path);
    if (satchel_replica_open(&replica, path, NULL, &error) != SATCHEL_OK)
        fail(error.message);
    return replica;
}

static sqlite3 *open_plain(const struct bench_place *place, const char *name)
{
    char path[BENCH_PATH_BYTES];
    sqlite3 *db = NULL;
    bench_place_path(place, name, path);
    if (sqlite3_open(path, &db) != SQLITE_OK)
        fail(sqlite3_errmsg(db));
    bench_sql(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL");
    return db;
}

static sqlite3 *make_plain(const struct bench_place *place, const char *name)
{
    char path[BENCH_PATH_BYTES];
    bench_place_path(place, name, path);
    bench_remove_store(path);
    sqlite3 *db = open_plain(place, name);
    bench_sql(db, BENCH_CONTACT_RAW);
    return db;
}

/* ---- bytes and storage ---- */

/* With what is in its WAL. */
static double size_of(const struct bench_place *place, const char *name)
{
    char path[BENCH_PATH_BYTES];
    struct stat status;
    sqlite3 *db = open_plain(place, name);
    bench_sql(db, "PRAGMA wal_checkpoint(PASSIVE)");
    sqlite3_close(db);
    bench_place_path(place, name, path);
    if (stat(path, &status) != 0)
        fail(path);
    return (double)status.st_size;
}

static double sync_bytes(const struct bench_place *place)
{
    return bench_place_number(place, "\"bytes_sent\":", "satchel sync ana.db --json");
}

static void report_bytes(struct bench *bench, const char *name, const char *text, double bytes,
                         double budget)
{
    bench_report(bench, &(struct bench_line){.name = name,
                                             .variant = "",
                                             .text = text,
                                             .unit = "byte",
                                             .ratio = bytes,
                                             .budget = budget});
}

static void measure_bytes(struct bench *bench, const struct bench_place *place)
{
    bench_place_join(place, "ana.db");
    bench_place_run(place, "satchel sync ana.db");
    sqlite3 *plain = make_plain(place, "plain.db");
    satchel_replica *replica = open_replica(place, "ana.db");
    sqlite3 *db = satchel_replica_db(replica);
    bench_contacts_insert(db, BENCH_CONTACT_INSERT, BENCH_ORDERED, 0, ROWS,
                          BENCH_ROWS_PER_TRANSACTION);
    bench_contacts_insert(plain, BENCH_CONTACT_INSERT, BENCH_ORDERED, 0, ROWS,
                          BENCH_ROWS_PER_TRANSACTION);
    double inserted = sync_bytes(place);
    bench_contacts_update(db, BENCH_ORDERED, ROWS, 7);
    bench_contacts_update(plain, BENCH_ORDERED, ROWS, 7);
    double updated = sync_bytes(place);
    satchel_replica_close(replica);
    sqlite3_close(plain);
    report_bytes(bench, "wire_insert", "sent for each inserted row, all framing", inserted / ROWS,
                 85);
    report_bytes(bench, "wire_update", "sent for each changed field, all framing", updated / ROWS,
                 24);
    double raw = size_of(place, "plain.db");
    bench_place_run(place, "satchel workspace pack w --server %s --token-file server/admin.token",
                    place->url);
    bench_report(bench,
                 &(struct bench_line){.name = "storage_server",
                                      .variant = "",
                                      .text = "the server's store after an insert and an update",
                                      .unit = "raw",
                                      .ratio = size_of(place, "server/w.db") / raw,
                                      .budget = 2});
    bench_report(bench, &(struct bench_line){.name = "storage_replica",
                                             .variant = "",
                                             .text = "the replica that wrote them, acknowledged",
                                             .unit = "raw",
                                             .ratio = size_of(place, "ana.db") / raw,
                                             .budget = 1.05});
}

/* ---- from one device to another ---- */

static uint32_t count_rows(sqlite3_stmt *count)
{
    uint32_t rows =
        sqlite3_step(count) == SQLITE_ROW ? (uint32_t)sqlite3_column_int64(count, 0) : 0;
    sqlite3_reset(count);
    return rows;
}

static double upsert_plainly(const struct bench_place *place)
{
    sqlite3 *db = make_plain(place, "plain.db");
    double begin = bench_now();
    bench_contacts_insert(db, BENCH_CONTACT_UPSERT, BENCH_ORDERED, 0, ROWS,
                          BENCH_ROWS_PER_TRANSACTION);
    double seconds = bench_now() - begin;
    sqlite3_close(db);
    return seconds;
}

static void measure_rows(struct bench *bench, const struct bench_place *place, sqlite3 *writer,
                         sqlite3 *reader)
{
    double ratios[ROUNDS_MAX], rates[ROUNDS_MAX];
    sqlite3_stmt *count = bench_prepare(reader, "SELECT count(*) FROM contact");
    uint32_t before = count_rows(count);
    for (uint32_t round = 0; round < bench->round_count; round++) {
        bench_contacts_insert(writer, BENCH_CONTACT_INSERT, BENCH_ORDERED, ROWS * (round + 1), ROWS,
                              BENCH_ROWS_PER_TRANSACTION);
        double begin = bench_now();
        pid_t sync = bench_place_sync(place, "ana.db", false);
        while (count_rows(count) < before + ROWS)
            usleep(1000);
        double seconds = bench_now() - begin;
        waitpid(sync, NULL, 0);
        before += ROWS;
        ratios[round] = seconds / upsert_plainly(place);
        rates[round] = ROWS / seconds;
    }
    sqlite3_finalize(count);
    bench_report(bench, &(struct bench_line){.name = "system_rows",
                                             .variant = "",
                                             .text = "10,000 new rows, device to server to device",
                                             .unit = "raw",
                                             .ratio = bench_median(ratios, bench->round_count),
                                             .budget = 1 / 0.3,
                                             .per_second = bench_median(rates, bench->round_count),
                                             .per_second_of = "rows",
                                             .is_by_clock = true});
}

static double commit_durably(sqlite3 *db)
{
    static int64_t value;
    char sql[80];
    snprintf(sql, sizeof sql, "UPDATE contact SET amount=%lld WHERE rowid=1", (long long)++value);
    double begin = bench_now();
    bench_sql(db, sql);
    return bench_now() - begin;
}

/* A byte there and back over TCP: a process answers. */
static int open_echo(pid_t *process)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    char byte;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        fail("a socket cannot be made");
    *process = fork();
    if (*process == 0) {
        int peer = accept(listener, NULL, NULL);
        while (read(peer, &byte, 1) == 1 && write(peer, &byte, 1) == 1)
            continue;
        _exit(0);
    }
    int echo = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(echo, (struct sockaddr *)&address, size) != 0)
        fail("a socket cannot be connected");
    close(listener);
    return echo;
}

static double go_round(int echo)
{
    char byte = 1;
    double begin = bench_now();
    if (write(echo, &byte, 1) != 1 || read(echo, &byte, 1) != 1)
        fail("a socket was closed");
    return bench_now() - begin;
}

/* Each change is made when the one before has arrived and everything is quiet again; so is what it
 * is compared with. */
static void measure_changes(struct bench *bench, const struct bench_place *place, sqlite3 *writer,
                            sqlite3 *reader)
{
    double delays[CHANGES], floors[CHANGES];
    char id[40];
    pid_t echoing;
    int echo = open_echo(&echoing);
    sqlite3 *plain = open_plain(place, "plain.db");
    bench_sql(plain, "PRAGMA synchronous=FULL");
    sqlite3_stmt *update = bench_prepare(writer, BENCH_CONTACT_UPDATE);
    sqlite3_stmt *select = bench_prepare(reader, "SELECT amount FROM contact WHERE id=?1");
    int size = bench_contact_id(BENCH_ORDERED, 5, id);
    for (int i = 0; i < CHANGES; i++) {
        usleep(QUIET_US);
        floors[i] = commit_durably(plain) + go_round(echo);
        sqlite3_bind_text(update, 1, id, size, SQLITE_STATIC);
        sqlite3_bind_text(select, 1, id, size, SQLITE_STATIC);
        sqlite3_bind_int64(update, 2, 5000000 + i);
        usleep(QUIET_US / 2);
        double begin = bench_now();
        bench_step(update);
        while (sqlite3_step(select) == SQLITE_ROW &&
               sqlite3_column_int64(select, 0) != 5000000 + i) {
            sqlite3_reset(select);
            usleep(50);
        }
        delays[i] = bench_now() - begin;
        sqlite3_reset(select);
    }
    sqlite3_finalize(update);
    sqlite3_finalize(select);
    sqlite3_close(plain);
    close(echo);
    waitpid(echoing, NULL, 0);
    double delay = bench_median(delays, CHANGES);
    bench_report(bench, &(struct bench_line){.name = "system_change",
                                             .variant = "median",
                                             .text = "one change, device to device",
                                             .unit = "floor",
                                             .ratio = delay / bench_median(floors, CHANGES),
                                             .budget = 2,
                                             .per_second = 1 / delay,
                                             .per_second_of = "changes",
                                             .is_by_clock = true});
}

static void measure_devices(struct bench *bench, const struct bench_place *place)
{
    bench_place_join(place, "bob.db");
    bench_place_run(place, "satchel sync bob.db");
    satchel_replica *replica = open_replica(place, "ana.db");
    sqlite3 *writer = satchel_replica_db(replica), *reader = open_plain(place, "bob.db");
    pid_t bob = bench_place_sync(place, "bob.db", true);
    sleep(1);
    measure_rows(bench, place, writer, reader);
    pid_t ana = bench_place_sync(place, "ana.db", true);
    sleep(1);
    measure_changes(bench, place, writer, reader);
    bench_place_stop(ana);
    bench_place_stop(bob);
    sqlite3_close(reader);
    satchel_replica_close(replica);
}

/* ---- devices that have nothing to say ---- */

static double resident_bytes(pid_t process)
{
    char path[64], line[256];
    double kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)process);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "RssAnon:", 8) == 0)
            kib = strtod(line + 8, NULL);
    if (!file || kib == 0)
        fail("the server's memory cannot be read");
    fclose(file);
    return kib * 1024;
}

static void connect_idle(const struct bench_place *place, pid_t *devices, int from, int to)
{
    char name[32];
    for (int i = from; i < to; i++) {
        snprintf(name, sizeof name, "idle%d.db", i);
        bench_place_join(place, name);
        devices[i] = bench_place_sync(place, name, true);
    }
    sleep(3); /* until the last has nothing to say */
}

static void measure_idle(struct bench *bench, const struct bench_place *place)
{
    pid_t devices[IDLE_DEVICES];
    connect_idle(place, devices, 0, IDLE_BEFORE);
    double before = resident_bytes(place->server);
    connect_idle(place, devices, IDLE_BEFORE, IDLE_DEVICES);
    double bytes = (resident_bytes(place->server) - before) / (IDLE_DEVICES - IDLE_BEFORE);
    for (int i = 0; i < IDLE_DEVICES; i++)
        bench_place_stop(devices[i]);
    report_bytes(bench, "idle_device", "the server's memory for a device that is idle", bytes,
                 8 * 1024);
}

void bench_system(struct bench *bench)
{
    struct bench_place place;
    printf("a server and its devices: contacts of 240 bytes; medians of %u rounds, of %d changes\n",
           (unsigned)bench->round_count, CHANGES);
    bench_place_open(&place, bench, BENCH_CONTACT_TRACKED, "100000000");
    measure_bytes(bench, &place);
    measure_devices(bench, &place);
    bench_place_close(&place);
    bench_place_open(&place, bench, BENCH_CONTACT_TRACKED, "100000000");
    measure_idle(bench, &place);
    bench_place_close(&place);
}
