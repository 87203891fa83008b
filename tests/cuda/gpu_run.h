/* A plan on a card with its activity gathered: what the tests and figures of the profiler share. */
#pragma once
#include "base/error.h"
#include "base/vec.h"
#include "kernels/cuda/cupti_internal.h"
#include "kernels/device.h"
#include "model/model.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define GPU_NAMES 1024

/* What the probe heard. With `keep`, every event; always, counts and the delay from a kernel's end to its event. */
struct gpu_heard {
    pthread_mutex_t lock;
    bool keep;
    VEC(struct kernel_event) events;
    VEC(uint64_t) steps;
    uint64_t total, dropped, backwards;
    uint32_t delay_ms[1024]; /* how many events came that many ms after their end; the last holds all above */
    char names[GPU_NAMES][160];
    uint32_t name_count;
    char notes[2048];
};

struct gpu_run {
    struct plan *plan; /* ours to free when `owned` */
    bool owned;
    struct device *device;
    struct program *program;
    struct prepare_report report;
    struct probe probe;
    struct gpu_heard heard;
};

enum gpu_profiling { GPU_PLAIN, GPU_PROFILED, GPU_COUNTED };

/* True when a card is there; else `why`. */
bool gpu_present(char *why, size_t size);

/* The plan must outlive the run. */
bool gpu_open(struct gpu_run *run, struct plan *plan, bool compile, enum gpu_profiling profiling, struct error *error);
/* The same with the plan of a model of the given name, batch 4, context 256, with weights and tokens. */
bool gpu_open_model(struct gpu_run *run, const char *model, enum precision precision, bool compile,
                    enum gpu_profiling profiling, struct error *error);
void gpu_close(struct gpu_run *run);

/* One step, profiled or not. */
bool gpu_step(struct gpu_run *run, unsigned phases, uint64_t step, bool profiled, struct step_times *times,
              struct error *error);
bool gpu_flush(struct gpu_run *run, struct error *error);
const struct device_class *gpu_device_class(void);
struct cupti_source *gpu_source(const struct gpu_run *run);
struct cupti_counters *gpu_counters(const struct gpu_run *run);
void gpu_forget(struct gpu_run *run); /* the events so far */

/* The delay that `share` of the events stayed below, in ms. */
double gpu_delay_ms(const struct gpu_run *run, double share);
double gpu_median(double *values, size_t count); /* sorts */
