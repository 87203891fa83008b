/* What the Python hook calls: plain functions through ctypes for what is rare, and functions in CPython's own calling convention,
 * which the hook makes callables of, for what happens at every module. Python's API is looked up in the process: nothing is linked. */
#include "attach/book.h"
#include "attach/cuda.h"
#include "attach/link.h"
#include "attach/pace.h"
#include "attach/steps.h"
#include "attach/told.h"
#include "attach/torch.h"
#include "attach/watch.h"
#include "attach/where.h"
#include "base/unknown.h"
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define HANDSHAKE_MS 100
#define FAREWELL_MS 300

static struct {
    long (*as_long)(void *);
    void *(*from_long)(long);
    void (*take)(void *); /* Py_IncRef */
    void *none, *yes, *count, *ask;
    _Atomic uint32_t look_step;
    _Atomic bool looking; /* at what ops do, in the same step */
    _Atomic bool memory;  /* what modules keep for their backward pass is to be read, in one step */
} python;

EXPORT int steptop_attach_open(void);
EXPORT void steptop_attach_expect(void);
EXPORT void steptop_attach_socket(const char *path);
EXPORT int steptop_attach_is_open(void);
EXPORT int32_t steptop_attach_scope(int32_t parent, const char *name, int64_t parameter_bytes);
EXPORT void steptop_attach_note(const char *key, const char *text);
EXPORT int steptop_attach_find(char *why, unsigned size);
EXPORT int64_t steptop_attach_sequence(void);
EXPORT void steptop_attach_learn(int on, int64_t sequence);
EXPORT int steptop_attach_learned(int rounds);
EXPORT int steptop_attach_watch(int ops);
EXPORT void steptop_attach_told(int ops);
EXPORT void steptop_attach_alone(void);
EXPORT void steptop_attach_compiled(uint64_t compilations, uint64_t breaks);
EXPORT void steptop_attach_memory(uint64_t allocated, uint64_t reserved, uint64_t retries, uint64_t peak,
                                  uint64_t free);
EXPORT void steptop_attach_threads(uint64_t threads);
EXPORT void steptop_attach_close(void);
EXPORT int steptop_attach_python(void *none, void *yes, void *count, void *ask);
EXPORT void steptop_attach_by_hand(int changed);
EXPORT void steptop_attach_unwind(int modules, int phases);
EXPORT void steptop_attach_read_memory(void);
EXPORT void steptop_attach_kept(int32_t scope, int64_t bytes);
EXPORT int32_t steptop_attach_name(const char *name);
EXPORT void steptop_attach_work(int32_t name, double flops, double bytes);
EXPORT double steptop_attach_worked(double *lost);
EXPORT void steptop_attach_peak(int64_t bytes);
EXPORT void *steptop_attach_here(void *self, void *unused);
EXPORT void *steptop_attach_leave(void *self, void *scope);
EXPORT void *steptop_attach_enter_root(void *self, void *scope);
EXPORT void *steptop_attach_optimizer_begin(void *self, void *unused);
EXPORT void *steptop_attach_optimizer_end(void *self, void *optimizer);

/* 1: there is a front, tell it; 0: leave the program alone. */
int steptop_attach_open(void)
{
    if (!link_open(HANDSHAKE_MS))
        return 0;
    steps_begin();
    cuda_say();
    return 1;
}

/* In a program that runs already: where the front listens. */
void steptop_attach_socket(const char *path)
{
    link_use(path);
}

int steptop_attach_is_open(void)
{
    return link_is_open();
}

/* The hook is there: the program has modules. */
void steptop_attach_expect(void)
{
    steps_expect_modules();
}

int32_t steptop_attach_scope(int32_t parent, const char *name, int64_t parameter_bytes)
{
    return book_scope(parent, name, parameter_bytes < 0 ? UNKNOWN_U64 : (uint64_t)parameter_bytes);
}

void steptop_attach_note(const char *key, const char *text)
{
    link_note(key, text);
}

