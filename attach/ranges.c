/* The program's own ranges: NVTX and ITT, whose libraries look for us by an environment variable and hand over their tables of functions.
 * Ranges alone are taken; all else stays as it is without us. Their layouts are those of the public headers (NVTX 3, ITT API 3). */
#include "attach/cuda.h"
#include "attach/link.h"
#include "attach/steps.h"
#include "attach/told.h"
#include "attach/where.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define EXPORT __attribute__((visibility("default")))
#define HANDSHAKE_MS 100
#define RANGE_TEXT 128

/* The first range is what a program without PyTorch and CUDA begins with. While one thread opens, what others do is before the beginning;
 * where nobody listens that is so for good. */
static bool listening(void)
{
    static _Atomic bool opening;
    if (link_is_open())
        return !atomic_load_explicit(&opening, memory_order_acquire);
    if (atomic_load_explicit(&opening, memory_order_relaxed) || atomic_exchange(&opening, true) ||
        !link_open(HANDSHAKE_MS))
        return false;
    steps_begin();
    atomic_store_explicit(&opening, false, memory_order_release);
    cuda_say();
    if (cuda_is_watched()) /* its kernels are what is shown */
        return true;
    where_ranges_only();
    link_note(NOTE_ATTRIBUTION, "the program's own ranges");
    link_note(NOTE_ATTRIBUTION_LACKS, "modules, backward and what is in no range");
    return true;
}

/* "aten::addmm, seq = 7, op_id = 5" is one range for each number: cut where they begin. */
static void push(const char *text, bool of_library)
{
    char name[RANGE_TEXT];
    if (told_push(text))
        return;
    const bool hidden = of_library && (where_has_modules() || steps_await_modules());
    if (!hidden && !listening())
        return;
    snprintf(name, sizeof name, "%s", text && *text ? text : "?");
    char *numbers = strstr(name, ", seq = ");
    if (numbers)
        *numbers = 0;
    where_range_push(name, hidden);
}

/* ---- strings that are named once, of either kind; laid out as ITT's are ---- */

struct string {
    const char *text;
    void *wide;
    int extra1;
    void *extra2;
    struct string *next;
};

static struct {
    pthread_mutex_t lock;
    struct string *all;
} strings = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct string *string_create(const char *text)
{
    pthread_mutex_lock(&strings.lock);
    struct string *string = strings.all;
    while (string && strcmp(string->text, text) != 0)
        string = string->next;
    if (!string && (string = calloc(1, sizeof *string))) {
        *string = (struct string){.text = strdup(text), .next = strings.all};
        if (string->text) {
            strings.all = string;
        } else {
            free(string);
            string = NULL;
        }
    }
    pthread_mutex_unlock(&strings.lock);
    return string;
}

/* ---- NVTX ---- */

enum { NVTX_CALLBACKS = 1, NVTX_CORE = 1, NVTX_CORE2 = 5 };
enum { NVTX_MESSAGE_ASCII = 1, NVTX_MESSAGE_WIDE = 2, NVTX_MESSAGE_REGISTERED = 3 };
enum { NVTX_PUSH_EX = 8, NVTX_PUSH_A = 9, NVTX_PUSH_W = 10, NVTX_POP = 11 };
enum { NVTX_DOMAIN_PUSH_EX = 4, NVTX_DOMAIN_POP = 5, NVTX_REGISTER_A = 10, NVTX_REGISTER_W = 11 };

struct nvtx_attributes {
    uint16_t version, size;
    uint32_t category;
    int32_t color_type;
    uint32_t color;
    int32_t payload_type, reserved;
    uint64_t payload;
    int32_t message_type;
    union {
        const char *text;
        const wchar_t *wide;
        const struct string *registered;
    } message;
};
struct nvtx_callbacks {
    size_t size;
    int (*table_of)(int module, void ****table, unsigned *size);
};

static int nvtx_push(const char *text)
{
    push(text, false);
    return 0;
}

/* As UTF-8, cut where there is no more room. */
static const char *narrow(const wchar_t *wide, char text[RANGE_TEXT])
{
    size_t length = 0;
    for (; wide && *wide && length + 5 < RANGE_TEXT; wide++) {
        const uint32_t one = (uint32_t)*wide;
        if (one < 0x80) {
            text[length++] = (char)one;
            continue;
        }
        const int more = one < 0x800 ? 1 : one < 0x10000 ? 2 : 3;
        text[length++] = (char)((0xff00u >> (more + 1) & 0xffu) | (one >> 6 * more & 0x3fu));
        for (int i = more - 1; i >= 0; i--)
            text[length++] = (char)(0x80u | (one >> 6 * i & 0x3fu));
    }
    text[length] = 0;
    return text;
}

static int nvtx_push_w(const wchar_t *wide)
{
    char text[RANGE_TEXT];
    return nvtx_push(narrow(wide, text));
}

static int nvtx_push_ex(const struct nvtx_attributes *attributes)
{
    char text[RANGE_TEXT];
    switch (attributes ? attributes->message_type : 0) {
    case NVTX_MESSAGE_ASCII:
        return nvtx_push(attributes->message.text);
    case NVTX_MESSAGE_WIDE:
        return nvtx_push(narrow(attributes->message.wide, text));
    case NVTX_MESSAGE_REGISTERED: /* by one that was there before us it is NULL */
        return nvtx_push(attributes->message.registered ? attributes->message.registered->text : "?");
    default:
        return nvtx_push("?");
    }
}

