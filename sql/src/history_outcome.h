/* What became of a write, and why, in words: read from an entry's notes and from satchel_conflict.
 * Internal to history. */
#ifndef SATCHEL_HISTORY_OUTCOME_H
#define SATCHEL_HISTORY_OUTCOME_H

#include <satchel/entry.h>
#include <satchel/schema.h>

struct sqlite3;
struct sqlite3_stmt;

/* Follows a scan: begun with each entry, then with each part, asked for each field. */
struct satchel_history_judge {
    struct sqlite3 *db;
    struct sqlite3_stmt *lost_any, *lost_field; /* rows of satchel_conflict by their loser */
    struct satchel_buffer winner, reason;       /* texts of the last verdict */
    /* the entry */
    const struct satchel_notes *notes;
    struct satchel_id device;
    uint64_t number;
    bool is_loser_known, is_loser; /* some of its writes lost a conflict; asked once per entry */
    uint32_t
        effect_index; /* where the last effect was found: the next stands behind it, as a rule */
    /* the part */
    const struct satchel_part *part;
    const struct satchel_table *table; /* NULL: the schema has none of that number */
    struct satchel_span key_text;
    bool is_unlike;
    const struct satchel_quarantine_note *quarantine;
    const struct satchel_effect *effect; /* on the row that the part was written to */
    struct satchel_arena values;         /* what the written value comes to */
};

/* Whether the part did not take effect as it stands. */
bool satchel_history_is_unlike(const struct satchel_notes *notes, uint32_t part_index);

struct satchel_history_verdict {
    const char *outcome;
    struct satchel_span winner; /* empty data: NULL */
    struct satchel_span reason;
};

enum satchel_status satchel_history_judge_init(struct satchel_history_judge *judge,
                                               struct sqlite3 *db,
                                               struct satchel_error *error) SATCHEL_MUST_USE;
void satchel_history_judge_deinit(struct satchel_history_judge *judge);

void satchel_history_judge_entry(struct satchel_history_judge *judge,
                                 const struct satchel_notes *notes, const struct satchel_id *device,
                                 uint64_t number);
/* A row of `table` by its key: the one that a part was written to, or that this was merged into. */
struct satchel_history_place {
    const struct satchel_value *key;
    uint32_t key_count;
};
/* `key_text`: the part's own key. Everything given stays borrowed until the next part. */
void satchel_history_judge_part(struct satchel_history_judge *judge, uint32_t part_index,
                                const struct satchel_part *part, const struct satchel_table *table,
                                struct satchel_span key_text,
                                const struct satchel_history_place *place);
/* `field` NULL: the row as a whole. `before`: the field's value before the entry; `existed`:
 * whether the row did. The verdict's texts are borrowed until the next call. */
enum satchel_status satchel_history_judge_field(struct satchel_history_judge *judge,
                                                const struct satchel_field *field,
                                                const struct satchel_value *before, bool existed,
                                                struct satchel_history_verdict *out,
                                                struct satchel_error *error) SATCHEL_MUST_USE;

#endif
