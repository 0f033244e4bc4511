/* The log: one line per event on stderr, `TIME LEVEL text`, from any thread. Text that came from a
 * peer or a file is made printable here. Never given secrets. */
#ifndef SATCHEL_LOGGING_H
#define SATCHEL_LOGGING_H

#include <satchel/status.h>

void satchel_log_info(const char *format, ...) SATCHEL_PRINTF(1, 2);
void satchel_log_warning(const char *format, ...) SATCHEL_PRINTF(1, 2);
void satchel_log_error(const char *format, ...) SATCHEL_PRINTF(1, 2);

#endif
