/* Owns the accepting socket: its address, how many connections there may be, what happens when
 * descriptors run out. Knows nothing of what is spoken on a connection. */
#include "acceptor.h"

#include "logging.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    DESCRIPTORS_MAX = 65536,
    DESCRIPTORS_RESERVED = 256, /* for the workspaces' files */
    ACCEPTS_PER_EVENT = 64      /* then the others have their turn */
};

static const double exhausted_seconds = 1.;

/* As many descriptors as the system grants, within reason. Returns how many connections that
 * leaves. */
static uint64_t raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024 - DESCRIPTORS_RESERVED;
    rlim_t wanted = limit.rlim_max < DESCRIPTORS_MAX ? limit.rlim_max : DESCRIPTORS_MAX;
    if (limit.rlim_cur != wanted) {
        struct rlimit raised = {wanted, limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            limit.rlim_cur = wanted;
    }
    return limit.rlim_cur > 2 * DESCRIPTORS_RESERVED ? limit.rlim_cur - DESCRIPTORS_RESERVED
                                                     : limit.rlim_cur / 2;
}

static void prepare_socket(int fd)
{
    int on = 1;

    /* A message waits for no other: small ones go out at once. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static bool has_room(struct acceptor *acceptor)
{
    uint64_t open = atomic_load_explicit(&acceptor->metrics->values[SATCHEL_METRIC_CONNECTIONS],
                                         memory_order_relaxed);

    if (open < acceptor->connections_max) {
        acceptor->is_full = false;
        return true;
    }
    if (!acceptor->is_full)
        satchel_log_warning("refusing connections: %llu are open, as many as descriptors allow",
                            (unsigned long long)open);
    acceptor->is_full = true;
    satchel_metric_add(acceptor->metrics, SATCHEL_METRIC_CONNECTIONS_REFUSED, 1);
    return false;
}

/* Level-triggered: without a pause a full table of descriptors would spin the loop. */
static void pause_accepting(struct acceptor *acceptor)
{
    satchel_log_warning("cannot accept: %s; trying again in %g s", strerror(errno),
                        exhausted_seconds);
    ev_io_stop(acceptor->loop, &acceptor->readable);
    ev_timer_set(&acceptor->pause, exhausted_seconds, 0.);
    ev_timer_start(acceptor->loop, &acceptor->pause);
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct acceptor *acceptor = watcher->data;

    (void)loop;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_EVENT && acceptor->fd >= 0; i++) {
        int fd = accept4(acceptor->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                pause_accepting(acceptor);
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            return;
        }
        if (!has_room(acceptor)) {
            (void)close(fd);
            continue;
        }
        prepare_socket(fd);
        acceptor->accepted(acceptor->context, fd);
    }
}

static void on_pause_over(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct acceptor *acceptor = timer->data;

    (void)events;
    ev_io_start(loop, &acceptor->readable);
}

void acceptor_init(struct acceptor *acceptor, struct ev_loop *loop, struct satchel_metrics *metrics,
                   void (*accepted)(void *context, int fd), void *context)
{
    memset(acceptor, 0, sizeof *acceptor);
    acceptor->loop = loop;
    acceptor->metrics = metrics;
    acceptor->fd = -1;
    acceptor->accepted = accepted;
    acceptor->context = context;
    acceptor->connections_max = raise_descriptor_limit();
    ev_io_init(&acceptor->readable, on_readable, -1, EV_READ);
    acceptor->readable.data = acceptor;
    ev_timer_init(&acceptor->pause, on_pause_over, 0., 0.);
    acceptor->pause.data = acceptor;
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return ntohl(in.sin_addr.s_addr) >> 24 == 127;
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof in6);
    return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr) && in6.sin6_addr.s6_addr[12] == 127);
}

static unsigned int bound_port(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;

    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        return 0;
    if (address.ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, &address, sizeof in);
        return ntohs(in.sin_port);
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, &address, sizeof in6);
    return ntohs(in6.sin6_port);
}

/* SO_REUSEADDR: a port whose connections of before linger can be taken again at once, and one that
 * is listened on cannot. Never SO_REUSEPORT, with which two servers would share it. */
static enum satchel_status bind_to(struct acceptor *acceptor, const struct addrinfo *address,
                                   const char *host, unsigned int port, struct satchel_error *error)
{
    int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0) {
        int code = errno;
        if (fd >= 0)
            (void)close(fd);
        return satchel_error_set(
            error, SATCHEL_IO, "cannot listen on %s port %u: %s%s", host, port, strerror(code),
            code == EADDRINUSE ? "; stop the other server or choose another port" : "");
    }
    acceptor->fd = fd;
    acceptor->port = bound_port(fd);
    ev_io_set(&acceptor->readable, fd, EV_READ);
    return SATCHEL_OK;
}

enum satchel_status acceptor_bind(struct acceptor *acceptor, const char *host, unsigned int port,
                                  bool is_any_allowed, struct satchel_error *error)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *addresses = NULL;
    char service[16];

    (void)snprintf(service, sizeof service, "%u", port);
    int code = getaddrinfo(host, service, &hints, &addresses);
    if (code != 0)
        return satchel_error_set(error, SATCHEL_IO, "--listen: cannot find the address %s: %s",
                                 host, gai_strerror(code));
    enum satchel_status status;
    if (!is_any_allowed && !is_loopback(addresses->ai_addr))
        status =
            satchel_error_set(error, SATCHEL_DENIED,
                              "%s is not loopback: give --tls-cert and --tls-key, or --insecure "
                              "to be readable by everybody on the way",
                              host);
    else
        status = bind_to(acceptor, addresses, host, port, error);
    freeaddrinfo(addresses);
    return status;
}

void acceptor_start(struct acceptor *acceptor)
{
    ev_io_start(acceptor->loop, &acceptor->readable);
}

void acceptor_close(struct acceptor *acceptor)
{
    if (acceptor->fd < 0)
        return;
    ev_io_stop(acceptor->loop, &acceptor->readable);
    ev_timer_stop(acceptor->loop, &acceptor->pause);
    (void)close(acceptor->fd);
    acceptor->fd = -1;
}
