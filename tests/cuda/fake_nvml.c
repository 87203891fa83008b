/* A libnvidia-ml with one card, "0000:1B:00.0". Without power limit, and with the older name of the clock reasons. */
#include <string.h>

struct process {
    unsigned pid;
    unsigned long long used;
    unsigned gpu, compute;
};

struct field {
    unsigned id, scope;
    long long timestamp, latency;
    int type, code;
    unsigned value, rest;
};

int nvmlInit_v2(void);
int nvmlShutdown(void);
const char *nvmlErrorString(int code);
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **device);
int nvmlDeviceGetClockInfo(void *device, int type, unsigned *mhz);
int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts);
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius);
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons);
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, struct process *processes);
int nvmlDeviceGetNvLinkState(void *device, unsigned link, int *state);
int nvmlDeviceGetFieldValues(void *device, int count, struct field *fields);
int fake_nvml_processes(int count);
void fake_nvml_links(int kind);

static int links; /* of a card before Hopper: one speed for all; 1: of Hopper, each link's own; 2: of one link none */
static int started, processes_running = 3;
static char card;

int fake_nvml_processes(int count)
{
    processes_running = count;
    return started;
}

void fake_nvml_links(int kind)
{
    links = kind;
}

int nvmlInit_v2(void)
{
    started++;
    return 0;
}

int nvmlShutdown(void)
{
    started--;
    return 0;
}

const char *nvmlErrorString(int code)
{
    return code == 6 ? "Not Found" : "Other";
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **device)
{
    *device = &card;
    return strcmp(bus, "0000:1B:00.0") ? 6 : 0;
}

int nvmlDeviceGetClockInfo(void *device, int type, unsigned *mhz)
{
    *mhz = type == 1 ? 1980 : 3201;
    return device == &card && (type == 1 || type == 2) ? 0 : 2;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts)
{
    (void)device;
    *milliwatts = 612500;
    return 0;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius)
{
    (void)device, (void)sensor, (void)celsius;
    return 3; /* not supported */
}

int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons)
{
    (void)device;
    *reasons = 0x4 | 0x20;
    return 0;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, struct process *processes)
{
    (void)device;
    unsigned room = *count;
    *count = (unsigned)processes_running;
    if (room < *count)
        return 7;
    for (unsigned i = 0; i < *count; i++)
        processes[i] = (struct process){.pid = 100 + i};
    return 0;
}

int nvmlDeviceGetNvLinkState(void *device, unsigned link, int *state)
{
    (void)device;
    *state = link != 5; /* one of 12 is down */
    return link < 12 ? 0 : 3;
}

int nvmlDeviceGetFieldValues(void *device, int count, struct field *fields)
{
    (void)device;
    for (int i = 0; i < count; i++) {
        const unsigned own = fields[i].id == 164; /* asked link by link */
        fields[i].code = fields[i].id == (links ? 164 : 90) && !(links == 2 && fields[i].scope == 7) ? 0 : 3;
        fields[i].type = 1;
        fields[i].value = 26562 + (own ? fields[i].scope : 0);
    }
    return 0;
}
