/* What the screen costs, on the real loop: tui_run on a pseudo-terminal of 160×50, a real session, and a worker that sends
 * made-up launches of 400 kernels at a given rate while the view of the kernels is open.
 *
 * A frame is one picture: the view's rows, the canvas, what differs from the picture before, curses, the write. The data's
 * part stands beside it: bringing the document up to date (ten times a second) and draining the ring. All three are
 * processor time of the front's only thread, counted by the loop itself; the share of a core is the process's, all in all.
 *
 * Usage: bench_tui [frames [RATE] | timeline [RATE] | keys | memory [RECORDS]]   (all by default; memory: 100 million) */
#include "base/clock.h"
#include "profiler/protocol.h"
#include "profiler/ring.h"
#include "tests/tui/screen.h"
#include "tui/format.h"
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define KERNELS 400

/* The worker: no model, no device, only names and records, `rate` a second (0: as fast as the front takes them). */
static int worker(int control, int ring_fd)
{
    struct error error = {0};
    const double rate = atof(getenv("BENCH_RATE"));
    const uint64_t total = strtoull(getenv("BENCH_TOTAL"), NULL, 10);
    struct ring *ring = ring_attach(ring_fd, &error);
    if (!ring)
        return 1;
    for (uint32_t i = 0; i < KERNELS; i++) {
        const struct message_name message = {i};
        char name[64];
        const int length = snprintf(name, sizeof name, "sgemm_nt_%ux%u_bench", 64 + i, 1024 - i);
        if (!message_send(control, MESSAGE_NAME, &message, sizeof message, name, (size_t)length, &error))
            return 1;
    }
    const uint64_t begin = clock_now();
    for (uint64_t sent = 0; sent < total;) {
        uint64_t due = rate > 0 ? KERNELS + (uint64_t)((double)(clock_now() - begin) / 1e9 * rate) : total;
        due = due < total ? due : total;
        if (rate > 0 && sent >= due) {
            poll(NULL, 0, 1);
            continue;
        }
        struct ring_counts counts;
        ring_counts(ring, &counts);
        if (rate <= 0 && counts.pushed - counts.drained > 100000) {
            poll(NULL, 0, 1);
            continue;
        }
        const uint64_t now = clock_now();
        for (int i = 0; i < 1000 && sent < due; i++, sent++) {
            const uint32_t kernel = (uint32_t)(sent % KERNELS);
            struct record record = {.start = now + (uint64_t)i,
                                    .end = now + (uint64_t)i + 1000 + kernel * 50 + (sent * 2654435761u >> 7) % 400,
                                    .launch = now,
                                    .place = PLACE_UNKNOWN,
                                    .name = kernel,
                                    .step = (uint32_t)(sent / KERNELS),
                                    .kind = RECORD_KERNEL,
                                    .pass = PASS_FWD};
            ring_push(ring, &record);
        }
    }
    for (;;)
        poll(NULL, 0, 1000); /* until the front ends us */
}

static struct session *make_session(void)
{
    struct error error = {0};
    struct cell cell;
    static char program[4096]; /* by its name, so that a profiler's own program is not started in its place */
    if (readlink("/proc/self/exe", program, sizeof program - 1) < 0)
        abort();
    struct session *session = session_create(&(struct session_options){.program = program}, &error);
    cell_default(&cell);
    cell.steps = STEPS_FOREVER;
    cell.timeout_s = 0;
    cell.passes = PASS_BIT(PASS_FWD);
    if (!session)
        abort();
    session_add(session, &cell);
    return session;
}

