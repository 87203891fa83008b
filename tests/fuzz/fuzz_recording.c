/* A worker that lies, by way of a recording: frames with any type and payload, their check sums right, are replayed into a
 * session; what comes of it is made a report and written. Input: frames of type (1 byte), length (2 bytes), payload. With FUZZ_ATTACH it is
 * the library in three processes of a program that is attached to: the byte of the type counts them as well, in its upper two bits. */
#include "fuzz.h"
#include "profiler/recording.h"
#include "report/report.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool write_frames(const char *path, const uint8_t *data, size_t size)
{
    struct error error = {0};
    struct recording_writer *writer = recording_create(path, &error);
    if (!writer)
        return false;
    struct message_run run = {.version = PROTOCOL_VERSION, .cell_bytes = sizeof run.cell};
#ifdef FUZZ_ATTACH
    const uint32_t rank_shift = 6, types = 1u << rank_shift;
    cell_of_command(&run.cell, "python train.py");
#else
    const uint32_t rank_shift = 8, types = 1u << rank_shift;
    cell_default(&run.cell);
    cell_set(&run.cell, "model", "tiny", &error);
    cell_set(&run.cell, "batch_size", "1", &error);
    cell_set(&run.cell, "context_length", "8", &error);
#endif
    bool good = recording_write(writer, 1, 0, MESSAGE_RUN, &run, sizeof run, NULL, 0, &error);
    for (size_t at = 0; good && at + 3 <= size;) {
        const size_t length = data[at + 1] | (size_t)data[at + 2] << 8, left = size - at - 3;
        const size_t used = length < left ? length : left;
        if (used <= MESSAGE_MAX)
            good = recording_write(writer, 1, data[at] >> rank_shift, data[at] % types, data + at + 3, used, NULL, 0, &error);
        at += 3 + used;
    }
    recording_close(writer);
    return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/dev/shm/fuzz-steptop-%d", (int)getpid());
    const struct session_options options = {.program = "/nonexistent", .timeline_records = 64, .ring_records = 64};
    struct error error = {0};
    struct session *session = session_create(&options, &error);
    if (!session)
        abort();
    write_frames(path, data, size);
    if (session_replay(session, path, 0, &error)) {
        for (int i = 0; i < 10000 && !session_idle(session); i++)
            session_step(session);
        if (!session_idle(session))
            abort();
        struct report report;
        struct strbuf text = {0};
        report_init(&report);
        report_update(&report, session);
        report_emit(&report, FORMAT_YAML, &text);
        struct report again;
        struct strbuf second = {0};
        if (!report_parse(text.text, text.length, "written.yaml", &again, &error)) {
            fprintf(stderr, "%s\n", error.text);
            abort(); /* what is written is read */
        }
        report_emit(&again, FORMAT_YAML, &second);
        if (second.length != text.length || memcmp(second.text, text.text, text.length) != 0)
            abort();
        strbuf_release(&second);
        report_free(&again);
        report_free(&report);
        strbuf_release(&text);
    }
    session_free(session);
    unlink(path);
    return 0;
}
