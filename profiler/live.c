#include "profiler/live.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/unknown.h"
#include "profiler/first_table.h"
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct live_rank *live_rank_at(const struct live_run *live, size_t index)
{
    return (struct live_rank *)run_rank(&live->run, index); /* its first member */
}

struct live_rank *live_rank_add(struct live_run *live, struct error *error)
{
    struct live_rank *rank = live->run.ranks.count <= UINT8_MAX ? calloc(1, sizeof *rank) : NULL;
    if (rank)
        rank->rank = (struct rank){
            .index = (uint32_t)live->run.ranks.count,
            .resident_peak = UNKNOWN_U64,
            .resident_base = UNKNOWN_U64,
            .device = {.memory_bytes = UNKNOWN_U64, .free_bytes = UNKNOWN_U64, .clock_mhz = UNKNOWN_DOUBLE},
            .telemetry = {.sm_clock_mhz = UNKNOWN_DOUBLE,
                          .memory_clock_mhz = UNKNOWN_DOUBLE,
                          .power_w = UNKNOWN_DOUBLE,
                          .power_limit_w = UNKNOWN_DOUBLE,
                          .temperature_c = UNKNOWN_DOUBLE,
                          .other_processes = UINT32_MAX,
                          .link_bytes_per_s = UNKNOWN_DOUBLE}};
    if (!rank || !(rank->rank.aggregate = aggregate_create(live->timeline_records, &rank->rank.places))) {
        error_set(error, ERROR_MEMORY, "no memory for the records of run %u", live->run.id);
        free(rank);
        return NULL;
    }
    vec_push(&live->run.ranks, &rank->rank);
    return rank;
}

static void rank_free(struct rank *rank)
{
    vec_release(&rank->samples);
    aggregate_free(rank->aggregate);
    places_release(&rank->places);
    free((struct live_rank *)rank);
}

struct live_run *live_create(uint32_t id, const struct cell *cell, size_t timeline_records, struct error *error)
{
    struct live_run *live = calloc(1, sizeof *live);
    if (!live) {
        error_set(error, ERROR_MEMORY, "no memory for run %u", id);
        return NULL;
    }
    live->timeline_records = timeline_records;
    live->run = (struct run){.id = id,
                             .cell = *cell,
                             .status = STATUS_PENDING,
                             .use = MACHINE_UNKNOWN,
                             .planned_bytes = UNKNOWN_U64,
                             .compile_ns = UNKNOWN_U64,
                             .workspace_bytes = UNKNOWN_U64,
                             .prepare_ns = UNKNOWN_U64,
                             .ceiling_flops_per_s = UNKNOWN_DOUBLE,
                             .ceiling_bytes_per_s = UNKNOWN_DOUBLE,
                             .machine = {UNKNOWN_DOUBLE, UNKNOWN_DOUBLE}};
    for (int c = 0; c < RUN_COUNTERS; c++)
        live->run.counter_own[c] = UNKNOWN_U64;
    for (int rank = 0; rank < (cell->ranks > 1 ? cell->ranks : 1); rank++)
        if (!live_rank_add(live, error)) {
            live_free(live);
            return NULL;
        }
    return live;
}

void live_free(struct live_run *live)
{
    if (!live)
        return;
    for (size_t i = 0; i < live->run.notes.count; i++) {
        free(live->run.notes.items[i].key);
        free(live->run.notes.items[i].text);
    }
    vec_release(&live->run.notes);
    for (size_t i = 0; i < live->run.ranks.count; i++)
        rank_free(live->run.ranks.items[i]);
    vec_release(&live->run.ranks);
    free((char *)live->run.command);
    free(live);
}

void live_activity(struct live_run *live, const char *text)
{
    text_copy(live->run.activity, sizeof live->run.activity, text, strlen(text));
    live->run.version++;
}

