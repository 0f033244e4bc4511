/* What the fuzz targets share. A target is one function over hostile bytes (libFuzzer's, which
 * driver.c calls too); besides not crashing it requires what is promised of bytes from elsewhere.
 */
#ifndef SATCHEL_FUZZ_H
#define SATCHEL_FUZZ_H

#include <satchel/cursor.h>
#include <satchel/memory.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How many inputs got past the decoder under test; driver.c wants some of every corpus to. */
extern unsigned long fuzz_accepted_count;

/* Stops the process, as a sanitizer would, naming what does not hold. */
#define FUZZ_REQUIRE(condition) ((condition) ? (void)0 : fuzz_fail(#condition, __FILE__, __LINE__))
_Noreturn void fuzz_fail(const char *condition, const char *file, int line);

/* ---- an input that a target reads piece by piece; beyond its end there are zeros ---- */

struct fuzz_input {
    const uint8_t *at, *end;
};
struct fuzz_input fuzz_input_of(const uint8_t *data, size_t size);
uint8_t fuzz_byte(struct fuzz_input *input);
/* Two bytes, little-endian. */
uint16_t fuzz_short(struct fuzz_input *input);
/* At most `size` bytes, borrowed. */
struct satchel_span fuzz_bytes(struct fuzz_input *input, size_t size);
/* Two bytes of size, then that many at most. */
struct satchel_span fuzz_piece(struct fuzz_input *input);

/* A copy of exactly these bytes on the heap, so that a read beyond them is seen. Never NULL. */
uint8_t *fuzz_copy(struct satchel_span bytes);

/* ---- values for the pure layers ---- */

/* A message's, change set's or entry's arena: what is allocated to decode stays a small multiple
 * of what is decoded (docs/wire-format.md). */
void fuzz_require_bounded(const struct satchel_arena *arena, size_t bytes);

/* The numbers that stand for ids in stored versions: the first FUZZ_IDS are known, more are given
 * as they come, until they are forgotten. */
enum { FUZZ_IDS = 24 };
struct satchel_id fuzz_id(uint32_t number);
void fuzz_ids_forget(void);
struct satchel_id_table;
extern const struct satchel_id_table fuzz_ids;

/* A schema with a column of every rule, made once; table 1 is `thing`, table 2 its lines, which
 * its state freezes. The machine of its @state column. */
struct satchel_schema;
struct satchel_machine;
extern const char fuzz_schema_sql[];
const struct satchel_schema *fuzz_schema(void);
extern const struct satchel_machine fuzz_machine;

#endif
