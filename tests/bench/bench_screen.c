/* From a kernel's end to the frame that shows it, through the whole program: a worker, its ring, the session, the document
 * and the real front on a pseudo-terminal of 160×50.
 *
 * Usage: bench_screen run [DEVICE [MODEL [SECONDS]]]   kernels of a real run without end; default cpu, tiny, 10 s
 *        bench_screen flood [SECONDS [RATE]]           made-up kernels as a GPU's source hands them over: every 50 ms what
 *                                                      ended in those 50 ms, 500 k a second for 60 s; counts what is lost
 *
 * The front is the program's own; the linker puts a look at the clock around two of its calls: what report_update took into
 * the document is on the screen when terminal_show, or a terminal_flush after it, has written the last byte. */
#include "base/clock.h"
#include "profiler/protocol.h"
#include "profiler/ring.h"
#include "tests/tui/screen.h"
#include "tui/terminal.h"
#include "worker/worker.h"
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GOAL_MS 250
#define PENDING (1 << 18)
#define BINS 4000 /* of 1 ms; the last holds all above */
#define FLOOD_KERNELS 400
#define FLOOD_PERIOD_NS 50000000u

/* Filled by the front, read by the parent. */
static struct shared {
    uint64_t bins[BINS], shown, frames, records, lost, invalid, unseen;
    char device[32], model[32];
} * shared;

/* The front's: ends of the kernels that the document holds and the screen does not show yet. */
static uint64_t pending[PENDING];
static size_t pending_count;
/* By run: what was in the document before. Readings of counters are records, too, and not among the raw ones that are kept, so
 * a raw record is told from an old one by its place in the ring. */
static struct {
    uint64_t records;
    uint32_t next; /* sequence of the record after the last one seen */
} taken[64];

void __real_report_update(struct report *report, struct session *session);
void __wrap_report_update(struct report *report, struct session *session);
size_t __real_terminal_show(struct terminal *terminal, const struct canvas *canvas);
size_t __wrap_terminal_show(struct terminal *terminal, const struct canvas *canvas);
bool __real_terminal_flush(struct terminal *terminal);
bool __wrap_terminal_flush(struct terminal *terminal);

void __wrap_report_update(struct report *report, struct session *session)
{
    static struct record recent[1 << 16];
    for (size_t i = 0; i < session_run_count(session) && i < sizeof taken / sizeof *taken; i++) {
        const struct run *run = session_run(session, i);
        struct aggregate_counts counts;
        aggregate_counts(run_lead(run)->aggregate, &counts);
        const uint64_t fresh = counts.records - taken[i].records;
        const size_t wanted = fresh < 1 << 16 ? (size_t)fresh : 1 << 16;
        const size_t got = aggregate_recent(run_lead(run)->aggregate, recent, wanted);
        taken[i].records = counts.records;
        shared->records = counts.records;
        shared->lost = counts.lost;
        shared->invalid = counts.invalid;
        if (got && (int32_t)(recent[0].sequence - taken[i].next) > 0 && got == 1 << 16)
            shared->unseen += fresh - got; /* older than the window of raw records */
        for (size_t r = 0; r < got; r++) {
            if ((int32_t)(recent[r].sequence - taken[i].next) < 0)
                continue;
            taken[i].next = recent[r].sequence + 1;
            if (pending_count < PENDING)
                pending[pending_count++] = recent[r].end;
            else
                shared->unseen++;
        }
    }
    __real_report_update(report, session);
}

static void written(const struct terminal *terminal)
{
    if (terminal_is_behind(terminal) || !pending_count)
        return;
    const uint64_t now = clock_now();
    for (size_t i = 0; i < pending_count; i++) {
        const uint64_t ms = now > pending[i] ? (now - pending[i]) / 1000000 : 0;
        shared->bins[ms < BINS - 1 ? ms : BINS - 1]++;
    }
    shared->shown += pending_count;
    shared->frames++;
    pending_count = 0;
}

size_t __wrap_terminal_show(struct terminal *terminal, const struct canvas *canvas)
{
    const size_t bytes = __real_terminal_show(terminal, canvas);
    written(terminal);
    return bytes;
}

bool __wrap_terminal_flush(struct terminal *terminal)
{
    const bool good = __real_terminal_flush(terminal);
    written(terminal);
    return good;
}

static struct session *session_of(const char *device, const char *model)
{
    struct error error = {0};
    struct cell cell;
    struct session *session = session_create(&(struct session_options){.program = "/proc/self/exe"}, &error);
    cell_default(&cell);
    if (!session || !cell_set(&cell, "device", device, &error) || !cell_set(&cell, "model", model, &error)) {
        fprintf(stderr, "bench_screen: %s\n", error.text);
        exit(2);
    }
    cell.steps = STEPS_FOREVER;
    cell.timeout_s = 0;
    session_add(session, &cell);
    return session;
}

static struct session *session_make(void)
{
    return session_of(shared->device, shared->model);
}

