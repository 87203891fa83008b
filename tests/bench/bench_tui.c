/* What the screen costs, on the real loop: tui_run on a pseudo-terminal of 160×50, a real session, and a worker that sends
 * made-up launches of 400 kernels at a given rate. Printed: bytes and processor time a frame, key press to redraw, the
 * front's share of a core and its memory.
 *
 * Usage: bench_tui [--records N]   (records of the memory test; default 20 million, the figure is 100 million) */
#include "base/clock.h"
#include "profiler/protocol.h"
#include "profiler/ring.h"
#include "tests/tui/screen.h"
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
        uint64_t due = rate > 0 ? (uint64_t)((double)(clock_now() - begin) / 1e9 * rate) : total;
        due = due < total ? due : total;
        if (rate > 0 && sent >= due) {
            poll(NULL, 0, 1);
            continue;
        }
        if (rate <= 0 && ring_waiting(ring) > 100000) {
            poll(NULL, 0, 1);
            continue;
        }
        const uint64_t now = clock_now();
        for (int i = 0; i < 1000 && sent < due; i++, sent++) {
            const uint32_t kernel = (uint32_t)(sent % KERNELS);
            struct record record = {.start = now + (uint64_t)i,
                                    .end = now + (uint64_t)i + 1000 + kernel * 50 + (sent * 2654435761u >> 7) % 400,
                                    .launch = now,
                                    .node = -1,
                                    .name = kernel,
                                    .scope = -1,
                                    .step = (uint32_t)(sent / KERNELS),
                                    .kind = RECORD_KERNEL,
                                    .phase = PHASE_FWD,
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
    struct session *session = session_create(&(struct session_options){.program = "/proc/self/exe"}, &error);
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

static struct screen *start(const char *rate, const char *total)
{
    setenv("BENCH_RATE", rate, 1);
    setenv("BENCH_TOTAL", total, 1);
    const struct screen_options options = {.height = 50, .width = 160, .session = make_session};
    struct screen *screen = screen_open(&options, NULL);
    screen_type(screen, "2");
    if (!screen_wait_for(screen, "bench")) {
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

static void measure_frames(const char *rate, const char *what)
{
    size_t before, after;
    struct screen *screen = start(rate, "1000000000000");
    const double seconds = 6;
    read_for(screen, 1);
    screen_bytes(screen, &before);
    const double cpu = processor_seconds(screen_child(screen));
    read_for(screen, seconds);
    screen_bytes(screen, &after);
    const double used = processor_seconds(screen_child(screen)) - cpu, frames = seconds * 10;
    printf(
        "%-28s %7.0f bytes a frame, %6.0f us processor time a frame (drain, document, drawing), %4.1f %% of a core\n",
        what, (double)(after - before) / frames, used / frames * 1e6, used / seconds * 100);
    screen_close(screen);
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
    struct screen *screen = start("1000000", "1000000000000");
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
    printf("key press to redraw, 1 M records/s: median %.1f ms, p99 %.1f ms, max %.1f ms (goal p99 30 ms)\n",
           times[PRESSES / 2], times[PRESSES * 99 / 100], times[PRESSES - 1]);
    screen_close(screen);
}

static void measure_memory(const char *total)
{
    struct screen *screen = start("0", total);
    const uint64_t before = clock_now();
    char wanted[64];
    snprintf(wanted, sizeof wanted, "%.0f M records", atof(total) / 1e6);
    while (!screen_has(screen, wanted) && clock_now() < before + 300000000000u)
        read_for(screen, 0.5);
    printf("memory: %.1f MiB resident after %s records in %.0f s (goal 64 MiB after 100 M)\n",
           resident_mib(screen_child(screen)), total, (double)(clock_now() - before) / 1e9);
    screen_close(screen);
}

int main(int count, char **arguments)
{
    if (count >= 4 && strcmp(arguments[1], "worker") == 0)
        return worker(atoi(arguments[2]), atoi(arguments[3]));
    const char *total = "20000000";
    if (count == 3 && strcmp(arguments[1], "--records") == 0)
        total = arguments[2];
    printf("screen 160x50, %d kernels live (goals: 400 bytes and 300 us a frame, 5 %% of a core)\n", KERNELS);
    measure_frames("110", "11 launches a frame:");
    measure_frames("4000", "every kernel every frame:");
    measure_frames("1000000", "1 M records/s:");
    measure_keys();
    measure_memory(total);
    return 0;
}
