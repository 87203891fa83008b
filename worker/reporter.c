#include "worker/reporter.h"
#include "base/unknown.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void reporter_send(struct reporter *reporter, enum message_type type, const void *first, size_t first_length,
                   const void *second, size_t second_length)
{
    if (atomic_load(&reporter->lost))
        return;
    struct error error = {0};
    pthread_mutex_lock(&reporter->lock);
    const bool sent = message_send(reporter->fd, type, first, first_length, second, second_length, &error);
    pthread_mutex_unlock(&reporter->lock);
    if (!sent && error.kind == ERROR_SYSTEM)
        atomic_store(&reporter->lost, true);
    else if (!sent)
        fprintf(stderr, "steptop: %s\n", error.text);
}

void reporter_scope(struct reporter *reporter, const struct place_scope *scope)
{
    const struct message_scope head = {.parent = scope->parent, .parameter_bytes = scope->parameter_bytes};
    reporter_send(reporter, MESSAGE_SCOPE, &head, sizeof head, scope->name, strlen(scope->name) + 1);
}

void reporter_place(struct reporter *reporter, const struct place *place)
{
    const struct message_place head = {.scope = place->scope,
                                       .phase = place->phase,
                                       .kernel_class = place->kernel_class,
                                       .flops = place->flops,
                                       .bytes = place->bytes,
                                       .saved_bytes = place->saved_bytes};
    char texts[2 * PLACE_TEXT_MAX];
    const size_t op = strlen(place->op) + 1, label = strlen(place->label) + 1;
    memcpy(texts, place->op, op);
    memcpy(texts + op, place->label, label);
    reporter_send(reporter, MESSAGE_PLACE, &head, sizeof head, texts, op + label);
}

void reporter_counters(struct reporter *reporter, const char *const names[DEVICE_COUNTERS], const uint64_t *own)
{
    char text[RUN_COUNTERS * (RUN_COUNTER_NAME + 1)] = "";
    size_t used = 0;
    for (int c = 0; c < DEVICE_COUNTERS && names[c]; c++)
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "%s%.*s", c ? "," : "", RUN_COUNTER_NAME - 1, names[c]);
    reporter_note(reporter, "counters", "%s", text);
    reporter_counters_own(reporter, names, own);
}

void reporter_counters_own(struct reporter *reporter, const char *const names[DEVICE_COUNTERS], const uint64_t *own)
{
    _Static_assert(RUN_COUNTERS == DEVICE_COUNTERS, "a name a value");
    struct message_counters message = {0};
    for (int c = 0; c < DEVICE_COUNTERS && names[c]; c++) {
        snprintf(message.names[c], sizeof message.names[c], "%s", names[c]);
        message.own[c] = own ? own[c] : UNKNOWN_U64;
    }
    reporter_send(reporter, MESSAGE_COUNTERS, &message, sizeof message, NULL, 0);
}

__attribute__((format(printf, 3, 0))) static void say(struct reporter *reporter, enum message_type type,
                                                      const char *format, va_list list)
{
    char text[96];
    vsnprintf(text, sizeof text, format, list);
    reporter_send(reporter, type, text, strlen(text), NULL, 0);
}

void reporter_stage(struct reporter *reporter, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    say(reporter, MESSAGE_STAGE, format, list);
    va_end(list);
}

void reporter_activity(struct reporter *reporter, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    say(reporter, MESSAGE_ACTIVITY, format, list);
    va_end(list);
}

void reporter_note(struct reporter *reporter, const char *key, const char *format, ...)
{
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    reporter_send(reporter, MESSAGE_NOTE, key, strlen(key) + 1, text, strlen(text) + 1);
}

/* The first line of a small file of /proc or /sys, without its end. */
static bool first_line(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    const bool got = fgets(line, (int)size, file) != NULL;
    fclose(file);
    if (got)
        line[strcspn(line, "\n")] = 0;
    return got;
}

void machine_ticks(struct machine_ticks *ticks)
{
    *ticks = (struct machine_ticks){UNKNOWN_U64, UNKNOWN_U64};
    char line[512];
    unsigned long long t[8];
    if (first_line("/proc/stat", line, sizeof line) &&
        sscanf(line, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6],
               &t[7]) == 8) {
        ticks->steal = t[7];
        ticks->total = 0;
        for (int i = 0; i < 8; i++)
            ticks->total += t[i];
    }
}

/* The hottest of the machine's thermal zones in °C; NaN where there are none. */
static double temperature(void)
{
    double hottest = UNKNOWN_DOUBLE;
    DIR *folder = opendir("/sys/class/thermal");
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char path[320], line[64];
        if (strncmp(entry->d_name, "thermal_zone", 12) != 0)
            continue;
        snprintf(path, sizeof path, "/sys/class/thermal/%s/temp", entry->d_name);
        if (!first_line(path, line, sizeof line))
            continue;
        const double degrees = strtod(line, NULL) / 1000;
        if (!(degrees <= hottest))
            hottest = degrees;
    }
    if (folder)
        closedir(folder);
    return hottest;
}

struct machine_load reporter_machine(struct reporter *reporter, const struct machine_ticks *before)
{
    struct machine_load load = {UNKNOWN_DOUBLE, UNKNOWN_DOUBLE};
    double average[1];
    if (getloadavg(average, 1) == 1)
        load.load_average = average[0];
    struct machine_ticks now;
    machine_ticks(&now);
    if (is_known_u64(now.total) && is_known_u64(before->total) && now.total > before->total &&
        now.steal >= before->steal) /* the host's count may go back */
        load.steal = (double)(now.steal - before->steal) / (double)(now.total - before->total);
    reporter_send(reporter, MESSAGE_MACHINE, &load, sizeof load, NULL, 0);
    return load;
}

void reporter_noise(struct reporter *reporter, const struct machine_ticks *before)
{
    char line[256];
    if (first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", line, sizeof line))
        reporter_note(reporter, "governor", "%s", line);
    const struct machine_load load = reporter_machine(reporter, before);
    if (is_known(load.load_average))
        reporter_note(reporter, "load_average", "%.2f", load.load_average);
    if (is_known(load.steal))
        reporter_note(reporter, "steal", "%.2f %%", 100.0 * load.steal);
    const double degrees = temperature();
    if (is_known(degrees))
        reporter_note(reporter, "temperature", "%.0f C", degrees);
}

static uint64_t status_bytes(const char *key)
{
    FILE *file = fopen("/proc/self/status", "re");
    if (!file)
        return UNKNOWN_U64;
    char line[256];
    uint64_t bytes = UNKNOWN_U64;
    while (bytes == UNKNOWN_U64 && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0)
            bytes = strtoull(line + strlen(key), NULL, 10) * 1024;
    fclose(file);
    return bytes;
}

uint64_t resident_now(void)
{
    return status_bytes("VmRSS:");
}

uint64_t resident_peak(void)
{
    return status_bytes("VmHWM:");
}

bool resident_peak_reset(void)
{
    const int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const bool reset = write(fd, "5", 1) == 1; /* 5: the peak alone, proc(5) */
    close(fd);
    return reset;
}
