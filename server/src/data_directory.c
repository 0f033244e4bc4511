/* Owns DIR itself, DIR/lock and DIR/admin.token. Knows nothing of workspaces. */
#include "data_directory.h"

#include "logging.h"

#include <errno.h>
#include <fcntl.h>
#include <satchel/id.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKEN_FILE "admin.token"
#define TOKEN_FILE_NEW "admin.token.new"
#define TOKEN_FILE_BYTES (SATCHEL_ADMIN_TOKEN_CHARS + 1) /* with the line end */

static enum satchel_status io_error(struct satchel_error *error, const char *what, const char *path,
                                    const char *file)
{
    int code = errno;
    enum satchel_status status =
        satchel_error_set(error, SATCHEL_IO, "cannot %s %s%s%s: %s", what, path, file ? "/" : "",
                          file ? file : "", strerror(code));
    if (error)
        error->native_code = code;
    return status;
}

static enum satchel_status open_directory(const char *path, int *out, struct satchel_error *error)
{
    struct stat facts;

    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return io_error(error, "make the data directory", path, NULL);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return io_error(error, "open the data directory", path, NULL);
    if (fstat(fd, &facts) == 0 && (facts.st_mode & 077) != 0)
        satchel_log_warning(
            "the data directory %s is open to other users of this machine: chmod 700 "
            "it",
            path);
    *out = fd;
    return SATCHEL_OK;
}

static enum satchel_status lock_directory(int directory_fd, const char *path, int *out,
                                          struct satchel_error *error)
{
    int fd = openat(directory_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return io_error(error, "open", path, "lock");
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *out = fd;
        return SATCHEL_OK;
    }
    enum satchel_status status =
        errno == EWOULDBLOCK
            ? satchel_error_set(error, SATCHEL_BUSY,
                                "another satcheld runs on the data directory %s: stop it or choose "
                                "another --data",
                                path)
            : io_error(error, "lock", path, "lock");
    (void)close(fd);
    return status;
}

static bool write_whole(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, bytes, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        bytes += written;
        size -= (size_t)written;
    }
    return true;
}

/* Under another name first: a crash never leaves half a token. */
static enum satchel_status make_token(struct satchel_data_directory *directory, int directory_fd,
                                      struct satchel_error *error)
{
    uint8_t secret[SATCHEL_ADMIN_TOKEN_CHARS / 2];
    char line[TOKEN_FILE_BYTES + 1];
    enum satchel_status status = SATCHEL_OK;

    randombytes_buf(secret, sizeof secret);
    satchel_hex(satchel_span_of(secret, sizeof secret), directory->admin_token);
    (void)snprintf(line, sizeof line, "%s\n", directory->admin_token);
    int fd = openat(directory_fd, TOKEN_FILE_NEW,
                    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fchmod(fd, 0600) != 0 || !write_whole(fd, line, TOKEN_FILE_BYTES) ||
        fsync(fd) != 0 || renameat(directory_fd, TOKEN_FILE_NEW, directory_fd, TOKEN_FILE) != 0 ||
        fsync(directory_fd) != 0)
        status = io_error(error, "write", directory->path, TOKEN_FILE);
    if (fd >= 0)
        (void)close(fd);
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(line, sizeof line);
    return status;
}

/* The hex of a token with at most white space behind it. */
static bool token_is_whole(const char *text, ssize_t size)
{
    if (size < SATCHEL_ADMIN_TOKEN_CHARS ||
        strspn(text, "0123456789abcdef") != SATCHEL_ADMIN_TOKEN_CHARS)
        return false;
    return strspn(text + SATCHEL_ADMIN_TOKEN_CHARS, "\r\n \t") ==
           (size_t)size - SATCHEL_ADMIN_TOKEN_CHARS;
}

static enum satchel_status load_token(struct satchel_data_directory *directory, int directory_fd,
                                      struct satchel_error *error)
{
    char text[TOKEN_FILE_BYTES + 16] = {0};
    struct stat facts;
    int fd = openat(directory_fd, TOKEN_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0 && errno == ENOENT)
        return make_token(directory, directory_fd, error);
    if (fd < 0)
        return io_error(error, "open", directory->path, TOKEN_FILE);
    ssize_t size = read(fd, text, sizeof text - 1);
    enum satchel_status status = SATCHEL_OK;
    if (size < 0)
        status = io_error(error, "read", directory->path, TOKEN_FILE);
    else if (!token_is_whole(text, size))
        status =
            satchel_error_set(error, SATCHEL_CORRUPT,
                              "%s/" TOKEN_FILE " holds no token (64 hex digits): delete it and "
                              "start again to have a new one",
                              directory->path);
    else
        memcpy(directory->admin_token, text, SATCHEL_ADMIN_TOKEN_CHARS);
    if (status == SATCHEL_OK && fstat(fd, &facts) == 0 && (facts.st_mode & 077) != 0)
        satchel_log_warning("%s/" TOKEN_FILE
                            " can be read by other users of this machine: chmod 600 "
                            "it, or delete it and start again to have a new one",
                            directory->path);
    sodium_memzero(text, sizeof text);
    (void)close(fd);
    return status;
}

enum satchel_status satchel_data_directory_open(struct satchel_data_directory *out,
                                                const char *path, struct satchel_error *error)
{
    int directory_fd = -1;
    enum satchel_status status;

    memset(out, 0, sizeof *out);
    out->path = path;
    out->lock_fd = -1;
    status = open_directory(path, &directory_fd, error);
    if (status != SATCHEL_OK)
        goto cleanup;
    status = lock_directory(directory_fd, path, &out->lock_fd, error);
    if (status != SATCHEL_OK)
        goto cleanup;
    status = load_token(out, directory_fd, error);
cleanup:
    if (directory_fd >= 0)
        (void)close(directory_fd);
    if (status != SATCHEL_OK)
        satchel_data_directory_close(out);
    return status;
}

void satchel_data_directory_close(struct satchel_data_directory *directory)
{
    if (directory->lock_fd >= 0)
        (void)close(directory->lock_fd);
    directory->lock_fd = -1;
    sodium_memzero(directory->admin_token, sizeof directory->admin_token);
}

bool satchel_data_directory_token_matches(const struct satchel_data_directory *directory,
                                          struct satchel_span token)
{
    while (token.size > 0 &&
           (token.data[token.size - 1] == '\n' || token.data[token.size - 1] == '\r'))
        token.size--;
    return token.size == SATCHEL_ADMIN_TOKEN_CHARS &&
           sodium_memcmp(token.data, directory->admin_token, SATCHEL_ADMIN_TOKEN_CHARS) == 0;
}
