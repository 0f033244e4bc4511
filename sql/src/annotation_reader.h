/* Reading an annotation's body piece by piece. Internal to sql/. */
#ifndef SATCHEL_ANNOTATION_READER_H
#define SATCHEL_ANNOTATION_READER_H

#include "annotation_grammar.h"

/* What is left of a body, and where it stands. */
struct satchel_reader {
    const uint8_t *at, *end;
    struct satchel_place place;
    struct satchel_arena *arena;
    struct satchel_error *error;
};

/* For "%.*s". */
#define SATCHEL_SHOW(span) (int)(span).size, (const char *)(span).data

bool satchel_reader_is_space(uint8_t byte);
bool satchel_reader_is_digit(uint8_t byte);
bool satchel_reader_is_name_byte(uint8_t byte);
void satchel_reader_skip_spaces(struct satchel_reader *reader);
bool satchel_reader_at_end(const struct satchel_reader *reader);
/* Behind an item stands space or the end. */
bool satchel_reader_at_gap(const struct satchel_reader *reader);
/* Takes `text` if it comes next. */
bool satchel_reader_take(struct satchel_reader *reader, const char *text);
/* Up to the next space, not taken; cut short, for messages. */
struct satchel_span satchel_reader_peek_word(const struct satchel_reader *reader);
bool satchel_reader_word_is(struct satchel_span word, const char *text);
/* A bare or quoted name. SCHEMA, NOMEM. */
enum satchel_status satchel_reader_take_name(struct satchel_reader *reader, const char **out);
/* "(" name { separator name } ")", spaces allowed inside. */
enum satchel_status satchel_reader_take_names(struct satchel_reader *reader, char separator,
                                              uint32_t count_max, const char **names,
                                              uint32_t *count);
/* The same as one text without spaces: they are roles, told apart by the separator later. */
enum satchel_status satchel_reader_take_roles(struct satchel_reader *reader, char separator,
                                              const char **out);
/* "`wanted` is missing" or "... is wanted where ... stands", then the remedy. SCHEMA. */
enum satchel_status satchel_reader_refuse_at(struct satchel_reader *reader, const char *wanted,
                                             const char *remedy);
enum satchel_status satchel_reader_no_memory(struct satchel_reader *reader);

/* The part of an annotation behind "@table". */
enum satchel_status satchel_annotation_take_table(struct satchel_reader *reader,
                                                  struct satchel_table_annotation *table);

#endif
