/* Running a program, and what its timestamps say. */
#include "base/clock.h"
#include "base/unknown.h"
#include "kernels/adamw.h"
#include "kernels/vulkan/vulkan_internal.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The rates of AdamW, one number a set of values, set before the step's clock starts. */
static void rates_renew(struct program *program)
{
    const int64_t step = (int64_t)++program->optimizer_step;
    float *rates = program->rates.mapped;
    for (int i = 0; i < program->optimizer_count; ++i)
        rates[i] = (float)adamw_rate(&program->optimizers[i], step);
}

static uint64_t ticks_between(const struct device *device, uint64_t from, uint64_t to)
{
    uint32_t bits = device->traits.stamp_bits;
    return (to - from) & (bits < 64 ? (UINT64_C(1) << bits) - 1 : UINT64_MAX);
}

static bool stamps_read(struct program *program, uint32_t first, uint32_t count, uint64_t *values, struct error *error)
{
    struct device *device = program->device;
    return count == 0 ||
           VULKAN_OK(device,
                     vkGetQueryPoolResults(device->handle, program->stamps, first, count, count * sizeof *values,
                                           values, sizeof *values, VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT),
                     error);
}

static bool phase_times(struct program *program, unsigned phases, struct step_times *times, struct error *error)
{
    double period = (double)program->device->traits.properties.limits.timestampPeriod;
    for (int phase = 0; phase < PHASE_COUNT; ++phase) {
        uint64_t stamps[2];
        times->phase_ns[phase] = UNKNOWN_U64;
        if (!(phases & PHASE_BIT(phase)))
            continue;
        if (!stamps_read(program, (uint32_t)phase, 2, stamps, error))
            return false;
        times->phase_ns[phase] = (uint64_t)((double)ticks_between(program->device, stamps[0], stamps[1]) * period);
    }
    return true;
}

bool vulkan_clock_read(struct device *device, VkQueryPool stamps, struct vulkan_clock *clock, struct error *error)
{
    if (device->traits.calibrated && device->api.vkGetCalibratedTimestampsEXT) {
        const VkCalibratedTimestampInfoEXT infos[2] = {
            {VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_EXT, NULL, VK_TIME_DOMAIN_DEVICE_EXT},
            {VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_EXT, NULL, VK_TIME_DOMAIN_CLOCK_MONOTONIC_EXT}};
        uint64_t values[2], deviation = 0;
        if (!VULKAN_OK(device, vkGetCalibratedTimestampsEXT(device->handle, 2, infos, values, &deviation), error))
            return false;
        *clock = (struct vulkan_clock){values[0], values[1], (double)deviation};
        return true;
    }
    /* Between two readings of the host's clock one of the device's: they bound each other. */
    uint64_t before, after, value;
    if (!vulkan_begin(device, error))
        return false;
    device->api.vkCmdResetQueryPool(device->transfer, stamps, 0, 1);
    device->api.vkCmdWriteTimestamp(device->transfer, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, stamps, 0);
    before = clock_now();
    if (!vulkan_finish(device, error))
        return false;
    after = clock_now();
    if (!VULKAN_OK(device,
                   vkGetQueryPoolResults(device->handle, stamps, 0, 1, sizeof value, &value, sizeof value,
                                         VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT),
                   error))
        return false;
    *clock = (struct vulkan_clock){value, before + (after - before) / 2, (double)(after - before) / 2.0};
    return true;
}

uint64_t vulkan_clock_convert(const struct device *device, const struct vulkan_clock *clock, uint64_t ticks)
{
    double period = (double)device->traits.properties.limits.timestampPeriod;
    uint64_t after = ticks_between(device, clock->ticks, ticks), before = ticks_between(device, ticks, clock->ticks);
    return after <= before ? clock->host + (uint64_t)((double)after * period)
                           : clock->host - (uint64_t)((double)before * period);
}

/* The clocks were read before the step and after it; how far they ran apart in between is spread evenly over the step. */
struct step_clock {
    struct vulkan_clock before, after;
    double drift; /* ns, of the host against the device from before to after */
};

static uint64_t step_convert(const struct device *device, const struct step_clock *clock, uint64_t ticks)
{
    uint64_t plain = vulkan_clock_convert(device, &clock->before, ticks);
    double span = (double)(clock->after.host - clock->before.host), share = 0;
    if (span > 0 && plain > clock->before.host)
        share = (double)(plain - clock->before.host) / span;
    return plain + (uint64_t)(int64_t)(clock->drift * (share < 1 ? share : 1));
}

