#include "attach/torch.h"
#include "attach/book.h"
#include "attach/link.h"
#include "attach/steps.h"
#include "attach/watch.h"
#include "attach/where.h"
#include "base/clock.h"
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define LOOK_BYTES 320 /* how far into a RecordFunction is looked: less than the smallest there was (1.13: 352) */
#define NAMES_CACHED 4096u
#define NAME_COPIED 52 /* so that a row is a line of the processor's cache */
#define DOINGS 64

/* at::RecordFunctionCallback: the same from 1.13 to 2.15. Passed by value, larger than two registers: a copy on the stack. */
struct callback {
    void *start, *end;
    double probability;
    _Bool scopes[10], inputs, outputs, ids;
};
_Static_assert(sizeof(struct callback) == 40, "the size that the library expects on its stack");
enum { SCOPE_FUNCTION = 0, SCOPE_BACKWARD = 1, SCOPE_USER = 7 };

static struct {
    uint64_t (*add)(struct callback);
    void (*remove)(uint64_t);
    const char *(*name)(const void *);
    int64_t (*peek)(void);
    /* Of the calling thread; NULL where the library has them not. */
    bool (*gradients)(void);
    int (*task)(void);         /* the backward pass that it is in; −1: in none */
    int offset;                /* of the sequence number; −1 unknown */
    pthread_mutex_t switching; /* of the callbacks: by the program's threads, and by the link's */
    bool ops, paused;
    uint64_t op_handle, node_handle, user_handle, learn_handle;
    int64_t wanted;
    int votes[LOOK_BYTES / 8], looks;
    /* Schemas keep their names: the pointer finds the id, the text confirms it. A row is taken by one thread, written, and then shown by
     * its `text`. */
    struct {
        const char *_Atomic text;
        uint32_t id;
        char copy[NAME_COPIED];
    } names[NAMES_CACHED];
    /* What PyTorch says of its own doings and is under way: some end on another thread than they began. By address. */
    struct {
        const void *_Atomic function;
        uint64_t start, cpu;
        uint32_t name;
        uint8_t wait;
    } doings[DOINGS];
} torch = {.offset = -1, .switching = PTHREAD_MUTEX_INITIALIZER};

/* Distributions add a version to its name. */
static int is_torch(struct dl_phdr_info *info, size_t size, void *path)
{
    const char *name = info->dlpi_name ? strrchr(info->dlpi_name, '/') : NULL;
    (void)size;
    if (!name || strncmp(name, "/libtorch_cpu.so", 16) != 0 || strlen(info->dlpi_name) >= 1024)
        return 0;
    strcpy(path, info->dlpi_name);
    return 1;
}

static bool is_in_backward(void)
{
    return torch.task() >= 0;
}

/* What does without, in a PyTorch that has it not. */
static void find_more(void *library)
{
    void *gradients = dlsym(library ? library : RTLD_DEFAULT, "_ZN3c108GradMode10is_enabledEv");
    void *task = dlsym(library ? library : RTLD_DEFAULT, "_ZN5torch8autograd25get_current_graph_task_idEv");
    memcpy(&torch.gradients, &gradients, sizeof gradients);
    memcpy(&torch.task, &task, sizeof task);
    if (task)
        where_backward_by(is_in_backward);
}

bool torch_wants_gradients(void)
{
    return !torch.gradients || torch.gradients();
}

bool torch_find(char *why, unsigned size)
{
    static const struct {
        const char *symbol;
        size_t at;
    } symbols[] = {
        {"_ZN2at17addGlobalCallbackENS_22RecordFunctionCallbackE", offsetof(__typeof__(torch), add)},
        {"_ZN2at14removeCallbackEm", offsetof(__typeof__(torch), remove)},
        {"_ZNK2at14RecordFunction4nameEv", offsetof(__typeof__(torch), name)},
        {"_ZN2at15sequence_number4peekEv", offsetof(__typeof__(torch), peek)},
    };
    char path[1024] = "";
    dl_iterate_phdr(is_torch, path); /* Python loads it where RTLD_DEFAULT does not look */
    void *library = path[0] ? dlopen(path, RTLD_NOLOAD | RTLD_LAZY) : NULL;
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *found = library ? dlsym(library, symbols[i].symbol) : dlsym(RTLD_DEFAULT, symbols[i].symbol);
        if (!found) {
            snprintf(why, size, "libtorch_cpu.so exports no %s", symbols[i].symbol);
            return false;
        }
        memcpy((char *)&torch + symbols[i].at, &found, sizeof found);
    }
    find_more(library);
    return true;
}

