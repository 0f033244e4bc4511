/* Noticing that a file is written, without looking again and again. */
#ifndef SATCHEL_WATCH_H
#define SATCHEL_WATCH_H

/* A descriptor, the caller's to close; -1 where the system has nothing of the kind. */
int satchel_watch_open(void);
/* The next write to the file makes the descriptor readable, once. Fine if there is no such file, or
 * the descriptor is -1. */
void satchel_watch_arm(int descriptor, const char *path);
/* Takes what it has noticed: it is not readable any more. */
void satchel_watch_take(int descriptor);

#endif
