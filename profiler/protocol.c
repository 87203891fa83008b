#include "profiler/protocol.h"
#include "base/text.h"
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* SO_NOSIGPIPE is set instead */
#endif

static const struct {
    const char *name;
    uint32_t least, most;
} messages[MESSAGE_TYPE_COUNT] = {
    [MESSAGE_CELL] = {"cell", sizeof(struct message_cell), sizeof(struct message_cell)},
    [MESSAGE_STOP] = {"stop", 0, 0},
    [MESSAGE_ACTIVITY] = {"activity", 0, 256},
    [MESSAGE_STAGE] = {"stage", 1, 256},
    [MESSAGE_NAME] = {"kernel name", sizeof(struct message_name) + 1, sizeof(struct message_name) + AGGREGATE_NAME_MAX},
    [MESSAGE_NOTE] = {"note", 2, 2048},
    [MESSAGE_DEVICE] = {"device", sizeof(struct device_info), sizeof(struct device_info)},
    [MESSAGE_PLAN] = {"plan", offsetof(struct message_plan, overlap_ops), sizeof(struct message_plan)},
    [MESSAGE_PREPARED] = {"prepared", sizeof(struct message_prepared), sizeof(struct message_prepared)},
    [MESSAGE_SAMPLE] = {"sample", sizeof(struct sample), sizeof(struct sample)},
    [MESSAGE_MEMORY] = {"memory", sizeof(struct message_memory), sizeof(struct message_memory)},
    [MESSAGE_TELEMETRY] = {"telemetry", sizeof(struct device_telemetry), sizeof(struct device_telemetry)},
    [MESSAGE_CEILINGS] = {"ceilings", sizeof(struct message_ceilings), sizeof(struct message_ceilings)},
    [MESSAGE_END] = {"end", sizeof(struct message_end), sizeof(struct message_end) + 2048},
    [MESSAGE_RUN] = {"run", sizeof(struct message_run), sizeof(struct message_run)},
    [MESSAGE_RECORDS] = {"records", sizeof(struct record), MESSAGE_MAX},
    [MESSAGE_LOG] = {"log", 1, MESSAGE_MAX},
    [MESSAGE_RESULT] = {"result", sizeof(struct message_result), sizeof(struct message_result) + 2048},
    [MESSAGE_HELLO] = {"hello", sizeof(struct message_hello), sizeof(struct message_hello) + 1024},
    [MESSAGE_ATTACH] = {"attach", sizeof(struct message_attach), sizeof(struct message_attach)},
    [MESSAGE_SUSPENDED] = {"suspended", sizeof(struct message_suspended), sizeof(struct message_suspended)},
    [MESSAGE_USE] = {"use of processors", sizeof(struct machine_use), sizeof(struct machine_use)},
    [MESSAGE_PROGRAM] = {"program", offsetof(struct program_facts, peak_bytes), sizeof(struct program_facts)},
    [MESSAGE_MACHINE] = {"machine", sizeof(struct machine_load), sizeof(struct machine_load)},
    [MESSAGE_SCOPE] = {"scope", sizeof(struct message_scope) + 1, sizeof(struct message_scope) + PLACE_TEXT_MAX},
    [MESSAGE_PLACE] = {"place", sizeof(struct message_place) + 1, sizeof(struct message_place) + 2 * PLACE_TEXT_MAX},
    [MESSAGE_WORK] = {"work", sizeof(struct message_work), sizeof(struct message_work)},
    [MESSAGE_CHALLENGE] = {"challenge", sizeof(struct message_challenge), sizeof(struct message_challenge)},
    [MESSAGE_JOIN] = {"join", sizeof(struct message_join), sizeof(struct message_join)},
    [MESSAGE_JOINED] = {"joined", sizeof(struct message_joined), sizeof(struct message_joined)},
    [MESSAGE_REFUSED] = {"refused", 1, 512},
    [MESSAGE_PING] = {"ping", sizeof(struct message_ping), sizeof(struct message_ping)},
    [MESSAGE_PONG] = {"pong", sizeof(struct message_pong), sizeof(struct message_pong)},
    [MESSAGE_EXIT] = {"exit", sizeof(struct message_exit), sizeof(struct message_exit)},
    [MESSAGE_BYE] = {"goodbye", 0, 0},
    [MESSAGE_DROPPED] = {"dropped", sizeof(struct message_dropped), sizeof(struct message_dropped)},
    [MESSAGE_PEAK] = {"peak", sizeof(struct message_peak), sizeof(struct message_peak)},
    [MESSAGE_COUNTERS] = {"counters", offsetof(struct message_counters, own), sizeof(struct message_counters)},
};

