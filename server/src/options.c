/* Owns the reading of satcheld's arguments. Knows nothing of what they are used for. */
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char satchel_server_usage[] =
    "usage: satcheld --data DIR [--listen HOST:PORT] [--store sqlite]\n"
    "                [--tls-cert FILE --tls-key FILE] [--jwt-key FILE] [--insecure]\n"
    "                [--path-prefix PATH] [--trust-proxy]\n"
    "\n"
    "  --data DIR          directory of the workspaces; made at the first start\n"
    "  --listen HOST:PORT  where to accept, default 127.0.0.1:7447; port 0 takes a free one\n"
    "  --store sqlite      one SQLite file per workspace in DIR (the default)\n"
    "  --tls-cert FILE     certificate chain, PEM; with --tls-key the server speaks wss\n"
    "  --tls-key FILE      private key, PEM\n"
    "  --jwt-key FILE      devices may join with a JWT that this secret (HS256) or public key, "
    "PEM\n"
    "                      (RS256, ES256), verifies\n"
    "  --path-prefix PATH  /healthz and /metrics answer under PATH too, for a proxy that leaves it "
    "on\n"
    "  --trust-proxy       believe X-Forwarded-For: every connection comes through a proxy\n"
    "  --rate-bytes N, --rate-messages N, --rate-change-sets N\n"
    "                      what one connection may say a second before it is read from more "
    "slowly;\n"
    "                      0: no limit; default 16777216, 1000 and 20000, and five times that at "
    "once\n"
    "  --snapshot-entries N\n"
    "                      a new device gets the rows at once, and not by the log, where this has "
    "N\n"
    "                      entries or more; 0: never; default 4096\n"
    "  --insecure          allow a HOST that is not loopback without TLS\n"
    "  --help              this text\n"
    "\n"
    "Prints `satcheld ready ws://HOST:PORT` on standard output when it accepts; logs go to "
    "standard\n"
    "error. The token for administration is in DIR/admin.token.\n";

enum { SNAPSHOT_ENTRIES = 4096 };
enum { RATE_BYTES = 16 << 20, RATE_MESSAGES = 1000, RATE_CHANGE_SETS = 20000 };

enum {
    OPTION_DATA = 256,
    OPTION_LISTEN,
    OPTION_STORE,
    OPTION_CERT,
    OPTION_KEY,
    OPTION_JWT_KEY,
    OPTION_PATH_PREFIX,
    OPTION_TRUST_PROXY,
    OPTION_RATE_BYTES,
    OPTION_RATE_MESSAGES,
    OPTION_RATE_CHANGE_SETS,
    OPTION_SNAPSHOT_ENTRIES,
    OPTION_INSECURE,
    OPTION_UPSTREAM,
    OPTION_CONFIG,
    OPTION_HELP
};

static const struct option long_options[] = {
    {"data", required_argument, NULL, OPTION_DATA},
    {"listen", required_argument, NULL, OPTION_LISTEN},
    {"store", required_argument, NULL, OPTION_STORE},
    {"tls-cert", required_argument, NULL, OPTION_CERT},
    {"tls-key", required_argument, NULL, OPTION_KEY},
    {"jwt-key", required_argument, NULL, OPTION_JWT_KEY},
    {"path-prefix", required_argument, NULL, OPTION_PATH_PREFIX},
    {"trust-proxy", no_argument, NULL, OPTION_TRUST_PROXY},
    {"rate-bytes", required_argument, NULL, OPTION_RATE_BYTES},
    {"rate-messages", required_argument, NULL, OPTION_RATE_MESSAGES},
    {"rate-change-sets", required_argument, NULL, OPTION_RATE_CHANGE_SETS},
    {"snapshot-entries", required_argument, NULL, OPTION_SNAPSHOT_ENTRIES},
    {"insecure", no_argument, NULL, OPTION_INSECURE},
    {"upstream", required_argument, NULL, OPTION_UPSTREAM},
    {"upstream-invite", required_argument, NULL, OPTION_UPSTREAM},
    {"config", required_argument, NULL, OPTION_CONFIG},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static bool parse_port(const char *text, unsigned int *out)
{
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 5 || text[digits] != '\0')
        return false;
    unsigned long port = strtoul(text, NULL, 10);
    if (port > 65535)
        return false;
    *out = (unsigned int)port;
    return true;
}

/* HOST:PORT, the host in brackets if it is an IPv6 address. */
static enum satchel_status parse_listen(struct satchel_server_options *out, const char *text,
                                        struct satchel_error *error)
{
    const char *colon = strrchr(text, ':');
    const char *host = text;
    size_t host_bytes = colon ? (size_t)(colon - text) : 0;

    if (host_bytes >= 2 && host[0] == '[' && host[host_bytes - 1] == ']') {
        host++;
        host_bytes -= 2;
    } else if (memchr(host, ':', host_bytes)) {
        host_bytes = 0;
    }
    if (host_bytes == 0 || host_bytes >= sizeof out->host || !parse_port(colon + 1, &out->port))
        return satchel_error_set(
            error, SATCHEL_INVALID,
            "--listen wants HOST:PORT, as in 127.0.0.1:7447 or [::1]:0, not '%s'", text);
    memcpy(out->host, host, host_bytes);
    out->host[host_bytes] = '\0';
    return SATCHEL_OK;
}

