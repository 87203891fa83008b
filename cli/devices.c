/* steptop devices: what can be run on, and for what is not there, why. */
#include "base/unknown.h"
#include "cli/cli.h"
#include "cli/probe.h"
#include "report/pipe_table.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct listed {
    struct device_info info;
    const char *status; /* "available", "not available" */
    char reason[sizeof((struct error *)0)->text];
};

static void precisions(const struct device_info *info, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < PRECISION_COUNT && used < size; i++) {
        if (info->precisions & (1u << i))
            used +=
                (size_t)snprintf(text + used, size - used, "%s%s", used ? " " : "", precision_name((enum precision)i));
    }
}

/* A field of RFC 4180: always quoted, quotes doubled, on one line. */
static void csv_text(struct strbuf *out, const char *text)
{
    strbuf_putc(out, '"');
    for (; *text; text++) {
        if (*text == '"')
            strbuf_putc(out, '"');
        strbuf_putc(out, (unsigned char)*text < 0x20 ? ' ' : *text);
    }
    strbuf_putc(out, '"');
}

static void csv_integer(struct strbuf *out, uint64_t value)
{
    if (is_known_u64(value))
        strbuf_printf(out, "%llu", (unsigned long long)value);
}

static void list_csv(const struct listed *devices, int count, struct strbuf *out)
{
    strbuf_puts(out, "name,model,architecture,memory_bytes,free_bytes,units,precisions,status,reason\n");
    for (int i = 0; i < count; i++) {
        const struct device_info *info = &devices[i].info;
        char working[64];
        precisions(info, working, sizeof working);
        csv_text(out, info->name);
        strbuf_putc(out, ',');
        csv_text(out, info->model);
        strbuf_putc(out, ',');
        csv_text(out, info->architecture);
        strbuf_putc(out, ',');
        csv_integer(out, info->memory_bytes);
        strbuf_putc(out, ',');
        csv_integer(out, info->free_bytes);
        strbuf_putc(out, ',');
        csv_integer(out, info->units ? info->units : UNKNOWN_U64);
        strbuf_putc(out, ',');
        csv_text(out, working);
        strbuf_putc(out, ',');
        csv_text(out, devices[i].status);
        strbuf_putc(out, ',');
        csv_text(out, devices[i].reason);
        strbuf_putc(out, '\n');
    }
}

static double gib(uint64_t bytes)
{
    return is_known_u64(bytes) ? (double)bytes / 0x1p30 : UNKNOWN_DOUBLE;
}

static void list_table(const struct listed *devices, int count, struct strbuf *out)
{
    struct pipe_table table = {0};
    pipe_add_columns(&table, PIPE_TEXT, "device", "model", "architecture", "driver");
    pipe_add_columns(&table, PIPE_NUMBER, "units", "memory (GiB)", "free (GiB)");
    pipe_add_columns(&table, PIPE_TEXT, "precisions", "status");
    for (int i = 0; i < count; i++) {
        const struct device_info *info = &devices[i].info;
        char working[64];
        precisions(info, working, sizeof working);
        pipe_text(&table, info->name);
        pipe_text(&table, info->model);
        pipe_text(&table, info->architecture);
        pipe_text(&table, info->driver);
        pipe_number(&table, "%.0f", info->units ? info->units : UNKNOWN_DOUBLE);
        pipe_number(&table, "%.1f", gib(info->memory_bytes));
        pipe_number(&table, "%.1f", gib(info->free_bytes));
        pipe_text(&table, working);
        pipe_text(&table, devices[i].status);
    }
    pipe_finish(&table, out);
    /* The reasons are sentences: below the table, where there is room. */
    bool first = true;
    for (int i = 0; i < count; i++) {
        if (devices[i].reason[0])
            strbuf_printf(out, "%s%s: %s\n", first ? "\n" : "", devices[i].info.name, devices[i].reason);
        for (int p = 0; p < PRECISION_COUNT; p++) {
            if (devices[i].info.why_not[p][0])
                strbuf_printf(out, "%s%s: %s: %s\n", first ? "\n" : "", devices[i].info.name,
                              precision_name((enum precision)p), devices[i].info.why_not[p]);
            first = first && !devices[i].info.why_not[p][0];
        }
        first = first && !devices[i].reason[0];
    }
}

static int find_devices(struct listed *devices, int max)
{
    const char *const *names;
    const int classes = device_class_names(&names);
    int total = 0;
    for (int i = 0; i < classes; i++) {
        struct device_info infos[PROBE_DEVICES_MAX];
        struct error error = {0};
        int count = 0;
        if (!probe_class(names[i], infos, &count, &error)) {
            if (total < max) {
                struct listed *missing = &devices[total++];
                *missing = (struct listed){.status = "not available"};
                missing->info.memory_bytes = missing->info.free_bytes = UNKNOWN_U64;
                snprintf(missing->info.name, sizeof missing->info.name, "%s", names[i]);
                memcpy(missing->reason, error.text, sizeof missing->reason);
            }
            continue;
        }
        for (int j = 0; j < count && total < max; j++)
            devices[total++] = (struct listed){.info = infos[j], .status = "available"};
    }
    return total;
}

int command_devices(const struct arguments *arguments)
{
    enum { MOST = 2 * PROBE_DEVICES_MAX };
    struct strbuf text = {0};
    struct error error = {0};
    const char *format = arguments->value[OPTION_DEVICES_FORMAT];
    if (format && strcmp(format, "csv") != 0 && strcmp(format, "markdown") != 0) {
        error_set(&error, ERROR_USAGE, "--format %s: devices are listed as markdown or csv", format);
        return fail(&error);
    }
    struct listed *devices = calloc(MOST, sizeof *devices); /* more than a small stack holds */
    if (!devices) {
        error_set(&error, ERROR_MEMORY, "no memory for a list of devices");
        return fail(&error);
    }
    const int count = find_devices(devices, MOST);
    if (format && strcmp(format, "csv") == 0)
        list_csv(devices, count, &text);
    else
        list_table(devices, count, &text);
    const bool printed = print_all(text.text, text.length, &error);
    strbuf_release(&text);
    free(devices);
    return printed ? EXIT_OK : fail(&error);
}
