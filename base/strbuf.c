#include "base/strbuf.h"
#include "base/vec.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void reserve(struct strbuf *buffer, size_t extra)
{
    buffer->text = vec_grow(buffer->text, &buffer->capacity, buffer->length + extra + 1, 1);
}

void strbuf_add(struct strbuf *buffer, const char *text, size_t length)
{
    reserve(buffer, length);
    memcpy(buffer->text + buffer->length, text, length);
    buffer->length += length;
    buffer->text[buffer->length] = 0;
}

void strbuf_puts(struct strbuf *buffer, const char *text)
{
    strbuf_add(buffer, text, strlen(text));
}

void strbuf_putc(struct strbuf *buffer, char c)
{
    strbuf_add(buffer, &c, 1);
}

void strbuf_printf(struct strbuf *buffer, const char *format, ...)
{
    va_list list;
    reserve(buffer, 80);
    va_start(list, format);
    const int length = vsnprintf(buffer->text + buffer->length, buffer->capacity - buffer->length, format, list);
    va_end(list);
    if (length < 0)
        return;
    if (buffer->length + (size_t)length >= buffer->capacity) {
        reserve(buffer, (size_t)length);
        va_start(list, format);
        vsnprintf(buffer->text + buffer->length, buffer->capacity - buffer->length, format, list);
        va_end(list);
    }
    buffer->length += (size_t)length;
}

void strbuf_unsigned(struct strbuf *buffer, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    strbuf_add(buffer, digits + at, sizeof digits - at);
}

void strbuf_clear(struct strbuf *buffer)
{
    buffer->length = 0;
    if (buffer->text)
        buffer->text[0] = 0;
}

void strbuf_release(struct strbuf *buffer)
{
    free(buffer->text);
    *buffer = (struct strbuf){0};
}
