/* Owns reading names, words and lists of names out of an annotation's body, and refusing what
 * stands where they should. Must not know rules or tables. */
#include "annotation_reader.h"

#include <stdarg.h>
#include <stdio.h>

enum satchel_status satchel_refuse(struct satchel_error *error, struct satchel_place place,
                                   const char *format, ...)
{
    char text[SATCHEL_ERROR_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return satchel_error_set(error, SATCHEL_SCHEMA, "%s:%d: %s", place.file, place.line, text);
}

bool satchel_reader_is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}
bool satchel_reader_is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}
static bool is_letter(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte >= 0x80;
}
bool satchel_reader_is_name_byte(uint8_t byte)
{
    return is_letter(byte) || satchel_reader_is_digit(byte) || byte == '_';
}

void satchel_reader_skip_spaces(struct satchel_reader *reader)
{
    while (reader->at < reader->end && satchel_reader_is_space(*reader->at))
        reader->at++;
}

bool satchel_reader_at_end(const struct satchel_reader *reader)
{
    return reader->at == reader->end;
}

/* Behind an item stands space or the end. */
bool satchel_reader_at_gap(const struct satchel_reader *reader)
{
    return satchel_reader_at_end(reader) || satchel_reader_is_space(*reader->at);
}

bool satchel_reader_take(struct satchel_reader *reader, const char *text)
{
    size_t size = strlen(text);
    if ((size_t)(reader->end - reader->at) < size || memcmp(reader->at, text, size) != 0)
        return false;
    reader->at += size;
    return true;
}

/* Up to the next space, for messages; cut short. */
struct satchel_span satchel_reader_peek_word(const struct satchel_reader *reader)
{
    const uint8_t *at = reader->at;
    while (at < reader->end && !satchel_reader_is_space(*at) && at - reader->at < 60)
        at++;
    return satchel_span_of(reader->at, (size_t)(at - reader->at));
}

enum satchel_status satchel_reader_refuse_at(struct satchel_reader *reader, const char *wanted,
                                             const char *remedy)
{
    struct satchel_span found = satchel_reader_peek_word(reader);
    if (found.size == 0)
        return satchel_refuse(reader->error, reader->place, "%s is missing; %s", wanted, remedy);
    return satchel_refuse(reader->error, reader->place, "%s is wanted where \"%.*s\" stands; %s",
                          wanted, SATCHEL_SHOW(found), remedy);
}

enum satchel_status satchel_reader_no_memory(struct satchel_reader *reader)
{
    return satchel_error_set(reader->error, SATCHEL_NOMEM, "%s:%d: out of memory",
                             reader->place.file, reader->place.line);
}

/* ---- names ---- */

/* "…" […] `…` with the closing byte `close`. */
static enum satchel_status take_quoted(struct satchel_reader *reader, uint8_t close,
                                       const char **out)
{
    char *name = satchel_arena_alloc(reader->arena, (size_t)(reader->end - reader->at) + 1);
    if (!name)
        return satchel_reader_no_memory(reader);
    const uint8_t *at = reader->at + 1;
    size_t size = 0;
    for (; at < reader->end; at++) {
        if (*at == close) {
            if (close == ']' || at + 1 == reader->end || at[1] != close)
                break;
            at++;
        }
        name[size++] = (char)*at;
    }
    if (at == reader->end || size == 0)
        return satchel_reader_refuse_at(reader, "a name",
                                        "close the quote around the name, which may not be empty");
    name[size] = '\0';
    reader->at = at + 1;
    *out = name;
    return SATCHEL_OK;
}

enum satchel_status satchel_reader_take_name(struct satchel_reader *reader, const char **out)
{
    if (!satchel_reader_at_end(reader) && (*reader->at == '"' || *reader->at == '`'))
        return take_quoted(reader, *reader->at, out);
    if (!satchel_reader_at_end(reader) && *reader->at == '[')
        return take_quoted(reader, ']', out);
    if (satchel_reader_at_end(reader) || !is_letter(*reader->at))
        return satchel_reader_refuse_at(
            reader, "a name",
            "a name is a letter followed by letters, digits and \"_\", or quoted as in SQL");
    const uint8_t *begin = reader->at;
    while (reader->at < reader->end && satchel_reader_is_name_byte(*reader->at))
        reader->at++;
    struct satchel_span name = satchel_span_of(begin, (size_t)(reader->at - begin));
    *out = (const char *)satchel_arena_copy(reader->arena, name).data;
    return *out ? SATCHEL_OK : satchel_reader_no_memory(reader);
}

/* "(" name { separator name } ")", spaces allowed inside. */
enum satchel_status satchel_reader_take_names(struct satchel_reader *reader, char separator,
                                              uint32_t count_max, const char **names,
                                              uint32_t *count)
{
    static const char remedy[] =
        "write the name in parentheses directly behind, as in @group(address)";
    *count = 0;
    if (!satchel_reader_take(reader, "("))
        return satchel_reader_refuse_at(reader, "\"(\"", remedy);
    for (;;) {
        satchel_reader_skip_spaces(reader);
        if (*count == count_max)
            return satchel_refuse(reader->error, reader->place,
                                  "more than %u names in the parentheses; write fewer", count_max);
        enum satchel_status status = satchel_reader_take_name(reader, &names[*count]);
        if (status != SATCHEL_OK)
            return status;
        ++*count;
        satchel_reader_skip_spaces(reader);
        if (satchel_reader_take(reader, ")"))
            return SATCHEL_OK;
        if (count_max == 1 || satchel_reader_at_end(reader) || *reader->at != (uint8_t)separator)
            return satchel_reader_refuse_at(reader, "\")\"",
                                            "close the parentheses behind the name");
        reader->at++;
    }
}

/* The names as one text, separated by `separator`: they are roles, told apart by it later. */
enum satchel_status satchel_reader_take_roles(struct satchel_reader *reader, char separator,
                                              const char **out)
{
    const char *names[SATCHEL_SCOPE_NAMES_MAX] = {0};
    uint32_t count = 0;
    enum satchel_status status =
        satchel_reader_take_names(reader, separator, SATCHEL_SCOPE_NAMES_MAX, names, &count);
    if (status != SATCHEL_OK)
        return status;
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (strpbrk(names[i], ",>"))
            return satchel_refuse(
                reader->error, reader->place,
                "the role \"%s\" has a \",\" or \">\" in its name; name it without", names[i]);
        for (uint32_t earlier = 0; earlier < i; earlier++)
            if (strcmp(names[earlier], names[i]) == 0)
                return satchel_refuse(reader->error, reader->place,
                                      "the role \"%s\" stands twice; take one out", names[i]);
        size += strlen(names[i]) + 1;
    }
    char *text = satchel_arena_alloc(reader->arena, size);
    if (!text)
        return satchel_reader_no_memory(reader);
    char *at = text;
    for (uint32_t i = 0; i < count; i++) {
        size_t length = strlen(names[i]);
        memcpy(at, names[i], length);
        at[length] = i + 1 < count ? separator : '\0';
        at += length + 1;
    }
    *out = text;
    return SATCHEL_OK;
}

bool satchel_reader_word_is(struct satchel_span word, const char *text)
{
    return satchel_span_equal(word, satchel_span_text(text));
}
