/* Owns what SQLite asks of a disk: handles, locks between connections, the shared memory of a WAL;
 * and where faults meet it. A handle belongs to the process that opened it and is of no use when
 * that has died. */
#include "disk.h"

#include <stdlib.h>
#include <string.h>

struct sim_handle {
    sqlite3_file base;
    struct sim_handle *next;
    struct sim_file *file;
    struct sim_process *process; /* NULL: the simulator's, which no fault meets */
    int flags;
    bool is_lost; /* its machine had no power since */
    int lock;
    struct sim_shm *shm;
    uint16_t shared, exclusive; /* locks on the shared memory */
};

static struct sim_handle *handle_of(sqlite3_file *file)
{
    return (struct sim_handle *)file;
}

void sim_disk_each(void (*visit)(struct sim_file *file, const void *context), const void *context);

/* ---- faults ---- */

static bool is_dead(const struct sim_handle *handle)
{
    return handle->is_lost || (handle->process && handle->process->is_dead);
}

static bool meets_io_error(const struct sim_handle *handle)
{
    const struct sim_machine *machine =
        handle->process && sim.process ? handle->process->machine : NULL;
    if (!machine || machine->io_error_one_in == 0 ||
        !sim_one_in(SIM_DISK, machine->io_error_one_in))
        return false;
    sim_fault_met();
    return true;
}

static bool meets_full_disk(const struct sim_handle *handle, size_t end)
{
    const struct sim_machine *machine =
        handle->process && sim.process ? handle->process->machine : NULL;
    if (!machine || !machine->is_disk_full || end <= handle->file->size)
        return false;
    sim_fault_met();
    sim.counts.disk_full++;
    return true;
}

/* ---- bytes ---- */

static int io_read(sqlite3_file *base, void *out, int size, sqlite3_int64 offset)
{
    struct sim_handle *handle = handle_of(base);
    if (is_dead(handle))
        return SQLITE_IOERR_READ;
    if (meets_io_error(handle)) {
        sim.counts.read_errors++;
        return SQLITE_IOERR_READ;
    }
    sim_file_read(handle->file, out, (size_t)size, (size_t)offset);
    return (size_t)offset + (size_t)size <= handle->file->size ? SQLITE_OK
                                                               : SQLITE_IOERR_SHORT_READ;
}

static int io_write(sqlite3_file *base, const void *bytes, int size, sqlite3_int64 offset)
{
    struct sim_handle *handle = handle_of(base);
    if (is_dead(handle))
        return SQLITE_IOERR_WRITE;
    if (meets_full_disk(handle, (size_t)offset + (size_t)size))
        return SQLITE_FULL;
    if (meets_io_error(handle)) {
        sim.counts.write_errors++;
        if (sim_one_in(SIM_DISK, 2)) /* some of it */
            sim_file_write(handle->file, bytes, sim_below(SIM_DISK, (unsigned)size),
                           (size_t)offset);
        return SQLITE_IOERR_WRITE;
    }
    sim_file_write(handle->file, bytes, (size_t)size, (size_t)offset);
    /* A power cut here may still tear it: it is the last write. */
    return !handle->process || sim_process_goes_on(handle->process) ? SQLITE_OK
                                                                    : SQLITE_IOERR_WRITE;
}

static int io_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    struct sim_handle *handle = handle_of(base);
    if (is_dead(handle) || meets_io_error(handle))
        return SQLITE_IOERR_TRUNCATE;
    sim_file_truncate(handle->file, (size_t)size);
    return SQLITE_OK;
}

static int io_sync(sqlite3_file *base, int flags)
{
    struct sim_handle *handle = handle_of(base);
    (void)flags;
    if (is_dead(handle))
        return SQLITE_IOERR_FSYNC;
    if (handle->process && !sim_process_goes_on(handle->process))
        return SQLITE_IOERR_FSYNC;
    if (meets_io_error(handle)) {
        sim.counts.sync_errors++;
        return SQLITE_IOERR_FSYNC;
    }
    if (handle->process && handle->process->waits_for_disk && sim_in_fiber() &&
        sim.options.disk_ms > 0) {
        sim_sleep(sim_skewed(SIM_DISK, sim.options.disk_ms));
        if (is_dead(handle))
            return SQLITE_IOERR_FSYNC;
    }
    sim_file_sync(handle->file);
    return !handle->process || sim_process_goes_on(handle->process) ? SQLITE_OK
                                                                    : SQLITE_IOERR_FSYNC;
}

