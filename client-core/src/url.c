/* Owns what a server's URL may look like. */
#include "transport.h"

enum { PORT_DEFAULT = 7447, PORT_MAX = 65535 };

static enum satchel_status refuse(struct satchel_error *error, const char *text, const char *why)
{
    return satchel_error_set(
        error, SATCHEL_INVALID,
        "%.200s: %s; a server's URL looks like ws://HOST:PORT or wss://HOST:PORT",
        text ? text : "(no URL)", why);
}

/* The port behind ':', digits only. */
static bool parse_port(const char *text, size_t size, int *out)
{
    int port = 0;
    if (size == 0 || size > 5)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        port = port * 10 + (text[i] - '0');
    }
    *out = port;
    return port > 0 && port <= PORT_MAX;
}

enum satchel_status satchel_url_parse(struct satchel_url *out, const char *text,
                                      struct satchel_error *error)
{
    memset(out, 0, sizeof *out);
    out->port = PORT_DEFAULT;
    if (text && strncmp(text, "wss://", 6) == 0)
        out->is_secure = true;
    else if (!text || strncmp(text, "ws://", 5) != 0)
        return refuse(error, text, "not a WebSocket URL");
    for (const char *at = text; *at; at++)
        if ((unsigned char)*at <= ' ' || *at == 0x7f) /* it goes into a header */
            return refuse(error, "the URL", "there is white space in it");
    const char *host = text + (out->is_secure ? 6 : 5);
    size_t authority_size = strcspn(host, "/?#");
    const char *path = host + authority_size;
    const char *port = NULL;
    size_t host_size = authority_size;
    if (*host == '[') { /* IPv6 */
        const char *end = memchr(host, ']', authority_size);
        if (!end)
            return refuse(error, text, "the bracket of its IPv6 address is not closed");
        host++;
        host_size = (size_t)(end - host);
        if (end + 1 < path)
            port = end + 1;
        if (port && *port != ':')
            return refuse(error, text, "what follows its IPv6 address is no port");
    } else {
        port = memchr(host, ':', authority_size);
        host_size = port ? (size_t)(port - host) : authority_size;
    }
    if (host_size == 0 || host_size >= sizeof out->host || memchr(host, '@', host_size))
        return refuse(error, text, "its host name is missing or not valid");
    if (port && !parse_port(port + 1, (size_t)(path - port - 1), &out->port))
        return refuse(error, text, "its port is not a number from 1 to 65535");
    if (strlen(path) >= sizeof out->path)
        return refuse(error, text, "its path is too long");
    memcpy(out->host, host, host_size);
    memcpy(out->path, *path == '/' && path[1] ? path : "/sync",
           *path == '/' && path[1] ? strlen(path) : sizeof "/sync" - 1);
    return SATCHEL_OK;
}
