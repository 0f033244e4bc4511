/* Who is at the other end of a connection: its address for the log, and for counting. */
#ifndef SATCHEL_PEER_H
#define SATCHEL_PEER_H

#include <satchel/id.h>

enum { PEER_ADDRESS_BYTES = 46 }; /* an IP address as text, with the NUL */

/* What a proxy says of whom it forwards: the last address of an X-Forwarded-For header, which is
 * the one that the proxy itself has added. False: it is none. */
bool peer_forwarded(const char *header, char address[PEER_ADDRESS_BYTES]);
/* "ADDRESS:PORT" of the other end of a socket, or "a peer that is gone"; behind a proxy that says
 * so (`forwarded`, else NULL) "ADDRESS by way of ADDRESS:PORT". */
void peer_text(int fd, const char *forwarded, char *text, size_t room);
/* The address, without the port, as 16 bytes: IPv6, of which the first half names a household, or
 * IPv4 within it. Zero: the peer is gone. */
struct satchel_id peer_address(int fd, const char *forwarded);

#endif
