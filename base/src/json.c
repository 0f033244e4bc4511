/* Owns the escaping and comma rules of the JSON that commands print. */
#include <satchel/json.h>
#include <satchel/utf8.h>

#include <math.h>
#include <stdio.h>

void satchel_json_init(struct satchel_json *json, struct satchel_buffer *buffer)
{
    json->buffer = buffer;
    json->needs_comma = false;
    json->status = SATCHEL_OK;
}

static void put(struct satchel_json *json, const void *data, size_t size)
{
    if (json->status == SATCHEL_OK)
        json->status = satchel_buffer_append(json->buffer, data, size);
}

static void separate(struct satchel_json *json)
{
    if (json->needs_comma)
        put(json, ",", 1);
    json->needs_comma = true;
}

void satchel_json_open(struct satchel_json *json, char bracket)
{
    separate(json);
    put(json, &bracket, 1);
    json->needs_comma = false;
}

void satchel_json_close(struct satchel_json *json, char bracket)
{
    put(json, &bracket, 1);
    json->needs_comma = true;
}

static void put_quoted(struct satchel_json *json, struct satchel_span text)
{
    put(json, "\"", 1);
    size_t i = 0;
    while (i < text.size) {
        size_t plain = i;
        while (plain < text.size && text.data[plain] >= 0x20 && text.data[plain] < 0x80 &&
               text.data[plain] != '"' && text.data[plain] != '\\')
            plain++;
        put(json, text.data + i, plain - i);
        i = plain;
        if (i == text.size)
            break;
        uint8_t c = text.data[i];
        if (c == '"' || c == '\\') {
            char escape[2] = {'\\', (char)c};
            put(json, escape, 2);
            i++;
        } else if (c < 0x20) {
            char escape[8];
            snprintf(escape, sizeof escape, "\\u%04x", c);
            put(json, escape, 6);
            i++;
        } else {
            size_t length = satchel_utf8_length(text.data + i, text.size - i);
            if (length)
                put(json, text.data + i, length);
            else
                put(json, "\xef\xbf\xbd", 3);
            i += length ? length : 1;
        }
    }
    put(json, "\"", 1);
}

void satchel_json_name(struct satchel_json *json, struct satchel_span name)
{
    separate(json);
    put_quoted(json, name);
    put(json, ":", 1);
    json->needs_comma = false;
}

void satchel_json_text(struct satchel_json *json, struct satchel_span text)
{
    separate(json);
    put_quoted(json, text);
}

void satchel_json_integer(struct satchel_json *json, int64_t integer)
{
    char text[24];
    int length = snprintf(text, sizeof text, "%lld", (long long)integer);
    separate(json);
    put(json, text, (size_t)length);
}

void satchel_json_real(struct satchel_json *json, double real)
{
    char text[40];
    int length = snprintf(text, sizeof text, "%.17g", real);
    if (isinf(real)) { /* JSON has no infinity; every parser makes one of this, as of sqlite3's */
        length = snprintf(text, sizeof text, "%s", real < 0 ? "-1e999" : "1e999");
    } else if (isnan(real)) {
        satchel_json_null(json);
        return;
    } else if (!strpbrk(text, ".eE")) { /* stays a real for whoever reads it */
        memcpy(text + length, ".0", 3);
        length += 2;
    }
    separate(json);
    put(json, text, (size_t)length);
}

void satchel_json_hex(struct satchel_json *json, struct satchel_span bytes)
{
    static const char digits[] = "0123456789abcdef";
    separate(json);
    put(json, "\"", 1);
    for (size_t i = 0; i < bytes.size; i++) {
        char pair[2] = {digits[bytes.data[i] >> 4], digits[bytes.data[i] & 15]};
        put(json, pair, 2);
    }
    put(json, "\"", 1);
}

void satchel_json_bool(struct satchel_json *json, bool value)
{
    separate(json);
    put(json, value ? "true" : "false", value ? 4 : 5);
}

void satchel_json_null(struct satchel_json *json)
{
    separate(json);
    put(json, "null", 4);
}
