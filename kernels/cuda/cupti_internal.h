/* The activity source's parts, shared between its files and its tests. */
#pragma once
#include "kernels/cuda/cupti_api.h"
#include "kernels/cuda/cupti_attribution.h"
#include "kernels/cuda/cupti_convert.h"
#include "kernels/cuda/cupti_source.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Host buffers that CUPTI fills. Taken from and given back to a pool: a buffer is allocated once and goes round, and when
 * `limit` are out CUPTI is refused, drops records and counts them. Not thread-safe: the caller holds a lock. */
struct activity_buffer {
    struct activity_buffer *next;
    uint8_t *bytes;
    size_t valid; /* bytes of records, once CUPTI gave it back */
};

struct buffer_pool {
    struct activity_buffer *free;
    struct activity_buffer *filled, **filled_end; /* in the order in which they came back */
    struct activity_buffer *out;                  /* with CUPTI */
    size_t buffer_size;
    uint32_t allocated, limit;
};

bool buffer_pool_init(struct buffer_pool *pool, size_t buffer_size, uint32_t first, uint32_t limit);
uint8_t *buffer_pool_take(struct buffer_pool *pool);                                /* zeroed; NULL at the limit */
void buffer_pool_return(struct buffer_pool *pool, uint8_t *bytes, size_t valid);    /* filled: waits for its reader */
struct activity_buffer *buffer_pool_filled(struct buffer_pool *pool);               /* all of them, oldest first */
void buffer_pool_recycle(struct buffer_pool *pool, struct activity_buffer *buffer); /* already zeroed again */
/* Frees all but what CUPTI still holds, which stays allocated: it may yet write there. */
void buffer_pool_release(struct buffer_pool *pool);

struct source_options {
    size_t buffer_size; /* 0: 512 KiB */
    uint32_t buffers;   /* allocated at the start; 0: 16 */
    uint32_t limit;     /* at most so many; 0: 256 */
    uint32_t
        launches; /* places in the launch table, a power of two; 0: 1 << 16, 200 ms of a host launching its fastest */
    uint32_t period_ms; /* of the flush thread; 0: 50 */
    /* Of a program that is not ours (attach/): it launches from several threads, to several devices, in graphs of its own, and has
     * steps only as somebody tells. Both are asked on the launching thread; NULL: node and step are those of the source. */
    int32_t (*node)(void);
    uint64_t (*step)(void);
    void (*graph)(const void *executable); /* one is about to be launched; NULL: nobody asks */
    /* The calling thread has waited for the device in [start, end), in a step. NULL: nobody asks. Of our own programs it is an event like
     * any other. */
    void (*waited)(int32_t node, uint64_t step, const char *how, uint64_t start, uint64_t end);
    /* Sees each filled buffer before it is reused, on the source's thread; for recordings. */
    void (*tap)(void *context, const struct cupti_source *source, const uint8_t *buffer, size_t valid);
    void *tap_context;
};

/* Is the program not ours, but one that is attached to? */
static inline bool source_is_foreign(const struct source_options *options)
{
    return options->node != NULL;
}

/* cupti_source_open with a table of functions, which must outlive the source, and other sizes. */
struct cupti_source *cupti_source_open_with(const struct cupti_api *api, const struct probe *probe,
                                            const struct source_options *options, struct error *error);

#define WINDOWS_MAX 1024u
#define WAITS_MAX 1024u /* in a period: a step waits once */

enum source_request { REQUEST_NONE, REQUEST_FLUSH, REQUEST_SETTLE };

struct cupti_source {
    const struct cupti_api *api;
    struct cupti_api own_api; /* when the source loaded it itself */
    const struct probe *probe;
    struct source_options options;
    CUpti_SubscriberHandle subscriber;
    struct launch_table *launches;
    struct graph_table *graphs;
    pthread_mutex_t graph_lock; /* one writer of `graphs` at a time */
    struct name_cache *names;   /* the source's thread's */

    /* The launching thread's; callbacks run on it. */
    int32_t node;
    uint32_t graph_activities;
    uint64_t step; /* LAUNCH_STEP_NONE between steps */
    _Atomic bool tracing;

    _Atomic uint64_t launched; /* activities issued in steps */
    _Atomic bool broken;       /* something failed for good: no tracing from here on */
    _Atomic bool runtime;      /* the runtime's calls are watched as well as the driver's */
    _Atomic bool finalized;    /* CUPTI said that it gave up: no call into it at all */
    _Atomic uint32_t
        switched; /* so often launches are no longer watched: a call that was under way then is not heard to end */

    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    /* Under `lock`. */
    struct step_window windows[WINDOWS_MAX]; /* a ring */
    uint64_t window_count;                   /* ever */
    enum source_request request;
    uint64_t requested, finished; /* tickets: `finished` follows */
    struct own_wait {
        uint64_t step, start, end;
        uint32_t correlation;
        const char *how; /* lives for ever */
    } waits[WAITS_MAX];  /* our own program's, not handed over yet */
    uint32_t wait_count, waits_lost;
    bool in_step, stopping;
    struct cupti_counts counts; /* `launches` is `launched`, `buffers` the pool's */
    char broken_text[256];

    /* The source's thread's; others may read after a settled request. */
    struct node_kernel {
        uint64_t longest; /* ns; 0: no kernel seen */
        uint32_t name;
    } * node_kernels;
    size_t node_kernel_count;
    struct step_window snapshot[WINDOWS_MAX];
    struct own_wait waited[WAITS_MAX]; /* to work in */
    unsigned idle_periods;             /* nothing was traced for so many */
    bool told_broken, told_missing;
};

/* cupti_flush.c: the process's one pool of buffers and the source's thread. */
bool cupti_flush_begin(struct cupti_source *source, struct error *error);       /* claims the pool, starts the thread */
void cupti_flush_end(struct cupti_source *source);                              /* ends the thread, gives the pool up */
CUptiResult cupti_flush_register(struct cupti_source *source);                  /* gives CUPTI our clock and buffers */
void cupti_flush_ask(struct cupti_source *source, enum source_request request); /* and waits until it was done */
uint64_t cupti_flush_buffers(void);                                             /* allocated so far */

/* cupti_callbacks.c. The subscriber's callback; its context is the source. */
void cupti_calls_forget(void); /* of the calling thread: none is under way */
void CUPTIAPI cupti_subscriber_callback(void *context, CUpti_CallbackDomain domain, CUpti_CallbackId id,
                                        const void *data);
CUptiResult cupti_standing_callbacks(struct cupti_source *source);        /* graphs and fatal errors: always on */
CUptiResult cupti_launch_callbacks(struct cupti_source *source, bool on); /* switches all; the first failure */
void cupti_runtime_callbacks(struct cupti_source *source);                /* on as well, while launches are watched */
