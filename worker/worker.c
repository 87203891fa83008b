/* The worker process: one cell, from opening the device to the last step. */
#include "worker/worker.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/processes.h"
#include "base/unknown.h"
#include "kernels/choice_cache.h"
#include "kernels/communicator.h"
#include "worker/ceilings.h"
#include "worker/last_word.h"
#include "worker/measure.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool receive_cell(struct worker *worker, struct message_cell *message, struct error *error)
{
    for (;;) {
        struct message_header header;
        const void *payload;
        switch (inbox_next(&worker->inbox, worker->reporter.fd, &header, &payload)) {
        case INBOX_MESSAGE:
            if (header.type != MESSAGE_CELL)
                return error_set(error, ERROR_INTERNAL, "a %s message where the cell was expected",
                                 message_name(header.type));
            memcpy(message, payload, sizeof *message);
            message->cache_folder[sizeof message->cache_folder - 1] = 0;
            if (message->version != PROTOCOL_VERSION || message->cell_bytes != sizeof(struct cell))
                return error_set(error, ERROR_INTERNAL, "the program was replaced by another version while it ran");
            return cell_from_bytes(&worker->cell, &((const struct message_cell *)payload)->cell, sizeof(struct cell),
                                   error);
        case INBOX_EMPTY: {
            struct pollfd wait = {.fd = worker->reporter.fd, .events = POLLIN};
            if (poll(&wait, 1, -1) < 0 && errno != EINTR)
                return error_set(error, ERROR_SYSTEM, "cannot wait for the cell: %s", strerror(errno));
            break;
        }
        case INBOX_CLOSED:
        case INBOX_BROKEN:
            return error_set(error, ERROR_SYSTEM,
                             "no cell came over descriptor %d: a worker is started by steptop alone",
                             worker->reporter.fd);
        }
    }
}

/* Takes this rank's seat among the others. */
static bool join_ranks(struct worker *worker, const struct message_cell *message, struct error *error)
{
    if (message->rank < 0 || message->rank >= worker->cell.ranks)
        return error_set(error, ERROR_INTERNAL, "rank %d of %d does not exist", message->rank, worker->cell.ranks);
    worker->rank = message->rank;
    cell_rank_device(&worker->cell, message->apart ? message->local : worker->rank, worker->place,
                     sizeof worker->place);
    if (worker->cell.ranks == 1)
        return true;
    if (message->apart && message->peers.world != worker->cell.ranks)
        return error_set(error, ERROR_INTERNAL, "%d ranks are to meet %d", worker->cell.ranks, message->peers.world);
    worker->communicator = message->apart ? communicator_connect(message->meeting, worker->rank, &message->peers,
                                                                 COMMUNICATOR_STEP_NS, error)
                                          : communicator_join(message->meeting, worker->rank, error);
    if (message->apart && worker->communicator)
        communicator_limit(worker->communicator, COMMUNICATOR_SETUP_NS);
    return worker->communicator != NULL;
}

static bool open_device(struct worker *worker, struct error *error)
{
    int index = 0, count = 0;
    reporter_stage(&worker->reporter, "opening %s", worker->place);
    worker->class = device_find(worker->place, &index, error);
    if (!worker->class)
        return false;
    struct device_info infos[32];
    memset(infos, 0, sizeof infos);
    if (!worker->class->enumerate(infos, 32, &count, error))
        return false;
    if (index >= count)
        return error_set(error, ERROR_DEVICE, "there is no device %s: this machine has %d of class %s", worker->place,
                         count, worker->class->name);
    worker->info = infos[index < 32 ? index : 31];
    reporter_send(&worker->reporter, MESSAGE_DEVICE, &worker->info, sizeof worker->info, NULL, 0);
    if (!(worker->info.precisions & (1u << worker->cell.dtype)))
        return error_set(error, ERROR_UNSUPPORTED, "%s on %s: %s", precision_name(worker->cell.dtype), worker->place,
                         worker->info.why_not[worker->cell.dtype][0] ? worker->info.why_not[worker->cell.dtype]
                                                                     : "the device does not compute in it");
    worker->device = worker->class->open(index, error);
    return worker->device != NULL;
}

