#include "gpu_run.h"
#include "base/clock.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t gpu_intern(void *context, const char *name)
{
    struct gpu_heard *heard = context;
    pthread_mutex_lock(&heard->lock);
    uint32_t id = 0;
    while (id < heard->name_count && strcmp(heard->names[id], name))
        id++;
    if (id == heard->name_count && id < GPU_NAMES - 1)
        snprintf(heard->names[heard->name_count++], sizeof heard->names[0], "%s", name);
    pthread_mutex_unlock(&heard->lock);
    return id;
}

static void gpu_event(void *context, uint64_t step, const struct kernel_event *event)
{
    struct gpu_heard *heard = context;
    uint64_t now = clock_now();
    pthread_mutex_lock(&heard->lock);
    heard->total++;
    if (event->kind <= EVENT_MEMSET) {
        heard->backwards += event->end < event->start || !event->start || event->end > now;
        uint64_t delay = now > event->end ? (now - event->end) / 1000000 : 0;
        heard->delay_ms[delay < 1023 ? delay : 1023]++;
    }
    if (heard->keep) {
        vec_push(&heard->events, *event);
        vec_push(&heard->steps, step);
    }
    pthread_mutex_unlock(&heard->lock);
}

static void gpu_dropped(void *context, uint64_t count)
{
    struct gpu_heard *heard = context;
    pthread_mutex_lock(&heard->lock);
    heard->dropped += count;
    pthread_mutex_unlock(&heard->lock);
}

static void gpu_note(void *context, const char *key, const char *text)
{
    struct gpu_heard *heard = context;
    pthread_mutex_lock(&heard->lock);
    size_t used = strlen(heard->notes);
    snprintf(heard->notes + used, sizeof heard->notes - used, "%s: %s\n", key, text);
    pthread_mutex_unlock(&heard->lock);
}

bool gpu_present(char *why, size_t size)
{
    struct device_info infos[8];
    struct error error = {0};
    int count = 0;
    if (steptop_device_class.enumerate(infos, 8, &count, &error) && count > 0)
        return true;
    snprintf(why, size, "%s", error.text);
    return false;
}

bool gpu_open(struct gpu_run *run, struct plan *plan, bool compile, enum gpu_profiling profiling, struct error *error)
{
    *run = (struct gpu_run){.plan = plan};
    pthread_mutex_init(&run->heard.lock, NULL);
    run->heard.keep = true;
    run->probe = (struct probe){
        .context = &run->heard, .intern = gpu_intern, .event = gpu_event, .dropped = gpu_dropped, .note = gpu_note};
    run->device = steptop_device_class.open(0, error);
    if (!run->device)
        return false;
    struct prepare_options options = {.compile = compile,
                                      .cache_folder = getenv("STEPTOP_TEST_CACHE"),
                                      .probe = profiling == GPU_PLAIN ? NULL : &run->probe,
                                      .counters = profiling == GPU_COUNTED};
    run->program = steptop_device_class.prepare(run->device, plan, &options, &run->report, error);
    if (run->program)
        return true;
    steptop_device_class.close(run->device);
    run->device = NULL;
    return false;
}

static bool tensor_fill(struct gpu_run *run, int32_t tensor, struct error *error)
{
    const struct tensor *t = &run->plan->tensors[tensor];
    void *values = malloc((size_t)tensor_elements(t) * sizeof(float));
    bool done = true;
    if (!values)
        return error_set(error, ERROR_MEMORY, "no memory for %s", t->name);
    if (tensor == run->plan->tokens || tensor == run->plan->targets)
        model_random_tokens(run->plan, tensor, 1, values);
    else
        done = model_initial_value(run->plan, tensor, 1, values, error);
    done = done && steptop_device_class.write(run->program, tensor, values, error);
    free(values);
    return done;
}

bool gpu_open_model(struct gpu_run *run, const char *model, enum precision precision, bool compile,
                    enum gpu_profiling profiling, struct error *error)
{
    struct plan_request request = {.batch = 4,
                                   .context = 256,
                                   .precision = precision,
                                   .fusions = compile ? FUSE_ALL | 1u << FUSE_OVERLAP : 0,
                                   .overlap = steptop_device_class.overlap,
                                   .phases = PHASES_TRAIN_STEP};
    struct plan_result result;
    struct plan *plan = model_preset_find(model, &request.model, error) ? plan_build(&request, &result, error) : NULL;
    if (!plan)
        return false;
    if (!gpu_open(run, plan, compile, profiling, error)) {
        plan_free(plan);
        return false;
    }
    run->owned = true;
    for (int32_t i = 0; i < plan->tensor_count; i++) {
        const struct tensor *t = &plan->tensors[i];
        bool wanted = i == plan->tokens || i == plan->targets || t->kind == TENSOR_CONSTANT ||
                      (t->kind == TENSOR_PARAMETER && t->parameter == i);
        if (wanted && !tensor_fill(run, i, error)) {
            gpu_close(run);
            return false;
        }
    }
    return true;
}

void gpu_close(struct gpu_run *run)
{
    if (run->program)
        steptop_device_class.release(run->program);
    if (run->device)
        steptop_device_class.close(run->device);
    if (run->owned)
        plan_free(run->plan);
    if (run->plan)
        pthread_mutex_destroy(&run->heard.lock);
    vec_release(&run->heard.events);
    vec_release(&run->heard.steps);
    *run = (struct gpu_run){0};
}

bool gpu_step(struct gpu_run *run, unsigned phases, uint64_t step, bool profiled, struct step_times *times,
              struct error *error)
{
    return steptop_device_class.run(run->program, phases, step, profiled ? &run->probe : NULL, times, error);
}

bool gpu_flush(struct gpu_run *run, struct error *error)
{
    return steptop_device_class.flush(run->program, &run->probe, error);
}

struct cupti_source *gpu_source(const struct gpu_run *run)
{
    return run->program->source;
}

struct cupti_counters *gpu_counters(const struct gpu_run *run)
{
    return run->program->counters;
}

void gpu_forget(struct gpu_run *run)
{
    pthread_mutex_lock(&run->heard.lock);
    run->heard.events.count = run->heard.steps.count = 0;
    memset(run->heard.delay_ms, 0, sizeof run->heard.delay_ms);
    pthread_mutex_unlock(&run->heard.lock);
}

double gpu_delay_ms(const struct gpu_run *run, double share)
{
    uint64_t all = 0, below = 0;
    for (int i = 0; i < 1024; i++)
        all += run->heard.delay_ms[i];
    for (int i = 0; i < 1024; i++)
        if ((below += run->heard.delay_ms[i]) >= (uint64_t)(share * (double)all))
            return i + 1;
    return 1024;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double gpu_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

const struct device_class *gpu_device_class(void)
{
    return &steptop_device_class;
}