int64_t torch_sequence(void)
{
    return torch.peek ? torch.peek() : -1;
}

static int64_t sequence_of(const void *function)
{
    int64_t sequence = -1;
    if (torch.offset >= 0)
        memcpy(&sequence, (const char *)function + torch.offset, sizeof sequence);
    return sequence;
}

/* ---- learning ---- */

/* Callbacks return a unique_ptr, which the caller has room for: `result` is where, NULL is what. */
static void *learn_begin(void **result, const void *function)
{
    *result = NULL;
    torch.looks++;
    for (int i = 0; i < LOOK_BYTES / 8; i++) {
        int64_t value;
        memcpy(&value, (const char *)function + 8 * i, sizeof value);
        torch.votes[i] += value == torch.wanted;
    }
    return result;
}

static void nothing_end(const void *function, void *context)
{
    (void)function, (void)context;
}

void torch_learn(bool on, int64_t sequence)
{
    torch.wanted = sequence;
    if (on && !torch.learn_handle)
        torch.learn_handle = torch.add((struct callback){
            .start = learn_begin, .end = nothing_end, .probability = 1, .scopes = {[SCOPE_FUNCTION] = 1}});
    if (!on && torch.learn_handle) {
        torch.remove(torch.learn_handle);
        torch.learn_handle = 0;
    }
}

int torch_learned(int rounds)
{
    int found = -1, many = 0;
    for (int i = 0; i < LOOK_BYTES / 8; i++)
        if (torch.votes[i] >= rounds) {
            found = 8 * i;
            many++;
        }
    if (torch.looks != rounds || many != 1)
        return -1 - many;
    torch.offset = found;
    return found;
}

/* ---- watching ---- */

/* "autograd::engine::evaluate_function: MulBackward0" is the node, in the engine's words. */
static const char *bare(const char *text)
{
    static const char engine[] = "autograd::engine::evaluate_function: ";
    return strncmp(text, engine, sizeof engine - 1) == 0 ? text + sizeof engine - 1 : text;
}

static uint32_t name_id(const char *text)
{
    const size_t at = (size_t)(((uintptr_t)text * 0x9e3779b97f4a7c15u) >> 52) % NAMES_CACHED;
    if (atomic_load_explicit(&torch.names[at].text, memory_order_acquire) == text &&
        strcmp(torch.names[at].copy, text) == 0)
        return torch.names[at].id;
    static const char taken[1];
    const char *name = bare(text), *empty = NULL;
    const uint32_t id = book_name(name);
    /* The engine's words are made anew each time, and no pointer finds them again. */
    if (name == text && strlen(text) < NAME_COPIED &&
        atomic_compare_exchange_strong(&torch.names[at].text, &empty, taken)) {
        torch.names[at].id = id;
        strcpy(torch.names[at].copy, text);
        atomic_store_explicit(&torch.names[at].text, text, memory_order_release);
    }
    return id;
}

static uint32_t name_of(const void *function)
{
    return name_id(torch.name(function));
}

static void *op_begin(void **result, const void *function)
{
    (void)function;
    *result = NULL;
    if (steps_recorded() && link_is_open()) {
        struct where *where = where_self();
        if (where)
            where_op_begin(where, 0);
    }
    return result;
}

static void op_end(const void *function, void *context)
{
    (void)context;
    struct where *where = link_is_open() ? where_self() : NULL;
    if (where)
        where_op_end(where, name_of, function);
}

static void *node_begin(void **result, const void *function)
{
    *result = NULL;
    struct where *where = link_is_open() ? where_self() : NULL;
    if (where)
        where_node_begin(where, sequence_of(function));
    return result;
}

static void node_end(const void *function, void *context)
{
    (void)function, (void)context;
    struct where *where = link_is_open() ? where_self() : NULL;
    if (where)
        where_node_end(where);
}

/* PyTorch names what it does itself as a program would name a range: the data loader's turn of the loop, and collectives of the
 * host, from their beginning to their end on whichever thread. */
static enum record_wait wait_of(const char *name)
{
    static const struct {
        const char *start;
        enum record_wait wait;
    } words[] = {{"enumerate(DataLoader)", WAIT_DATA}, {"gloo:", WAIT_RANK}, {"mpi:", WAIT_RANK}, {"ucc:", WAIT_RANK}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strncmp(name, words[i].start, strlen(words[i].start)) == 0)
            return words[i].wait;
    return 0;
}

