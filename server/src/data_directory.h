/* The server's data directory: its existence, its lock, and the token for administration. */
#ifndef SATCHEL_DATA_DIRECTORY_H
#define SATCHEL_DATA_DIRECTORY_H

#include <satchel/span.h>
#include <satchel/status.h>

#define SATCHEL_ADMIN_TOKEN_CHARS 64 /* 32 random bytes in hex */

struct satchel_data_directory {
    const char *path; /* borrowed */
    int lock_fd;      /* -1: not open */
    char admin_token[SATCHEL_ADMIN_TOKEN_CHARS + 1];
};

/* Makes `path` (0700) if it is not there, locks it for this process and reads or makes admin.token
 * (0600). BUSY: another satcheld has it; IO; CORRUPT: the token file holds no token. On failure
 * nothing is held. The lock lasts until close or the end of the process, however it ends. */
enum satchel_status satchel_data_directory_open(struct satchel_data_directory *out,
                                                const char *path,
                                                struct satchel_error *error) SATCHEL_MUST_USE;
void satchel_data_directory_close(struct satchel_data_directory *directory);

/* Whether `token` is the admin token; a line end behind it does no harm. Constant time. */
bool satchel_data_directory_token_matches(const struct satchel_data_directory *directory,
                                          struct satchel_span token);

#endif