void live_note(struct live_run *live, const char *key, const char *text)
{
    char clean[1024];
    text_copy(clean, sizeof clean, text, strlen(text));
    char *copy = strdup(clean);
    if (!copy)
        return;
    for (size_t i = 0; i < live->run.notes.count; i++) {
        struct note *note = &live->run.notes.items[i];
        if (strcmp(note->key, key) == 0) {
            free(note->text);
            note->text = copy;
            live->run.version++;
            return;
        }
    }
    char *clean_key = live->run.notes.count < NOTES_MAX ? strdup(key) : NULL;
    if (!clean_key) {
        free(copy);
        return;
    }
    text_clean(clean_key, strlen(clean_key));
    vec_push(&live->run.notes, ((struct note){clean_key, copy}));
    live->run.version++;
}

static uint64_t believed(uint64_t value)
{
    return value <= BELIEVABLE ? value : UNKNOWN_U64;
}

static double believed_number(double value)
{
    return isfinite(value) ? value : UNKNOWN_DOUBLE;
}

/* The plan's places are all said by then. */
static bool take_plan(struct live_run *live, struct live_rank *rank, const void *payload, size_t length,
                      struct error *error)
{
    struct plan_named *plan = &live->run.plan;
    struct message_plan message = {0};
    memcpy(&message, payload, length);
    if (rank->rank.places.whole)
        return error_set(error, ERROR_INTERNAL, "the worker named its plan twice");
    if (plan->known && (plan->digest != message.digest || plan->fusions != message.fusions))
        return error_set(error, ERROR_INTERNAL, "the ranks of one run have different plans");
    *plan = (struct plan_named){true, message.digest, message.fusions, {message.overlap_ops, message.overlap_nodes}};
    rank->rank.places.whole = true;
    return true;
}

static bool take_scope(struct live_rank *rank, const char *payload, size_t length, struct error *error)
{
    struct message_scope head;
    char name[PLACE_TEXT_MAX];
    memcpy(&head, payload, sizeof head);
    text_copy(name, sizeof name, payload + sizeof head, length - sizeof head);
    return places_add_scope(&rank->rank.places, head.parent, name, believed(head.parameter_bytes), error);
}

static bool take_place(struct live_rank *rank, const char *payload, size_t length, struct error *error)
{
    struct message_place head;
    const char *op = payload + sizeof head, *end = memchr(op, 0, length - sizeof head);
    char texts[2][PLACE_TEXT_MAX] = {"", ""};
    memcpy(&head, payload, sizeof head);
    if (!end)
        return error_set(error, ERROR_INTERNAL, "a place without the end of its op");
    text_copy(texts[0], PLACE_TEXT_MAX, op, (size_t)(end - op));
    text_copy(texts[1], PLACE_TEXT_MAX, end + 1, length - (size_t)(end + 1 - payload));
    const struct place place = {.scope = head.scope,
                                .phase = head.phase,
                                .kernel_class = head.kernel_class,
                                .op = texts[0],
                                .label = texts[1],
                                .flops = head.flops,
                                .bytes = head.bytes,
                                .saved_bytes = believed(head.saved_bytes)};
    return places_add(&rank->rank.places, &place, error);
}

/* Lets go of the oldest samples of a pass and kind when there are twice as many as are kept, so that the cost of moving
 * the others is paid once in many steps. */
static void trim_samples(const struct run *run, struct live_rank *live, unsigned pass, unsigned kind)
{
    struct rank *rank = &live->rank;
    const uint32_t wanted =
        run->cell.steps == STEPS_FOREVER || run->cell.steps < SAMPLES_KEPT ? SAMPLES_KEPT : run->cell.steps;
    if (live->samples[pass][kind] < 2 * (uint64_t)wanted)
        return;
    uint32_t surplus = live->samples[pass][kind] - wanted;
    live->samples[pass][kind] = wanted;
    size_t kept = 0;
    for (size_t i = 0; i < rank->samples.count; i++) {
        const struct sample *sample = &rank->samples.items[i];
        if (surplus && sample->pass == pass && sample->kind == kind)
            surplus--;
        else
            rank->samples.items[kept++] = *sample;
    }
    rank->samples.count = kept;
}