static unsigned supported_fusions(struct worker *worker)
{
    struct left_out left_out = {{{0}}};
    if (!worker->cell.compile)
        return 0;
    const unsigned fusions = model_supported_fusions(worker->class, worker->device, worker->cell.dtype, &left_out);
    for (int fusion = 0; fusion < FUSE_COUNT; fusion++) {
        if (!left_out.why[fusion][0])
            continue;
        char key[64];
        snprintf(key, sizeof key, "fusion %s", fusion_name((enum fusion)fusion));
        reporter_note(&worker->reporter, key, "left out: %s", left_out.why[fusion]);
    }
    return fusions;
}

/* The plan's scopes and nodes become places: what the front knows of a record is its place. */
static bool tell_places(struct worker *worker, struct error *error)
{
    struct places places = {0};
    const bool ok = places_of_plan(&places, worker->plan, error);
    for (size_t s = 0; ok && s < places.scopes.count; s++)
        reporter_scope(&worker->reporter, &places.scopes.items[s]);
    for (size_t p = 0; ok && p < places.list.count; p++)
        reporter_place(&worker->reporter, &places.list.items[p]);
    places_release(&places);
    return ok;
}

static bool build_plan(struct worker *worker, struct error *error)
{
    reporter_stage(&worker->reporter, "building the plan");
    const unsigned fusions = supported_fusions(worker);
    struct plan_request request;
    struct plan_result result;
    cell_plan_request(&worker->cell, fusions, &request);
    request.overlap = worker->class->overlap;
    request.ranks.rank = worker->rank;
    worker->plan = plan_build(&request, &result, error);
    if (!worker->plan)
        return false;
    for (int32_t i = 0; i < worker->plan->node_count; i++) {
        char why[160] = "";
        const enum op op = worker->plan->nodes[i].op;
        if (!worker->class->supports(worker->device, op, worker->cell.dtype, why, sizeof why))
            return error_set(error, ERROR_UNSUPPORTED, "%s cannot run %s in %s: %s", worker->place, op_info(op)->name,
                             precision_name(worker->cell.dtype), why);
    }
    if (!tell_places(worker, error))
        return false;
    uint64_t digest = worker->plan->digest;
    if (worker->rank > 0) { /* shards lie elsewhere on each rank; the run's plan is that of the first */
        request.ranks.rank = 0;
        struct plan *first = plan_build(&request, &result, error);
        if (!first)
            return false;
        digest = first->digest;
        plan_free(first);
    }
    const struct message_plan message = {.digest = digest,
                                         .fusions = fusions,
                                         .overlap_nodes = request.overlap.nodes,
                                         .overlap_ops = request.overlap.ops};
    reporter_send(&worker->reporter, MESSAGE_PLAN, &message, sizeof message, NULL, 0);
    return true;
}

/* The best of this and of earlier runs; a rank's share of a machine is no property of the device and is not kept. */
static void keep_best(struct worker *worker, const char *cache_folder, struct message_ceilings *ceilings)
{
    const int64_t now = (int64_t)time(NULL);
    struct ceilings_kept kept = {ceilings->flops_per_s, ceilings->bytes_per_s, now, now};
    struct error error = {0};
    char text[160], room[CHOICE_ROOM_TEXT];
    size_t dropped;
    if (!is_known(kept.flops_per_s) || !is_known(kept.bytes_per_s) ||
        !ceilings_keep(cache_folder, &worker->info, worker->cell.dtype, worker->cell.threads, &kept, &dropped, &error))
        return;
    ceilings->flops_per_s = kept.flops_per_s;
    ceilings->bytes_per_s = kept.bytes_per_s;
    ceilings_text(&kept, text, sizeof text);
    reporter_note(&worker->reporter, NOTE_CEILINGS, "%s%s", text, choice_cache_room(dropped, 0, room, sizeof room));
}

#define CEILINGS_TRIES 4