/* What it says of the optimizer beside its step, whose hooks tell. */
static bool is_of_optimizer(const char *name)
{
    return strncmp(name, "Optimizer.zero_grad#", 20) == 0;
}

static void *user_begin(void **result, const void *function)
{
    *result = NULL;
    struct where *where = link_is_open() ? where_self() : NULL;
    const char *name = where ? torch.name(function) : NULL;
    const enum record_wait wait = name ? wait_of(name) : 0;
    if (name && is_of_optimizer(name))
        where_phase_begin(where, PHASE_OPT);
    /* A loader that a thread of its own runs ahead keeps nobody waiting. */
    if (!wait || (wait == WAIT_DATA && !where_runs_modules(where)))
        return result;
    for (int i = 0; i < DOINGS; i++) {
        const void *none = NULL;
        if (!atomic_compare_exchange_strong(&torch.doings[i].function, &none, function))
            continue;
        torch.doings[i].start = clock_now();
        torch.doings[i].cpu = wait == WAIT_DATA ? watch_thread_cpu() : 0;
        torch.doings[i].name = book_name(name);
        torch.doings[i].wait = (uint8_t)wait;
        break;
    }
    return result;
}

static void user_end(const void *function, void *context)
{
    (void)context;
    if (where_in_phase() && is_of_optimizer(torch.name(function)))
        where_phase_end(where_self());
    for (int i = 0; i < DOINGS; i++) {
        if (atomic_load_explicit(&torch.doings[i].function, memory_order_acquire) != function)
            continue;
        struct where *where = link_is_open() ? where_self() : NULL;
        if (where) {
            if (steps_recorded())
                where_wait(where, torch.doings[i].start, torch.doings[i].name, torch.doings[i].wait);
            if (torch.doings[i].wait == WAIT_DATA)
                watch_wait(clock_now() - torch.doings[i].start, watch_thread_cpu() - torch.doings[i].cpu);
        }
        atomic_store_explicit(&torch.doings[i].function, NULL, memory_order_release);
        return;
    }
}

static void watch_all(void)
{
    /* Nodes first: callbacks run in the order they were added, so that a node's context is there before its ops. */
    if (!torch.node_handle)
        torch.node_handle = torch.add((struct callback){
            .start = node_begin, .end = node_end, .probability = 1, .scopes = {[SCOPE_BACKWARD] = 1}});
    if (!torch.user_handle)
        torch.user_handle = torch.add(
            (struct callback){.start = user_begin, .end = user_end, .probability = 1, .scopes = {[SCOPE_USER] = 1}});
    if (torch.ops && !torch.op_handle)
        torch.op_handle = torch.add(
            (struct callback){.start = op_begin, .end = op_end, .probability = 1, .scopes = {[SCOPE_FUNCTION] = 1}});
}

static void unwatch_work(void)
{
    if (torch.op_handle)
        torch.remove(torch.op_handle);
    if (torch.node_handle)
        torch.remove(torch.node_handle);
    torch.op_handle = torch.node_handle = 0;
}

static void unwatch_all(void)
{
    unwatch_work();
    if (torch.user_handle)
        torch.remove(torch.user_handle);
    torch.user_handle = 0;
}

bool torch_watch(bool ops)
{
    if (!torch.add)
        return false;
    pthread_mutex_lock(&torch.switching);
    torch.ops = ops;
    watch_all();
    pthread_mutex_unlock(&torch.switching);
    return true;
}

/* While nothing is recorded PyTorch need not name each op and node for us: that is what its callbacks cost. Those under way end all the
 * same. What is waited for is a few calls a step, and counts in all of them. */
void torch_pause(bool paused)
{
    pthread_mutex_lock(&torch.switching);
    if (paused && torch.node_handle) {
        unwatch_work();
        where_nodes_unknown(true);
        torch.paused = true;
    } else if (!paused && torch.paused) {
        watch_all();
        where_nodes_unknown(false);
        torch.paused = false;
    }
    pthread_mutex_unlock(&torch.switching);
}

void torch_unwatch(void)
{
    pthread_mutex_lock(&torch.switching);
    unwatch_all();
    torch.paused = false;
    pthread_mutex_unlock(&torch.switching);
}
