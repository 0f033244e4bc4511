/* See fuzz.h; what needs the schema is in fuzz_schema.c. */
#include "fuzz.h"

#include <satchel/row.h>

#include <stdio.h>
#include <stdlib.h>

unsigned long fuzz_accepted_count;

void fuzz_fail(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    fflush(stderr);
    abort();
}

/* ---- input ---- */

struct fuzz_input fuzz_input_of(const uint8_t *data, size_t size)
{
    return (struct fuzz_input){data, size ? data + size : data};
}

static size_t left(const struct fuzz_input *input)
{
    return (size_t)(input->end - input->at);
}

uint8_t fuzz_byte(struct fuzz_input *input)
{
    return left(input) ? *input->at++ : 0;
}

uint16_t fuzz_short(struct fuzz_input *input)
{
    uint16_t low = fuzz_byte(input);
    return (uint16_t)(low | fuzz_byte(input) << 8);
}

struct satchel_span fuzz_bytes(struct fuzz_input *input, size_t size)
{
    struct satchel_span bytes = {input->at, size < left(input) ? size : left(input)};
    if (bytes.size)
        input->at += bytes.size;
    return bytes;
}

struct satchel_span fuzz_piece(struct fuzz_input *input)
{
    size_t size = fuzz_short(input);
    return fuzz_bytes(input, size);
}

uint8_t *fuzz_copy(struct satchel_span bytes)
{
    uint8_t *copy = malloc(bytes.size ? bytes.size : 1);
    FUZZ_REQUIRE(copy != NULL);
    if (bytes.size)
        memcpy(copy, bytes.data, bytes.size);
    return copy;
}

/* ---- memory ---- */

void fuzz_require_bounded(const struct satchel_arena *arena, size_t bytes)
{
    /* The arena rounds up to 16: the margin of a message of a few bytes. */
    FUZZ_REQUIRE(arena->used_bytes <= 32 * (bytes + 16));
}

/* ---- ids ---- */

/* Beyond the known ones: whatever hostile bytes name. */
static struct satchel_id *named;
static uint32_t named_count, named_capacity;

struct satchel_id fuzz_id(uint32_t number)
{
    struct satchel_id id;
    memset(id.bytes, (int)(0x10 + number), sizeof id.bytes);
    return id;
}

void fuzz_ids_forget(void)
{
    named_count = 0;
}

static enum satchel_status id_of(void *context, uint32_t number, struct satchel_id *id)
{
    (void)context;
    if (number >= FUZZ_IDS + named_count)
        return SATCHEL_NOT_FOUND;
    *id = number < FUZZ_IDS ? fuzz_id(number) : named[number - FUZZ_IDS];
    return SATCHEL_OK;
}

static enum satchel_status number_of(void *context, const struct satchel_id *id, uint32_t *number)
{
    struct satchel_id known;
    for (*number = 0; id_of(context, *number, &known) == SATCHEL_OK; ++*number)
        if (satchel_id_equal(&known, id))
            return SATCHEL_OK;
    if (named_count == named_capacity) {
        named_capacity = named_capacity ? 2 * named_capacity : 64;
        named = realloc(named, named_capacity * sizeof *named);
        FUZZ_REQUIRE(named != NULL);
    }
    named[named_count++] = *id;
    return SATCHEL_OK;
}

const struct satchel_id_table fuzz_ids = {number_of, id_of, NULL};