static bool take_sample(struct live_run *live, struct live_rank *rank, const struct sample *sample, struct error *error)
{
    if (sample->pass >= PASS_COUNT || sample->kind >= STEP_KIND_COUNT ||
        !(live->run.cell.passes & PASS_BIT(sample->pass)) || sample->wall_ns == UNKNOWN_U64)
        return error_set(error, ERROR_INTERNAL, "the worker sent a sample of a pass that it was not asked for");
    bool believable = sample->wall_ns <= BELIEVABLE;
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        believable &= sample->phase_ns[phase] <= BELIEVABLE || sample->phase_ns[phase] == UNKNOWN_U64;
    if (!believable)
        return error_set(error, ERROR_INTERNAL, "the worker sent a step that took longer than months");
    vec_push(&rank->rank.samples, *sample);
    rank->samples[sample->pass][sample->kind]++;
    if (sample->kind == STEP_PROFILED)
        running_add(&rank->rank.profiled_wall[sample->pass], sample->wall_ns);
    /* Of a program that is attached to, kernels of a step that was not recorded may still run in the next one. */
    if (sample->kind == STEP_PROFILED && sample->start <= BELIEVABLE && !(live->run.command && rank->unrecorded))
        aggregate_window(rank->rank.aggregate, sample->pass, sample->start, sample->start + sample->wall_ns);
    rank->unrecorded = sample->kind == STEP_TIMED;
    if (sample->start <= BELIEVABLE)
        aggregate_settle(rank->rank.aggregate, sample->start + sample->wall_ns);
    trim_samples(&live->run, rank, sample->pass, sample->kind);
    return true;
}

static bool take_name(struct live_rank *rank, const char *payload, size_t length, struct error *error)
{
    struct message_name head;
    memcpy(&head, payload, sizeof head);
    char name[AGGREGATE_NAME_MAX];
    text_copy(name, sizeof name, payload + sizeof head, length - sizeof head);
    if (!aggregate_name(rank->rank.aggregate, head.id, name))
        return error_set(error, ERROR_INTERNAL, "the worker gave kernel %u a name that cannot be: '%.60s'", head.id,
                         name);
    return true;
}

static bool take_note(struct live_run *live, const char *payload, size_t length, struct error *error)
{
    const char *end = memchr(payload, 0, length);
    char key[128], text[1024];
    if (!end || end == payload || (size_t)(end - payload) >= sizeof key)
        return error_set(error, ERROR_INTERNAL, "the worker sent a note without a key");
    text_copy(key, sizeof key, payload, (size_t)(end - payload));
    text_copy(text, sizeof text, end + 1, length - (size_t)(end - payload) - 1);
    live_note(live, key, text);
    return true;
}

static void take_device(struct rank *rank, const void *payload)
{
    struct device_info *device = &rank->device;
    memcpy(device, payload, sizeof *device);
    char *const strings[] = {device->name, device->model, device->architecture, device->driver};
    const size_t sizes[] = {sizeof device->name, sizeof device->model, sizeof device->architecture,
                            sizeof device->driver};
    for (int i = 0; i < 4; i++) {
        strings[i][sizes[i] - 1] = 0;
        text_clean(strings[i], strlen(strings[i]));
    }
    for (int i = 0; i < PRECISION_COUNT; i++) {
        device->why_not[i][sizeof device->why_not[i] - 1] = 0;
        text_clean(device->why_not[i], strlen(device->why_not[i]));
    }
    device->memory_bytes = believed(device->memory_bytes);
    device->free_bytes = believed(device->free_bytes);
    device->clock_mhz = believed_number(device->clock_mhz);
}

