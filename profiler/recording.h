/* A recording: all that workers said, with its times, in a file that can be played again. A header line, then frames of
 * struct recording_frame and payload; every frame carries a check sum. Host byte order: it is for the machine that made
 * it and its like, and the header says which version of steptop that was. */
#pragma once
#include "profiler/protocol.h"

struct recording_frame {
    uint64_t time; /* CLOCK_MONOTONIC of the session that recorded */
    uint32_t run, type, length, rank;
    uint64_t check; /* of the fields above and the payload */
};

struct recording_writer;
/* Makes or overwrites a plain file; refuses a symbolic link, a folder, a device. */
struct recording_writer *recording_create(const char *path, struct error *error);
/* False once and for all when the file cannot be written (a full disk): what is there stays playable. */
bool recording_write(struct recording_writer *writer, uint32_t run, uint32_t rank, uint32_t type, const void *first,
                     size_t first_length, const void *second, size_t second_length, struct error *error);
bool recording_flush(struct recording_writer *writer, struct error *error);
void recording_close(struct recording_writer *writer);

struct recording_reader;
struct recording_reader *recording_open(const char *path, struct error *error);
enum recording_state { RECORDING_FRAME, RECORDING_END, RECORDING_BROKEN };
/* The next frame, its type and length checked; payload is aligned and stays valid until the next call. A file that was
 * cut short and one that was damaged are RECORDING_BROKEN; the error names the byte where. */
enum recording_state recording_next(struct recording_reader *reader, struct recording_frame *frame,
                                    const void **payload, struct error *error);
void recording_reader_close(struct recording_reader *reader);
