/* Owns the bytes of files and what is left of them after a power cut. Between two syncs each write
 * is kept with what it replaced, so that any part of them can be taken back. */
#include "disk.h"

#include <stdlib.h>
#include <string.h>

static struct sim_file *files;

struct sim_file *sim_file_find(const char *name)
{
    for (struct sim_file *file = files; file; file = file->next)
        if (strcmp(file->name, name) == 0)
            return file;
    return NULL;
}

/* Names are /sim/MACHINE/FILE. */
static const struct sim_machine *machine_of(const char *name)
{
    if (strncmp(name, "/sim/server/", 12) == 0)
        return &sim.server.machine;
    if (strncmp(name, "/sim/d", 6) == 0 && name[6] >= '0' && name[6] < '0' + SIM_DEVICES_MAX)
        return &sim.devices[name[6] - '0'].machine;
    return NULL;
}

struct sim_file *sim_file_get(const char *name)
{
    struct sim_file *file = sim_file_find(name);
    if (file)
        return file;
    file = sim_alloc(NULL, sizeof *file);
    memset(file, 0, sizeof *file);
    sim_check(strlen(name) < sizeof file->name, "%s: too long a name", name);
    memcpy(file->name, name, strlen(name) + 1);
    file->machine = machine_of(name);
    file->next = files;
    files = file;
    return file;
}

/* ---- contents ---- */

static void resize(struct sim_file *file, size_t size)
{
    if (size > file->capacity) {
        file->capacity = size + size / 2 + 4096;
        file->bytes = sim_alloc(file->bytes, file->capacity);
    }
    if (size > file->size)
        memset(file->bytes + file->size, 0, size - file->size);
    file->size = size;
    file->changes++;
}

void sim_file_read(const struct sim_file *file, void *out, size_t size, size_t offset)
{
    size_t there = offset < file->size ? file->size - offset : 0;
    size_t copied = size < there ? size : there;
    if (copied > 0)
        memcpy(out, file->bytes + offset, copied);
    memset((uint8_t *)out + copied, 0, size - copied);
}

static uint8_t *log_room(struct sim_file *file, size_t size)
{
    if (file->log_size + size > file->log_capacity) {
        file->log_capacity = (file->log_size + size) * 2;
        file->log = sim_alloc(file->log, file->log_capacity);
    }
    uint8_t *room = file->log + file->log_size;
    file->log_size += size;
    return room;
}

static struct sim_undo *add_undo(struct sim_file *file, size_t offset, size_t old_bytes,
                                 size_t new_bytes)
{
    SIM_GROW(file->undos, file->undo_count, file->undo_capacity);
    struct sim_undo *undo = &file->undos[file->undo_count++];
    *undo = (struct sim_undo){file->log_size, offset, old_bytes, new_bytes, file->size, false};
    uint8_t *room = log_room(file, old_bytes + new_bytes);
    if (old_bytes > 0)
        memcpy(room, file->bytes + offset, old_bytes);
    return undo;
}

static size_t overlap(const struct sim_file *file, size_t size, size_t offset)
{
    size_t there = offset < file->size ? file->size - offset : 0;
    return size < there ? size : there;
}

static void put(struct sim_file *file, const void *bytes, size_t size, size_t offset)
{
    if (offset + size > file->size)
        resize(file, offset + size);
    memcpy(file->bytes + offset, bytes, size);
    file->changes++;
}

void sim_file_write(struct sim_file *file, const void *bytes, size_t size, size_t offset)
{
    if (file->machine) {
        size_t old_bytes = overlap(file, size, offset);
        struct sim_undo *undo = add_undo(file, offset, old_bytes, size);
        memcpy(file->log + undo->log_at + old_bytes, bytes, size);
    }
    put(file, bytes, size, offset);
}

void sim_file_truncate(struct sim_file *file, size_t size)
{
    if (file->machine && size < file->size)
        add_undo(file, size, file->size - size, 0)->is_truncation = true;
    resize(file, size);
}

void sim_file_sync(struct sim_file *file)
{
    file->undo_count = 0;
    file->log_size = 0;
    file->is_entry_durable = true;
    free(file->ghost);
    file->ghost = NULL;
}

/* ---- the power cut ---- */

static void take_back(struct sim_file *file)
{
    for (size_t i = file->undo_count; i > 0; i--) {
        const struct sim_undo *undo = &file->undos[i - 1];
        resize(file, undo->size_before);
        if (undo->old_bytes > 0)
            memcpy(file->bytes + undo->offset, file->log + undo->log_at, undo->old_bytes);
    }
}

static bool is_wal(const struct sim_file *file)
{
    size_t length = strlen(file->name);
    return length > 4 && strcmp(file->name + length - 4, "-wal") == 0;
}

/* What is left of the sector that a write came to first is nothing that was ever written. Of a
 * database only the page itself: SQLite takes it that no page is smaller than a sector, as on every
 * phone; only pages of the simulator are, so that its trees are deep. */
static void spoil(struct sim_file *file, const struct sim_undo *undo)
{
    size_t sector = file->machine->sector_bytes;
    size_t begin = is_wal(file) ? undo->offset / sector * sector : undo->offset;
    size_t end = begin + (is_wal(file) ? sector : undo->new_bytes);
    for (size_t at = begin; at < end && at < file->size; at++)
        file->bytes[at] = (uint8_t)sim_random(SIM_DISK);
}

/* Some of the sectors of a write; where sectors are not safe, one of them is spoiled. Once per
 * machine, and not in a WAL from another machine, whose sectors may be smaller: SQLite goes on in
 * the middle of a sector when it has recovered a WAL, and a second such sector would take what was
 * committed before it. */
