/* The document's life: what machine and program it comes from, and its cells. */
#include "base/limits.h"
#include "base/processors.h"
#include "base/system.h"
#include "base/unknown.h"
#include "base/version.h"
#include "report/build.h"
#include "report/escape.h"
#include "report/report.h"
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* The first line of `path` that begins with `key`, what follows the key and any of " \t:=\"" up to the line's end; ""
 * when there is none. */
static const char *file_value(struct arena *arena, const char *path, const char *key)
{
    char line[512];
    FILE *file = fopen(path, "re");
    const char *value = "";
    while (file && !*value && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, strlen(key)) != 0)
            continue;
        char *start = line + strlen(key);
        start += strspn(start, " \t:=\"");
        start[strcspn(start, "\"\n")] = 0;
        value = clean_copy(arena, start);
    }
    if (file)
        fclose(file);
    return value;
}

static void host_fill(struct report_host *host, struct arena *arena)
{
    struct utsname system;
    char hostname[256] = "";
    gethostname(hostname, sizeof hostname - 1);
    host->hostname = clean_copy(arena, hostname);
    host->os = file_value(arena, "/etc/os-release", "PRETTY_NAME");
    host->kernel =
        uname(&system) == 0 ? clean_copy(arena, arena_printf(arena, "%s %s", system.sysname, system.release)) : "";
    host->cpu = file_value(arena, "/proc/cpuinfo", "model name");
    host->governor = file_value(arena, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "");
    host->cores = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
#ifdef SYSTEM_LINUX
    cpu_set_t cores;
    if (sched_getaffinity(0, sizeof cores, &cores) == 0)
        host->cores = (uint32_t)CPU_COUNT(&cores);
#endif
    const int own = processors_cores("");
    host->physical_cores = own > 0 ? (uint32_t)own : UNKNOWN_U32;
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    host->memory_bytes = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : UNKNOWN_U64;
    host->load_average = UNKNOWN_DOUBLE;
    double load[1];
    if (getloadavg(load, 1) == 1)
        host->load_average = load[0];
}

static void head_fill(struct report *report)
{
    char created[32];
    struct tm utc;
    const time_t now = time(NULL);
    gmtime_r(&now, &utc);
    strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", &utc);
    report->tool_version = version_number();
    report->commit = version_commit();
    report->dirty = version_dirty();
    report->created = arena_strdup(&report->arena, created);
    report->profile_name = report->profile_digest = "";
    host_fill(&report->host, &report->arena);
}

void report_init(struct report *report)
{
    *report = (struct report){0};
    head_fill(report);
}

#define ORIGIN_KEY "measured"

static const char *text_or(const char *text, const char *otherwise)
{
    return text && *text ? text : otherwise;
}

/* The cell's notes and one more, unless it says already where it is from. */
static void add_origin(struct report_cell *cell, const char *origin)
{
    struct report_note *notes = arena_array(&cell->arena, struct report_note, cell->note_count + 1);
    for (size_t n = 0; n < cell->note_count; n++) {
        if (strcmp(cell->notes[n].key, ORIGIN_KEY) == 0)
            return;
        notes[n] = cell->notes[n];
    }
    notes[cell->note_count++] = (struct report_note){ORIGIN_KEY, origin};
    cell->notes = notes;
}

void report_take_on(struct report *report)
{
    const char *origin = arena_printf(
        &report->arena, "%s on %s, by steptop %s, commit %s%s", text_or(report->created, "at an unknown time"),
        text_or(report->host.hostname, "an unknown host"), text_or(report->tool_version, "of an unknown version"),
        text_or(report->commit, "unknown"), report->dirty ? " with changes" : "");
    uint32_t highest = 0;
    for (size_t i = 0; i < report->cells.count; i++) {
        add_origin(report->cells.items[i], origin);
        highest = report->cells.items[i]->run_id > highest ? report->cells.items[i]->run_id : highest;
    }
    /* New runs are numbered from the highest on: where that leaves no room, the old ones are numbered anew. */
    for (size_t i = 0; highest > UINT32_MAX / 2 && i < report->cells.count; i++)
        report->cells.items[i]->run_id = (uint32_t)i + 1;
    head_fill(report);
}

struct report_cell *report_add_cell(struct report *report)
{
    struct report_cell *cell = calloc(1, sizeof *cell);
    if (!cell)
        memory_exhausted(1, "cell of a document");
    cell->machine = (struct machine_load){UNKNOWN_DOUBLE, UNKNOWN_DOUBLE};
    cell->use = MACHINE_UNKNOWN;
    for (int c = 0; c < REPORT_COUNTERS; c++)
        cell->counter_own[c] = UNKNOWN_U64;
    vec_push(&report->cells, cell);
    return cell;
}

void report_join(struct report *into, struct report *from, const char *source)
{
    uint32_t used = 0;
    for (size_t i = 0; i < into->cells.count; i++)
        used = into->cells.items[i]->run_id > used ? into->cells.items[i]->run_id : used;
    for (size_t i = 0; i < from->cells.count; i++) {
        struct report_cell *cell = from->cells.items[i];
        cell->run_id = ++used;
        cell->source = source;
        vec_push(&into->cells, cell);
    }
    from->cells.count = 0; /* they are the other's now */
}

void report_cell_free(struct report_cell *cell)
{
    build_rows_free(cell->rows);
    arena_release(&cell->arena);
    arena_release(&cell->fixed);
    free(cell);
}

void report_free(struct report *report)
{
    for (size_t i = 0; i < report->cells.count; i++)
        report_cell_free(report->cells.items[i]);
    vec_release(&report->cells);
    arena_release(&report->arena);
    *report = (struct report){0};
}
