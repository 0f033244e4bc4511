/* Owns what the product asks of the file system itself, not through SQLite: the lock on
 * REPLICA-ckpt, and whether a file is there (the linker's --wrap). */
#include "disk.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIRST_FD = 1 << 20, FDS_MAX = 1 << 12 };
static struct lock_file {
    char name[96];
    const struct sim_process *process;
    bool is_open, is_locked;
} lock_files[FDS_MAX];

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    if (strncmp(path, "/sim/", 5) != 0) {
        va_list arguments;
        va_start(arguments, flags);
        int mode = flags & O_CREAT ? va_arg(arguments, int) : 0;
        va_end(arguments);
        return __real_open(path, flags, mode);
    }
    for (int i = 0; i < FDS_MAX; i++)
        if (!lock_files[i].is_open) {
            lock_files[i] = (struct lock_file){.process = sim.process, .is_open = true};
            snprintf(lock_files[i].name, sizeof lock_files[i].name, "%s", path);
            return FIRST_FD + i;
        }
    return -1;
}

int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);
int __wrap_flock(int fd, int operation)
{
    if (fd < FIRST_FD)
        return __real_flock(fd, operation);
    struct lock_file *file = &lock_files[fd - FIRST_FD];
    if (file->process && file->process->is_dead)
        return -1;
    for (int i = 0; i < FDS_MAX; i++)
        if (lock_files[i].is_open && lock_files[i].is_locked && &lock_files[i] != file &&
            strcmp(lock_files[i].name, file->name) == 0 &&
            !(lock_files[i].process && lock_files[i].process->is_dead))
            return -1;
    file->is_locked = true;
    return 0;
}

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    if (fd < FIRST_FD)
        return __real_close(fd);
    lock_files[fd - FIRST_FD].is_open = false;
    return 0;
}

int __real_stat(const char *path, struct stat *out);
int __wrap_stat(const char *path, struct stat *out);
int __wrap_stat(const char *path, struct stat *out)
{
    const struct sim_file *file = sim_file_find(path);
    if (!file)
        return __real_stat(path, out);
    memset(out, 0, sizeof *out);
    out->st_mode = S_IFREG | 0600;
    out->st_size = (off_t)file->size;
    return file->exists ? 0 : -1;
}
