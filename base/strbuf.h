/* A growing string. All zero is an empty one; `text` is always terminated once anything was added. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strbuf {
    char *text;
    size_t length, capacity;
};

void strbuf_add(struct strbuf *buffer, const char *text, size_t length);
void strbuf_puts(struct strbuf *buffer, const char *text);
void strbuf_putc(struct strbuf *buffer, char c);
void strbuf_printf(struct strbuf *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
void strbuf_unsigned(struct strbuf *buffer, uint64_t value); /* decimal; for bulk, where printf is slow */
void strbuf_clear(struct strbuf *buffer);                    /* keeps the storage */
void strbuf_release(struct strbuf *buffer);
