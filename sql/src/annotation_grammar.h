/* The grammar of one annotation: the body of a comment that begins with "@", taken apart. Knows
 * nothing of where the comment stands. Internal to sql/. */
#ifndef SATCHEL_ANNOTATION_GRAMMAR_H
#define SATCHEL_ANNOTATION_GRAMMAR_H

#include <satchel/annotation.h>
#include <satchel/schema.h>
#include <satchel/rules.h>

/* Where a refusal points to. */
struct satchel_place {
    const char *file;
    int line;
};

/* Sets "FILE:LINE: " and the text, which reads "reason; remedy". Returns SATCHEL_SCHEMA. */
enum satchel_status satchel_refuse(struct satchel_error *error, struct satchel_place place,
                                   const char *format, ...) SATCHEL_PRINTF(3, 4);

enum satchel_annotation_kind {
    SATCHEL_ANNOTATION_TABLE,
    SATCHEL_ANNOTATION_COLUMN,
    SATCHEL_ANNOTATION_CHANGE /* @column */
};

struct satchel_annotation {
    enum satchel_annotation_kind kind;
    struct satchel_table_annotation table;   /* without the table's name */
    struct satchel_column_annotation column; /* table and column only for CHANGE */
};

/* `body` begins with "@". SCHEMA, NOMEM. */
enum satchel_status satchel_annotation_parse(struct satchel_span body, struct satchel_place place,
                                             struct satchel_arena *arena,
                                             struct satchel_annotation *out,
                                             struct satchel_error *error) SATCHEL_MUST_USE;

#define SATCHEL_SCOPE_NAMES_MAX 32
struct satchel_scope {
    enum satchel_scope_kind kind;
    const char *names[SATCHEL_SCOPE_NAMES_MAX]; /* columns, unquoted */
    uint32_t name_count;
};

/* The one or two scopes of satchel_table_annotation.scope, which satchel_annotation_parse has
 * accepted. */
enum satchel_status satchel_scopes_parse(const char *text, struct satchel_arena *arena,
                                         struct satchel_scope scopes[2],
                                         uint32_t *count) SATCHEL_MUST_USE;

/* The rule spelled so in satchel_column_annotation.rule; SATCHEL_RULE_COUNT: none. */
enum satchel_rule satchel_rule_of_spelling(const char *spelling);

#endif
