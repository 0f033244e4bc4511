/* The change set: what one local transaction changed, as it travels and as every log stores it.
 *
 * Identified by (device, number). Device, number and stamp travel beside the body, because the
 * first node may still fix the stamp and a copied replica may be given another device id;
 * everything else is the body, written once, when the transaction committed, and never changed:
 *
 *   body   = header part*                                    MessagePack items one after another
 *   header = [ 1, schema, seen, role, part_count ]                 1: version of the format
 *   seen   = [ node16, seq, node16, seq, ... ]                     ascending node
 *   part   = [ op, table, key, columns, values, exceptions ]
 *            op: 0 insert, 1 update, 2 delete; table: number of the table in the schema;
 *            key: array of the primary key's values in the key's order;
 *            columns: array of ascending column numbers; values: array of the same length;
 *            exceptions: array of [ column or nil for the row, kind, seen ], usually empty
 *
 * One part per row and change set. The hash of a change set is a root over its parts, each hashed
 * (BLAKE2b) under a key derived from the change set's secret, so that a withheld part can be named
 * without being guessable; it leaves out device, number and stamp. */
#ifndef SATCHEL_CHANGESET_H
#define SATCHEL_CHANGESET_H

#include <satchel/pack.h>
#include <satchel/row.h>

/* Limits that hold at the write, at the encoder, and at every decoder. */
#define SATCHEL_CHANGESET_PARTS_MAX 100000
#define SATCHEL_CHANGESET_BYTES_MAX (16u << 20)
#define SATCHEL_ROLE_BYTES_MAX 64
#define SATCHEL_TABLES_MAX 10000

#define SATCHEL_SECRET_BYTES 16
#define SATCHEL_HASH_BYTES 32

struct satchel_part {
    enum satchel_op_kind kind;
    uint32_t table;
    const struct satchel_value *key;
    uint32_t key_count;
    const struct satchel_field *fields;
    uint32_t field_count;
    const struct satchel_exception *exceptions;
    uint32_t exception_count;
    struct satchel_span bytes; /* this part as encoded; set by the decoder */
};

struct satchel_changeset_header {
    uint32_t schema; /* count of migrations the author's replica had applied */
    struct satchel_vector seen;
    struct satchel_span role;
    uint32_t part_count;
};

/* ---- encoding: header first, then exactly part_count parts ---- */

enum satchel_status satchel_changeset_write_header(
    struct satchel_buffer *out, const struct satchel_changeset_header *header) SATCHEL_MUST_USE;
/* `part->bytes` is ignored. */
enum satchel_status satchel_changeset_write_part(struct satchel_buffer *out,
                                                 const struct satchel_part *part) SATCHEL_MUST_USE;

/* ---- decoding ---- */

struct satchel_changeset {
    struct satchel_changeset_header header;
    struct satchel_part *parts;
};

/* Decodes and validates a whole body: counts, ascending columns, key of 1..16 values, no bytes left
 * over. Values borrow from `body`, arrays live in `arena`. CORRUPT, VERSION, LIMIT, NOMEM. */
enum satchel_status satchel_changeset_decode(struct satchel_span body, struct satchel_arena *arena,
                                             struct satchel_changeset *out,
                                             struct satchel_error *error) SATCHEL_MUST_USE;

/* The header and then one part at a time, without an array of all; `cursor` from
 * satchel_cursor_of(body). The part's arrays live in `arena`, which the caller may reset between
 * parts. */
struct satchel_cursor;
enum satchel_status satchel_changeset_read_header(
    struct satchel_cursor *cursor, struct satchel_arena *arena,
    struct satchel_changeset_header *out) SATCHEL_MUST_USE;
enum satchel_status satchel_changeset_read_part(struct satchel_cursor *cursor,
                                                struct satchel_arena *arena,
                                                struct satchel_part *out) SATCHEL_MUST_USE;

/* ---- withholding ---- */

/* The body with other parts, in place of each its own: as `bytes` has it, or as it says if that is
 * empty. NULL: it is withheld, and an update of table 0 stands there, which no schema has, so that
 * the others keep their index. Appended. NOMEM, LIMIT. */
enum satchel_status satchel_changeset_cut(struct satchel_span body,
                                          const struct satchel_part *const *parts, uint32_t count,
                                          struct satchel_buffer *out) SATCHEL_MUST_USE;
static inline bool satchel_part_is_withheld(const struct satchel_part *part)
{
    return part->table == 0;
}

/* ---- identity ---- */

/* The raw readings of a device's clocks at a commit. */
struct satchel_moment {
    int64_t utc_ms, monotonic_ms;
    uint64_t boot;
};
/* The secret of a device's change set: derived from the device's own secret, so that it need not be
 * drawn and stored at each commit; and from the moment of the commit, so that the change sets of
 * two files with one device's id and secret (docs/recovery.md) are two even where they say the
 * same. */
void satchel_changeset_secret(const uint8_t device_secret[32], uint64_t number,
                              const struct satchel_moment *moment,
                              uint8_t secret[SATCHEL_SECRET_BYTES]);
/* The hash over a valid body. CORRUPT. */
enum satchel_status satchel_changeset_hash(struct satchel_span body,
                                           const uint8_t secret[SATCHEL_SECRET_BYTES],
                                           uint8_t hash[SATCHEL_HASH_BYTES]) SATCHEL_MUST_USE;

/* ---- stored form: what a log's blob column holds ---- */

/* Appends body to `out`, behind one byte that says whether it is zstd-compressed (level 1, from 1
 * KiB on and only if smaller). */
enum satchel_status satchel_body_store(struct satchel_span body,
                                       struct satchel_buffer *out) SATCHEL_MUST_USE;
/* The body of a stored form: borrowed from `stored` if it is raw, else decompressed into `scratch`
 * (which is cleared first). CORRUPT, LIMIT, NOMEM. */
enum satchel_status satchel_body_load(struct satchel_span stored, struct satchel_buffer *scratch,
                                      struct satchel_span *body) SATCHEL_MUST_USE;

#endif