static void measure_ceilings(struct worker *worker, const struct message_cell *message)
{
    struct message_ceilings ceilings = {message->ceiling_flops_per_s, message->ceiling_bytes_per_s};
    if (!is_known(ceilings.flops_per_s) || !is_known(ceilings.bytes_per_s)) {
        struct error error = {0};
        if (!worker->class->measure_ceilings || worker->cell.collective != COLLECTIVE_NONE)
            return;
        reporter_stage(&worker->reporter, "measuring the device's ceilings");
        uint64_t start;
        int tries = 0;
        do { /* a process that was kept from running has seen too little of its device */
            start = clock_now();
            if (!worker->class->measure_ceilings(worker->device, worker->cell.dtype, CEILINGS_MS, &ceilings.flops_per_s,
                                                 &ceilings.bytes_per_s, &error)) {
                reporter_note(&worker->reporter, NOTE_CEILINGS, "not measured: %s", error.text);
                return;
            }
        } while (watch_gap_in(&worker->watch, start, clock_now()) && ++tries < CEILINGS_TRIES);
        /* Its buffers are large and not the model's. */
        if (!resident_peak_reset())
            reporter_note(&worker->reporter, "resident peak",
                          "includes the buffers that the ceilings were measured with");
    }
    if (worker->cell.ranks == 1 && message->cache_folder[0])
        keep_best(worker, message->cache_folder, &ceilings);
    reporter_send(&worker->reporter, MESSAGE_CEILINGS, &ceilings, sizeof ceilings, NULL, 0);
}

/* The ranks of a host share its memory: each has looked at it before any takes its part. */
static bool check_memory(struct worker *worker, bool apart, struct error *error)
{
    const uint64_t planned = worker->plan->memory.total, available = worker->info.free_bytes;
    const int together = apart ? 1 : cell_ranks_together(&worker->cell);
    char each[48] = "";
    if (together > 1)
        snprintf(each, sizeof each, " on each of %d ranks", together);
    if (is_known_u64(available) && planned > available / (uint64_t)together)
        return error_set(error, ERROR_MEMORY,
                         "the plan needs %llu bytes (%.2f GiB)%s and %s has %llu bytes (%.2f GiB) free",
                         (unsigned long long)planned, (double)planned / 0x1p30, each, worker->place,
                         (unsigned long long)available, (double)available / 0x1p30);
    return together == 1 || communicator_meet(worker->communicator, "look at the memory", error);
}

/* A rank's share: what the front put into the environment. */
static int pool_threads(const struct worker *worker)
{
    const char *threads = getenv("OMP_NUM_THREADS");
    return worker->cell.ranks > 1 && threads ? atoi(threads) : worker->cell.threads;
}

static bool open_counters(struct worker *worker, struct error *error)
{
    /* Devices with an activity source of their own bring their own counters. */
    if (!worker->class->host_threads)
        return model_threads_start(error);
    if (worker->cell.counters == COUNTERS_OFF) {
        reporter_note(&worker->reporter, NOTE_COUNTER_TIER, "off, as asked");
        return true;
    }
    const int pool = worker->class->host_threads(worker->device, pool_threads(worker), error);
    if (!pool)
        return false;
    struct counters *counters = worker->probe.counters = counters_open(pool, worker->class->each_thread, NULL);
    if (!counters)
        return error_set(error, ERROR_MEMORY, "no memory for the counters");
    const enum counters_tier tier = counters_tier(counters);
    if (worker->cell.counters == COUNTERS_ON && tier != TIER_RDPMC && tier != TIER_READ)
        return error_set(
            error, ERROR_UNSUPPORTED,
            "hardware counters are required and cannot be had: %s; counters: auto takes what there is (%s)",
            counters_reason(counters), counters_tier_name(tier));
    reporter_note(&worker->reporter, NOTE_COUNTER_TIER, "%s", counters_tier_name(tier));
    if (counters_reason(counters)[0])
        reporter_note(&worker->reporter, NOTE_COUNTER_TIER_WHY, "%s", counters_reason(counters));
    if (tier != TIER_CLOCK) {
        probe_calibrate(&worker->probe);
        reporter_note(&worker->reporter, "counted threads", "%d of %d", counters_threads(counters), pool);
    }
    return true;
}

#define PROGRESS_NS 100000000u

/* A device that is made ready says how far it is; ten times a second is often enough. */
static void tell_progress(void *context, const char *what, int done, int total)
{
    struct worker *worker = context;
    const uint64_t now = clock_now();
    const bool same = worker->progress_of && strcmp(worker->progress_of, what) == 0;
    if (same && done < total && now - worker->progress_at < PROGRESS_NS)
        return;
    worker->progress_of = what;
    worker->progress_at = now;
    if (!same)
        reporter_stage(&worker->reporter, "preparing: %s", what);
    reporter_activity(&worker->reporter, "preparing: %s %d/%d", what, done, total);
}

#define LOOK_LEAST_NS 2000000u /* what took less is not worth the look */

static bool held(void *context, uint64_t start, uint64_t end)
{
    struct worker *worker = context;
    return end - start > LOOK_LEAST_NS && watch_gap_in(&worker->watch, start, end);
}

