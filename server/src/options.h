/* The command line of satcheld. */
#ifndef SATCHEL_OPTIONS_H
#define SATCHEL_OPTIONS_H

#include <satchel/status.h>
#include <stdbool.h>
#include <stdint.h>

#define SATCHEL_HOST_BYTES 256

struct satchel_server_options {
    const char *data_directory;
    char host[SATCHEL_HOST_BYTES]; /* without brackets */
    unsigned int port;             /* 0: any free one */
    const char *tls_cert;          /* NULL: no TLS */
    const char *tls_key;
    const char *jwt_key;     /* NULL: no JWTs */
    const char *path_prefix; /* NULL: none */
    bool is_proxy_trusted;
    int64_t rate_bytes, rate_messages, rate_change_sets; /* a second; 0: no limit */
    int64_t snapshot_entries; /* in the log, from which on a new device gets a snapshot */
    bool is_insecure;         /* a non-loopback address without TLS is wanted */
    bool is_help;             /* --help: everything else is unset */
};

extern const char satchel_server_usage[];

/* Strings borrow from argv. INVALID with a line for the user; UNSUPPORTED for what is not built
 * yet. */
enum satchel_status satchel_server_options_parse(struct satchel_server_options *out, int argc,
                                                 char **argv,
                                                 struct satchel_error *error) SATCHEL_MUST_USE;

#endif