int steptop_attach_find(char *why, unsigned size)
{
    return torch_find(why, size);
}

int64_t steptop_attach_sequence(void)
{
    return torch_sequence();
}

void steptop_attach_learn(int on, int64_t sequence)
{
    torch_learn(on != 0, sequence);
}

int steptop_attach_learned(int rounds)
{
    return torch_learned(rounds);
}

static void say_processor(void)
{
    struct device_info info = {
        .name = "cpu", .memory_bytes = UNKNOWN_U64, .free_bytes = UNKNOWN_U64, .clock_mhz = UNKNOWN_DOUBLE};
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && fgets(line, sizeof line, file)) {
        const char *colon = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
        if (colon) {
            snprintf(info.model, sizeof info.model, "%s", colon + 2);
            info.model[strcspn(info.model, "\n")] = 0;
            break;
        }
    }
    if (file)
        fclose(file);
    const long count = sysconf(_SC_NPROCESSORS_ONLN);
    info.units = count > 0 ? (uint32_t)count : 0;
    link_send(MESSAGE_DEVICE, &info, sizeof info, NULL, 0);
}

static void record_ops(bool on)
{
    torch_pause(!on);
}

/* Ops of a program on the CPU are records; those of one on a card launch kernels, which are. */
int steptop_attach_watch(int ops)
{
    const bool layers = link_settings()->layers_only;
    if (ops)
        say_processor();
    where_record(ops && !layers, layers && ops);
    if (ops && !cuda_is_watched())
        steps_pace_host(record_ops, layers ? PACE_SHARE_LAYERS : PACE_SHARE);
    return torch_watch(ops && !layers);
}

/* PyTorch speaks by ranges from now on. */
void steptop_attach_told(int ops)
{
    const bool layers = link_settings()->layers_only;
    if (ops)
        say_processor();
    where_record(ops && !layers, layers && ops);
    told_begin(ops && !layers);
}

/* Nothing but the calls of modules is known of a program on the CPU: the time in them, and in the optimizer, is what is recorded. */
void steptop_attach_alone(void)
{
    say_processor();
    where_record(false, true);
    where_nodes_unknown(true);
}

void steptop_attach_compiled(uint64_t compilations, uint64_t breaks)
{
    watch_compiled(compilations, breaks);
}

void steptop_attach_memory(uint64_t allocated, uint64_t reserved, uint64_t retries, uint64_t peak, uint64_t free)
{
    watch_memory(allocated, reserved, retries, peak, free);
}

void steptop_attach_threads(uint64_t threads)
{
    watch_threads(threads);
}

void steptop_attach_close(void)
{
    watch_tell();
    torch_unwatch();
    cuda_flush();
    link_flush(FAREWELL_MS);
}

/* ---- CPython's calling convention ---- */

int steptop_attach_python(void *none, void *yes, void *count, void *ask)
{
    python.from_long = (void *(*)(long))dlsym(RTLD_DEFAULT, "PyLong_FromLong");
    python.as_long = (long (*)(void *))dlsym(RTLD_DEFAULT, "PyLong_AsLong");
    python.take = (void (*)(void *))dlsym(RTLD_DEFAULT, "Py_IncRef");
    python.none = none;
    python.yes = yes;
    python.count = count;
    python.ask = ask;
    return python.as_long && python.from_long && python.take;
}

static void *given(void *object)
{
    python.take(object);
    return object;
}

static void *none(void)
{
    return given(python.none);
}

/* What has ended untold, says who can count the calls that are under way. Negative: as it is. */
void steptop_attach_unwind(int modules, int phases)
{
    struct where *where = link_is_open() ? where_self() : NULL;
    if (where)
        where_unwind(where, modules, phases);
}

void steptop_attach_by_hand(int changed)
{
    if (link_is_open())
        steps_by_hand(changed != 0);
}

