/* The keys of a report file for what a cell ran on: its device, the machine and its processors, the program, the ceilings. */
#include "report/schema_tables.h"

static const struct field device_list[] = {
    {"name", FIELD_CHARS, AT(struct device_info, name), "cpu, cuda:0 …"},
    {"model", FIELD_CHARS, AT(struct device_info, model), "maker's name"},
    {"architecture", FIELD_CHARS, AT(struct device_info, architecture), "x86-64-v3, sm_90 …"},
    {"driver", FIELD_CHARS, AT(struct device_info, driver), "driver, or the BLAS"},
    {"memory_bytes", FIELD_UNSIGNED, AT(struct device_info, memory_bytes), "total"},
    {"free_bytes", FIELD_UNSIGNED, AT(struct device_info, free_bytes), "when the worker opened it"},
    {"units", FIELD_UNSIGNED, AT(struct device_info, units), "cores, multiprocessors"},
    {"clock_mhz", FIELD_DOUBLE, AT(struct device_info, clock_mhz), "highest"},
};
SHARED_SET_ABSENT(device, struct device_info, "a device", device, absent.device);

static const struct field telemetry_list[] = {
    {"sm_clock_mhz", FIELD_DOUBLE, AT(struct device_telemetry, sm_clock_mhz), "sampled"},
    {"memory_clock_mhz", FIELD_DOUBLE, AT(struct device_telemetry, memory_clock_mhz), "sampled"},
    {"power_w", FIELD_DOUBLE, AT(struct device_telemetry, power_w), "sampled"},
    {"power_limit_w", FIELD_DOUBLE, AT(struct device_telemetry, power_limit_w), "set"},
    {"temperature_c", FIELD_DOUBLE, AT(struct device_telemetry, temperature_c), "sampled"},
    {"other_processes", FIELD_UNSIGNED, AT(struct device_telemetry, other_processes), "on the device", .special = ""},
    {"throttle", FIELD_CHARS, AT(struct device_telemetry, throttle), "reasons"},
    {"link_bytes_per_s", FIELD_DOUBLE, AT(struct device_telemetry, link_bytes_per_s),
     "of all its links to other devices in one direction, by the driver"},
};
SHARED_SET(telemetry, struct device_telemetry, "telemetry");

static const struct field machine_list[] = {
    {"steal", FIELD_DOUBLE, AT(struct machine_load, steal), "of the processors' time, taken by the host: 0 to 1"},
    {"load_average", FIELD_DOUBLE, AT(struct machine_load, load_average), "of the last minute, at the end"},
};
SHARED_SET(machine, struct machine_load, "how busy the machine was");

static const struct field use_list[] = {
    {"steal", FIELD_DOUBLE, AT(struct machine_use, steal), "share that the host of a virtual machine took"},
    {"others", FIELD_DOUBLE, AT(struct machine_use, others), "share of programs that are not this run's"},
    {"idle", FIELD_DOUBLE, AT(struct machine_use, idle), "share that nobody used"},
    {"throttled", FIELD_DOUBLE, AT(struct machine_use, throttled),
     "share, of the processors that are allowed, for which a control group's quota stopped it"},
};
SHARED_SET(use, struct machine_use, "the processors");

#define FACT(member) FIELD_UNSIGNED, AT(struct program_facts, member)
static const struct field program_list[] = {
    {"steps", FACT(steps), "measured ones", .zero = true},
    {"wall_ns", FACT(wall_ns), "of them"},
    {"compiled_steps", FACT(compiled_steps), "of them, those in which a graph was compiled", .zero = true},
    {"compiled_ns", FACT(compiled_ns), "time of those", .zero = true},
    {"graph_breaks", FACT(graph_breaks), "since the program began", .zero = true},
    {"wait_ns", FACT(wait_ns), "for the data loader", .zero = true},
    {"wait_cpu_ns", FACT(wait_cpu_ns), "of that, computing in the loader on the same thread", .zero = true},
    {"loader_workers", FACT(loader_workers), "processes of the loader", .zero = true},
    {"workers_ns", FACT(workers_ns), "how long they were watched", .zero = true},
    {"workers_cpu_ns", FACT(workers_cpu_ns), "on a processor, of all", .zero = true},
    {"workers_disk_ns", FACT(workers_disk_ns), "waiting for a disk, of all", .zero = true},
    {"resident_first", FACT(resident[0]), "sampled bytes of the process, median of the first third of the steps"},
    {"resident_middle", FACT(resident[1]), "of the second"},
    {"resident_last", FACT(resident[2]), "of the last"},
    {"device_first", FACT(device_bytes[0]), "sampled bytes of tensors on the card, likewise"},
    {"device_middle", FACT(device_bytes[1]), ""},
    {"device_last", FACT(device_bytes[2]), ""},
    {"reserved_bytes", FACT(reserved_bytes), "of the card's allocator, at the end", .zero = true},
    {"allocator_retries", FACT(allocator_retries), "times that it gave its cache back to go on", .zero = true},
    {"threads", FACT(threads), "that PyTorch computes with on the processor"},
    {"processors", FACT(processors), "in the masks of the threads that compute"},
    {"batches", FACT(batches), "least calls of the outermost module in a step"},
    {"peak_bytes", FACT(peak_bytes), "of tensors on the card, at most"},
    {"room_bytes", FACT(room_bytes), "that the program could have on the card"},
};
SHARED_SET(program, struct program_facts, "the program");

static const struct field ceilings_list[] = {
    {"flops_per_s", FIELD_DOUBLE, AT(struct report_ceilings, flops_per_s), "measured: best matmul rate"},
    {"bytes_per_s", FIELD_DOUBLE, AT(struct report_ceilings, bytes_per_s), "measured: best copy rate, read + written"},
};
SHARED_SET(ceilings, struct report_ceilings, "the ceilings");