static void take_telemetry(struct device_telemetry *telemetry, const void *payload)
{
    memcpy(telemetry, payload, sizeof *telemetry);
    double *const numbers[] = {&telemetry->sm_clock_mhz,  &telemetry->memory_clock_mhz, &telemetry->power_w,
                               &telemetry->power_limit_w, &telemetry->temperature_c,    &telemetry->link_bytes_per_s};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        *numbers[i] = believed_number(*numbers[i]);
    telemetry->throttle[sizeof telemetry->throttle - 1] = 0;
    text_clean(telemetry->throttle, strlen(telemetry->throttle));
}

static void take_machine(struct machine_load *machine, const void *payload)
{
    memcpy(machine, payload, sizeof *machine);
    machine->load_average = believed_number(machine->load_average);
    machine->steal = believed_number(machine->steal);
    if (machine->steal > 1)
        machine->steal = UNKNOWN_DOUBLE;
}

/* Each of letters, digits and _, none twice, none behind an unused one: they are names of columns. */
static bool take_counters(struct run *run, const struct message_counters *message, size_t length, struct error *error)
{
    char names[RUN_COUNTERS][RUN_COUNTER_NAME];
    memcpy(names, message->names, sizeof names);
    for (int c = 0; c < RUN_COUNTERS; c++) {
        bool good = memchr(names[c], 0, sizeof names[c]) && (!c || names[c - 1][0] || !names[c][0]);
        for (const char *at = names[c]; good && *at; at++)
            good = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') || *at == '_';
        for (int before = 0; good && names[c][0] && before < c; before++)
            good = strcmp(names[before], names[c]) != 0;
        if (!good)
            return error_set(error, ERROR_INTERNAL, "the worker counts what has no good name");
    }
    memcpy(run->counter_names, names, sizeof names);
    for (int c = 0; c < RUN_COUNTERS; c++)
        run->counter_own[c] = length == sizeof *message ? message->own[c] : UNKNOWN_U64;
    return true;
}

static bool take_suspended(struct live_run *live, struct live_rank *rank, const struct message_suspended *message,
                           struct error *error)
{
    struct suspension *suspended = &live->run.suspended;
    if (message->is_step) {
        if (message->pass >= PASS_COUNT || message->kind >= STEP_KIND_COUNT)
            return error_set(error, ERROR_INTERNAL, "the worker was kept from a step of a pass that there is not");
        suspended->steps += rank->rank.index == 0; /* all ranks leave it out */
        struct step_cover cover;
        aggregate_cover(rank->rank.aggregate, message->pass, &cover);
        if (message->kind == STEP_PROFILED && cover.steps && cover.last_step == message->step_id)
            aggregate_drop_step(rank->rank.aggregate, message->pass);
    } else if (message->ns <= BELIEVABLE) {
        suspended->ns += message->ns;
        suspended->times++;
    }
    char text[160];
    snprintf(text, sizeof text, "%.2f s in all, %u time%s (stopped, frozen or asleep); %u step%s left out",
             (double)suspended->ns / 1e9, suspended->times, suspended->times == 1 ? "" : "s", suspended->steps,
             suspended->steps == 1 ? "" : "s");
    live_note(live, "suspended", text);
    return true;
}

/* All of it is counts, bytes and ns. */
/* Older recordings end before the last of them. */
static void take_program(struct program_facts *facts, const void *payload, size_t length)
{
    uint64_t values[sizeof *facts / sizeof(uint64_t)];
    _Static_assert(sizeof values == sizeof *facts, "nothing but such numbers");
    memset(values, 0xff, sizeof values);
    memcpy(values, payload, length);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        /* Counts and times are added up, and always known: one that cannot be is none, not the largest number there is. */
        const size_t at = i * sizeof *values;
        const bool added =
            at < offsetof(struct program_facts, resident) || at == offsetof(struct program_facts, allocator_retries);
        values[i] = believed(values[i]);
        if (added && !is_known_u64(values[i]))
            values[i] = 0;
    }
    memcpy(facts, values, sizeof values);
}

