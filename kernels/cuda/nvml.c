#include "kernels/cuda/nvml.h"
#include "base/unknown.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The parts of NVML's C interface that are used here, after its documentation ("NVML API Reference Guide"): the header
 * belongs to the toolkit and need not be installed. */
typedef struct nvml_device *nvml_device;
struct nvml_process {
    unsigned pid;
    unsigned long long used_bytes;
    unsigned gpu_instance, compute_instance;
};
/* A value that is asked for by number (nvmlFieldValue_t). Of those: the speed of the link that `scope` names
 * (NVML_FI_DEV_NVLINK_GET_SPEED), and where a card does not know that, as before Hopper, the one speed of all
 * (NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON, which in turn an H200 does not know). */
struct nvml_field {
    unsigned id, scope;
    long long timestamp, latency_us;
    int type, code;
    union {
        double number;
        unsigned bits;
        unsigned long long word;
    } value;
};
enum { NVML_FIELD_ALL_LINKS_MBPS = 90, NVML_FIELD_LINK_MBPS = 164, NVML_TYPE_UNSIGNED = 1, NVML_LINKS_MOST = 18 };
enum { NVML_SUCCESS = 0, NVML_CLOCK_SM = 1, NVML_CLOCK_MEMORY = 2, NVML_TEMPERATURE_GPU = 0, NVML_TOO_SMALL = 7 };

struct nvml {
    void *library;
    nvml_device device;
    int (*init)(void);
    int (*shutdown)(void);
    const char *(*error_string)(int);
    int (*handle)(const char *, nvml_device *);
    int (*clock)(nvml_device, int, unsigned *);
    int (*power)(nvml_device, unsigned *);
    int (*power_limit)(nvml_device, unsigned *);
    int (*temperature)(nvml_device, int, unsigned *);
    int (*reasons)(nvml_device, unsigned long long *);
    int (*compute_processes)(nvml_device, unsigned *, struct nvml_process *);
    int (*graphics_processes)(nvml_device, unsigned *, struct nvml_process *);
    int (*link_state)(nvml_device, unsigned, int *);
    int (*fields)(nvml_device, int, struct nvml_field *);
    double link_bytes_per_s; /* asked once */
};

/* Where each function goes, and under which names drivers export it, the newest first. */
static const struct {
    size_t offset;
    const char *names[2];
    bool required;
} functions[] = {
    {offsetof(struct nvml, init), {"nvmlInit_v2"}, true},
    {offsetof(struct nvml, shutdown), {"nvmlShutdown"}, true},
    {offsetof(struct nvml, error_string), {"nvmlErrorString"}, true},
    {offsetof(struct nvml, handle), {"nvmlDeviceGetHandleByPciBusId_v2"}, true},
    {offsetof(struct nvml, clock), {"nvmlDeviceGetClockInfo"}, false},
    {offsetof(struct nvml, power), {"nvmlDeviceGetPowerUsage"}, false},
    {offsetof(struct nvml, power_limit), {"nvmlDeviceGetEnforcedPowerLimit"}, false},
    {offsetof(struct nvml, temperature), {"nvmlDeviceGetTemperature"}, false},
    {offsetof(struct nvml, reasons),
     {"nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"},
     false},
    {offsetof(struct nvml, compute_processes), {"nvmlDeviceGetComputeRunningProcesses_v3"}, false},
    {offsetof(struct nvml, graphics_processes), {"nvmlDeviceGetGraphicsRunningProcesses_v3"}, false},
    {offsetof(struct nvml, link_state), {"nvmlDeviceGetNvLinkState"}, false},
    {offsetof(struct nvml, fields), {"nvmlDeviceGetFieldValues"}, false},
};

/* NVML's nvmlClocksEventReason… bits. Idle (1) is no throttling; clocks that somebody set (2) are. */
static const struct {
    unsigned long long bit;
    const char *text;
} reason_texts[] = {
    {0x04, "power cap"},         {0x40, "thermal slowdown (hardware)"},
    {0x20, "thermal slowdown"},  {0x80, "power brake"},
    {0x08, "hardware slowdown"}, {0x02, "application clocks"},
    {0x10, "sync boost"},        {0x100, "display clocks"},
};

void nvml_throttle_text(unsigned long long reasons, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof reason_texts / sizeof *reason_texts; i++) {
        if (!(reasons & reason_texts[i].bit))
            continue;
        int length = snprintf(text + used, size - used, "%s%s", used ? ", " : "", reason_texts[i].text);
        if (length < 0 || (size_t)length >= size - used) {
            text[used] = '\0'; /* rather a reason less than half a word */
            return;
        }
        used += (size_t)length;
    }
}

static bool functions_load(struct nvml *nvml, const char *library, struct error *error)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *function = NULL;
        for (size_t name = 0; name < 2 && functions[i].names[name] && !function; name++)
            function = dlsym(nvml->library, functions[i].names[name]);
        if (!function && functions[i].required)
            return error_set(error, ERROR_DEVICE, "%s has no %s: no clocks, power or temperature", library,
                             functions[i].names[0]);
        memcpy((char *)nvml + functions[i].offset, &function, sizeof function);
    }
    return true;
}

