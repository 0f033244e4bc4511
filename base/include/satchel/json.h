/* Writes compact JSON into a buffer: the caller opens and closes, commas and escapes are done here.
 * Integers are exact, reals have 17 significant digits (an infinite one is 1e999, a NaN null),
 * bytes that are no UTF-8 become U+FFFD. */
#ifndef SATCHEL_JSON_H
#define SATCHEL_JSON_H

#include <satchel/memory.h>

struct satchel_json {
    struct satchel_buffer *buffer;
    bool needs_comma;
    enum satchel_status status; /* the first failure; later calls do nothing */
};

void satchel_json_init(struct satchel_json *json, struct satchel_buffer *buffer);
void satchel_json_open(struct satchel_json *json, char bracket);  /* '[' or '{' */
void satchel_json_close(struct satchel_json *json, char bracket); /* ']' or '}' */
void satchel_json_name(struct satchel_json *json, struct satchel_span name);
void satchel_json_text(struct satchel_json *json, struct satchel_span text);
void satchel_json_integer(struct satchel_json *json, int64_t integer);
void satchel_json_real(struct satchel_json *json, double real);
void satchel_json_hex(struct satchel_json *json, struct satchel_span bytes);
void satchel_json_bool(struct satchel_json *json, bool value);
void satchel_json_null(struct satchel_json *json);

#endif