static bool prepare(struct worker *worker, const char *cache_folder, struct error *error)
{
    reporter_stage(&worker->reporter, "preparing: memory and kernels");
    if (!probe_init(&worker->probe, worker->ring, &worker->reporter, worker->plan, error))
        return false;
    worker->probe.watch = &worker->watch;
    const bool profiled = worker->cell.profile_every > 0;
    if (profiled && !open_counters(worker, error))
        return false;
    if (!profiled)
        reporter_note(&worker->reporter, "profiler", "off, as asked: no kernel is recorded");
    const struct prepare_options options = {.compile = worker->cell.compile,
                                            .communicator = worker->communicator,
                                            .threads = pool_threads(worker),
                                            .cache_folder = cache_folder[0] ? cache_folder : NULL,
                                            .progress = tell_progress,
                                            .held = held,
                                            .progress_context = worker,
                                            .probe = profiled ? &worker->probe.probe : NULL,
                                            .counters = worker->cell.counters == COUNTERS_ON};
    struct prepare_report report = {0};
    worker->resident_base = resident_now();
    const uint64_t start = clock_now();
    worker->program = worker->class->prepare(worker->device, worker->plan, &options, &report, error);
    if (!worker->program)
        return false;
    const uint64_t end = clock_now();
    struct message_prepared message = {.compile_ns = report.compile_ns,
                                       .workspace_bytes = report.workspace_bytes,
                                       .prepare_ns = end - start - watch_gap_ns(&worker->watch, start, end)};
    if (message.compile_ns > message.prepare_ns) /* it is a part of it, and most of it */
        message.compile_ns = message.prepare_ns;
    reporter_send(&worker->reporter, MESSAGE_PREPARED, &message, sizeof message, NULL, 0);
    for (int i = 0; i < report.note_count; i++)
        reporter_note(&worker->reporter, report.notes[i].key, "%s", report.notes[i].text);
    return true;
}

static bool worker_gone(struct worker *worker);

static bool is_shard(const struct plan *plan, int32_t tensor)
{
    for (int32_t p = 0; p < plan->part_count; p++)
        if (plan->parts[p].shard == tensor)
            return true;
    return false;
}

/* The shard of part *p, by all its parts, which follow it; *p becomes the last of them. */
static bool initialise_shard(struct worker *worker, int32_t *p, struct error *error)
{
    const struct plan *plan = worker->plan;
    const int32_t shard = plan->parts[*p].shard;
    float *values = calloc((size_t)tensor_elements(&plan->tensors[shard]), sizeof *values);
    bool ok = values || error_set(error, ERROR_MEMORY, "no memory for the initial values of a shard");
    for (int32_t i = *p; ok && i < plan->part_count && plan->parts[i].shard == shard; i++) {
        ok = model_initial_part(&plan->parts[i], worker->cell.seed, values + plan->parts[i].at, error);
        *p = i;
    }
    ok = ok && worker->class->write(worker->program, shard, values, error);
    free(values);
    return ok;
}

/* Weights, constants, tokens and targets, by way of one buffer as large as the largest of them. */
static bool initialise(struct worker *worker, struct error *error)
{
    const struct plan *plan = worker->plan;
    int64_t largest = 1;
    bool *wanted = calloc((size_t)plan->tensor_count, sizeof *wanted);
    for (int32_t i = 0; wanted && i < plan->tensor_count; i++) {
        const struct tensor *tensor = &plan->tensors[i];
        wanted[i] = (tensor->kind == TENSOR_PARAMETER && tensor->parameter == i && !is_shard(plan, i)) ||
                    tensor->kind == TENSOR_CONSTANT || i == plan->tokens || i == plan->targets;
        if (wanted[i] && tensor_elements(tensor) > largest)
            largest = tensor_elements(tensor);
    }
    void *values = wanted ? malloc((size_t)largest * sizeof(float)) : NULL;
    bool ok = values || error_set(error, ERROR_MEMORY, "no memory for %lld initial values", (long long)largest);
    reporter_stage(&worker->reporter, "initialising the weights");
    for (int32_t i = 0; ok && i < plan->tensor_count; i++) {
        if (!wanted[i])
            continue;
        if (i == plan->tokens || i == plan->targets) /* each rank has a batch of its own */
            model_random_tokens(plan, i, worker->cell.seed + (uint64_t)worker->rank * 1000003, values);
        else
            ok = model_initial_value(plan, i, worker->cell.seed, values, error);
        ok = ok && worker->class->write(worker->program, i, values, error);
        if (ok && worker_gone(worker))
            break;
    }
    for (int32_t p = 0; ok && p < plan->part_count && !worker_gone(worker);
         p++) /* shards, each of several parts in a row */
        ok = initialise_shard(worker, &p, error);
    free(values);
    free(wanted);
    return ok;
}