const char *message_name(uint32_t type)
{
    return type < MESSAGE_TYPE_COUNT && messages[type].name ? messages[type].name : "unknown";
}

bool message_length_valid(uint32_t type, uint32_t length)
{
    return type < MESSAGE_TYPE_COUNT && messages[type].name && length >= messages[type].least &&
           length <= messages[type].most && (type != MESSAGE_RECORDS || length % sizeof(struct record) == 0);
}

enum inbox_state inbox_next(struct inbox *inbox, int fd, struct message_header *header, const void **payload)
{
    /* Frames are moved to the front of the store before they are handed out, so that a payload is aligned: it begins
     * right after a header of eight bytes. */
    if (inbox->taken) {
        inbox->filled -= inbox->taken;
        memmove(inbox->bytes, inbox->bytes + inbox->taken, inbox->filled);
        inbox->taken = 0;
    }
    for (;;) {
        if (inbox->filled >= sizeof *header) {
            memcpy(header, inbox->bytes, sizeof *header);
            if (!message_length_valid(header->type, header->length))
                return INBOX_BROKEN;
            if (inbox->filled >= sizeof *header + header->length) {
                *payload = inbox->bytes + sizeof *header;
                inbox->taken = sizeof *header + header->length;
                return INBOX_MESSAGE;
            }
        }
        const ssize_t got = recv(fd, inbox->bytes + inbox->filled, sizeof inbox->bytes - inbox->filled, MSG_DONTWAIT);
        if (got > 0)
            inbox->filled += (size_t)got;
        else if (got < 0 && errno == EINTR)
            continue;
        else if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return INBOX_EMPTY;
        else
            return INBOX_CLOSED; /* also a reset: the other side is gone either way */
    }
}

bool message_send(int fd, uint32_t type, const void *first, size_t first_length, const void *second,
                  size_t second_length, struct error *error)
{
    struct message_header header = {type, (uint32_t)(first_length + second_length)};
    if (!message_length_valid(type, header.length))
        return error_set(error, ERROR_INTERNAL, "a %s message of %u bytes", message_name(type), header.length);
    struct iovec parts[3] = {{&header, sizeof header}, {(void *)first, first_length}, {(void *)second, second_length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
    while (message.msg_iovlen) {
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return error_set(error, ERROR_SYSTEM, "cannot send a %s message: %s", message_name(type), strerror(errno));
        while (message.msg_iovlen && (size_t)sent >= message.msg_iov->iov_len) {
            sent -= (ssize_t)message.msg_iov->iov_len;
            message.msg_iov++;
            message.msg_iovlen--;
        }
        if (message.msg_iovlen) {
            message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + sent;
            message.msg_iov->iov_len -= (size_t)sent;
        }
    }
    return true;
}

void text_clean(char *text, size_t length)
{
    for (size_t i = 0; i < length;) {
        unsigned c;
        size_t step = utf8_decode(text + i, length - i, &c);
        if (!step || is_unsafe_character(c)) {
            text[i] = text[i] == '\t' ? ' ' : '?';
            step = 1;
        }
        i += step;
    }
}

void text_copy(char *to, size_t size, const void *text, size_t length)
{
    length = strnlen(text, length);
    if (length >= size) {
        length = size - 1;
        while (length && (((const unsigned char *)text)[length] & 0xc0) == 0x80)
            length--;
    }
    memcpy(to, text, length);
    to[length] = 0;
    text_clean(to, length);
}
