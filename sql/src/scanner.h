/* SQL as text: tokens with their lines, and where one statement ends. Follows SQLite's own
 * tokenizer (https://sqlite.org/src/file/src/tokenize.c) so far as finding comments, quotes and
 * names needs it. Knows nothing of annotations and nothing of SQLite's library. */
#ifndef SATCHEL_SCANNER_H
#define SATCHEL_SCANNER_H

#include <satchel/memory.h>

enum satchel_token_kind {
    SATCHEL_TOKEN_END,
    SATCHEL_TOKEN_SPACE,
    SATCHEL_TOKEN_LINE_COMMENT,
    SATCHEL_TOKEN_BLOCK_COMMENT,
    SATCHEL_TOKEN_WORD,   /* keyword or bare name */
    SATCHEL_TOKEN_NAME,   /* "…" […] `…` */
    SATCHEL_TOKEN_STRING, /* '…' */
    SATCHEL_TOKEN_NUMBER,
    SATCHEL_TOKEN_SIGN,        /* one byte of anything else */
    SATCHEL_TOKEN_UNTERMINATED /* a quote or block comment that never ends */
};

struct satchel_token {
    enum satchel_token_kind kind;
    struct satchel_span text;
    int line;     /* where it begins */
    int line_end; /* where it ends */
};

struct satchel_scanner {
    const uint8_t *at, *end;
    int line;
};

struct satchel_scanner satchel_scanner_of(struct satchel_span sql, int first_line);
/* The next token of any kind; END again and again at the end. A line comment stops before its line
 * end. */
struct satchel_token satchel_scanner_next(struct satchel_scanner *scanner);
/* The next token that is neither space nor comment. */
struct satchel_token satchel_scanner_next_code(struct satchel_scanner *scanner);

/* A bare word equal to `keyword` (upper case), whatever its case. */
bool satchel_token_is_word(const struct satchel_token *token, const char *keyword);
bool satchel_token_is_sign(const struct satchel_token *token, char sign);
bool satchel_token_is_code(const struct satchel_token *token);
/* The name a token spells where SQL wants a name (SQLite takes '…' there too): quotes taken off.
 * NULL if it is none, or without memory. */
const char *satchel_token_name(const struct satchel_token *token, struct satchel_arena *arena);

/* Names compare as SQLite compares them: ASCII case folded. */
bool satchel_names_equal(const char *a, const char *b);

/* Reads from `scanner` up to and including the ';' that ends a statement (or to the end of the
 * text), as sqlite3_complete() does: inside CREATE TRIGGER only the ';' of "; END ;" ends it. An
 * UNTERMINATED token stops it too. */
struct satchel_statement_end {
    const uint8_t *begin,
        *end;           /* first and behind the last code token; NULL: only space and comments */
    int line;           /* of the first code token */
    int line_semicolon; /* 0: ended by the end of the text */
    struct satchel_token unterminated; /* kind UNTERMINATED if that stopped it */
};
struct satchel_statement_end satchel_scanner_skip_statement(struct satchel_scanner *scanner);

#endif
