/* Sets and maps inside the conflict layer, one way for both: a list of elements that ascends by
 * name, no name twice. An element of a set is its name and has no value; an entry of a map has its
 * key, in quotes, as name. All texts are canonical JSON (json_reader.h). */
#ifndef SATCHEL_CONFLICT_ELEMENTS_H
#define SATCHEL_CONFLICT_ELEMENTS_H

#include <satchel/json_reader.h>
#include <satchel/value.h>

struct elements {
    const struct satchel_json_item *items;
    size_t count;
};

/* What an operation of an update does: [[added],[removed]], [{set},[removed]]. */
struct element_change {
    struct elements added;   /* of a map: set to these values */
    struct elements removed; /* names alone */
};

/* Of a JSON array, or object, canonical or not. CORRUPT: it is none; NOMEM. */
enum satchel_status elements_read(struct satchel_span text, bool is_map,
                                  struct satchel_arena *arena,
                                  struct elements *out) SATCHEL_MUST_USE;
/* What a field holds; anything that is no set or map counts as the empty one. NOMEM. */
enum satchel_status elements_of_value(const struct satchel_value *value, bool is_map,
                                      struct satchel_arena *arena,
                                      struct elements *out) SATCHEL_MUST_USE;
/* The canonical TEXT. NOMEM. */
enum satchel_status elements_write(const struct elements *elements, bool is_map,
                                   struct satchel_arena *arena,
                                   struct satchel_value *out) SATCHEL_MUST_USE;

/* CORRUPT: no such operation in canonical form; NOMEM. */
enum satchel_status element_change_read(const struct satchel_value *operation, bool is_map,
                                        struct satchel_arena *arena,
                                        struct element_change *out) SATCHEL_MUST_USE;
enum satchel_status element_change_write(const struct element_change *change, bool is_map,
                                         struct satchel_arena *arena,
                                         struct satchel_value *out) SATCHEL_MUST_USE;

/* Elements of one or the other list, merged by name; of names in both, `second`'s. NOMEM. */
enum satchel_status elements_union(const struct elements *first, const struct elements *second,
                                   struct satchel_arena *arena,
                                   struct elements *out) SATCHEL_MUST_USE;
/* Elements of `from` whose names `without` lacks. NOMEM. */
enum satchel_status elements_minus(const struct elements *from, const struct elements *without,
                                   struct satchel_arena *arena,
                                   struct elements *out) SATCHEL_MUST_USE;
/* The element of that name, or NULL. */
const struct satchel_json_item *elements_find(const struct elements *elements,
                                              struct satchel_span name);

#endif
