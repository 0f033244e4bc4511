/* Owns the device's clocks: reading them, and what their readings mean in the server's time. */
#include "replica.h"

#include <stdio.h>
#include <time.h>

enum { MS_PER_SECOND = 1000, NS_PER_MS = 1000000 };

static int64_t read_ms(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) != 0)
        return 0;
    return (int64_t)time.tv_sec * MS_PER_SECOND + time.tv_nsec / NS_PER_MS;
}

static int64_t system_utc_ms(void *context)
{
    (void)context;
    return read_ms(CLOCK_REALTIME);
}

static int64_t system_monotonic_ms(void *context)
{
    (void)context;
    return read_ms(CLOCK_BOOTTIME);
}

/* The kernel's boot id as a number below 2^63, which SQLite's integers hold. */
static uint64_t system_boot(void *context)
{
    (void)context;
    char text[64] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (!file)
        return 1; /* one boot for ever: the wall clock's error at the reference is all there is then
                   */
    size_t size = fread(text, 1, sizeof text, file);
    fclose(file);
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (uint8_t)text[i]) * 0x100000001b3u;
    return hash >> 1 ? hash >> 1 : 1;
}

const struct satchel_clock satchel_clock_system = {NULL, system_utc_ms, system_monotonic_ms,
                                                   system_boot};

/* Readings come from clocks that may be wrong by anything: sums stay in range. */
static int64_t add(int64_t a, int64_t b)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return a < 0 ? INT64_MIN : INT64_MAX;
    return sum;
}

static int64_t subtract(int64_t a, int64_t b)
{
    int64_t difference;
    if (__builtin_sub_overflow(a, b, &difference))
        return a < 0 ? INT64_MIN : INT64_MAX;
    return difference;
}

int64_t satchel_clock_correct(const struct satchel_clock_reference *reference, int64_t utc_ms,
                              int64_t monotonic_ms, uint64_t boot)
{
    if (!reference->is_set)
        return utc_ms;
    if (reference->boot == boot)
        return add(reference->server_ms, subtract(monotonic_ms, reference->monotonic_ms));
    return add(reference->server_ms, subtract(utc_ms, reference->utc_ms));
}

int64_t satchel_clock_correct_between(const struct satchel_clock_reference *before,
                                      const struct satchel_clock_reference *after, int64_t floor_ms,
                                      int64_t utc_ms, int64_t monotonic_ms, uint64_t boot)
{
    if (!after->is_set)
        return satchel_clock_correct(before, utc_ms, monotonic_ms, boot);
    int64_t by_after = satchel_clock_correct(after, utc_ms, monotonic_ms, boot);
    if (after->boot == boot || !before->is_set)
        return by_after;
    int64_t by_before = satchel_clock_correct(before, utc_ms, monotonic_ms, boot);
    if (before->boot == boot)
        return by_before;
    /* The device has been restarted since: a wall clock that was moved in between makes one of the
     * two results impossible, namely earlier than what its author had seen or later than now. */
    bool fits_after = by_after >= floor_ms && by_after <= after->server_ms;
    bool fits_before = by_before >= floor_ms && by_before <= after->server_ms;
    return fits_before && !fits_after ? by_before : by_after;
}

/* ---- the replica's ---- */

uint64_t satchel_replica_boot(struct satchel_replica *replica)
{
    if (replica->clock.boot != satchel_clock_system.boot)
        return replica->clock.boot(replica->clock.context);
    if (replica->system_boot == 0)
        replica->system_boot = system_boot(NULL);
    return replica->system_boot;
}

static const char SELECT_REFERENCE[] =
    "SELECT reference_server_ms, reference_utc_ms, reference_monotonic_ms, reference_boot"
    " FROM main.satchel_replica";

int satchel_replica_refresh_reference(struct satchel_replica *replica)
{
    uint32_t version = satchel_replica_data_version(replica);
    if (replica->reference_version == version && version != 0)
        return SQLITE_OK;
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(replica->db, SELECT_REFERENCE, -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        struct satchel_clock_reference *reference = &replica->reference;
        reference->is_set = sqlite3_column_type(statement, 0) != SQLITE_NULL;
        reference->server_ms = sqlite3_column_int64(statement, 0);
        reference->utc_ms = sqlite3_column_int64(statement, 1);
        reference->monotonic_ms = sqlite3_column_int64(statement, 2);
        reference->boot = (uint64_t)sqlite3_column_int64(statement, 3);
        replica->reference_version = satchel_replica_data_version(replica);
    }
    sqlite3_finalize(statement);
    return code == SQLITE_ROW || (code & 0xff) == SQLITE_BUSY ? SQLITE_OK : code;
}

int64_t satchel_replica_now_ms(struct satchel_replica *replica)
{
    const struct satchel_clock *clock = &replica->clock;
    (void)satchel_replica_refresh_reference(replica); /* a statement around this one fails too */
    return satchel_clock_correct(&replica->reference, clock->utc_ms(clock->context),
                                 clock->monotonic_ms(clock->context),
                                 satchel_replica_boot(replica));
}
