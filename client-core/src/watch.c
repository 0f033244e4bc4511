/* Owns the system's ways to notice writes to a file and to wait: inotify and timerfd, where they
 * are. */
#include "watch.h"

#ifdef __linux__
#include <stdint.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
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

int satchel_timer_open(void)
{
    return timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
}

void satchel_timer_set(int descriptor, unsigned us)
{
    const struct itimerspec after = {
        .it_value = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000}};
    (void)timerfd_settime(descriptor, 0, &after, NULL);
}

void satchel_timer_take(int descriptor)
{
    uint64_t expirations;
    while (read(descriptor, &expirations, sizeof expirations) > 0)
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

int satchel_timer_open(void)
{
    return -1;
}

void satchel_timer_set(int descriptor, unsigned us)
{
    (void)descriptor, (void)us;
}

void satchel_timer_take(int descriptor)
{
    (void)descriptor;
}
#endif