static enum status status_of(const struct worker *worker, const struct error *error)
{
    switch (error->kind) {
    case ERROR_MEMORY:
        return STATUS_OOM;
    case ERROR_DEVICE:
        return worker->program ? STATUS_ERROR : STATUS_UNSUPPORTED; /* it was there and broke, or never was */
    case ERROR_UNSUPPORTED:
        return STATUS_UNSUPPORTED;
    case ERROR_INTERRUPTED:
        return STATUS_INTERRUPTED;
    default:
        return STATUS_ERROR;
    }
}

static bool work(struct worker *worker, struct error *error)
{
    struct message_cell message;
    machine_ticks(&worker->began);
    if (!receive_cell(worker, &message, error) || !join_ranks(worker, &message, error) || !open_device(worker, error) ||
        !build_plan(worker, error) || !check_memory(worker, message.apart, error))
        return false;
    measure_ceilings(worker, &message);
    if (!prepare(worker, message.cache_folder, error) || !initialise(worker, error))
        return false;
    const bool measured = measure_passes(worker, error) && !worker->rank_error.kind;
    probe_tell_own(&worker->probe);
    if (worker->rank_error.kind)
        *error = worker->rank_error;
    reporter_noise(&worker->reporter, &worker->began);
    return measured;
}

/* Asks for itself alone. */
static bool worker_gone(struct worker *worker)
{
    struct message_header header;
    const void *payload;
    switch (inbox_next(&worker->inbox, worker->reporter.fd, &header, &payload)) {
    case INBOX_EMPTY:
        break;
    case INBOX_MESSAGE:
        worker->stopped |= header.type == MESSAGE_STOP;
        break;
    case INBOX_CLOSED:
    case INBOX_BROKEN:
        worker->stopped = true; /* nobody listens any more */
    }
    return worker->stopped;
}

bool worker_stopped(struct worker *worker)
{
    struct error error = {0};
    bool any = worker_gone(worker);
    if (worker->communicator && !communicator_any(worker->communicator, any, "the next step", &any, &error)) {
        worker->rank_error = error;
        any = true;
    }
    worker->stopped |= any;
    return worker->stopped;
}

int worker_main(int control_fd, int ring_descriptor)
{
    struct worker *worker = calloc(1, sizeof *worker);
    struct error error = {0};
    if (!worker)
        return EXIT_NO_MEMORY;
    last_word_prepare();
    signal(SIGPIPE, SIG_IGN); /* a front that is gone is noticed by its socket */
    worker->reporter.fd = control_fd;
    pthread_mutex_init(&worker->reporter.lock, NULL);
    watch_start(&worker->watch, &worker->reporter);
    worker->ring = ring_attach(ring_descriptor, &error);
    const bool ok = worker->ring && work(worker, &error);
    /* Unless it is the memory of a device of its own that ended. */
    if (!ok && (!worker->class || worker->class->host_threads))
        error_name_limit(&error);
    if (!ok && worker->communicator)
        communicator_fail(worker->communicator, error.text);

    const struct message_end end = {.status = ok ? (worker->stopped ? STATUS_INTERRUPTED : STATUS_OK)
                                                 : (uint32_t)status_of(worker, &error)};
    watch_stop(&worker->watch);
    if (worker->class && worker->program)
        worker->class->release(worker->program);
    if (worker->class && worker->device)
        worker->class->close(worker->device);
    const char *reason = ok ? (worker->stopped ? "stopped" : "") : error.text;
    reporter_send(&worker->reporter, MESSAGE_END, &end, sizeof end, reason, strlen(reason));
    communicator_leave(worker->communicator);
    probe_release(&worker->probe);
    plan_free(worker->plan);
    ring_close(worker->ring);
    pthread_mutex_destroy(&worker->reporter.lock);
    free(worker);
    close(control_fd);
    return ok ? 0 : 1;
}
