/* A descriptor that is kept in somebody else's process. The program may close all that it does not know, as daemons do, and its next file
 * then has the same number: nothing of it may be read, written or closed for ours. */
#pragma once
#include <stdint.h>

struct owned {
    int fd; /* −1: none */
    uint64_t device, inode;
};

#define OWNED_NONE ((struct owned){.fd = -1})

struct owned owned_take(int fd);         /* −1: none */
int owned_fd(const struct owned *owned); /* −1: none, or the number is another file's by now */
void owned_close(struct owned *owned);   /* where it is still ours; none afterwards */