static enum satchel_status parse_store(const char *text, struct satchel_error *error)
{
    static const char postgres[] = "postgres";

    if (strcmp(text, "sqlite") == 0)
        return SATCHEL_OK;
    if (strncmp(text, postgres, sizeof postgres - 1) == 0)
        return satchel_error_set(error, SATCHEL_UNSUPPORTED,
                                 "--store %s: not built yet; use --store sqlite", text);
    return satchel_error_set(error, SATCHEL_INVALID, "--store knows sqlite, not '%s'", text);
}

static enum satchel_status parse_prefix(struct satchel_server_options *out, const char *text,
                                        struct satchel_error *error)
{
    size_t size = strlen(text);

    if (size < 2 || text[0] != '/' || text[size - 1] == '/')
        return satchel_error_set(error, SATCHEL_INVALID,
                                 "--path-prefix wants a path as /satchel, not '%s'", text);
    out->path_prefix = text;
    return SATCHEL_OK;
}

static enum satchel_status parse_number(int64_t *out, const char *name, const char *wanted,
                                        struct satchel_error *error)
{
    size_t digits = strspn(optarg, "0123456789");

    if (digits == 0 || digits > 12 || optarg[digits] != '\0')
        return satchel_error_set(error, SATCHEL_INVALID, "--%s wants %s, not '%s'", name, wanted,
                                 optarg);
    *out = strtoll(optarg, NULL, 10);
    return SATCHEL_OK;
}

static enum satchel_status parse_rate(int64_t *out, const char *name, struct satchel_error *error)
{
    return parse_number(out, name, "a number a second, or 0 for no limit", error);
}

static enum satchel_status take_option(struct satchel_server_options *out, int option, int index,
                                       const char *spelled, struct satchel_error *error)
{
    switch (option) {
    case OPTION_DATA: out->data_directory = optarg; return SATCHEL_OK;
    case OPTION_LISTEN: return parse_listen(out, optarg, error);
    case OPTION_STORE: return parse_store(optarg, error);
    case OPTION_CERT: out->tls_cert = optarg; return SATCHEL_OK;
    case OPTION_KEY: out->tls_key = optarg; return SATCHEL_OK;
    case OPTION_JWT_KEY: out->jwt_key = optarg; return SATCHEL_OK;
    case OPTION_PATH_PREFIX: return parse_prefix(out, optarg, error);
    case OPTION_TRUST_PROXY: out->is_proxy_trusted = true; return SATCHEL_OK;
    case OPTION_RATE_BYTES: return parse_rate(&out->rate_bytes, long_options[index].name, error);
    case OPTION_RATE_MESSAGES:
        return parse_rate(&out->rate_messages, long_options[index].name, error);
    case OPTION_RATE_CHANGE_SETS:
        return parse_rate(&out->rate_change_sets, long_options[index].name, error);
    case OPTION_SNAPSHOT_ENTRIES:
        return parse_number(&out->snapshot_entries, long_options[index].name, "a number of entries",
                            error);
    case OPTION_INSECURE: out->is_insecure = true; return SATCHEL_OK;
    case OPTION_HELP: out->is_help = true; return SATCHEL_OK;
    case OPTION_UPSTREAM:
    case OPTION_CONFIG:
        return satchel_error_set(error, SATCHEL_UNSUPPORTED, "--%s: not built yet",
                                 long_options[index].name);
    case ':': return satchel_error_set(error, SATCHEL_INVALID, "%s wants a value", spelled);
    default: return satchel_error_set(error, SATCHEL_INVALID, "unknown argument '%s'", spelled);
    }
}

static enum satchel_status check_whole(const struct satchel_server_options *options,
                                       struct satchel_error *error)
{
    if (!options->data_directory || options->data_directory[0] == '\0')
        return satchel_error_set(error, SATCHEL_INVALID, "--data DIR is missing");
    if (!options->tls_cert != !options->tls_key)
        return satchel_error_set(error, SATCHEL_INVALID,
                                 "--tls-cert and --tls-key belong together: %s is missing",
                                 options->tls_cert ? "--tls-key" : "--tls-cert");
    return SATCHEL_OK;
}

enum satchel_status satchel_server_options_parse(struct satchel_server_options *out, int argc,
                                                 char **argv, struct satchel_error *error)
{
    static const char default_host[] = "127.0.0.1";
    int option;
    int index = 0;

    memset(out, 0, sizeof *out);
    memcpy(out->host, default_host, sizeof default_host);
    out->port = 7447;
    out->rate_bytes = RATE_BYTES;
    out->rate_messages = RATE_MESSAGES;
    out->rate_change_sets = RATE_CHANGE_SETS;
    out->snapshot_entries = SNAPSHOT_ENTRIES;
    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, "+:", long_options, &index)) != -1) {
        enum satchel_status status = take_option(out, option, index, argv[optind - 1], error);
        if (status != SATCHEL_OK || out->is_help)
            return status;
    }
    if (optind < argc)
        return satchel_error_set(error, SATCHEL_INVALID, "unknown argument '%s'", argv[optind]);
    return check_whole(out, error);
}
