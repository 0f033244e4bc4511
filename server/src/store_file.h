/* A whole central store as one file that moves between the data directory and an administrator: a
 * snapshot to be read in pieces (backup), or pieces that become a store again (restore). It has a
 * name that nothing opens and no start leaves behind. Blocks; for a thread that may.
 *
 * A snapshot is the store at one moment, taken while its writer goes on. What comes back is checked
 * whole before it may take a workspace's place, and goes on as a new incarnation. */
#ifndef SATCHEL_STORE_FILE_H
#define SATCHEL_STORE_FILE_H

#include "workspace_files.h"

#include <satchel/id.h>
#include <satchel/memory.h>

#include <stdatomic.h>

#define STORE_FILE_HASH_BYTES 32 /* BLAKE2b of the whole file */
#define STORE_FILE_CHUNK_BYTES_MAX ((size_t)1 << 20)

struct satchel_store_file_hash;

struct satchel_store_file {
    char directory[WORKSPACE_PATH_BYTES_MAX]; /* the data directory */
    char path[WORKSPACE_PATH_BYTES_MAX];
    int fd;         /* -1: none */
    uint64_t bytes; /* of the snapshot; of what is announced to come */
    uint64_t received_bytes;
    struct satchel_store_file_hash *hashing;
    uint8_t hash[STORE_FILE_HASH_BYTES];
    uint64_t entry_count;
    struct satchel_id workspace_id;

    /* Between threads: how far the long ones are, in units of their own, and that nobody wants it
     * any more (they end with STATE soon). */
    _Atomic uint64_t done, total;
    atomic_bool is_cancelled;
};

/* `number` sets apart the files of one workspace. LIMIT, NOMEM. */
enum satchel_status store_file_init(struct satchel_store_file *file, const char *directory,
                                    const char *name, uint64_t number,
                                    struct satchel_error *error) SATCHEL_MUST_USE;
/* Removes the file, whatever it has become, unless it has taken a workspace's place. */
void store_file_deinit(struct satchel_store_file *file);

/* ---- backup ---- */

/* Takes a snapshot of workspace `name`: bytes, hash and entry_count are known after it. IO (no
 * room), SQL, STATE, NOMEM. */
enum satchel_status store_file_take(struct satchel_store_file *file, const char *name,
                                    struct satchel_error *error) SATCHEL_MUST_USE;
/* Up to STORE_FILE_CHUNK_BYTES_MAX bytes of it from `offset`, in `out`. INVALID: behind its end. */
enum satchel_status store_file_read(struct satchel_store_file *file, uint64_t offset,
                                    struct satchel_buffer *out,
                                    struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- restore ---- */

/* `bytes` are to come. IO (no room), INVALID (no size of a store). */
enum satchel_status store_file_expect(struct satchel_store_file *file, uint64_t bytes,
                                      struct satchel_error *error) SATCHEL_MUST_USE;
/* INVALID: not behind what has come, or more than is to come; IO. */
enum satchel_status store_file_write(struct satchel_store_file *file, uint64_t offset,
                                     struct satchel_span bytes,
                                     struct satchel_error *error) SATCHEL_MUST_USE;
/* Everything has come: compares the hash, checks that it is an undamaged central store that this
 * satcheld can open, names it and begins its new incarnation. entry_count and workspace_id are
 * known after it. CORRUPT, MISMATCH, VERSION, INVALID, STATE, IO, SQL. */
enum satchel_status store_file_check(struct satchel_store_file *file, const char *name,
                                     const uint8_t hash[STORE_FILE_HASH_BYTES],
                                     struct satchel_error *error) SATCHEL_MUST_USE;

#endif