/* The worker of a flood. A GPU's records come late and all at once: the source asks for them every 50 ms. */
static int flood(int control, int ring_fd)
{
    struct error error = {0};
    const double rate = atof(getenv("BENCH_RATE"));
    struct ring *ring = ring_attach(ring_fd, &error);
    if (!ring)
        return 1;
    for (uint32_t i = 0; i < FLOOD_KERNELS; i++) {
        const struct message_name message = {i};
        char name[64];
        const int length = snprintf(name, sizeof name, "flood_%u_bench", i);
        if (!message_send(control, MESSAGE_NAME, &message, sizeof message, name, (size_t)length, &error))
            return 1;
    }
    const double spacing = 1e9 / rate;
    uint64_t begin = clock_now(), sent = 0;
    for (;;) {
        const uint64_t due =
            begin + ((uint64_t)((double)(clock_now() - begin) / FLOOD_PERIOD_NS) + 1) * FLOOD_PERIOD_NS;
        while (clock_now() < due)
            poll(NULL, 0, 1);
        const uint64_t until = (uint64_t)((double)(due - begin) / spacing);
        for (; sent < until; sent++) {
            const uint64_t end = begin + (uint64_t)((double)sent * spacing);
            struct record record = {.start = end - 1000,
                                    .end = end,
                                    .launch = end - 1000,
                                    .place = PLACE_UNKNOWN,
                                    .name = (uint32_t)(sent % FLOOD_KERNELS),
                                    .step = (uint32_t)(sent / FLOOD_KERNELS),
                                    .kind = RECORD_KERNEL,
                                    .pass = PASS_FWD};
            ring_push(ring, &record);
        }
    }
}

static double quantile_ms(double share)
{
    uint64_t below = 0;
    for (int i = 0; i < BINS; i++)
        if ((below += shared->bins[i]) >= (uint64_t)ceil(share * (double)shared->shown))
            return i + 1;
    return BINS;
}

static int watch(const char *what, double seconds)
{
    const struct screen_options options = {.height = 50, .width = 160, .session = session_make};
    struct screen *screen = screen_open(&options, NULL);
    const uint64_t patience = clock_now() + 60000000000u;
    screen_type(screen, "2"); /* Kernels */
    while (!shared->shown && clock_now() < patience)
        screen_read(screen, 20);
    const uint64_t end = clock_now() + (uint64_t)(seconds * 1e9);
    while (clock_now() < end)
        screen_read(screen, 20);
    if (!shared->shown) {
        char *text = screen_text(screen, false);
        fprintf(stderr, "bench_screen: no kernel came to the screen, which shows\n%s\n", text);
        free(text);
        screen_close(screen);
        return 1;
    }
    screen_close(screen);
    const bool good = quantile_ms(0.99) <= GOAL_MS && !shared->lost;
    printf(
        "kernel end to screen, %s: p50 %.0f ms, p99 %.0f ms, max %.0f ms of %llu kernels in %llu frames, %.1f s; %llu "
        "records, %llu lost, %llu invalid, %llu not followed (goal p99 %d ms, none lost) %s\n",
        what, quantile_ms(0.5), quantile_ms(0.99), quantile_ms(1), (unsigned long long)shared->shown,
        (unsigned long long)shared->frames, seconds, (unsigned long long)shared->records,
        (unsigned long long)shared->lost, (unsigned long long)shared->invalid, (unsigned long long)shared->unseen,
        GOAL_MS, good ? "ok" : "MISSED");
    return good ? 0 : 1;
}

int main(int count, char **arguments)
{
    char folder[] = STEPTOP_BINARY; /* the devices lie beside it */
    *strrchr(folder, '/') = 0;
    setenv("STEPTOP_PLUGIN_FOLDER", folder, 0);
    if (count >= 4 && strcmp(arguments[1], "worker") == 0)
        return getenv("BENCH_RATE") ? flood(atoi(arguments[2]), atoi(arguments[3]))
                                    : worker_main(atoi(arguments[2]), atoi(arguments[3]));
    const bool is_flood = count > 1 && strcmp(arguments[1], "flood") == 0;
    if (count < 2 || count > 5 || (!is_flood && strcmp(arguments[1], "run") != 0)) {
        fprintf(stderr, "usage: bench_screen run [DEVICE [MODEL [SECONDS]]] | flood [SECONDS [RATE]]\n");
        return 2;
    }
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    char what[96];
    if (is_flood) {
        const double seconds = count > 2 ? atof(arguments[2]) : 60;
        const char *rate = count > 3 ? arguments[3] : "500000";
        setenv("BENCH_RATE", rate, 1);
        strcpy(shared->device, "cpu");
        strcpy(shared->model, "tiny");
        snprintf(what, sizeof what, "%.0f k kernels/s made up", atof(rate) / 1e3);
        return watch(what, seconds);
    }
    unsetenv("BENCH_RATE");
    snprintf(shared->device, sizeof shared->device, "%s", count > 2 ? arguments[2] : "cpu");
    snprintf(shared->model, sizeof shared->model, "%s", count > 3 ? arguments[3] : "tiny");
    snprintf(what, sizeof what, "%s on %s", shared->model, shared->device);
    return watch(what, count > 4 ? atof(arguments[4]) : 10);
}
