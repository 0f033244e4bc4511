/* Noticing that a file is written, without looking again and again; and short waits. */
#ifndef SATCHEL_WATCH_H
#define SATCHEL_WATCH_H

/* A descriptor, the caller's to close; -1 where the system has nothing of the kind. */
int satchel_watch_open(void);
/* The next write to the file makes the descriptor readable, once. Fine if there is no such file, or
 * the descriptor is -1. */
void satchel_watch_arm(int descriptor, const char *path);
/* Takes what it has noticed: it is not readable any more. */
void satchel_watch_take(int descriptor);

/* A timer as a descriptor, for waits that are shorter than what a loop can count: as above. */
int satchel_timer_open(void);
/* Readable after so long, once; what was set before counts no more. */
void satchel_timer_set(int descriptor, unsigned us);
void satchel_timer_take(int descriptor);

#endif
