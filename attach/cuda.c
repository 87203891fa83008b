#include "attach/cuda.h"
#include "attach/book.h"
#include "attach/link.h"
#include "attach/steps.h"
#include "attach/torch.h"
#include "attach/where.h"
#include "base/unknown.h"
#include "kernels/cuda/cupti_internal.h"
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HANDSHAKE_MS 100
#define CLASSES_CACHED 4096u

static struct {
    struct cupti_source *source;
    struct probe probe;
    pid_t pid;
    _Atomic bool watched;
    char kernels[640]; /* the note, said once there is somebody to say it to */
    _Atomic bool told, joined;
    bool seen; /* something has run on the card: this is a program of the card's, not one that merely looked for it */
    struct {
        int32_t context, place;
        uint8_t kernel_class;
    } cache[CLASSES_CACHED]; /* the source's thread's */
} cuda;

/* ---- the launching thread's ---- */

void cuda_say(void)
{
    if (cuda.kernels[0] && link_is_open() && !atomic_exchange(&cuda.told, true))
        link_note("kernels", cuda.kernels);
}

static void join(void)
{
    if (link_open(HANDSHAKE_MS))
        steps_begin();
    cuda_say();
}

/* Something is launched: what merely asked for cards, as launchers of ranks do to bind these, is no rank. */
static int32_t launched_here(void)
{
    if (!atomic_load_explicit(&cuda.joined, memory_order_relaxed) && !atomic_exchange(&cuda.joined, true))
        join();
    return where_context();
}

/* The program waited for its device. */
static void waited(int32_t context, uint64_t step, const char *how, uint64_t start, uint64_t end)
{
    const uint32_t name = book_name(how);
    struct record record = {.start = start,
                            .end = end,
                            .launch = start,
                            .payload = SYNC_OF_HOST,
                            .place = book_place_of_class(context, book_class(name)),
                            .name = name,
                            .step = (uint32_t)step,
                            .stream = UINT16_MAX,
                            .kind = RECORD_SYNC,
                            .pass = steps_pass()};
    if (steps_was_warmup((uint32_t)step))
        record.flags = RECORD_WARMUP;
    link_push(&record);
}

static uint64_t step_now(void)
{
    return steps_recorded() ? steps_now() : LAUNCH_STEP_NONE;
}

/* ---- the source's thread's ---- */

static uint32_t intern(void *context, const char *name)
{
    (void)context;
    return book_name(name);
}

static int32_t place_of(int32_t context, enum kernel_class kernel_class)
{
    const uint32_t at =
        ((uint32_t)context * 0x9e3779b1u ^ (uint32_t)kernel_class * 0x85ebca6bu) >> 16 & (CLASSES_CACHED - 1);
    if (!cuda.cache[at].place || cuda.cache[at].context != context || cuda.cache[at].kernel_class != kernel_class) {
        cuda.cache[at].place = 1 + book_place_of_class(context, kernel_class);
        cuda.cache[at].context = context;
        cuda.cache[at].kernel_class = (uint8_t)kernel_class;
    }
    return cuda.cache[at].place - 1;
}

static void say_device(void);

/* Programs ask for cards and go on without: the device is the card, and operators of the processor are no records any more, from
 * its first kernel on. */
static void see(void)
{
    cuda.seen = true;
    say_device();
    where_record(false, false);
}

static void event(void *unused, uint64_t step, const struct kernel_event *event)
{
    (void)unused;
    if (!link_is_open()) /* nothing was launched yet */
        return;
    if (!cuda.seen && (event->kind == EVENT_KERNEL || event->kind == EVENT_COPY || event->kind == EVENT_MEMSET))
        see();
    static const uint8_t kinds[] = {[EVENT_KERNEL] = RECORD_KERNEL,
                                    [EVENT_COPY] = RECORD_COPY,
                                    [EVENT_MEMSET] = RECORD_MEMSET,
                                    [EVENT_SYNC] = RECORD_SYNC,
                                    [EVENT_OVERHEAD] = RECORD_OVERHEAD};
    if (event->kind >= sizeof kinds)
        return;
    struct record record = {.start = event->start,
                            .end = event->end,
                            .launch = event->launch,
                            .payload = event->bytes,
                            .correlation = event->correlation,
                            .place = BOOK_NONE,
                            .name = event->name,
                            .step = (uint32_t)step,
                            .stream = event->stream,
                            .device = event->device,
                            .kind = kinds[event->kind],
                            .pass = steps_pass(),
                            .flags = event->pageable ? RECORD_PAGEABLE : 0,
                            .copy = event->copy};
    if (event->node != EVENT_NODE_NONE)
        record.place =
            place_of(event->node,
                     event->kind == EVENT_COPY || event->kind == EVENT_MEMSET ? CLASS_COPY : book_class(event->name));
    if (steps_was_warmup((uint32_t)step))
        record.flags |= RECORD_WARMUP;
    link_push(&record);
    steps_clock();
}

