/* Owns what a document number looks like: a format with {branch}, {year} and {n}. */
#include <satchel/workspace_data.h>

enum { DIGITS_MAX = 20 };

struct number_parts {
    struct satchel_span branch;
    int year;
    uint64_t number;
};

/* The width of "{n:06}": what stands behind the colon. 0: it is no width. */
static int width_of(struct satchel_span digits)
{
    int width = 0;
    if (digits.size < 2 || digits.size > 3 || digits.data[0] != '0')
        return 0;
    for (size_t i = 1; i < digits.size; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9')
            return 0;
        width = width * 10 + (digits.data[i] - '0');
    }
    return width <= DIGITS_MAX ? width : 0;
}

static enum satchel_status write_field(struct satchel_span name, const struct number_parts *parts,
                                       struct satchel_buffer *out, struct satchel_error *error)
{
    if (satchel_span_equal(name, satchel_span_text("branch")))
        return satchel_buffer_append(out, parts->branch.data, parts->branch.size);
    if (satchel_span_equal(name, satchel_span_text("year")))
        return satchel_buffer_format(out, "%04d", parts->year);
    if (satchel_span_equal(name, satchel_span_text("n")))
        return satchel_buffer_format(out, "%llu", (unsigned long long)parts->number);
    if (name.size > 2 && memcmp(name.data, "n:", 2) == 0) {
        int width = width_of(satchel_span_of(name.data + 2, name.size - 2));
        if (width > 0)
            return satchel_buffer_format(out, "%0*llu", width, (unsigned long long)parts->number);
    }
    return satchel_error_set(error, SATCHEL_REFUSED,
                             "a number's format has no field {%.*s}; use {branch}, {year}, {n} or "
                             "{n:06}, and {{ for a brace",
                             name.size < 60 ? (int)name.size : 60, (const char *)name.data);
}

/* The item at the beginning of `rest`: plain text, a doubled brace or a field; and past it. */
static enum satchel_status write_item(struct satchel_span *rest, const struct number_parts *parts,
                                      struct satchel_buffer *out, struct satchel_error *error)
{
    const uint8_t *text = rest->data;
    size_t size = 1, skipped = 0;
    enum satchel_status status = SATCHEL_OK;
    if ((text[0] == '{' || text[0] == '}') && rest->size > 1 && text[1] == text[0]) {
        status = satchel_buffer_append(out, text, 1);
        skipped = 1;
    } else if (text[0] == '{') {
        const uint8_t *end = memchr(text, '}', rest->size);
        if (!end)
            return satchel_error_set(error, SATCHEL_REFUSED,
                                     "a number's format has { without }; write {{ for a brace");
        size = (size_t)(end - text) + 1;
        status = write_field(satchel_span_of(text + 1, size - 2), parts, out, error);
    } else if (text[0] == '}') {
        return satchel_error_set(error, SATCHEL_REFUSED,
                                 "a number's format has } without {; write }} for a brace");
    } else {
        while (size < rest->size && text[size] != '{' && text[size] != '}')
            size++;
        status = satchel_buffer_append(out, text, size);
    }
    *rest = satchel_span_of(text + size + skipped, rest->size - size - skipped);
    return status;
}

enum satchel_status satchel_number_format(struct satchel_span format, struct satchel_span branch,
                                          int year, uint64_t number, struct satchel_buffer *out,
                                          struct satchel_error *error)
{
    const struct number_parts parts = {branch, year, number};
    size_t size_before = out->size;
    enum satchel_status status = SATCHEL_OK;
    while (format.size > 0 && status == SATCHEL_OK)
        status = write_item(&format, &parts, out, error);
    if (status == SATCHEL_OK)
        return SATCHEL_OK;
    out->size = size_before;
    return satchel_error_default(error, status, "a number's format: %s",
                                 satchel_status_text(status));
}
