/* Owns the system's ways to notice writes to a file: inotify, where there is one. */
#include "watch.h"

#ifdef __linux__
#include <sys/inotify.h>
#include <unistd.h>

int satchel_watch_open(const char *path)
{
    int descriptor = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (descriptor < 0)
        return -1;
    if (inotify_add_watch(descriptor, path, IN_MODIFY) >= 0)
        return descriptor;
    close(descriptor);
    return -1;
}

void satchel_watch_take(int descriptor)
{
    char events[4096];
    while (read(descriptor, events, sizeof events) > 0)
        continue;
}
#else
int satchel_watch_open(const char *path)
{
    (void)path;
    return -1;
}

void satchel_watch_take(int descriptor)
{
    (void)descriptor;
}
#endif