static int io_size(sqlite3_file *base, sqlite3_int64 *out)
{
    *out = (sqlite3_int64)handle_of(base)->file->size;
    return is_dead(handle_of(base)) ? SQLITE_IOERR_FSTAT : SQLITE_OK;
}

/* ---- locks on the database ---- */

static int io_lock(sqlite3_file *base, int wanted)
{
    struct sim_handle *handle = handle_of(base);
    int highest = SQLITE_LOCK_NONE;
    if (is_dead(handle))
        return SQLITE_IOERR_LOCK;
    if (handle->lock >= wanted)
        return SQLITE_OK;
    for (const struct sim_handle *other = handle->file->handles; other; other = other->next)
        if (other != handle && other->lock > highest)
            highest = other->lock;
    if (wanted == SQLITE_LOCK_SHARED && highest >= SQLITE_LOCK_PENDING && handle->process)
        return SQLITE_BUSY;
    if (wanted == SQLITE_LOCK_RESERVED && highest >= SQLITE_LOCK_RESERVED)
        return SQLITE_BUSY;
    if (wanted == SQLITE_LOCK_EXCLUSIVE && highest >= SQLITE_LOCK_SHARED) {
        if (highest < SQLITE_LOCK_RESERVED)
            handle->lock = SQLITE_LOCK_PENDING;
        return SQLITE_BUSY;
    }
    handle->lock = wanted;
    return SQLITE_OK;
}

static int io_unlock(sqlite3_file *base, int wanted)
{
    struct sim_handle *handle = handle_of(base);
    if (handle->lock > wanted)
        handle->lock = wanted;
    return SQLITE_OK;
}

static int io_check_reserved(sqlite3_file *base, int *out)
{
    struct sim_handle *handle = handle_of(base);
    *out = 0;
    for (const struct sim_handle *other = handle->file->handles; other; other = other->next)
        *out = *out || other->lock >= SQLITE_LOCK_RESERVED;
    return is_dead(handle) ? SQLITE_IOERR_CHECKRESERVEDLOCK : SQLITE_OK;
}

/* ---- shared memory ---- */

static void release_shm(struct sim_handle *handle)
{
    struct sim_shm *shm = handle->shm;
    handle->shm = NULL;
    handle->shared = handle->exclusive = 0;
    if (!shm || --shm->users > 0)
        return;
    if (handle->file->shm == shm)
        handle->file->shm = NULL;
    for (int i = 0; i < SHM_REGIONS_MAX; i++)
        free(shm->regions[i]);
    free(shm);
}

static int io_shm_map(sqlite3_file *base, int region, int size, int extend, void volatile **out)
{
    struct sim_handle *handle = handle_of(base);
    *out = NULL;
    if (is_dead(handle) || region >= SHM_REGIONS_MAX)
        return SQLITE_IOERR_SHMMAP;
    if (!handle->shm) {
        if (!handle->file->shm) {
            handle->file->shm = sim_alloc(NULL, sizeof *handle->shm);
            memset(handle->file->shm, 0, sizeof *handle->shm);
        }
        handle->shm = handle->file->shm;
        handle->shm->users++;
    }
    if (!handle->shm->regions[region] && extend) {
        handle->shm->regions[region] = sim_alloc(NULL, (size_t)size);
        memset(handle->shm->regions[region], 0, (size_t)size);
        handle->shm->region_bytes = (size_t)size;
    }
    *out = handle->shm->regions[region];
    return SQLITE_OK;
}

static int io_shm_lock(sqlite3_file *base, int offset, int count, int flags)
{
    struct sim_handle *handle = handle_of(base);
    uint16_t mask = (uint16_t)(((1u << count) - 1) << offset);
    if (flags & SQLITE_SHM_UNLOCK) {
        handle->shared &= (uint16_t)~mask;
        handle->exclusive &= (uint16_t)~mask;
        return SQLITE_OK;
    }
    if (is_dead(handle))
        return SQLITE_IOERR_SHMLOCK;
    for (const struct sim_handle *other = handle->file->handles; other; other = other->next)
        if (other != handle && ((other->exclusive & mask) ||
                                ((flags & SQLITE_SHM_EXCLUSIVE) && (other->shared & mask))))
            return SQLITE_BUSY;
    if (flags & SQLITE_SHM_EXCLUSIVE)
        handle->exclusive |= mask;
    else
        handle->shared |= mask;
    return SQLITE_OK;
}

