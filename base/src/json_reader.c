/* Owns the reading of JSON and its canonical form. Recursion is bounded by SATCHEL_JSON_DEPTH_MAX.
 * Knows nothing of what the documents mean. */
#include <satchel/json_reader.h>
#include <satchel/utf8.h>

#include <stdlib.h>

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    uint32_t depth_left;
    struct satchel_arena *arena; /* NULL: only checked, nothing is kept */
    bool is_shallow;             /* what is inside of items is only checked */
    bool is_out_of_memory;
};

/* ---- characters ---- */

static void skip_spaces(struct reader *reader)
{
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t' ||
                                        *reader->at == '\n' || *reader->at == '\r'))
        reader->at++;
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

/* Writes again a string, quotes included, that was checked already. Never grows. */
static bool rewrite_string(struct reader *reader, struct satchel_span raw, struct satchel_span *out)
{
    uint8_t *text = satchel_arena_alloc(reader->arena, raw.size);
    if (!text) {
        reader->is_out_of_memory = true;
        return false;
    }
    struct reader source = {.at = raw.data + 1, .end = raw.data + raw.size - 1};
    size_t size = 0;
    text[size++] = '"';
    while (source.at < source.end) {
        uint8_t plain[4];
        size_t plain_size;
        uint32_t code;
        if (!take_character(&source, plain, &plain_size, &code))
            return false;
        size_t escape = put_escape(text + size, code);
        if (escape == 0)
            memcpy(text + size, plain, plain_size);
        size += escape ? escape : plain_size;
    }
    text[size++] = '"';
    *out = satchel_span_of(text, size);
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
    if (!reader->arena || !has_escapes || is_plain_string(start, reader->at))
        return true;
    return rewrite_string(reader, *out, out);
}

/* ---- arrays and objects ---- */

struct items {
    struct satchel_json_item *items;
    size_t count, capacity;
    size_t bytes; /* of names and values, a colon behind every name, and commas */
};

static bool keep_item(struct reader *reader, struct items *items,
                      const struct satchel_json_item *item)
{
    if (!reader->arena)
        return true;
    if (items->count == items->capacity) {
        size_t capacity = items->capacity ? items->capacity * 2 : 8;
        struct satchel_json_item *grown =
            SATCHEL_ARENA_ARRAY(reader->arena, struct satchel_json_item, capacity);
        if (!grown) {
            reader->is_out_of_memory = true;
            return false;
        }
        if (items->count)
            memcpy(grown, items->items, items->count * sizeof *grown);
        items->items = grown;
        items->capacity = capacity;
    }
    items->bytes +=
        (items->count ? 1 : 0) + item->name.size + (item->name.size ? 1 : 0) + item->value.size;
    items->items[items->count++] = *item;
    return true;
}

static enum satchel_json_type take_value(struct reader *reader, struct satchel_span *out);

static bool take_member(struct reader *reader, bool is_object, struct items *items)
{
    struct satchel_json_item item = {{NULL, 0}, {NULL, 0}};
    skip_spaces(reader);
    if (is_object) {
        if (!take_string(reader, &item.name))
            return false;
        skip_spaces(reader);
        if (!take(reader, ':'))
            return false;
        skip_spaces(reader);
    }
    struct satchel_arena *arena = reader->arena;
    reader->arena = reader->is_shallow ? NULL : arena;
    enum satchel_json_type type = take_value(reader, &item.value);
    reader->arena = arena;
    return type != SATCHEL_JSON_INVALID && keep_item(reader, items, &item);
}

/* Brackets included. */
static bool take_items(struct reader *reader, bool is_object, struct items *items)
{
    uint8_t close = is_object ? '}' : ']';
    if (reader->depth_left == 0 || !take(reader, is_object ? '{' : '['))
        return false;
    reader->depth_left--;
    skip_spaces(reader);
    if (!take(reader, close)) {
        do {
            if (!take_member(reader, is_object, items))
                return false;
            skip_spaces(reader);
        } while (take(reader, ','));
        if (!take(reader, close))
            return false;
    }
    reader->depth_left++;
    return true;
}

/* A member and the place it was written at. */
struct placed {
    struct satchel_json_item item;
    size_t place;
};

static int compare_placed(const void *left, const void *right)
{
    const struct placed *a = left, *b = right;
    int order = satchel_json_compare(a->item.name, b->item.name);
    return order ? order : a->place < b->place ? -1 : a->place > b->place;
}

static bool is_ascending(const struct items *items)
{
    for (size_t i = 1; i < items->count; i++)
        if (satchel_json_compare(items->items[i - 1].name, items->items[i].name) >= 0)
            return false;
    return true;
}

/* Of an object: ascending by name, the last of each name. */
static bool sort_items(struct reader *reader, struct items *items)
{
    if (is_ascending(items))
        return true;
    struct placed *placed = SATCHEL_ARENA_ARRAY(reader->arena, struct placed, items->count);
    if (!placed) {
        reader->is_out_of_memory = true;
        return false;
    }
    for (size_t i = 0; i < items->count; i++)
        placed[i] = (struct placed){items->items[i], i};
    qsort(placed, items->count, sizeof *placed, compare_placed);
    const struct items unsorted = *items;
    *items = (struct items){.items = unsorted.items, .capacity = unsorted.capacity};
    for (size_t i = 0; i < unsorted.count; i++) {
        bool is_last = i + 1 == unsorted.count ||
                       !satchel_span_equal(placed[i].item.name, placed[i + 1].item.name);
        if (is_last && !keep_item(reader, items, &placed[i].item))
            return false;
    }
    return true;
}