bool live_message(struct live_run *live, struct live_rank *rank, uint32_t type, const void *payload, size_t length,
                  struct error *error)
{
    struct run *run = &live->run;
    run->version++;
    switch ((enum message_type)type) {
    case MESSAGE_STAGE:
    case MESSAGE_ACTIVITY:
        text_copy(live->last_activity, sizeof live->last_activity, payload, length);
        live_activity(live, live->last_activity);
        return true;
    case MESSAGE_NAME:
        return take_name(rank, payload, length, error);
    case MESSAGE_NOTE:
        return take_note(live, payload, length, error);
    case MESSAGE_DEVICE:
        take_device(&rank->rank, payload);
        return true;
    case MESSAGE_PLAN:
        return take_plan(live, rank, payload, length, error);
    case MESSAGE_SCOPE:
        return take_scope(rank, payload, length, error);
    case MESSAGE_PLACE:
        return take_place(rank, payload, length, error);
    case MESSAGE_PREPARED: {
        const struct message_prepared *prepared = payload;
        if (rank->rank.index > 0) /* alike on all, and the first speaks */
            return true;
        run->compile_ns = believed(prepared->compile_ns);
        run->workspace_bytes = believed(prepared->workspace_bytes);
        run->prepare_ns = believed(prepared->prepare_ns);
        return true;
    }
    case MESSAGE_SAMPLE:
        return take_sample(live, rank, payload, error);
    case MESSAGE_MEMORY: {
        const struct message_memory *memory = payload;
        rank->rank.resident_base = believed(memory->resident_base);
        rank->rank.resident_peak = believed(memory->resident_peak);
        return true;
    }
    case MESSAGE_TELEMETRY:
        take_telemetry(&rank->rank.telemetry, payload);
        return true;
    case MESSAGE_USE: {
        struct machine_use use;
        memcpy(&use, payload, sizeof use);
        run->use = machine_believed(use);
        return true;
    }
    case MESSAGE_WORK: {
        struct message_work work;
        memcpy(&work, payload, sizeof work);
        return places_work(&rank->rank.places, work.place, work.flops, work.bytes, error);
    }
    case MESSAGE_PEAK: {
        struct message_peak peak;
        memcpy(&peak, payload, sizeof peak);
        return places_peak(&rank->rank.places, peak.scope, peak.phase, believed(peak.bytes), error);
    }
    case MESSAGE_PROGRAM:
        take_program(&rank->rank.program, payload, length);
        return true;
    case MESSAGE_COUNTERS:
        return take_counters(run, payload, length, error);
    case MESSAGE_CEILINGS: {
        const struct message_ceilings *ceilings = payload;
        if (rank->rank.index > 0)
            return true;
        run->ceiling_flops_per_s = ceilings->flops_per_s > 0 ? believed_number(ceilings->flops_per_s) : UNKNOWN_DOUBLE;
        run->ceiling_bytes_per_s = ceilings->bytes_per_s > 0 ? believed_number(ceilings->bytes_per_s) : UNKNOWN_DOUBLE;
        return true;
    }
    case MESSAGE_SUSPENDED:
        return take_suspended(live, rank, payload, error);
    case MESSAGE_MACHINE:
        if (rank->rank.index == 0)
            take_machine(&run->machine, payload);
        return true;
    case MESSAGE_END: {
        struct message_end end;
        memcpy(&end, payload, sizeof end);
        if (end.status <= STATUS_RUNNING || end.status >= STATUS_COUNT)
            return error_set(error, ERROR_INTERNAL, "the worker ended with status %u, which there is not", end.status);
        rank->ended = true;
        rank->end_status = (enum status)end.status;
        text_copy(rank->end_reason, sizeof rank->end_reason, (const char *)payload + sizeof end, length - sizeof end);
        return true;
    }
    default:
        return error_set(error, ERROR_INTERNAL, "the worker sent a %s message, which is not a worker's to send",
                         message_name(type));
    }
}

