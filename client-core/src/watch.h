/* Noticing that a file is written, without looking again and again. */
#ifndef SATCHEL_WATCH_H
#define SATCHEL_WATCH_H

/* A descriptor that becomes readable when somebody writes to the file, the caller's to close; -1
 * where the system has nothing of the kind, or there is no such file. */
int satchel_watch_open(const char *path);
/* Takes what it has noticed so far. */
void satchel_watch_take(int descriptor);

#endif