static uint8_t *put(uint8_t *at, struct satchel_span text)
{
    if (text.size)
        memcpy(at, text.data, text.size);
    return at + text.size;
}

/* Canonical text of an array or object whose text was `raw`: `raw` itself if nothing in it is
 * written differently. */
static bool join_items(struct reader *reader, const struct items *items, struct satchel_span raw,
                       bool is_as_written, struct satchel_span *out)
{
    is_as_written = is_as_written && items->bytes + 2 == raw.size;
    const uint8_t *end = raw.data + raw.size;
    for (size_t i = 0; i < items->count && is_as_written; i++) {
        const struct satchel_json_item *item = &items->items[i];
        is_as_written =
            item->value.data >= raw.data && item->value.data < end &&
            (item->name.size == 0 || (item->name.data >= raw.data && item->name.data < end));
    }
    *out = raw;
    if (is_as_written)
        return true;
    uint8_t *text = satchel_arena_alloc(reader->arena, items->bytes + 2);
    if (!text) {
        reader->is_out_of_memory = true;
        return false;
    }
    *out = satchel_span_of(text, items->bytes + 2);
    *text++ = raw.data[0];
    for (size_t i = 0; i < items->count; i++) {
        if (i > 0)
            *text++ = ',';
        text = put(text, items->items[i].name);
        if (items->items[i].name.size)
            *text++ = ':';
        text = put(text, items->items[i].value);
    }
    *text = end[-1];
    return true;
}

static bool take_container(struct reader *reader, bool is_object, struct satchel_span *out)
{
    const uint8_t *start = reader->at;
    struct items items = {0};
    if (!take_items(reader, is_object, &items))
        return false;
    *out = satchel_span_of(start, (size_t)(reader->at - start));
    if (!reader->arena)
        return true;
    bool was_ascending = !is_object || is_ascending(&items);
    if (!was_ascending && !sort_items(reader, &items))
        return false;
    return join_items(reader, &items, *out, was_ascending, out);
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
    case '{': return type_if(take_container(reader, true, out), SATCHEL_JSON_OBJECT);
    case '[': return type_if(take_container(reader, false, out), SATCHEL_JSON_ARRAY);
    case '"': return type_if(take_string(reader, out), SATCHEL_JSON_STRING);
    case 'n': type = type_if(take_word(reader, "null"), SATCHEL_JSON_NULL); break;
    case 't': type = type_if(take_word(reader, "true"), SATCHEL_JSON_BOOL); break;
    case 'f': type = type_if(take_word(reader, "false"), SATCHEL_JSON_BOOL); break;
    default: type = type_if(take_number(reader), SATCHEL_JSON_NUMBER); break;
    }
    *out = satchel_span_of(start, (size_t)(reader->at - start));
    return type;
}

/* ---- whole texts ---- */

static struct reader reader_of(struct satchel_span text, uint32_t depth_max,
                               struct satchel_arena *arena)
{
    static const uint8_t nothing[1];
    const uint8_t *start = text.size ? text.data : nothing;
    return (struct reader){
        .at = start, .end = start + text.size, .depth_left = depth_max, .arena = arena};
}

static enum satchel_status failure(const struct reader *reader)
{
    return reader->is_out_of_memory ? SATCHEL_NOMEM : SATCHEL_CORRUPT;
}

static bool is_at_end(struct reader *reader)
{
    skip_spaces(reader);
    return reader->at == reader->end;
}

enum satchel_json_type satchel_json_type_of(struct satchel_span text, uint32_t depth_max)
{
    struct reader reader = reader_of(text, depth_max, NULL);
    struct satchel_span value;
    skip_spaces(&reader);
    enum satchel_json_type type = take_value(&reader, &value);
    return is_at_end(&reader) ? type : SATCHEL_JSON_INVALID;
}

enum satchel_status satchel_json_canonical(struct satchel_span text, struct satchel_arena *arena,
                                           struct satchel_span *out)
{
    struct reader reader = reader_of(text, SATCHEL_JSON_DEPTH_MAX, arena);
    skip_spaces(&reader);
    if (take_value(&reader, out) == SATCHEL_JSON_INVALID || !is_at_end(&reader))
        return failure(&reader);
    return SATCHEL_OK;
}

static enum satchel_status split(struct reader *reader, bool is_object,
                                 struct satchel_json_item **out, size_t *out_count)
{
    struct items items = {0};
    skip_spaces(reader);
    if (!take_items(reader, is_object, &items) || !is_at_end(reader) ||
        (is_object && !sort_items(reader, &items)))
        return failure(reader);
    *out = items.items;
    *out_count = items.count;
    return SATCHEL_OK;
}

enum satchel_status satchel_json_items(struct satchel_span text, enum satchel_json_type type,
                                       struct satchel_arena *arena, struct satchel_json_item **out,
                                       size_t *out_count)
{
    struct reader reader = reader_of(text, SATCHEL_JSON_DEPTH_MAX, arena);
    return split(&reader, type == SATCHEL_JSON_OBJECT, out, out_count);
}

enum satchel_status satchel_json_split(struct satchel_span text, struct satchel_arena *arena,
                                       struct satchel_json_item **out, size_t *out_count)
{
    struct reader reader = reader_of(text, SATCHEL_JSON_DEPTH_MAX, arena);
    reader.is_shallow = true;
    return split(&reader, false, out, out_count);
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
    struct reader reader = reader_of(text, 0, NULL);
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
