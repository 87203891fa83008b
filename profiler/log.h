/* The newest lines that runs printed, bounded in number and length. */
#pragma once
#include "profiler/session.h"

#define LOG_LINES 10000
#define LOG_LINE_MAX 1024

struct log {
    struct log_line *lines; /* a ring of LOG_LINES, made on the first line */
    size_t first, count;
};

/* A copy of the text, cleaned and cut to LOG_LINE_MAX. */
void log_add(struct log *log, uint32_t run, bool is_error, const char *text, size_t length);
const struct log_line *log_line_at(const struct log *log, size_t index); /* 0: the oldest; NULL beyond */
/* What a run is at, or was and for how long: an event of ours among its lines. */
void log_event(struct log *log, uint32_t run, const char *format, ...) __attribute__((format(printf, 3, 4)));
void log_release(struct log *log);

/* Bytes of a stream on their way to lines. A line without an end is handed on when it reaches LOG_LINE_MAX. */
struct log_stream {
    size_t length;
    bool cut; /* the rest of an overlong line is still to come and is dropped */
    char text[LOG_LINE_MAX];
};
typedef void (*log_sink)(void *context, const char *line, size_t length);
void log_stream_add(struct log_stream *stream, const char *bytes, size_t length, log_sink sink, void *context);
void log_stream_end(struct log_stream *stream, log_sink sink, void *context);
