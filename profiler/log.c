#include "profiler/log.h"
#include "base/clock.h"
#include "profiler/protocol.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void log_add(struct log *log, uint32_t run, bool is_error, const char *text, size_t length)
{
    if (!log->lines && !(log->lines = calloc(LOG_LINES, sizeof *log->lines)))
        return; /* a line of a log is nothing to end a session for */
    while (length && (text[length - 1] == '\r' || text[length - 1] == ' '))
        length--;
    char line[LOG_LINE_MAX + 1];
    text_copy(line, sizeof line, text, length);
    char *copy = strdup(line);
    if (!copy)
        return;
    struct log_line *place = &log->lines[(log->first + log->count) % LOG_LINES];
    if (log->count == LOG_LINES) {
        free((char *)place->text);
        log->first = (log->first + 1) % LOG_LINES;
    } else {
        log->count++;
    }
    *place = (struct log_line){.time = clock_now(), .run = run, .is_error = is_error, .text = copy};
}

void log_event(struct log *log, uint32_t run, const char *format, ...)
{
    char text[LOG_LINE_MAX];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    log_add(log, run, false, text, strlen(text));
    if (log->count)
        log->lines[(log->first + log->count - 1) % LOG_LINES].is_event = true;
}

const struct log_line *log_line_at(const struct log *log, size_t index)
{
    return index < log->count ? &log->lines[(log->first + index) % LOG_LINES] : NULL;
}

void log_release(struct log *log)
{
    for (size_t i = 0; i < log->count; i++)
        free((char *)log->lines[(log->first + i) % LOG_LINES].text);
    free(log->lines);
    *log = (struct log){0};
}

void log_stream_add(struct log_stream *stream, const char *bytes, size_t length, log_sink sink, void *context)
{
    while (length) {
        const char *end = memchr(bytes, '\n', length);
        const size_t part = end ? (size_t)(end - bytes) : length;
        const size_t room = sizeof stream->text - stream->length;
        if (!stream->cut) {
            const size_t taken = part < room ? part : room;
            memcpy(stream->text + stream->length, bytes, taken);
            stream->length += taken;
            if (stream->length == sizeof stream->text) {
                sink(context, stream->text, stream->length);
                stream->length = 0;
                stream->cut = true;
            }
        }
        if (end) {
            if (!stream->cut)
                sink(context, stream->text, stream->length);
            stream->length = 0;
            stream->cut = false;
        }
        bytes += part + (end != NULL);
        length -= part + (end != NULL);
    }
}

void log_stream_end(struct log_stream *stream, log_sink sink, void *context)
{
    if (stream->length)
        sink(context, stream->text, stream->length);
    stream->length = 0;
    stream->cut = false;
}