static void write_torn(struct sim_file *file, const struct sim_undo *undo)
{
    const uint8_t *bytes = file->log + undo->log_at + undo->old_bytes;
    size_t sector = file->machine->sector_bytes;
    bool is_prefix = sim_one_in(SIM_DISK, 2);
    size_t kept = sim_below(SIM_DISK, (unsigned)(undo->new_bytes / 16) + 1) * (size_t)16;
    for (size_t at = 0; at < undo->new_bytes;) {
        size_t end = at + sector - (undo->offset + at) % sector;
        if (end > undo->new_bytes)
            end = undo->new_bytes;
        if (is_prefix ? at < kept : sim_one_in(SIM_DISK, 2))
            put(file, bytes + at, (is_prefix && end > kept ? kept : end) - at, undo->offset + at);
        at = end;
    }
    if (!file->machine->is_powersafe && !file->machine->lost_power && !file->has_other_sectors &&
        undo->old_bytes > 0 && sim_one_in(SIM_DISK, 2))
        spoil(file, undo);
    sim.counts.writes_torn++;
}

static void write_again(struct sim_file *file, unsigned mode)
{
    for (size_t i = 0; i < file->undo_count; i++) {
        const struct sim_undo *undo = &file->undos[i];
        unsigned fate = mode == 0 ? 0 : mode == 1 ? 1 : sim_below(SIM_DISK, mode == 2 ? 2 : 4);
        if (undo->is_truncation) {
            if (fate != 0 && undo->offset < file->size)
                resize(file, undo->offset);
        } else if (fate == 1) {
            put(file, file->log + undo->log_at + undo->old_bytes, undo->new_bytes, undo->offset);
        } else if (fate >= 2) {
            write_torn(file, undo);
        } else {
            sim.counts.writes_lost++;
        }
    }
}

static void cut_power(struct sim_file *file)
{
    /* Everything, nothing, some whole writes, or parts of some. Of the last write, which was on its
     * way, any part. */
    unsigned mode = sim_below(SIM_DISK, 4);
    bool is_last_torn = file->undo_count > 0 && mode != 0 && sim_one_in(SIM_DISK, 2);
    if (file->undo_count > 0 || !file->is_entry_durable)
        sim_trace("%s: %zu writes not synced, fate %u%s", file->name, file->undo_count, mode,
                  is_last_torn ? ", the last is torn" : "");
    take_back(file);
    file->undo_count -= is_last_torn;
    write_again(file, mode);
    if (is_last_torn && !file->undos[file->undo_count].is_truncation)
        write_torn(file, &file->undos[file->undo_count]);
    if (!file->is_entry_durable && sim_one_in(SIM_DISK, 2)) {
        file->exists = file->ghost != NULL;
        resize(file, 0);
        if (file->ghost)
            put(file, file->ghost, file->ghost_size, 0);
        sim.counts.files_back += file->ghost != NULL;
        sim.counts.files_unlinked++;
    }
    sim_file_sync(file);
}

void sim_disk_power_cut(const struct sim_machine *machine)
{
    for (struct sim_file *file = files; file; file = file->next)
        if (file->machine == machine) {
            sim_file_forget_handles(file, NULL);
            cut_power(file);
        }
}

/* ---- names ---- */

void sim_file_delete(struct sim_file *file, bool is_directory_synced)
{
    if (!file->exists)
        return;
    if (file->is_entry_durable && !is_directory_synced && file->machine) {
        struct sim_file *back = file;
        take_back(back);
        free(file->ghost);
        file->ghost = sim_alloc(NULL, file->size + 1);
        memcpy(file->ghost, file->bytes, file->size);
        file->ghost_size = file->size;
    }
    if (is_directory_synced) {
        free(file->ghost);
        file->ghost = NULL;
    }
    file->exists = false;
    file->is_entry_durable = false;
    file->undo_count = file->log_size = 0;
    resize(file, 0);
}

static void copy_one(const char *from, const char *to)
{
    const struct sim_file *source = sim_file_find(from);
    struct sim_file *target = sim_file_get(to);
    resize(target, 0);
    target->exists = source && source->exists;
    if (target->exists)
        put(target, source->bytes, source->size, 0);
    sim_file_sync(target);
}

void sim_disk_copy(const char *from, const char *to)
{
    char from_wal[100], to_wal[100];
    snprintf(from_wal, sizeof from_wal, "%s-wal", from);
    snprintf(to_wal, sizeof to_wal, "%s-wal", to);
    copy_one(from, to);
    copy_one(from_wal, to_wal);
    struct sim_file *wal = sim_file_get(to_wal);
    wal->has_other_sectors = wal->size > 0;
}

void sim_disk_remove(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-journal"};
    for (size_t i = 0; i < 3; i++) {
        char name[100];
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        struct sim_file *file = sim_file_find(name);
        if (file)
            sim_file_delete(file, true);
    }
}

bool sim_disk_exists(const char *path)
{
    const struct sim_file *file = sim_file_find(path);
    return file && file->exists;
}

struct sim_disk_state sim_disk_state(const char *path)
{
    char wal_name[96];
    snprintf(wal_name, sizeof wal_name, "%s-wal", path);
    const struct sim_file *file = sim_file_find(path), *wal = sim_file_find(wal_name);
    struct sim_disk_state state = {.changes = file ? file->changes : 0,
                                   .wal_changes = wal ? wal->changes : 0};
    if (file && file->shm && file->shm->regions[0])
        memcpy(state.wal_index, file->shm->regions[0], sizeof state.wal_index);
    return state;
}

/* ---- every file, for those who look after locks and shared memory ---- */

void sim_disk_each(void (*visit)(struct sim_file *file, const void *context), const void *context);
void sim_disk_each(void (*visit)(struct sim_file *file, const void *context), const void *context)
{
    for (struct sim_file *file = files; file; file = file->next)
        visit(file, context);
}
