/* Owns the reading of JSON and its canonical form. Recursion is bounded by SATCHEL_JSON_DEPTH_MAX.
 * Knows nothing of what the documents mean.
 *
 * A text is first checked as a whole, which takes no memory and tells whether it is canonical. If
 * it is not, it is written again into one piece of memory of its size; beside that, only the
 * members of objects that are not finished are remembered. Items are counted before they are
 * listed. So a list of the smallest items takes 16 times its text (32 bytes for two), and nothing
 * takes more than 17. */
#include <satchel/json_reader.h>
#include <satchel/utf8.h>

#include <stdlib.h>

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    uint32_t depth_left;
    bool is_canonical; /* what was read up to here */
    size_t item_count; /* of the array or object that ended last: in the end, of the outermost */
};

/* ---- characters ---- */

static void skip_spaces(struct reader *reader)
{
    const uint8_t *start = reader->at;
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t' ||
                                        *reader->at == '\n' || *reader->at == '\r'))
        reader->at++;
    reader->is_canonical = reader->is_canonical && reader->at == start;
}

static bool take(struct reader *reader, uint8_t c)
{
    if (reader->at == reader->end || *reader->at != c)
        return false;
    reader->at++;
    return true;
}

static bool take_word(struct reader *reader, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(reader->end - reader->at) < size || memcmp(reader->at, word, size) != 0)
        return false;
    reader->at += size;
    return true;
}

static bool take_digits(struct reader *reader)
{
    const uint8_t *start = reader->at;
    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9')
        reader->at++;
    return reader->at > start;
}

static bool take_number(struct reader *reader)
{
    (void)take(reader, '-');
    if (!take(reader, '0') && !take_digits(reader))
        return false;
    if (take(reader, '.') && !take_digits(reader))
        return false;
    if (take(reader, 'e') || take(reader, 'E')) {
        if (!take(reader, '+'))
            (void)take(reader, '-');
        return take_digits(reader);
    }
    return true;
}

/* ---- strings ---- */

static bool take_hex4(struct reader *reader, uint32_t *out)
{
    if (reader->end - reader->at < 4)
        return false;
    uint32_t code = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = *reader->at++;
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit == 16)
            return false;
        code = code << 4 | digit;
    }
    *out = code;
    return true;
}

