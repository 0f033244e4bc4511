/* Files in memory: what processes see of them, and what a power cut would leave. */
#ifndef SATCHEL_SIMULATION_DISK_H
#define SATCHEL_SIMULATION_DISK_H

#include "simulation.h"

enum { SHM_REGIONS_MAX = 16, SHM_LOCKS = 8 };

/* The memory that the connections of one machine share for a WAL. After a power cut the dead still
 * point to theirs while the living begin another. */
struct sim_shm {
    uint8_t *regions[SHM_REGIONS_MAX];
    size_t region_bytes;
    unsigned users;
};

/* What an overwritten file would need to be as it was at its last sync. */
struct sim_undo {
    size_t log_at; /* where the old bytes stand in the log, the new ones behind them */
    size_t offset, old_bytes, new_bytes, size_before;
    bool is_truncation;
};

struct sim_handle;
struct sim_file {
    struct sim_file *next;
    char name[96];
    const struct sim_machine *machine;
    bool exists;
    bool has_other_sectors; /* a WAL that was copied from a machine of another kind */
    uint8_t *bytes;
    size_t size, capacity;
    uint64_t changes; /* grows with each of the bytes */

    /* since the last sync */
    uint8_t *log;
    size_t log_size, log_capacity;
    struct sim_undo *undos;
    size_t undo_count, undo_capacity;
    bool is_entry_durable; /* the directory on disk names it */
    uint8_t *ghost;        /* what the directory on disk names instead: unlinked, not yet synced */
    size_t ghost_size;

    struct sim_handle *handles;
    struct sim_shm *shm;
};

/* NULL if there never was one of that name. */
struct sim_file *sim_file_find(const char *name);
struct sim_file *sim_file_get(const char *name);
void sim_file_read(const struct sim_file *file, void *out, size_t size, size_t offset);
void sim_file_write(struct sim_file *file, const void *bytes, size_t size, size_t offset);
void sim_file_truncate(struct sim_file *file, size_t size);
void sim_file_sync(struct sim_file *file);
void sim_file_delete(struct sim_file *file, bool is_directory_synced);
void sim_file_forget_handles(struct sim_file *file, const struct sim_process *process);

#endif