/* True: this call of the outermost module is to be looked at: the first of its step for memory, all of them for what ops do. `count`: it is
 * not entered; what is under way is to be counted and unwound (steptop_attach_unwind), and then it is to be entered with its number
 * below −1. `ask`: it is entered,
 * and whether the program trains by hand is to be said (steptop_attach_by_hand). */
void *steptop_attach_enter_root(void *self, void *scope)
{
    (void)self;
    struct where *where = link_is_open() ? where_self() : NULL;
    if (!where)
        return none();
    const long given_id = python.as_long(scope);
    const bool counted = given_id < 0;
    const int32_t id = (int32_t)(counted ? -2 - given_id : given_id);
    if (!counted && (where_may_be_left_over(where, id) || where_may_step(where)))
        return given(python.count);
    const bool outermost = !where_in_module(where) && !where_in_node(where);
    if (!where_in_module(where))
        steps_root_module(id, torch_wants_gradients());
    where_enter(where, id, torch_sequence());
    if (outermost)
        watch_root(id);
    if (outermost && steps_asks())
        return given(python.ask);
    if (!outermost || steps_rule() != STEPS_OPTIMIZER || !steps_is_warmup())
        return none();
    if (atomic_exchange(&python.memory, false)) {
        atomic_store(&python.look_step, steps_now());
        atomic_store(&python.looking, true);
        return given(python.yes);
    }
    return given(atomic_load_explicit(&python.looking, memory_order_relaxed) ? python.yes : python.none);
}

void *steptop_attach_leave(void *self, void *scope)
{
    (void)self;
    struct where *where = link_is_open() ? where_self() : NULL;
    if (where)
        where_leave(where, (int32_t)python.as_long(scope), torch_sequence());
    return none();
}

/* In the next call of the outermost module that an optimizer's step has gone before. */
void steptop_attach_read_memory(void)
{
    atomic_store(&python.memory, true);
    steps_second_is_warmup();
}

void steptop_attach_kept(int32_t scope, int64_t bytes)
{
    if (bytes >= 0)
        book_kept(scope, (uint64_t)bytes);
}

int32_t steptop_attach_name(const char *name)
{
    return (int32_t)book_name(name);
}

/* What an op that the calling thread runs just now does, by its shapes. */
void steptop_attach_work(int32_t name, double flops, double bytes)
{
    if (link_is_open() && name >= 0)
        book_work(where_context(), (uint32_t)name, flops, bytes);
}

/* So much memory is in use more than when the step began, where the calling thread is. */
void steptop_attach_peak(int64_t bytes)
{
    if (link_is_open() && bytes >= 0)
        book_peak(where_context(), (uint64_t)bytes);
}

/* The step in which that was looked at is over: what was told of by steptop_attach_work, and how much of it found no place. */
double steptop_attach_worked(double *lost)
{
    atomic_store(&python.looking, false);
    *lost = 0;
    if (link_is_open())
        book_peaks_tell();
    return link_is_open() ? book_work_tell(where_records_ops(), lost) : 0;
}

/* The scope of the module that the calling thread is in, or −1. */
void *steptop_attach_here(void *self, void *unused)
{
    (void)self, (void)unused;
    return python.from_long(CONTEXT_SCOPE(where_context()));
}

void *steptop_attach_optimizer_begin(void *self, void *unused)
{
    (void)self, (void)unused;
    struct where *where = link_is_open() ? where_self() : NULL;
    if (where)
        where_phase_begin(where, PHASE_OPT);
    return none();
}

/* True: the step in which was looked at is over. */
void *steptop_attach_optimizer_end(void *self, void *optimizer)
{
    (void)self;
    struct where *where = link_is_open() ? where_self() : NULL;
    if (where)
        where_phase_end(where);
    if (where)
        steps_optimizer(optimizer);
    return given(atomic_load_explicit(&python.looking, memory_order_relaxed) &&
                         steps_now() != atomic_load(&python.look_step)
                     ? python.yes
                     : python.none);
}
