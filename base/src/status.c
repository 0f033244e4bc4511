/* Owns the status table's texts and the formatting of error details. */
#include <satchel/status.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    enum satchel_status status;
    const char *name;
    const char *text;
} entries[] = {
#define ENTRY(name, value, text) {SATCHEL_##name, #name, text},
    SATCHEL_STATUS_TABLE(ENTRY)
#undef ENTRY
};

const char *satchel_status_name(enum satchel_status status)
{
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
        if (entries[i].status == status)
            return entries[i].name;
    return "UNKNOWN";
}

const char *satchel_status_text(enum satchel_status status)
{
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
        if (entries[i].status == status)
            return entries[i].text;
    return "unknown status";
}

static void fill(struct satchel_error *error, enum satchel_status status, const char *format,
                 va_list arguments)
{
    error->status = status;
    error->native_code = 0;
    vsnprintf(error->message, sizeof error->message, format, arguments);
    for (char *c = error->message; *c; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
}

enum satchel_status satchel_error_set(struct satchel_error *error, enum satchel_status status,
                                      const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        fill(error, status, format, arguments);
        va_end(arguments);
    }
    return status;
}

enum satchel_status satchel_error_default(struct satchel_error *error, enum satchel_status status,
                                          const char *format, ...)
{
    if (error && (error->status != status || error->message[0] == '\0')) {
        va_list arguments;
        va_start(arguments, format);
        fill(error, status, format, arguments);
        va_end(arguments);
    }
    return status;
}
