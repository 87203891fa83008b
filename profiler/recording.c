#include "profiler/recording.h"
#include "base/clock.h"
#include "base/hash.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "steptop recording "
static const char recording_magic[32] = MAGIC "2\n"; /* 1 is 0.1's, whose cells are of another size */

struct recording_writer {
    FILE *file;
    char *path;
    bool failed;
    char buffer[1 << 18];
};

struct recording_reader {
    FILE *file;
    char *path;
    uint64_t offset;
    _Alignas(16) unsigned char payload[MESSAGE_MAX];
};

/* Word by word, so that it costs less than the copy: each word is folded in by FNV's step on 64 bits and a turn that lets
 * high bits reach low ones. It is for damage, not against forgery; forged content is checked like a worker's. */
static uint64_t check_add(uint64_t check, const void *bytes, size_t length)
{
    const unsigned char *from = bytes;
    for (; length; length -= length < 8 ? length : 8, from += 8) {
        uint64_t word = 0;
        memcpy(&word, from, length < 8 ? length : 8);
        check = (check ^ word) * 0x9e3779b97f4a7c15u;
        check ^= check >> 29;
    }
    return check;
}

static uint64_t frame_check(const struct recording_frame *frame)
{
    return check_add(HASH_START, frame, offsetof(struct recording_frame, check));
}

struct recording_writer *recording_create(const char *path, struct error *error)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
    struct stat status;
    if (fd < 0) {
        error_set(error, ERROR_SYSTEM, "cannot write the recording %s: %s", path,
                  errno == ELOOP ? "it is a symbolic link" : strerror(errno));
        return NULL;
    }
    /* Looked at before it is cut to nothing: what is no plain file is left alone. */
    if (fstat(fd, &status) || !S_ISREG(status.st_mode) || ftruncate(fd, 0)) {
        error_set(error, ERROR_SYSTEM, "cannot write the recording %s: it is not a plain file", path);
        close(fd);
        return NULL;
    }
    struct recording_writer *writer = calloc(1, sizeof *writer);
    if (writer) {
        writer->path = strdup(path);
        writer->file = fdopen(fd, "w");
    }
    if (!writer || !writer->path || !writer->file) {
        error_set(error, ERROR_MEMORY, "no memory for the recording %s", path);
        if (!writer || !writer->file)
            close(fd);
        recording_close(writer);
        return NULL;
    }
    setvbuf(writer->file, writer->buffer, _IOFBF, sizeof writer->buffer);
    if (fwrite(recording_magic, sizeof recording_magic, 1, writer->file) != 1 || fflush(writer->file)) {
        error_set(error, ERROR_SYSTEM, "cannot write the recording %s: %s", path, strerror(errno));
        recording_close(writer);
        return NULL;
    }
    return writer;
}

static bool write_failed(struct recording_writer *writer, struct error *error)
{
    writer->failed = true;
    return error_set(error, ERROR_SYSTEM, "cannot write the recording %s: %s; it ends here", writer->path,
                     strerror(errno));
}

bool recording_write(struct recording_writer *writer, uint32_t run, uint32_t rank, uint32_t type, const void *first,
                     size_t first_length, const void *second, size_t second_length, struct error *error)
{
    if (writer->failed)
        return true; /* said once */
    struct recording_frame frame = {.time = clock_now(),
                                    .run = run,
                                    .type = type,
                                    .length = (uint32_t)(first_length + second_length),
                                    .rank = rank};
    /* The payload is summed in one piece, as it is read. */
    unsigned char joint[MESSAGE_MAX];
    if (first_length + second_length > sizeof joint)
        return error_set(error, ERROR_INTERNAL, "a %s frame of %zu bytes", message_name(type),
                         first_length + second_length);
    const void *payload = first;
    if (second_length) {
        memcpy(joint, first, first_length);
        memcpy(joint + first_length, second, second_length);
        payload = joint;
    }
    frame.check = check_add(frame_check(&frame), payload, frame.length);
    if (fwrite(&frame, sizeof frame, 1, writer->file) != 1 ||
        (frame.length && fwrite(payload, frame.length, 1, writer->file) != 1))
        return write_failed(writer, error);
    return true;
}

bool recording_flush(struct recording_writer *writer, struct error *error)
{
    return writer->failed || fflush(writer->file) == 0 || write_failed(writer, error);
}

void recording_close(struct recording_writer *writer)
{
    if (!writer)
        return;
    if (writer->file)
        fclose(writer->file);
    free(writer->path);
    free(writer);
}

/* 0: none. */
static int reader_version(const char magic[sizeof recording_magic])
{
    char text[sizeof recording_magic + 1] = "";
    memcpy(text, magic, sizeof recording_magic);
    return strncmp(text, MAGIC, strlen(MAGIC)) == 0 ? atoi(text + strlen(MAGIC)) : 0;
}

struct recording_reader *recording_open(const char *path, struct error *error)
{
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat status;
    if (fd < 0) {
        error_set(error, ERROR_INPUT, "cannot read the recording %s: %s", path, strerror(errno));
        return NULL;
    }
    struct recording_reader *reader = NULL;
    if (fstat(fd, &status) || !S_ISREG(status.st_mode)) {
        error_set(error, ERROR_INPUT, "cannot read the recording %s: it is not a plain file", path);
        close(fd);
        return NULL;
    }
    reader = calloc(1, sizeof *reader);
    if (!reader || !(reader->path = strdup(path)) || !(reader->file = fdopen(fd, "r"))) {
        error_set(error, ERROR_MEMORY, "no memory for the recording %s", path);
        close(fd);
        recording_reader_close(reader);
        return NULL;
    }
    char magic[sizeof recording_magic] = "";
    if (fread(magic, sizeof magic, 1, reader->file) != 1 || memcmp(magic, recording_magic, sizeof magic) != 0) {
        const int other = reader_version(magic);
        if (other > 0)
            error_set(
                error, ERROR_INPUT,
                "%s is a recording in version %d of the format, of another steptop; this one replays version 2: record "
                "anew, or use the steptop that made it",
                path, other);
        else
            error_set(error, ERROR_INPUT, "%s is not a recording", path);
        recording_reader_close(reader);
        return NULL;
    }
    reader->offset = sizeof magic;
    return reader;
}

enum recording_state recording_next(struct recording_reader *reader, struct recording_frame *frame,
                                    const void **payload, struct error *error)
{
    const size_t got = fread(frame, 1, sizeof *frame, reader->file);
    if (got == 0 && feof(reader->file))
        return RECORDING_END;
    const char *trouble = NULL;
    if (got != sizeof *frame)
        trouble = "the file is cut short";
    else if (!message_length_valid(frame->type, frame->length))
        trouble = "this is no frame";
    else if (frame->length && fread(reader->payload, frame->length, 1, reader->file) != 1)
        trouble = "the file is cut short";
    else if (check_add(frame_check(frame), reader->payload, frame->length) != frame->check)
        trouble = "the frame is damaged";
    if (trouble) {
        error_set(error, ERROR_INPUT, "%s: byte %llu: %s", reader->path, (unsigned long long)reader->offset, trouble);
        return RECORDING_BROKEN;
    }
    reader->offset += sizeof *frame + frame->length;
    *payload = reader->payload;
    return RECORDING_FRAME;
}

void recording_reader_close(struct recording_reader *reader)
{
    if (!reader)
        return;
    if (reader->file)
        fclose(reader->file);
    free(reader->path);
    free(reader);
}
