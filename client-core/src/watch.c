/* Owns the system's ways to notice writes to a file: inotify, where there is one. */
#include "watch.h"

#ifdef __linux__
#include <sys/inotify.h>
#include <unistd.h>

int satchel_watch_open(void)
{
    return inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
}

void satchel_watch_arm(int descriptor, const char *path)
{
    (void)inotify_add_watch(descriptor, path, IN_MODIFY | IN_ONESHOT);
}

void satchel_watch_take(int descriptor)
{
    char events[4096];
    while (read(descriptor, events, sizeof events) > 0)
        continue;
}
#else
int satchel_watch_open(void)
{
    return -1;
}

void satchel_watch_arm(int descriptor, const char *path)
{
    (void)descriptor, (void)path;
}

void satchel_watch_take(int descriptor)
{
    (void)descriptor;
}
#endif
