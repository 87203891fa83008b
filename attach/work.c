/* What the ops of one step do, by the shapes that the hook saw: FLOPs and bytes, until it is said of the places where they run; and how
 * much memory is in use at their borders. */
#include "attach/book.h"
#include "attach/book_internal.h"
#include "attach/link.h"
#include <pthread.h>

#define WORK_ROWS 8192 /* an op in a context; a power of two */

static struct {
    pthread_mutex_t lock;
    struct work_row {
        int32_t context;
        uint32_t name;
        double flops, bytes;
        bool used;
    } rows[WORK_ROWS];
    uint32_t count;
} work = {.lock = PTHREAD_MUTEX_INITIALIZER};

void book_work(int32_t context, uint32_t name, double flops, double bytes)
{
    pthread_mutex_lock(&work.lock);
    for (uint32_t i = (uint32_t)context * 0x9e3779b1u ^ name * 0x85ebca6bu;; i++) {
        struct work_row *row = &work.rows[(i ^ i >> 15) % WORK_ROWS];
        if (row->used && (row->context != context || row->name != name))
            continue;
        if (!row->used && work.count >= WORK_ROWS / 2)
            break;
        work.count += !row->used;
        *row = (struct work_row){context, name, row->flops + flops, row->bytes + bytes, true};
        break;
    }
    pthread_mutex_unlock(&work.lock);
}

static struct {
    pthread_mutex_t lock;
    struct {
        int32_t context;
        uint64_t bytes; /* 0: unused */
    } rows[WORK_ROWS];
    uint32_t count;
} peaks = {.lock = PTHREAD_MUTEX_INITIALIZER};

void book_peak(int32_t context, uint64_t bytes)
{
    if (!bytes)
        return;
    pthread_mutex_lock(&peaks.lock);
    for (uint32_t i = (uint32_t)context * 0x9e3779b1u;; i++) {
        const uint32_t at = (i ^ i >> 15) % WORK_ROWS;
        if (peaks.rows[at].bytes && peaks.rows[at].context != context)
            continue;
        if (!peaks.rows[at].bytes && peaks.count++ >= WORK_ROWS / 2) {
            peaks.count--;
            break;
        }
        peaks.rows[at].context = context;
        if (bytes > peaks.rows[at].bytes)
            peaks.rows[at].bytes = bytes;
        break;
    }
    pthread_mutex_unlock(&peaks.lock);
}

void book_peaks_tell(void)
{
    pthread_mutex_lock(&peaks.lock);
    for (uint32_t i = 0; i < WORK_ROWS; i++) {
        const enum phase phase = CONTEXT_PHASE(peaks.rows[i].context);
        const struct message_peak message = {.scope = CONTEXT_SCOPE(peaks.rows[i].context),
                                             .phase = phase == PHASE_FWD ? PHASE_FWD : PHASE_BWD,
                                             .bytes = peaks.rows[i].bytes};
        if (peaks.rows[i].bytes && message.scope >= 0 &&
            (phase == PHASE_FWD || phase == PHASE_BWD || phase == PHASE_RECOMPUTE))
            link_send(MESSAGE_PEAK, &message, sizeof message, NULL, 0);
    }
    pthread_mutex_unlock(&peaks.lock);
}

static void say(int32_t place, double flops, double bytes)
{
    const struct message_work message = {.place = place, .flops = flops, .bytes = bytes};
    link_send(MESSAGE_WORK, &message, sizeof message, NULL, 0);
}

/* Several ops of a context that have one place are one sum. */
static void gather(const struct work_row *row, int32_t place, int32_t (*place_of)(const struct work_row *),
                   double *flops, double *bytes)
{
    *flops = *bytes = 0;
    for (uint32_t i = 0; i < WORK_ROWS; i++) {
        const struct work_row *other = &work.rows[i];
        if (!other->used || other->context != row->context || place_of(other) != place)
            continue;
        *flops += other->flops;
        *bytes += other->bytes;
    }
}

static int32_t by_op_place(const struct work_row *row)
{
    return book_find(row->context, row->name);
}

static int32_t by_class_place(const struct work_row *row)
{
    return book_find_class(row->context, book_class(row->name));
}

double book_work_tell(bool by_op, double *lost)
{
    int32_t (*const place_of)(const struct work_row *) = by_op ? by_op_place : by_class_place;
    double sum = 0;
    *lost = 0;
    pthread_mutex_lock(&work.lock);
    for (uint32_t i = 0; i < WORK_ROWS; i++) {
        const struct work_row *row = &work.rows[i];
        if (!row->used)
            continue;
        const int32_t place = place_of(row);
        double flops, bytes;
        sum += row->flops;
        if (place == BOOK_NONE) {
            *lost += row->flops;
            continue;
        }
        gather(row, place, place_of, &flops, &bytes);
        say(place, flops, bytes);
    }
    pthread_mutex_unlock(&work.lock);
    return sum;
}