void live_records(struct live_run *live, struct live_rank *rank, struct record *records, size_t count)
{
    for (size_t i = 0; i < count; i++)
        records[i].rank = (uint8_t)rank->rank.index;
    aggregate_add(rank->rank.aggregate, records, count);
    aggregate_settle(rank->rank.aggregate, 0);
    live->run.version++;
}

static bool was_sampled(const struct rank *rank, int pass, uint32_t step)
{
    for (size_t i = rank->samples.count; i-- > 0;)
        if (rank->samples.items[i].pass == pass && rank->samples.items[i].step_id == step)
            return true;
    return false;
}

/* A step that was cut off is no step: its worker never told how long it took. Of one that it did tell of, records that were
 * still in the device's buffers are lost when it is killed, and the step has fewer than the one before. */
static void drop_cut_steps(const struct run *run, struct rank *rank)
{
    for (int pass = 0; pass < PASS_COUNT; pass++) {
        struct step_cover cover;
        aggregate_cover(rank->aggregate, pass, &cover);
        const bool short_of = run->status != STATUS_OK && cover.last_launches < cover.launches_before;
        if (cover.steps && (short_of || !was_sampled(rank, pass, cover.last_step)))
            aggregate_drop_step(rank->aggregate, pass);
    }
}

/* The timed samples of a pass's phase, PHASE_COUNT being the wall clock, in order; the caller's to free. */
static uint64_t *timed_samples(const struct rank *rank, int pass, int phase, size_t *count)
{
    uint64_t *values = calloc(rank->samples.count + 1, sizeof *values);
    if (!values)
        memory_exhausted(rank->samples.count, "steps' times");
    *count = 0;
    for (size_t i = 0; i < rank->samples.count; i++) {
        const struct sample *sample = &rank->samples.items[i];
        const uint64_t value = phase == PHASE_COUNT ? sample->wall_ns : sample->phase_ns[phase];
        if (sample->pass == pass && sample->kind == STEP_TIMED && is_known_u64(value))
            values[(*count)++] = value;
    }
    return values;
}

/* A run that came to its end is unreliable when a figure of the report's first table is. */
static bool is_unreliable(const struct run *run, char *reason, size_t size)
{
    struct timed_pass passes[PASS_COUNT] = {0};
    struct summary summaries[PASS_COUNT][PHASE_COUNT + 1];
    struct first_figures figures;
    for (int pass = 0; pass < PASS_COUNT; pass++)
        for (int phase = 0; phase <= PHASE_COUNT; phase++) {
            struct timed_phase *timed = &passes[pass].phases[phase];
            timed->samples = timed_samples(run_lead(run), pass, phase, &timed->count);
            summary_of(timed->samples, timed->count, &summaries[pass][phase]);
            timed->summary = &summaries[pass][phase];
        }
    first_figures_of(passes, &figures);
    for (int pass = 0; pass < PASS_COUNT; pass++)
        for (int phase = 0; phase <= PHASE_COUNT; phase++)
            free((void *)(uintptr_t)passes[pass].phases[phase].samples);
    return first_figures_unreliable(&figures, reason, size);
}

void live_finish(struct live_run *live, enum status status, const char *reason)
{
    struct run *run = &live->run;
    char unreliable[sizeof run->reason];
    if (status == STATUS_OK && is_unreliable(run, unreliable, sizeof unreliable)) {
        status = STATUS_UNRELIABLE;
        reason = unreliable;
    }
    text_copy(run->reason, sizeof run->reason, reason, strlen(reason));
    for (char *c = run->reason; *c; c++)
        if (*c == '|')
            *c = '/';
    run->status = status;
    run->activity[0] = 0;
    if (run->started)
        run->ended = clock_now();
    for (size_t i = 0; i < run->ranks.count; i++) {
        run->ranks.items[i]->process = 0;
        aggregate_settle(run->ranks.items[i]->aggregate, UINT64_MAX);
        drop_cut_steps(run, run->ranks.items[i]);
        aggregate_finish(run->ranks.items[i]->aggregate);
    }
    run->version++;
}
