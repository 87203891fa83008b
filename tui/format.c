#include "tui/format.h"
#include "base/unknown.h"
#include "tui/plot.h"
#include <stdio.h>
#include <string.h>

/* What printf gives for "%.*f%s", without its arithmetic of many digits: a frame has hundreds of figures. What lies near the middle
 * between two results, is negative or large is left to it. */
static void fixed(char *text, size_t size, double value, int decimals, const char *unit)
{
    static const double powers[] = {1, 10, 100, 1000};
    const double scaled = value * powers[decimals], below = floor(scaled);
    if (!(value >= 0 && scaled < 1e9) || fabs(scaled - below - 0.5) < 1e-6) {
        snprintf(text, size, "%.*f%s", decimals, value, unit);
        const size_t digits = text[0] == '-' ? 1 + strspn(text + 1, "0.") : 0;
        if (digits && strcmp(text + digits, unit) == 0) /* what a rounding left: there is no "-0 ns" */
            memmove(text, text + 1, strlen(text));
        return;
    }
    uint64_t number = (uint64_t)below + (scaled - below > 0.5);
    char digits[16];
    int at = sizeof digits;
    for (int i = 0; number || i <= decimals; i++, number /= 10) {
        if (i == decimals && decimals)
            digits[--at] = '.';
        digits[--at] = (char)('0' + number % 10);
    }
    const size_t length = sizeof digits - (size_t)at, tail = strlen(unit) + 1;
    if (length + tail > size)
        return;
    memcpy(text, digits + at, length);
    memcpy(text + length, unit, tail);
}

/* Four significant digits, with a fixed point: 1.234, 12.34, 123.4, 1234. */
static void four_digits(char *text, size_t size, double value, const char *unit)
{
    const double magnitude = fabs(value);
    const int decimals = magnitude < 9.9995 ? 3 : magnitude < 99.995 ? 2 : magnitude < 999.95 ? 1 : 0;
    fixed(text, size, value, decimals, unit);
}

static void three_digits(char *text, size_t size, double value, const char *unit)
{
    if (value == 0) {
        snprintf(text, size, "0%s", unit);
        return;
    }
    const double magnitude = fabs(value);
    const int decimals = magnitude < 9.995 ? 2 : magnitude < 99.95 ? 1 : 0;
    fixed(text, size, value, decimals, unit);
}

static bool unknown(char *text, double value)
{
    if (isfinite(value))
        return false;
    strcpy(text, "n/a");
    return true;
}

const char *format_duration(char text[FORMAT_SIZE], double ns)
{
    if (unknown(text, ns))
        return text;
    const double magnitude = fabs(ns);
    if (magnitude < 999.5)
        fixed(text, FORMAT_SIZE, ns, 0, " ns");
    else if (magnitude < 999.95e3)
        four_digits(text, FORMAT_SIZE, ns / 1e3, " µs");
    else if (magnitude < 999.95e6)
        four_digits(text, FORMAT_SIZE, ns / 1e6, " ms");
    else
        four_digits(text, FORMAT_SIZE, ns / 1e9, " s");
    return text;
}

const char *format_bytes(char text[FORMAT_SIZE], double bytes)
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB"};
    if (unknown(text, bytes))
        return text;
    size_t unit = 0;
    while (fabs(bytes) >= 1023.5 && unit + 1 < sizeof units / sizeof *units) {
        bytes /= 1024;
        unit++;
    }
    if (unit == 0)
        fixed(text, FORMAT_SIZE, bytes, 0, " B");
    else
        three_digits(text, FORMAT_SIZE, bytes, units[unit]);
    return text;
}

const char *format_rate(char text[FORMAT_SIZE], double per_second)
{
    static const char *const units[] = {"", " k", " M", " G", " T", " P"};
    if (unknown(text, per_second))
        return text;
    size_t unit = 0;
    while (fabs(per_second) >= 999.5 && unit + 1 < sizeof units / sizeof *units) {
        per_second /= 1000;
        unit++;
    }
    three_digits(text, FORMAT_SIZE, per_second, units[unit]);
    return text;
}

const char *format_count(char text[FORMAT_SIZE], double count)
{
    if (unknown(text, count))
        return text;
    if (fabs(count) < 100000)
        fixed(text, FORMAT_SIZE, count, 0, "");
    else
        format_rate(text, count);
    return text;
}

const char *format_percent(char text[FORMAT_SIZE], double fraction)
{
    if (!unknown(text, fraction))
        fixed(text, FORMAT_SIZE, fraction * 100, 1, "");
    return text;
}

const char *format_roof(char text[FORMAT_SIZE], double share)
{
    if (!(share > 1) || !isfinite(share))
        return format_percent(text, share);
    strcpy(text, share > ROOF_MOST ? "cache?" : "≈100");
    return text;
}

const char *format_ratio(char text[FORMAT_SIZE], double ratio)
{
    if (!unknown(text, ratio))
        fixed(text, FORMAT_SIZE, ratio, 3, "");
    return text;
}

/* U+2588 − k is the block of (8 − k)/8 from the left up to U+258F; U+2581 + k − 1 that of k/8 from below. */
static void add_block(char **text, char *end, unsigned code)
{
    if (end - *text < 4)
        return;
    *(*text)++ = (char)0xe2;
    *(*text)++ = (char)(0x80 | (code >> 6 & 0x3f));
    *(*text)++ = (char)(0x80 | (code & 0x3f));
    **text = 0;
}

void format_bar(char *text, size_t size, double fraction, int columns)
{
    char *end = text + size;
    text[0] = 0;
    if (!isfinite(fraction) || fraction < 0)
        return;
    int eighths = scale_to(fraction, columns * 8);
    for (; eighths >= 8; eighths -= 8)
        add_block(&text, end, 0x2588);
    if (eighths > 0)
        add_block(&text, end, 0x2590 - (unsigned)eighths);
}

void format_spark(char *text, size_t size, const uint32_t *values, uint32_t count, int columns)
{
    char *end = text + size;
    text[0] = 0;
    const uint32_t first = count > (uint32_t)columns ? count - (uint32_t)columns : 0;
    uint32_t highest = 1;
    for (uint32_t i = first; i < count; i++)
        if (values[i] > highest)
            highest = values[i];
    for (uint32_t i = first; i < count; i++)
        add_block(&text, end, 0x2581 + (unsigned)((uint64_t)values[i] * 7 / highest));
}