static void clock_note(struct program *program, const struct step_clock *clock, const struct probe *probe)
{
    double deviation = fmax(clock->before.deviation_ns, clock->after.deviation_ns), drift = fabs(clock->drift);
    bool worse = !program->clock_noted || deviation > 1.2 * program->worst_deviation_ns ||
                 drift > 1.2 * program->worst_drift_ns + 100;
    if (!program->clock_noted || deviation > program->worst_deviation_ns)
        program->worst_deviation_ns = deviation;
    if (!program->clock_noted || drift > program->worst_drift_ns)
        program->worst_drift_ns = drift;
    if (!worse || !probe->note)
        return;
    char text[256];
    snprintf(
        text, sizeof text,
        "device timestamps (%.3g ns a tick) set against CLOCK_MONOTONIC before and after each profiled step %s: at "
        "most %.2f us off (maxDeviation), %.2f us of drift a step",
        (double)program->device->traits.properties.limits.timestampPeriod,
        program->device->traits.calibrated ? "by VK_EXT_calibrated_timestamps" : "by a stamp between two readings",
        program->worst_deviation_ns / 1e3, program->worst_drift_ns / 1e3);
    probe->note(probe->context, "clock", text);
    program->clock_noted = true;
}

static bool events_send(struct program *program, const struct vulkan_recording *recording,
                        const struct step_clock *clock, uint64_t step_id, uint64_t launched, const struct probe *probe,
                        struct error *error)
{
    const uint32_t count = 2 * (uint32_t)recording->dispatch_count;
    if (!stamps_read(program, PHASE_COUNT + 1, count, program->stamp_values, error))
        return false;
    for (int32_t i = 0; i < recording->dispatch_count; ++i) {
        struct kernel_event event = {.start = step_convert(program->device, clock, program->stamp_values[2 * i]),
                                     .end = step_convert(program->device, clock, program->stamp_values[2 * i + 1]),
                                     .correlation = ++program->correlation,
                                     .node = recording->dispatches[i].node,
                                     .name = recording->dispatches[i].name,
                                     .kind = EVENT_KERNEL};
        event.launch = launched < event.start ? launched : event.start; /* as far as the clocks agree */
        if (event.end < event.start)
            event.end = event.start;
        probe->event(probe->context, step_id, &event);
    }
    return true;
}

static bool parts_submit(struct program *program, const struct vulkan_recording *recording, struct error *error)
{
    for (int i = 0; i < recording->part_count; ++i)
        if (!vulkan_submit(program->device, recording->parts[i], i + 1 == recording->part_count, error))
            return false;
    return true;
}

bool vulkan_run(struct program *program, unsigned phases, uint64_t step_id, const struct probe *probe,
                struct step_times *times, struct error *error)
{
    struct device *device = program->device;
    struct vulkan_recording *recording = NULL;
    struct step_times unused;
    struct step_clock clock = {.drift = 0};
    bool profiled = probe && program->launch_names;
    if (!times)
        times = &unused;
    if (phases & PHASE_BIT(PHASE_OPT))
        rates_renew(program);
    for (int i = 0; i < program->recording_count; ++i)
        if (program->recordings[i].phases == phases && program->recordings[i].profiled == profiled)
            recording = &program->recordings[i];
    if (profiled && !vulkan_clock_read(device, program->stamps, &clock.before, error))
        return false;
    times->start = clock_now();
    bool done = recording ? parts_submit(program, recording, error)
                          : vulkan_record(program, phases, profiled ? RECORD_PROFILED : RECORD_TIMED, true,
                                          &program->eager, error);
    times->end = clock_now();
    if (!done) { /* what was submitted must end before its memory may go */
        device->api.vkDeviceWaitIdle(device->handle);
        return false;
    }
    if (!recording)
        recording = &program->eager;
    if (!phase_times(program, phases, times, error))
        return false;
    if (!profiled)
        return true;
    uint64_t launched = times->start;
    if (device->traits.calibrated) {
        if (!vulkan_clock_read(device, program->stamps, &clock.after, error))
            return false;
        clock.drift =
            (double)(int64_t)(clock.after.host - vulkan_clock_convert(device, &clock.before, clock.after.ticks));
    } else {
        clock.after = clock.before;
    }
    clock_note(program, &clock, probe);
    if (!events_send(program, recording, &clock, step_id, launched, probe, error))
        return false;
    vulkan_counters_once(program, phases, step_id, probe);
    return true;
}
