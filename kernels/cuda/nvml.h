/* What the card says of itself while it works: clocks, power, temperature, throttling, other processes. By NVML, loaded at
 * run time; without it every value is unknown and nothing else changes. */
#pragma once
#include "base/error.h"
#include "kernels/device.h"

struct nvml;

/* `pci_bus_id` as cuDeviceGetPCIBusId writes it: device indices of CUDA and NVML differ. NULL with a sentence when there is
 * no library, no driver or no such card. */
struct nvml *nvml_open(const char *pci_bus_id, struct error *error);
/* The same with the library's file name, for tests. */
struct nvml *nvml_open_library(const char *library, const char *pci_bus_id, struct error *error);
void nvml_close(struct nvml *nvml); /* NULL is allowed */

/* Fills all of `out`; what the card does not tell is NaN, UINT32_MAX or "". A NULL nvml gives all unknown and false. Takes
 * some 100 µs: not for inside a step. Other processes are all but one, this one, which holds a context on the card. */
bool nvml_read(struct nvml *nvml, struct device_telemetry *out);

/* "power cap, thermal slowdown" from NVML's bits of clock event reasons; "" when nothing holds the clocks down. */
void nvml_throttle_text(unsigned long long reasons, char *text, size_t size);
