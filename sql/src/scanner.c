/* Owns the cutting of SQL text into tokens and statements. Must not know what any of them mean. */
#include "scanner.h"

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\f' || byte == '\r';
}

static bool is_letter(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_' ||
           byte >= 0x80;
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_word_byte(uint8_t byte)
{
    return is_letter(byte) || is_digit(byte) || byte == '$';
}

static uint8_t fold(uint8_t byte)
{
    return byte >= 'a' && byte <= 'z' ? (uint8_t)(byte - 32) : byte;
}

struct satchel_scanner satchel_scanner_of(struct satchel_span sql, int first_line)
{
    struct satchel_scanner scanner = {sql.data, sql.data ? sql.data + sql.size : sql.data,
                                      first_line};
    return scanner;
}

/* Behind the byte that closes a quote opened at `at`, or NULL. A doubled quote stands for itself.
 */
static const uint8_t *quote_end(const uint8_t *at, const uint8_t *end, uint8_t close, bool doubles)
{
    for (at++; at < end; at++) {
        if (*at != close)
            continue;
        if (!doubles || at + 1 == end || at[1] != close)
            return at + 1;
        at++;
    }
    return NULL;
}

static const uint8_t *block_comment_end(const uint8_t *at, const uint8_t *end)
{
    for (at += 2; at + 1 < end; at++)
        if (at[0] == '*' && at[1] == '/')
            return at + 2;
    return NULL;
}

/* Behind the token that begins at `at` (at < end), or NULL if it never ends. */
static const uint8_t *token_end(const uint8_t *at, const uint8_t *end,
                                enum satchel_token_kind *kind)
{
    uint8_t first = *at;
    bool two = end - at > 1;
    if (end - at > 2 && at[0] == 0xEF && at[1] == 0xBB && at[2] == 0xBF) {
        *kind = SATCHEL_TOKEN_SPACE; /* a byte order mark, as SQLite has it */
        return at + 3;
    }
    if (is_space(first)) {
        *kind = SATCHEL_TOKEN_SPACE;
        while (at < end && is_space(*at))
            at++;
        return at;
    }
    if (first == '-' && two && at[1] == '-') {
        *kind = SATCHEL_TOKEN_LINE_COMMENT;
        while (at < end && *at != '\n')
            at++;
        return at;
    }
    if (first == '/' && two && at[1] == '*') {
        *kind = SATCHEL_TOKEN_BLOCK_COMMENT;
        return block_comment_end(at, end);
    }
    if (first == '\'') {
        *kind = SATCHEL_TOKEN_STRING;
        return quote_end(at, end, '\'', true);
    }
    if (first == '"' || first == '`') {
        *kind = SATCHEL_TOKEN_NAME;
        return quote_end(at, end, first, true);
    }
    if (first == '[') {
        *kind = SATCHEL_TOKEN_NAME;
        return quote_end(at, end, ']', false);
    }
    if ((first == 'x' || first == 'X') && two && at[1] == '\'') {
        *kind =
            SATCHEL_TOKEN_NUMBER; /* a blob literal: like a number, a constant that is no name */
        return quote_end(at + 1, end, '\'', true);
    }
    if (is_letter(first) || is_digit(first)) {
        *kind = is_digit(first) ? SATCHEL_TOKEN_NUMBER : SATCHEL_TOKEN_WORD;
        while (at < end && is_word_byte(*at))
            at++;
        return at;
    }
    *kind = SATCHEL_TOKEN_SIGN;
    return at + 1;
}

struct satchel_token satchel_scanner_next(struct satchel_scanner *scanner)
{
    struct satchel_token token = {
        SATCHEL_TOKEN_END, {scanner->at, 0}, scanner->line, scanner->line};
    if (scanner->at == scanner->end)
        return token;
    const uint8_t *end = token_end(scanner->at, scanner->end, &token.kind);
    if (!end) {
        token.kind = SATCHEL_TOKEN_UNTERMINATED;
        end = scanner->end;
    }
    token.text.size = (size_t)(end - scanner->at);
    for (const uint8_t *at = scanner->at; at < end; at++)
        scanner->line += *at == '\n';
    scanner->at = end;
    token.line_end = scanner->line;
    return token;
}

bool satchel_token_is_code(const struct satchel_token *token)
{
    return token->kind != SATCHEL_TOKEN_SPACE && token->kind != SATCHEL_TOKEN_LINE_COMMENT &&
           token->kind != SATCHEL_TOKEN_BLOCK_COMMENT && token->kind != SATCHEL_TOKEN_END;
}

struct satchel_token satchel_scanner_next_code(struct satchel_scanner *scanner)
{
    struct satchel_token token;
    do
        token = satchel_scanner_next(scanner);
    while (token.kind != SATCHEL_TOKEN_END && !satchel_token_is_code(&token));
    return token;
}

bool satchel_token_is_word(const struct satchel_token *token, const char *keyword)
{
    if (token->kind != SATCHEL_TOKEN_WORD)
        return false;
    for (size_t i = 0; i < token->text.size; i++)
        if (fold(token->text.data[i]) != (uint8_t)keyword[i]) /* its NUL equals no byte of a word */
            return false;
    return keyword[token->text.size] == '\0';
}

bool satchel_token_is_sign(const struct satchel_token *token, char sign)
{
    return token->kind == SATCHEL_TOKEN_SIGN && token->text.data[0] == (uint8_t)sign;
}

const char *satchel_token_name(const struct satchel_token *token, struct satchel_arena *arena)
{
    struct satchel_span text = token->text;
    if (token->kind == SATCHEL_TOKEN_WORD)
        return (const char *)satchel_arena_copy(arena, text).data;
    if (token->kind != SATCHEL_TOKEN_NAME && token->kind != SATCHEL_TOKEN_STRING)
        return NULL;
    uint8_t close = text.data[0] == '[' ? ']' : text.data[0];
    char *name = satchel_arena_alloc(arena, text.size);
    if (!name)
        return NULL;
    size_t size = 0;
    for (size_t i = 1; i + 1 < text.size; i++) {
        name[size++] = (char)text.data[i];
        if (close != ']' && text.data[i] == close)
            i++; /* the second of two */
    }
    name[size] = '\0';
    return name;
}

bool satchel_names_equal(const char *a, const char *b)
{
    while (*a && fold((uint8_t)*a) == fold((uint8_t)*b)) {
        a++;
        b++;
    }
    return fold((uint8_t)*a) == fold((uint8_t)*b);
}

/* Whether the statement whose first code tokens come one by one creates a trigger. */
struct trigger_watch {
    enum { FIRST, CREATED, ORDINARY, IN_TRIGGER } state;
};

static void watch_token(struct trigger_watch *watch, const struct satchel_token *token)
{
    if (watch->state == FIRST)
        watch->state = satchel_token_is_word(token, "CREATE") ? CREATED : ORDINARY;
    else if (watch->state == CREATED && satchel_token_is_word(token, "TRIGGER"))
        watch->state = IN_TRIGGER;
    else if (watch->state == CREATED && !satchel_token_is_word(token, "TEMP") &&
             !satchel_token_is_word(token, "TEMPORARY"))
        watch->state = ORDINARY;
}

struct satchel_statement_end satchel_scanner_skip_statement(struct satchel_scanner *scanner)
{
    struct satchel_statement_end found = {0};
    struct trigger_watch watch = {FIRST};
    enum { NO_END, AFTER_SEMICOLON, AFTER_END } ending = NO_END;
    for (;;) {
        struct satchel_token token = satchel_scanner_next_code(scanner);
        if (token.kind == SATCHEL_TOKEN_END)
            return found;
        if (token.kind == SATCHEL_TOKEN_UNTERMINATED) {
            found.unterminated = token;
            return found;
        }
        if (satchel_token_is_sign(&token, ';')) {
            if (watch.state != IN_TRIGGER || ending == AFTER_END) {
                found.line_semicolon = token.line;
                return found;
            }
            ending = AFTER_SEMICOLON;
        } else {
            ending = ending == AFTER_SEMICOLON && satchel_token_is_word(&token, "END") ? AFTER_END
                                                                                       : NO_END;
            watch_token(&watch, &token);
        }
        if (!found.begin) {
            found.begin = token.text.data;
            found.line = token.line;
        }
        found.end = token.text.data + token.text.size;
    }
}
