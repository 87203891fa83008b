/* What a worker that does not keep to the rules says to its front: any bytes, any message. Descriptor 3 is the control socket;
 * a front that is gone ends the process. */
#pragma once
#include "profiler/protocol.h"
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void send_raw(const void *bytes, size_t length)
{
    while (length) {
        const ssize_t sent = send(3, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0)
            _exit(9);
        bytes = (const char *)bytes + sent;
        length -= (size_t)sent;
    }
}

static void say(uint32_t type, const void *payload, size_t length)
{
    const struct message_header header = {type, (uint32_t)length};
    send_raw(&header, sizeof header);
    send_raw(payload, length);
}