static const struct string *nvtx_register(void *domain, const char *text)
{
    (void)domain;
    return text ? string_create(text) : NULL;
}

static const struct string *nvtx_register_w(void *domain, const wchar_t *wide)
{
    char text[RANGE_TEXT];
    return wide ? nvtx_register(domain, narrow(wide, text)) : NULL;
}

static int nvtx_pop(void)
{
    return told_pop() || where_range_pop() ? 0 : -2;
}

static int nvtx_domain_push_ex(void *domain, const struct nvtx_attributes *attributes)
{
    (void)domain;
    return nvtx_push_ex(attributes);
}

static int nvtx_domain_pop(void *domain)
{
    (void)domain;
    return nvtx_pop();
}

static void nvtx_take(const struct nvtx_callbacks *callbacks, int module, unsigned id, void *function)
{
    void ***table = NULL;
    unsigned size = 0;
    if (callbacks->table_of(module, &table, &size) && table && id < size && table[id])
        *table[id] = function;
}

/* Called once by each binary that has NVTX in it. */
EXPORT int InitializeInjectionNvtx2(const void *(*table)(uint32_t id));
int InitializeInjectionNvtx2(const void *(*table)(uint32_t id))
{
    const struct nvtx_callbacks *callbacks = table ? table(NVTX_CALLBACKS) : NULL;
    if (!callbacks || callbacks->size < sizeof *callbacks || !callbacks->table_of)
        return 0;
    nvtx_take(callbacks, NVTX_CORE, NVTX_PUSH_EX, (void *)nvtx_push_ex);
    nvtx_take(callbacks, NVTX_CORE, NVTX_PUSH_A, (void *)nvtx_push);
    nvtx_take(callbacks, NVTX_CORE, NVTX_PUSH_W, (void *)nvtx_push_w);
    nvtx_take(callbacks, NVTX_CORE, NVTX_POP, (void *)nvtx_pop);
    nvtx_take(callbacks, NVTX_CORE2, NVTX_DOMAIN_PUSH_EX, (void *)nvtx_domain_push_ex);
    nvtx_take(callbacks, NVTX_CORE2, NVTX_DOMAIN_POP, (void *)nvtx_domain_pop);
    nvtx_take(callbacks, NVTX_CORE2, NVTX_REGISTER_A, (void *)nvtx_register);
    nvtx_take(callbacks, NVTX_CORE2, NVTX_REGISTER_W, (void *)nvtx_register_w);
    return 1;
}

/* ---- ITT ---- */

struct itt_domain {
    volatile int flags;
    const char *name;
    void *wide;
    int extra1;
    void *extra2;
    struct itt_domain *next;
};
struct itt_id {
    unsigned long long values[3];
};
struct itt_function {
    const char *name;
    void **place;
    void *first, *nothing;
    int group;
};
struct itt_global {
    unsigned char magic[8];
    unsigned long major, minor, build;
    volatile long initialized, mutex_initialized, counter;
    pthread_mutex_t mutex;
    void *library, *error_handler;
    const char **path;
    struct itt_function *functions;
    /* more, which is not read */
};

static struct {
    pthread_mutex_t lock;
    struct itt_domain *domains;
} itt = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct itt_domain *itt_domain_create(const char *name)
{
    pthread_mutex_lock(&itt.lock);
    struct itt_domain *domain = itt.domains;
    while (domain && strcmp(domain->name, name) != 0)
        domain = domain->next;
    if (!domain && (domain = calloc(1, sizeof *domain))) {
        *domain = (struct itt_domain){.flags = 1, .name = strdup(name), .next = itt.domains};
        if (domain->name) {
            itt.domains = domain;
        } else {
            free(domain);
            domain = NULL;
        }
    }
    pthread_mutex_unlock(&itt.lock);
    return domain;
}

/* oneDNN's primitives, of which PyTorch's modules and operators tell more. */
static bool is_of_library(const char *domain)
{
    return strncmp(domain, "dnnl::", 6) == 0 || strncmp(domain, "oneDNN", 6) == 0;
}

static void itt_begin(const struct itt_domain *domain, struct itt_id id, struct itt_id parent, struct string *name)
{
    (void)id, (void)parent;
    push(name ? name->text : "?", domain && is_of_library(domain->name));
}

static void itt_end(const struct itt_domain *domain)
{
    (void)domain;
    if (!told_pop())
        where_range_pop();
}

/* Called by each binary that has ITT in it, when it first uses it. */
EXPORT void __itt_api_init(struct itt_global *global, int groups);
void __itt_api_init(struct itt_global *global, int groups)
{
    static const struct {
        const char *name;
        void *function;
    } ours[] = {{"__itt_domain_create", (void *)itt_domain_create},
                {"__itt_string_handle_create", (void *)string_create},
                {"__itt_task_begin", (void *)itt_begin},
                {"__itt_task_end", (void *)itt_end}};
    (void)groups;
    for (struct itt_function *function = global->functions; function && function->name; function++) {
        *function->place = function->nothing;
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
            if (strcmp(function->name, ours[i].name) == 0)
                *function->place = ours[i].function;
    }
}
