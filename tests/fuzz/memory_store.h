/* A central store with every rule, the same file, chance and time before every run in which memory
 * fails, and what must hold after it. */
#ifndef MEMORY_STORE_H
#define MEMORY_STORE_H

#include "../unit/merge_kit.h"
#include "failing_memory.h"

#define INSERT SATCHEL_OP_INSERT
#define UPDATE SATCHEL_OP_UPDATE
#define DELETE SATCHEL_OP_DELETE

enum { BATCH_MAX = 16, RUNS = 40 };

struct world {
    struct kit kit;
    char template[100];
    struct satchel_buffer before, expected, expected_but_words, is;
    struct satchel_incoming batch[BATCH_MAX];
    size_t batch_count;
    struct satchel_id device; /* whose request it is */
    struct satchel_message request;
    struct satchel_value arguments[8]; /* of an administrator's */
};

extern const char schema_sql[];

/* What every byte of chance is. */
extern uint8_t memory_chance;

void open_world(struct world *world);
void close_world(struct world *world);
/* What is in the store now is what every run begins with; and so it does. */
void keep_template(struct world *world);
void put_back(void *context);

/* In a transaction, as the writer thread has it. */
enum satchel_status in_transaction(struct world *world,
                                   enum satchel_status (*work)(struct world *world,
                                                               struct satchel_error *error),
                                   struct satchel_error *error);
/* After a run: all or nothing; then, if it was nothing, all. */
void judge(struct world *world, enum satchel_status status,
           enum satchel_status (*run)(void *context, struct satchel_error *error));

void add(struct world *world, uint8_t device, uint64_t number, int64_t ms, uint64_t seen,
         const struct satchel_part *parts, uint32_t part_count);
/* Two devices that did not know of each other, on every rule; duplicates, a quarantined part, lines
 * of a quote that froze, a document number. */
void make_batch(struct world *world);

#endif