/* 10⁶ bytes/s of one link in one direction; 0 where not known. */
static unsigned link_rate(const struct nvml *nvml, unsigned link)
{
    static const unsigned ids[] = {NVML_FIELD_LINK_MBPS, NVML_FIELD_ALL_LINKS_MBPS};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        struct nvml_field speed = {.id = ids[i], .scope = ids[i] == NVML_FIELD_LINK_MBPS ? link : 0};
        if (nvml->fields(nvml->device, 1, &speed) == NVML_SUCCESS && speed.code == NVML_SUCCESS &&
            speed.type == NVML_TYPE_UNSIGNED && speed.value.bits)
            return speed.value.bits;
    }
    return 0;
}

/* Of NVLink: what all links that are up move in one direction. A card without any has PCI Express, of which NVML says no rate. */
static double links_rate(const struct nvml *nvml)
{
    double sum = 0;
    for (unsigned i = 0; nvml->link_state && nvml->fields && i < NVML_LINKS_MOST; i++) {
        int state = 0;
        if (nvml->link_state(nvml->device, i, &state) != NVML_SUCCESS || state != 1)
            continue;
        unsigned rate = link_rate(nvml, i);
        if (!rate) /* a part of them is no figure */
            return UNKNOWN_DOUBLE;
        sum += rate * 1e6;
    }
    return sum > 0 ? sum : UNKNOWN_DOUBLE;
}

struct nvml *nvml_open_library(const char *library, const char *pci_bus_id, struct error *error)
{
    int code;
    struct nvml *nvml = calloc(1, sizeof *nvml);
    if (!nvml) {
        error_set(error, ERROR_MEMORY, "no memory for the NVML table");
        return NULL;
    }
    nvml->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!nvml->library) {
        error_set(error, ERROR_DEVICE, "%s was not found: no clocks, power or temperature of the card", library);
        goto failed;
    }
    if (!functions_load(nvml, library, error))
        goto failed;
    if ((code = nvml->init()) != NVML_SUCCESS) {
        error_set(error, ERROR_DEVICE, "%s does not start: %s: no clocks, power or temperature of the card", library,
                  nvml->error_string(code));
        goto failed;
    }
    if ((code = nvml->handle(pci_bus_id, &nvml->device)) != NVML_SUCCESS) {
        error_set(error, ERROR_DEVICE, "%s does not know the card %s: %s", library, pci_bus_id,
                  nvml->error_string(code));
        nvml->shutdown();
        goto failed;
    }
    nvml->link_bytes_per_s = links_rate(nvml);
    return nvml;

failed:
    if (nvml->library)
        dlclose(nvml->library);
    free(nvml);
    return NULL;
}

struct nvml *nvml_open(const char *pci_bus_id, struct error *error)
{
    return nvml_open_library("libnvidia-ml.so.1", pci_bus_id, error);
}

void nvml_close(struct nvml *nvml)
{
    if (!nvml)
        return;
    nvml->shutdown();
    dlclose(nvml->library);
    free(nvml);
}

/* How many processes a list has; false when NVML does not tell. A list that does not fit is still counted. */
static bool processes_count(const struct nvml *nvml, int (*list)(nvml_device, unsigned *, struct nvml_process *),
                            unsigned *count)
{
    struct nvml_process processes[64];
    *count = sizeof processes / sizeof *processes;
    if (!list)
        return false;
    int code = list(nvml->device, count, processes);
    return code == NVML_SUCCESS || code == NVML_TOO_SMALL;
}

/* This process holds a context, so it is one of the list, under whatever number a container shows. An empty list says that
 * NVML sees no processes from here, not that there are none. */
static uint32_t other_processes(const struct nvml *nvml)
{
    unsigned compute, graphics;
    if (!processes_count(nvml, nvml->compute_processes, &compute) || !compute)
        return UINT32_MAX;
    if (!processes_count(nvml, nvml->graphics_processes, &graphics))
        graphics = 0;
    return compute - 1 + graphics;
}

bool nvml_read(struct nvml *nvml, struct device_telemetry *out)
{
    unsigned value;
    unsigned long long reasons;
    *out = (struct device_telemetry){.sm_clock_mhz = UNKNOWN_DOUBLE,
                                     .memory_clock_mhz = UNKNOWN_DOUBLE,
                                     .power_w = UNKNOWN_DOUBLE,
                                     .power_limit_w = UNKNOWN_DOUBLE,
                                     .temperature_c = UNKNOWN_DOUBLE,
                                     .other_processes = UINT32_MAX,
                                     .link_bytes_per_s = nvml ? nvml->link_bytes_per_s : UNKNOWN_DOUBLE};
    if (!nvml)
        return false;
    if (nvml->clock && nvml->clock(nvml->device, NVML_CLOCK_SM, &value) == NVML_SUCCESS)
        out->sm_clock_mhz = value;
    if (nvml->clock && nvml->clock(nvml->device, NVML_CLOCK_MEMORY, &value) == NVML_SUCCESS)
        out->memory_clock_mhz = value;
    if (nvml->power && nvml->power(nvml->device, &value) == NVML_SUCCESS)
        out->power_w = value / 1000.0; /* NVML speaks of milliwatts */
    if (nvml->power_limit && nvml->power_limit(nvml->device, &value) == NVML_SUCCESS)
        out->power_limit_w = value / 1000.0;
    if (nvml->temperature && nvml->temperature(nvml->device, NVML_TEMPERATURE_GPU, &value) == NVML_SUCCESS)
        out->temperature_c = value;
    if (nvml->reasons && nvml->reasons(nvml->device, &reasons) == NVML_SUCCESS)
        nvml_throttle_text(reasons, out->throttle, sizeof out->throttle);
    out->other_processes = other_processes(nvml);
    return true;
}
