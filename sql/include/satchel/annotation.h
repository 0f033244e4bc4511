/* The scanner for schema annotations (grammar: docs/schema.md). Pure text: finds statements, table
 * and column definitions, and the `-- @...` comments that belong to them, with their lines. It does
 * not judge whether an annotation makes sense for the table; schema.c does, knowing what SQLite
 * made of it. */
#ifndef SATCHEL_ANNOTATION_H
#define SATCHEL_ANNOTATION_H

#include <satchel/memory.h>

/* A column annotation, taken apart. Texts are copies in the arena, NULL where absent. */
struct satchel_column_annotation {
    const char *table;  /* unquoted name of the table being created, altered, or named by @column */
    const char *column; /* unquoted */
    const char *rule;   /* "@lww", "@group", "@key(weak)", "@id(assigned)", ... */
    const char *argument; /* "g", "hq>rep" without spaces, or NULL */
    const char *frozen, *mask, *write, *ref;
    bool changes_rule; /* from "@column table column rule" */
    int line;
};

struct satchel_table_annotation {
    const char *table; /* of the CREATE TABLE that follows */
    bool is_local, is_append;
    const char *scope;  /* as written, single spaces */
    const char *policy; /* "forbid", ...; NULL for local */
    int priority;
    int64_t retain_days;
    int line;
};

enum satchel_statement_kind {
    SATCHEL_STATEMENT_CREATE_TABLE,
    SATCHEL_STATEMENT_CREATE_OTHER, /* index, view, trigger, virtual table */
    SATCHEL_STATEMENT_ADD_COLUMN,
    SATCHEL_STATEMENT_INSERT,
    SATCHEL_STATEMENT_OTHER
};

struct satchel_statement {
    enum satchel_statement_kind kind;
    struct satchel_span text; /* as written, without the ';' */
    const char *sql;          /* the same with comments blanked out: what is run */
    const char *name;         /* of the (virtual) table created or altered, unquoted; else NULL */
    int line;
};

struct satchel_annotations {
    struct satchel_statement *statements;
    uint32_t statement_count;
    struct satchel_table_annotation *tables;
    uint32_t table_count;
    struct satchel_column_annotation *columns;
    uint32_t column_count;
};

/* SATCHEL_SCHEMA with "FILE:LINE: reason; remedy" for anything that is no annotation of the grammar
 * or stands where none may stand. LIMIT above 4 MiB. */
enum satchel_status satchel_annotations_read(const char *file_name, struct satchel_span sql,
                                             struct satchel_arena *arena,
                                             struct satchel_annotations *out,
                                             struct satchel_error *error) SATCHEL_MUST_USE;

#endif