/* Behind a backslash. */
static bool take_escape(struct reader *reader, uint32_t *out)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    if (reader->at == reader->end)
        return false;
    uint8_t c = *reader->at++;
    if (c != 'u') {
        const char *letter = c ? strchr(letters, c) : NULL;
        *out = letter ? (uint8_t)meanings[letter - letters] : 0;
        return letter;
    }
    if (!take_hex4(reader, out))
        return false;
    if (*out < 0xd800 || *out > 0xdfff)
        return true;
    uint32_t low;
    if (*out > 0xdbff || !take(reader, '\\') || !take(reader, 'u') || !take_hex4(reader, &low) ||
        low < 0xdc00 || low > 0xdfff)
        return false;
    *out = 0x10000 + ((*out - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

static size_t put_utf8(uint8_t *out, uint32_t code)
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        out[i] = (uint8_t)(0x80 | (code & 0x3f));
    out[0] = (uint8_t)((0xf0 << (4 - length)) | code);
    return length;
}

/* The escape of a character that needs one, or 0 bytes. */
static size_t put_escape(uint8_t *out, uint32_t code)
{
    static const char digits[] = "0123456789abcdef";
    static const char meanings[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    const char *meaning = code && code < 0x80 ? strchr(meanings, (int)code) : NULL;
    if (meaning) {
        out[0] = '\\';
        out[1] = (uint8_t)letters[meaning - meanings];
        return 2;
    }
    if (code >= 0x20)
        return 0;
    memcpy(out, "\\u00", 4);
    out[4] = (uint8_t)digits[code >> 4];
    out[5] = (uint8_t)digits[code & 15];
    return 6;
}

/* One character of a string, as it stands or as an escape: what it means. */
static bool take_character(struct reader *reader, uint8_t plain[4], size_t *plain_size,
                           uint32_t *code)
{
    if (take(reader, '\\')) {
        if (!take_escape(reader, code))
            return false;
        *plain_size = put_utf8(plain, *code);
        return true;
    }
    if (reader->at == reader->end || *reader->at < 0x20)
        return false;
    *plain_size = satchel_utf8_length(reader->at, (size_t)(reader->end - reader->at));
    if (*plain_size == 0)
        return false;
    memcpy(plain, reader->at, *plain_size);
    *code = *plain_size == 1 ? plain[0] : 0x80;
    reader->at += *plain_size;
    return true;
}

/* Whether a string that starts at `at` and was checked already is canonical as it stands. */
static bool is_plain_string(const uint8_t *at, const uint8_t *end)
{
    for (const uint8_t *slash = at; (slash = memchr(slash, '\\', (size_t)(end - slash)));) {
        struct reader escape = {.at = slash + 1, .end = end};
        uint32_t code;
        uint8_t fewest[6];
        if (!take_escape(&escape, &code))
            return false;
        size_t size = put_escape(fewest, code);
        if (size != (size_t)(escape.at - slash) || memcmp(fewest, slash, size) != 0)
            return false;
        slash = escape.at;
    }
    return true;
}

/* Over characters that are themselves: most of them, one byte each. */
static void skip_plain(struct reader *reader)
{
    while (reader->at < reader->end && *reader->at >= 0x20 && *reader->at < 0x80 &&
           *reader->at != '"' && *reader->at != '\\')
        reader->at++;
}

static bool take_string(struct reader *reader, struct satchel_span *out)
{
    const uint8_t *start = reader->at;
    if (!take(reader, '"'))
        return false;
    bool has_escapes = false;
    for (;;) {
        skip_plain(reader);
        if (take(reader, '"'))
            break;
        uint8_t plain[4];
        size_t plain_size;
        uint32_t code;
        has_escapes = has_escapes || (reader->at < reader->end && *reader->at == '\\');
        if (!take_character(reader, plain, &plain_size, &code))
            return false;
    }
    *out = satchel_span_of(start, (size_t)(reader->at - start));
    reader->is_canonical =
        reader->is_canonical && (!has_escapes || is_plain_string(start, reader->at));
    return true;
}

/* ---- values ---- */

static enum satchel_json_type take_value(struct reader *reader, struct satchel_span *out);

static bool take_member(struct reader *reader, bool is_object, struct satchel_json_item *out)
{
    out->name = satchel_span_of(NULL, 0);
    skip_spaces(reader);
    if (is_object) {
        if (!take_string(reader, &out->name))
            return false;
        skip_spaces(reader);
        if (!take(reader, ':'))
            return false;
        skip_spaces(reader);
    }
    return take_value(reader, &out->value) != SATCHEL_JSON_INVALID;
}

/* Brackets included. `items` has room for all, or is NULL. */
static bool take_items(struct reader *reader, bool is_object, struct satchel_json_item *items)
{
    uint8_t close = is_object ? '}' : ']';
    struct satchel_span before = {NULL, 0};
    size_t count = 0;
    if (reader->depth_left == 0 || !take(reader, is_object ? '{' : '['))
        return false;
    reader->depth_left--;
    skip_spaces(reader);
    if (!take(reader, close)) {
        do {
            struct satchel_json_item item;
            if (!take_member(reader, is_object, &item))
                return false;
            if (is_object && count > 0 && satchel_json_compare(before, item.name) >= 0)
                reader->is_canonical = false;
            if (items)
                items[count] = item;
            before = item.name;
            count++;
            skip_spaces(reader);
        } while (take(reader, ','));
        if (!take(reader, close))
            return false;
    }
    reader->depth_left++;
    reader->item_count = count;
    return true;
}

static enum satchel_json_type type_if(bool is_taken, enum satchel_json_type type)
{
    return is_taken ? type : SATCHEL_JSON_INVALID;
}

static enum satchel_json_type take_value(struct reader *reader, struct satchel_span *out)
{
    const uint8_t *start = reader->at;
    enum satchel_json_type type;
    if (start == reader->end)
        return SATCHEL_JSON_INVALID;
    switch (*start) {
    case '{': type = type_if(take_items(reader, true, NULL), SATCHEL_JSON_OBJECT); break;
    case '[': type = type_if(take_items(reader, false, NULL), SATCHEL_JSON_ARRAY); break;
    case '"': return type_if(take_string(reader, out), SATCHEL_JSON_STRING);
    case 'n': type = type_if(take_word(reader, "null"), SATCHEL_JSON_NULL); break;
    case 't': type = type_if(take_word(reader, "true"), SATCHEL_JSON_BOOL); break;
    case 'f': type = type_if(take_word(reader, "false"), SATCHEL_JSON_BOOL); break;
    default: type = type_if(take_number(reader), SATCHEL_JSON_NUMBER); break;
    }
    *out = satchel_span_of(start, (size_t)(reader->at - start));
    return type;
}

/* ---- writing again what was checked and is not canonical ---- */

/* A member of an object, as it was written again. */
struct member {
    const uint8_t *name, *value, *end;
};

struct writer {
    struct reader reader;
    uint8_t *out;                  /* where the next byte goes: nothing becomes longer */
    struct satchel_buffer members; /* of all objects that are not finished */
    struct satchel_buffer scratch;
};

static enum satchel_status write_value(struct writer *writer);

static enum satchel_status write_string(struct writer *writer)
{
    struct satchel_span raw;
    if (!take_string(&writer->reader, &raw))
        return SATCHEL_CORRUPT;
    struct reader source = {.at = raw.data + 1, .end = raw.data + raw.size - 1};
    *writer->out++ = '"';
    while (source.at < source.end) {
        uint8_t plain[4];
        size_t plain_size;
        uint32_t code;
        if (!take_character(&source, plain, &plain_size, &code))
            return SATCHEL_CORRUPT;
        size_t escape_size = put_escape(writer->out, code);
        if (escape_size == 0)
            memcpy(writer->out, plain, plain_size);
        writer->out += escape_size ? escape_size : plain_size;
    }
    *writer->out++ = '"';
    return SATCHEL_OK;
}

static enum satchel_status write_member(struct writer *writer)
{
    struct member member = {.name = writer->out};
    enum satchel_status status = write_string(writer);
    skip_spaces(&writer->reader);
    if (status != SATCHEL_OK || !take(&writer->reader, ':'))
        return SATCHEL_CORRUPT;
    *writer->out++ = ':';
    member.value = writer->out;
    status = write_value(writer);
    member.end = writer->out;
    return status == SATCHEL_OK ? satchel_buffer_append(&writer->members, &member, sizeof member)
                                : status;
}

static struct satchel_span name_of(const struct member *member)
{
    return satchel_span_of(member->name, (size_t)(member->value - member->name) - 1);
}

/* Of one name, as they were written. */
static int compare_members(const void *left, const void *right)
{
    const struct member *a = left, *b = right;
    int order = satchel_json_compare(name_of(a), name_of(b));
    return order ? order : a->name < b->name ? -1 : a->name > b->name;
}

static bool is_ascending(const struct member *members, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (satchel_json_compare(name_of(&members[i - 1]), name_of(&members[i])) >= 0)
            return false;
    return true;
}

/* Members ascending by name, the last of each name. */
static enum satchel_status sort_members(struct writer *writer, struct member *members, size_t count)
{
    const uint8_t *start = members[0].name;
    size_t size = (size_t)(writer->out - start), kept = 0;
    qsort(members, count, sizeof *members, compare_members);
    for (size_t i = 0; i < count; i++)
        if (i + 1 == count || !satchel_span_equal(name_of(&members[i]), name_of(&members[i + 1])))
            members[kept++] = members[i];
    satchel_buffer_clear(&writer->scratch);
    enum satchel_status status = satchel_buffer_append(&writer->scratch, start, size);
    if (status != SATCHEL_OK)
        return status;
    writer->out -= size;
    for (size_t i = 0; i < kept; i++) {
        size_t member_size = (size_t)(members[i].end - members[i].name);
        if (i > 0)
            *writer->out++ = ',';
        memcpy(writer->out, writer->scratch.data + (members[i].name - start), member_size);
        writer->out += member_size;
    }
    return SATCHEL_OK;
}

static enum satchel_status finish_object(struct writer *writer, size_t first)
{
    struct member *members = (struct member *)(void *)(writer->members.data + first);
    size_t count = (writer->members.size - first) / sizeof *members;
    writer->members.size = first;
    return is_ascending(members, count) ? SATCHEL_OK : sort_members(writer, members, count);
}

static enum satchel_status write_items(struct writer *writer, bool is_object)
{
    uint8_t close = is_object ? '}' : ']';
    size_t first = writer->members.size;
    enum satchel_status status = SATCHEL_OK;
    *writer->out++ = *writer->reader.at++;
    skip_spaces(&writer->reader);
    while (status == SATCHEL_OK && !take(&writer->reader, close)) {
        if (take(&writer->reader, ','))
            *writer->out++ = ',';
        skip_spaces(&writer->reader);
        status = is_object ? write_member(writer) : write_value(writer);
        skip_spaces(&writer->reader);
    }
    if (status == SATCHEL_OK && is_object)
        status = finish_object(writer, first);
    *writer->out++ = close;
    return status;
}

static enum satchel_status write_value(struct writer *writer)
{
    struct reader *reader = &writer->reader;
    struct satchel_span word;
    skip_spaces(reader);
    if (reader->at < reader->end && (*reader->at == '{' || *reader->at == '['))
        return write_items(writer, *reader->at == '{');
    if (reader->at < reader->end && *reader->at == '"')
        return write_string(writer);
    if (take_value(reader, &word) == SATCHEL_JSON_INVALID)
        return SATCHEL_CORRUPT;
    memcpy(writer->out, word.data, word.size);
    writer->out += word.size;
    return SATCHEL_OK;
}

/* ---- whole texts ---- */

static struct reader reader_of(struct satchel_span text, uint32_t depth_max)
{
    static const uint8_t nothing[1];
    const uint8_t *start = text.size ? text.data : nothing;
    return (struct reader){
        .at = start, .end = start + text.size, .depth_left = depth_max, .is_canonical = true};
}

static bool is_at_end(struct reader *reader)
{
    skip_spaces(reader);
    return reader->at == reader->end;
}

enum satchel_json_type satchel_json_type_of(struct satchel_span text, uint32_t depth_max)
{
    struct reader reader = reader_of(text, depth_max);
    struct satchel_span value;
    skip_spaces(&reader);
    enum satchel_json_type type = take_value(&reader, &value);
    return is_at_end(&reader) ? type : SATCHEL_JSON_INVALID;
}

/* A text that is JSON. */
struct checked {
    enum satchel_json_type type;
    struct satchel_span value; /* without spaces around it */
    size_t item_count;         /* at least as many as it has in canonical form */
    bool is_canonical;
};

static enum satchel_status check(struct satchel_span text, struct checked *out)
{
    struct reader reader = reader_of(text, SATCHEL_JSON_DEPTH_MAX);
    skip_spaces(&reader);
    reader.is_canonical = true;
    out->type = take_value(&reader, &out->value);
    out->item_count = reader.item_count;
    out->is_canonical = reader.is_canonical;
    return out->type != SATCHEL_JSON_INVALID && is_at_end(&reader) ? SATCHEL_OK : SATCHEL_CORRUPT;
}

static enum satchel_status make_canonical(struct checked *checked, struct satchel_arena *arena)
{
    if (checked->is_canonical)
        return SATCHEL_OK;
    uint8_t *text = satchel_arena_alloc(arena, checked->value.size);
    if (!text)
        return SATCHEL_NOMEM;
    struct writer writer = {.reader = reader_of(checked->value, SATCHEL_JSON_DEPTH_MAX),
                            .out = text};
    size_t most = checked->value.size / 4; /* "":0 */
    satchel_buffer_init(&writer.members, most * sizeof(struct member), arena->allocator);
    satchel_buffer_init(&writer.scratch, checked->value.size, arena->allocator);
    enum satchel_status status = write_value(&writer);
    satchel_buffer_deinit(&writer.members);
    satchel_buffer_deinit(&writer.scratch);
    checked->value = satchel_span_of(text, (size_t)(writer.out - text));
    checked->is_canonical = true;
    return status;
}

static enum satchel_status list_items(const struct checked *checked, struct satchel_arena *arena,
                                      struct satchel_json_item **out, size_t *out_count)
{
    struct reader reader = reader_of(checked->value, SATCHEL_JSON_DEPTH_MAX);
    *out = NULL;
    *out_count = 0;
    if (checked->item_count == 0)
        return SATCHEL_OK;
    *out = SATCHEL_ARENA_ARRAY(arena, struct satchel_json_item, checked->item_count);
    if (!*out)
        return SATCHEL_NOMEM;
    if (!take_items(&reader, checked->type == SATCHEL_JSON_OBJECT, *out))
        return SATCHEL_CORRUPT;
    *out_count = reader.item_count;
    return SATCHEL_OK;
}

enum satchel_status satchel_json_canonical(struct satchel_span text, struct satchel_arena *arena,
                                           struct satchel_span *out)
{
    struct checked checked;
    enum satchel_status status = check(text, &checked);
    if (status == SATCHEL_OK)
        status = make_canonical(&checked, arena);
    if (status == SATCHEL_OK)
        *out = checked.value;
    return status;
}

enum satchel_status satchel_json_items(struct satchel_span text, enum satchel_json_type type,
                                       struct satchel_arena *arena, struct satchel_json_item **out,
                                       size_t *out_count)
{
    struct checked checked;
    enum satchel_status status = check(text, &checked);
    if (status == SATCHEL_OK && checked.type != type)
        status = SATCHEL_CORRUPT;
    if (status == SATCHEL_OK)
        status = make_canonical(&checked, arena);
    return status == SATCHEL_OK ? list_items(&checked, arena, out, out_count) : status;
}

enum satchel_status satchel_json_split(struct satchel_span text, struct satchel_arena *arena,
                                       struct satchel_json_item **out, size_t *out_count)
{
    struct checked checked;
    enum satchel_status status = check(text, &checked);
    if (status == SATCHEL_OK && checked.type != SATCHEL_JSON_ARRAY)
        status = SATCHEL_CORRUPT;
    return status == SATCHEL_OK ? list_items(&checked, arena, out, out_count) : status;
}

int satchel_json_compare(struct satchel_span a, struct satchel_span b)
{
    bool are_strings = a.size >= 2 && b.size >= 2 && a.data[0] == '"' && b.data[0] == '"';
    if (!are_strings)
        return satchel_span_compare(a, b);
    return satchel_span_compare(satchel_span_of(a.data + 1, a.size - 2),
                                satchel_span_of(b.data + 1, b.size - 2));
}

enum satchel_status satchel_json_unquote(struct satchel_span text, struct satchel_arena *arena,
                                         struct satchel_span *out)
{
    uint8_t *bytes = satchel_arena_alloc(arena, text.size + 1);
    if (!bytes)
        return SATCHEL_NOMEM;
    struct reader reader = reader_of(text, 0);
    size_t size = 0;
    if (!take(&reader, '"'))
        return SATCHEL_CORRUPT;
    while (!take(&reader, '"')) {
        uint8_t plain[4];
        size_t plain_size;
        uint32_t code;
        if (!take_character(&reader, plain, &plain_size, &code))
            return SATCHEL_CORRUPT;
        memcpy(bytes + size, plain, plain_size);
        size += plain_size;
    }
    bytes[size] = 0;
    *out = satchel_span_of(bytes, size);
    return reader.at == reader.end ? SATCHEL_OK : SATCHEL_CORRUPT;
}

enum satchel_status satchel_json_quote(struct satchel_span bytes, struct satchel_arena *arena,
                                       struct satchel_span *out)
{
    if (bytes.size > (SIZE_MAX - 2) / 6)
        return SATCHEL_NOMEM;
    size_t size = 2;
    uint8_t escape[6];
    for (size_t i = 0; i < bytes.size; i++) {
        size_t escape_size = put_escape(escape, bytes.data[i]);
        size += escape_size ? escape_size : 1;
    }
    uint8_t *text = satchel_arena_alloc(arena, size);
    if (!text)
        return SATCHEL_NOMEM;
    *out = satchel_span_of(text, size);
    *text++ = '"';
    for (size_t i = 0; i < bytes.size;) {
        size_t length = satchel_utf8_length(bytes.data + i, bytes.size - i);
        if (length == 0)
            return SATCHEL_CORRUPT;
        size_t escape_size = put_escape(text, length == 1 ? bytes.data[i] : 0x80);
        if (escape_size == 0)
            memcpy(text, bytes.data + i, length);
        text += escape_size ? escape_size : length;
        i += length;
    }
    *text = '"';
    return SATCHEL_OK;
}