static void io_shm_barrier(sqlite3_file *base)
{
    (void)base;
}

static int io_shm_unmap(sqlite3_file *base, int is_deleting)
{
    (void)is_deleting;
    release_shm(handle_of(base));
    return SQLITE_OK;
}

/* ---- the rest of a handle ---- */

static int io_control(sqlite3_file *base, int operation, void *argument)
{
    (void)base;
    (void)operation;
    (void)argument;
    return SQLITE_NOTFOUND;
}

static int io_sector_size(sqlite3_file *base)
{
    const struct sim_machine *machine = handle_of(base)->file->machine;
    return machine ? (int)machine->sector_bytes : 4096;
}

static int io_characteristics(sqlite3_file *base)
{
    const struct sim_machine *machine = handle_of(base)->file->machine;
    return !machine || machine->is_powersafe ? SQLITE_IOCAP_POWERSAFE_OVERWRITE : 0;
}

static void unlink_handle(struct sim_handle *handle)
{
    struct sim_handle **place = &handle->file->handles;
    while (*place && *place != handle)
        place = &(*place)->next;
    if (*place)
        *place = handle->next;
    handle->next = NULL;
}

static int io_close(sqlite3_file *base)
{
    struct sim_handle *handle = handle_of(base);
    release_shm(handle);
    unlink_handle(handle);
    if (handle->flags & SQLITE_OPEN_DELETEONCLOSE) {
        free(handle->file->bytes);
        free(handle->file->log);
        free(handle->file->undos);
        free(handle->file);
    }
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = io_close,
    .xRead = io_read,
    .xWrite = io_write,
    .xTruncate = io_truncate,
    .xSync = io_sync,
    .xFileSize = io_size,
    .xLock = io_lock,
    .xUnlock = io_unlock,
    .xCheckReservedLock = io_check_reserved,
    .xFileControl = io_control,
    .xSectorSize = io_sector_size,
    .xDeviceCharacteristics = io_characteristics,
    .xShmMap = io_shm_map,
    .xShmLock = io_shm_lock,
    .xShmBarrier = io_shm_barrier,
    .xShmUnmap = io_shm_unmap,
};

/* ---- those of a process, of a machine ---- */

static bool is_shm_used(const struct sim_file *file)
{
    for (const struct sim_handle *handle = file->handles; handle; handle = handle->next)
        if (handle->shm == file->shm && !is_dead(handle))
            return true;
    return false;
}

/* Their locks are gone; the handles are closed later. Shared memory that only the dead use is
 * theirs: who comes next begins anew. */
void sim_file_forget_handles(struct sim_file *file, const struct sim_process *process)
{
    for (struct sim_handle *handle = file->handles; handle; handle = handle->next) {
        if (process ? handle->process != process : !handle->process)
            continue;
        handle->is_lost = true;
        handle->lock = SQLITE_LOCK_NONE;
        handle->shared = handle->exclusive = 0;
    }
    if (!process || !is_shm_used(file))
        file->shm = NULL;
}

static void drop_locks(struct sim_file *file, const void *process)
{
    sim_file_forget_handles(file, process);
}

void sim_disk_drop_locks(const struct sim_process *process)
{
    sim_disk_each(drop_locks, process);
}

/* What the dead write to shared memory while they go is not to be seen. */
struct sim_shm_copy {
    struct sim_shm_copy *next;
    struct sim_shm *shm;
    uint8_t *regions[SHM_REGIONS_MAX];
};
struct keeping {
    const struct sim_machine *machine;
    struct sim_shm_copy **copies;
};

static void keep_shm(struct sim_file *file, const void *context)
{
    const struct keeping *keeping = context;
    if (file->machine != keeping->machine || !file->shm)
        return;
    struct sim_shm_copy *copy = sim_alloc(NULL, sizeof *copy);
    memset(copy, 0, sizeof *copy);
    copy->shm = file->shm;
    copy->shm->users++;
    for (int i = 0; i < SHM_REGIONS_MAX; i++)
        if (file->shm->regions[i]) {
            copy->regions[i] = sim_alloc(NULL, file->shm->region_bytes);
            memcpy(copy->regions[i], file->shm->regions[i], file->shm->region_bytes);
        }
    copy->next = *keeping->copies;
    *keeping->copies = copy;
}

