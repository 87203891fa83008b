#include "base/owned.h"
#include <sys/stat.h>
#include <unistd.h>

struct owned owned_take(int fd)
{
    struct stat about;
    if (fd < 0 || fstat(fd, &about) != 0)
        return OWNED_NONE;
    return (struct owned){.fd = fd, .device = (uint64_t)about.st_dev, .inode = (uint64_t)about.st_ino};
}

int owned_fd(const struct owned *owned)
{
    struct stat about;
    if (owned->fd < 0 || fstat(owned->fd, &about) != 0)
        return -1;
    return (uint64_t)about.st_dev == owned->device && (uint64_t)about.st_ino == owned->inode ? owned->fd : -1;
}

void owned_close(struct owned *owned)
{
    const int fd = owned_fd(owned);
    *owned = OWNED_NONE;
    if (fd >= 0)
        close(fd);
}
