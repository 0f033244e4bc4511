/* Owns the names of peers. */
#include "peer.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

bool peer_forwarded(const char *header, char address[PEER_ADDRESS_BYTES])
{
    const char *comma = strrchr(header, ',');
    const char *start = comma ? comma + 1 : header;
    struct in6_addr parsed;

    start += strspn(start, " \t");
    size_t size = strcspn(start, " \t");
    if (size >= PEER_ADDRESS_BYTES || start[size + strspn(start + size, " \t")] != '\0')
        return false;
    memcpy(address, start, size);
    address[size] = '\0';
    return inet_pton(AF_INET, address, &parsed) == 1 || inet_pton(AF_INET6, address, &parsed) == 1;
}

static bool socket_text(int fd, char *text, size_t room)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    char host[INET6_ADDRSTRLEN + 16];
    char port[8];

    if (getpeername(fd, (struct sockaddr *)&address, &size) != 0 ||
        getnameinfo((struct sockaddr *)&address, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return false;
    (void)snprintf(text, room, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    return true;
}

void peer_text(int fd, const char *forwarded, char *text, size_t room)
{
    char own[PEER_ADDRESS_BYTES + 32];

    if (!socket_text(fd, own, sizeof own))
        (void)snprintf(own, sizeof own, "a peer that is gone");
    if (forwarded)
        (void)snprintf(text, room, "%s by way of %s", forwarded, own);
    else
        (void)snprintf(text, room, "%s", own);
}

static struct satchel_id address_4(const struct in_addr *address)
{
    struct satchel_id id = {{0}};

    id.bytes[10] = id.bytes[11] = 0xff; /* RFC 4291, 2.5.5.2 */
    memcpy(id.bytes + 12, address, 4);
    return id;
}

static struct satchel_id address_6(const struct in6_addr *address)
{
    struct satchel_id id = {{0}};
    struct in_addr inside;

    if (IN6_IS_ADDR_V4MAPPED(address)) {
        memcpy(&inside, address->s6_addr + 12, sizeof inside);
        return address_4(&inside);
    }
    memcpy(id.bytes, address->s6_addr, 8); /* a /64 is one household's */
    return id;
}

struct satchel_id peer_address(int fd, const char *forwarded)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_storage storage;
    } own;
    socklen_t size = sizeof own;
    struct in_addr address;
    struct in6_addr address6;

    if (forwarded && inet_pton(AF_INET, forwarded, &address) == 1)
        return address_4(&address);
    if (forwarded && inet_pton(AF_INET6, forwarded, &address6) == 1)
        return address_6(&address6);
    if (getpeername(fd, &own.any, &size) == 0) {
        if (own.any.sa_family == AF_INET)
            return address_4(&own.in.sin_addr);
        if (own.any.sa_family == AF_INET6)
            return address_6(&own.in6.sin6_addr);
    }
    return (struct satchel_id){{0}};
}
