/* Owns the form of a log line. One write(2) per line, so that lines of several threads never mix.
 */
#include "logging.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES_MAX 2048

static size_t write_prefix(char *line, size_t room, const char *level)
{
    struct timespec now = {0};
    struct tm utc = {0};
    char stamp[32] = "";

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (gmtime_r(&now.tv_sec, &utc))
        (void)strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    int written = snprintf(line, room, "%s.%03dZ %s ", stamp, (int)(now.tv_nsec / 1000000), level);
    return written > 0 && (size_t)written < room ? (size_t)written : 0;
}

static void write_all(const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(STDERR_FILENO, bytes, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return; /* nobody listens: there is nowhere left to say so */
        bytes += written;
        size -= (size_t)written;
    }
}

static void write_line(const char *level, const char *format, va_list arguments)
{
    char line[LINE_BYTES_MAX];
    size_t used = write_prefix(line, sizeof line - 1, level);
    int written = vsnprintf(line + used, sizeof line - 1 - used, format, arguments);

    if (written < 0)
        return;
    size_t end = used + (size_t)written;
    if (end > sizeof line - 2)
        end = sizeof line - 2;
    for (size_t i = used; i < end; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = ' ';
    line[end] = '\n';
    write_all(line, end + 1);
}

#define DEFINE_LEVEL(function, level)         \
    void function(const char *format, ...)    \
    {                                         \
        va_list arguments;                    \
        va_start(arguments, format);          \
        write_line(level, format, arguments); \
        va_end(arguments);                    \
    }

DEFINE_LEVEL(satchel_log_info, "info")
DEFINE_LEVEL(satchel_log_warning, "warning")
DEFINE_LEVEL(satchel_log_error, "error")