static double processor_seconds(pid_t process)
{
    clockid_t clock;
    struct timespec time;
    if (clock_getcpuclockid(process, &clock) != 0 || clock_gettime(clock, &time) != 0)
        return NAN;
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double resident_mib(pid_t process)
{
    char path[64], line[128];
    double kib = NAN;
    snprintf(path, sizeof path, "/proc/%d/status", (int)process);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmRSS: %lf", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return kib / 1024;
}

static struct tui_statistics *statistics; /* of the child that runs */

/* The view of a key, as soon as it shows the text that it has only with launches. */
static struct screen *start(const char *rate, const char *total, const char *key, const char *text)
{
    setenv("BENCH_RATE", rate, 1);
    setenv("BENCH_TOTAL", total, 1);
    memset(statistics, 0, sizeof *statistics);
    const struct screen_options options = {
        .height = 50, .width = 160, .session = make_session, .statistics = statistics};
    struct screen *screen = screen_open(&options, NULL);
    screen_type(screen, key);
    if (!screen_wait_for(screen, text)) {
        fprintf(stderr, "no kernel came to the screen\n");
        exit(1);
    }
    return screen;
}

static void read_for(struct screen *screen, double seconds)
{
    const uint64_t end = clock_now() + (uint64_t)(seconds * 1e9);
    while (clock_now() < end)
        screen_read(screen, 20);
}

static void measure_frames(const char *rate, const char *what, const char *key, const char *text)
{
    struct screen *screen = start(rate, "1000000000000", key, text);
    read_for(screen, 2);
    const double cpu = processor_seconds(screen_child(screen));
    const struct tui_statistics first = *statistics;
    const uint64_t begin = clock_now();
    read_for(screen, 5);
    const double seconds = (double)(clock_now() - begin) / 1e9;
    const struct tui_statistics last = *statistics;
    const double used = processor_seconds(screen_child(screen)) - cpu, frames = (double)(last.frames - first.frames);
    printf("%-34s %8.1f %12.0f %8.0f %8.0f %13.2f %11.2f\n", what, frames / seconds,
           (double)(last.bytes - first.bytes) / frames, (double)(last.draw_ns - first.draw_ns) / frames / 1e3,
           (double)(last.update_ns - first.update_ns) / frames / 1e3,
           (double)(last.drain_ns - first.drain_ns) / seconds / 1e7, used / seconds * 100);
    screen_close(screen);
}

static void print_heading(const char *what)
{
    printf("%-34s %8s %12s %8s %8s %13s %11s\n", what, "frames/s", "bytes/frame", "draw us", "data us", "drain % core",
           "all % core");
}

static void all_timelines(const char *rate)
{
    static const char *const rates[][2] = {
        {"4000", "4 k records/s"}, {"100000", "100 k records/s"}, {"1000000", "1 M records/s"}};
    print_heading("timeline, screen 160x50");
    if (rate)
        measure_frames(rate, "launches a second as given", "5", " launches, by ");
    for (size_t i = 0; !rate && i < sizeof rates / sizeof *rates; i++)
        measure_frames(rates[i][0], rates[i][1], "5", " launches, by ");
}

static void all_frames(const char *rate)
{
    static const char *const rates[][2] = {{"0.001", "nothing happens"},
                                           {"110", "11 launches a frame"},
                                           {"4000", "each of the kernels in each frame"},
                                           {"100000", "100 k records/s"},
                                           {"1000000", "1 M records/s"}};
    print_heading("400 kernels, screen 160x50");
    if (rate) {
        measure_frames(rate, "launches a second as given", "2", "bench");
        return;
    }
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
        measure_frames(rates[i][0], rates[i][1], "2", "bench");
    printf("%-34s %8s %12s %8s %8s %13s %11s\n", "goal", "10", "400", "300", "", "", "5");
}

static int by_value(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

/* From the key to the row in inverse video that moved: a redraw that only the key can have caused. */
static void measure_keys(void)
{
    enum { PRESSES = 200 };
    double times[PRESSES];
    struct screen *screen = start("1000000", "1000000000000", "2", "bench");
    read_for(screen, 1);
    for (int i = 0; i < PRESSES; i++) {
        const char *help = i % 2 ? "q" : "?"; /* opens and closes the help page */
        const uint64_t before = clock_now();
        screen_type(screen, help);
        while (screen_has(screen, "Esc closes") != (i % 2 == 0) && clock_now() < before + 1000000000u)
            screen_read(screen, 5);
        times[i] = (double)(clock_now() - before) / 1e6;
        read_for(screen, 0.013);
    }
    qsort(times, PRESSES, sizeof *times, by_value);
    printf("key press to redraw while 1 M records/s come in: median %.1f ms, p99 %.1f ms, max %.1f ms of %d (goal: p99 "
           "30 ms)\n",
           times[PRESSES / 2], times[PRESSES * 99 / 100], times[PRESSES - 1], PRESSES);
    screen_close(screen);
}

static void measure_memory(const char *total)
{
    struct screen *screen = start("0", total, "2", "bench");
    const uint64_t before = clock_now();
    char number[FORMAT_SIZE], wanted[64];
    snprintf(wanted, sizeof wanted, "  %s records", format_count(number, atof(total)));
    while (!screen_has(screen, wanted) && clock_now() < before + 300000000000u)
        read_for(screen, 0.5);
    printf("memory after %s records, taken in %.0f s: %.1f MiB resident%s (goal: 64 MiB after 100 M)\n", number,
           (double)(clock_now() - before) / 1e9, resident_mib(screen_child(screen)),
           screen_has(screen, wanted) ? "" : ", NOT ALL OF THEM CAME");
    screen_close(screen);
}

int main(int count, char **arguments)
{
    if (count >= 4 && strcmp(arguments[1], "worker") == 0)
        return worker(atoi(arguments[2]), atoi(arguments[3]));
    const char *what = count > 1 ? arguments[1] : "all";
    statistics = mmap(NULL, sizeof *statistics, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (statistics == MAP_FAILED)
        return 1;
    const bool all = strcmp(what, "all") == 0;
    if (all || strcmp(what, "frames") == 0)
        all_frames(count > 2 ? arguments[2] : NULL);
    if (all || strcmp(what, "timeline") == 0)
        all_timelines(count > 2 ? arguments[2] : NULL);
    if (all || strcmp(what, "keys") == 0)
        measure_keys();
    if (all || strcmp(what, "memory") == 0)
        measure_memory(count > 2 ? arguments[2] : "100000000");
    return 0;
}