static void dropped(void *context, uint64_t count)
{
    (void)context;
    link_count_lost(count);
}

static void note(void *context, const char *key, const char *text)
{
    (void)context;
    link_note(key, text);
}

/* ---- pauses: of CUPTI's and RecordFunction's own work, which is most of what recording costs ---- */

static void record_launches(bool on)
{
    torch_pause(!on);
    on ? cupti_source_resume(cuda.source) : cupti_source_pause(cuda.source);
}

/* ---- the device ---- */

/* By the driver's own functions, which are there when the driver calls us; nothing is initialised by us. */
static void say_device(void)
{
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    int (*get_count)(int *) = driver ? (int (*)(int *))dlsym(driver, "cuDeviceGetCount") : NULL;
    int (*get_name)(char *, int, int) = driver ? (int (*)(char *, int, int))dlsym(driver, "cuDeviceGetName") : NULL;
    int (*get_memory)(size_t *, int) = driver ? (int (*)(size_t *, int))dlsym(driver, "cuDeviceTotalMem_v2") : NULL;
    int (*get_version)(int *) = driver ? (int (*)(int *))dlsym(driver, "cuDriverGetVersion") : NULL;
    struct device_info info = {.memory_bytes = UNKNOWN_U64, .free_bytes = UNKNOWN_U64, .clock_mhz = UNKNOWN_DOUBLE};
    const char *local = getenv("LOCAL_RANK");
    const int index = local && *local >= '0' && *local <= '9' ? atoi(local) : 0;
    int count = 0, version = 0;
    size_t memory;
    snprintf(info.name, sizeof info.name, "cuda:%d", index);
    if (get_count && get_count(&count) == 0 && index < count) {
        if (get_name)
            get_name(info.model, sizeof info.model, index);
        if (get_memory && get_memory(&memory, index) == 0)
            info.memory_bytes = memory;
    }
    if (get_version && get_version(&version) == 0)
        snprintf(info.driver, sizeof info.driver, "CUDA %d.%d", version / 1000, version % 1000 / 10);
    link_send(MESSAGE_DEVICE, &info, sizeof info, NULL, 0);
}

/* ---- the way in ---- */

bool cuda_is_watched(void)
{
    return atomic_load(&cuda.watched);
}

void cuda_flush(void)
{
    if (atomic_load(&cuda.watched) && getpid() == cuda.pid && link_is_open())
        cupti_flush_ask(cuda.source, REQUEST_SETTLE);
}

static void at_exit(void)
{
    cuda_flush();
    link_flush(300);
}

/* Called by the driver while the program initialises it. Whatever goes wrong here, the program's cuInit goes on. */
__attribute__((visibility("default"))) int InitializeInjection(void);
int InitializeInjection(void)
{
    struct error error = {0};
    struct cupti_api api;
    if (cuda.source || !link_may_open())
        return 1;
    cuda.pid = getpid();
    cuda.probe = (struct probe){.intern = intern, .event = event, .dropped = dropped, .note = note};
    const struct source_options options = {
        .node = launched_here, .step = step_now, .graph = steps_graph, .waited = waited};
    if (!cupti_api_load_present(&api, &error) ||
        !(cuda.source = cupti_source_open_with(&api, &cuda.probe, &options, &error))) {
        snprintf(cuda.kernels, sizeof cuda.kernels, "%.*s", (int)sizeof cuda.kernels - 1, error.text);
        cuda_say();
        return 1;
    }
    snprintf(cuda.kernels, sizeof cuda.kernels,
             "CUPTI %u (%s); the program's own torch.profiler gets no rows of the GPU meanwhile", api.version,
             api.path);
    cuda_say();
    cupti_source_watch(cuda.source);
    steps_pace(record_launches);
    atomic_store(&cuda.watched, true);
    atexit(at_exit);
    return 1;
}