struct sim_shm_copy *sim_disk_keep_shm(const struct sim_machine *machine)
{
    struct sim_shm_copy *copies = NULL;
    const struct keeping keeping = {machine, &copies};
    sim_disk_each(keep_shm, &keeping);
    return copies;
}

static void forget_unused_shm(struct sim_file *file, const void *shm)
{
    if (file->shm == shm)
        file->shm = NULL;
}

void sim_disk_restore_shm(struct sim_shm_copy *copy)
{
    while (copy) {
        struct sim_shm_copy *next = copy->next;
        for (int i = 0; i < SHM_REGIONS_MAX; i++) {
            if (copy->regions[i])
                memcpy(copy->shm->regions[i], copy->regions[i], copy->shm->region_bytes);
            free(copy->regions[i]);
        }
        if (--copy->shm->users == 0) { /* the last of its users was the dead one */
            sim_disk_each(forget_unused_shm, copy->shm);
            for (int i = 0; i < SHM_REGIONS_MAX; i++)
                free(copy->shm->regions[i]);
            free(copy->shm);
        }
        free(copy);
        copy = next;
    }
}

/* ---- the file system ---- */

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags,
                    int *out_flags)
{
    struct sim_handle *handle = handle_of(base);
    (void)vfs;
    memset(handle, 0, sizeof *handle);
    if (sim.process && sim.process->is_dead)
        return SQLITE_CANTOPEN;
    if (name) {
        struct sim_file *file =
            flags & SQLITE_OPEN_CREATE ? sim_file_get(name) : sim_file_find(name);
        if (!file || (!file->exists && !(flags & SQLITE_OPEN_CREATE)))
            return SQLITE_CANTOPEN;
        handle->file = file;
        if (!file->exists)
            file->is_entry_durable = false;
        file->exists = true;
        handle->next = file->handles;
        file->handles = handle;
    } else {
        handle->file = sim_alloc(NULL, sizeof *handle->file);
        memset(handle->file, 0, sizeof *handle->file);
    }
    handle->process = sim.process;
    handle->flags = name ? flags & ~SQLITE_OPEN_DELETEONCLOSE : SQLITE_OPEN_DELETEONCLOSE;
    handle->base.pMethods = &methods;
    if (out_flags)
        *out_flags = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int is_directory_synced)
{
    struct sim_file *file = sim_file_find(name);
    (void)vfs;
    if (sim.process && sim.process->is_dead)
        return SQLITE_IOERR_DELETE;
    if (!file || !file->exists)
        return SQLITE_IOERR_DELETE_NOENT;
    sim_file_delete(file, is_directory_synced != 0);
    return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    const struct sim_file *file = sim_file_find(name);
    (void)vfs;
    *out = file && file->exists && (flags != SQLITE_ACCESS_EXISTS || file->size > 0);
    return SQLITE_OK;
}

static int vfs_full_name(sqlite3_vfs *vfs, const char *name, int room, char *out)
{
    (void)vfs;
    sqlite3_snprintf(room, out, "%s", name);
    return SQLITE_OK;
}

static int vfs_randomness(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs;
    for (int i = 0; i < size; i++)
        out[i] = (char)sim_random(SIM_SECRETS);
    return size;
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void)vfs;
    sim_sleep((microseconds + 999) / 1000);
    return microseconds;
}

static int vfs_time(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    static const int64_t EPOCH_MS = INT64_C(210866760000000); /* 1970 as a Julian day */
    (void)vfs;
    *out = EPOCH_MS + (sim.process ? sim_machine_utc_ms(sim.process->machine) : sim.now_ms);
    return SQLITE_OK;
}

static int vfs_time_in_days(sqlite3_vfs *vfs, double *out)
{
    sqlite3_int64 ms = 0;
    int code = vfs_time(vfs, &ms);
    *out = (double)ms / 86400000.0;
    return code;
}

static int vfs_last_error(sqlite3_vfs *vfs, int room, char *out)
{
    (void)vfs;
    if (room > 0)
        out[0] = '\0';
    return 0;
}

void sim_disk_init(void)
{
    static sqlite3_vfs vfs = {
        .iVersion = 2,
        .szOsFile = sizeof(struct sim_handle),
        .mxPathname = 90,
        .zName = "simulation",
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_name,
        .xRandomness = vfs_randomness,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_time_in_days,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_time,
    };
    sqlite3_vfs_register(&vfs, 1);
}

void sim_disk_reset(void)
{
    sqlite3_randomness(0, NULL); /* seeded anew when it is next asked for */
}
