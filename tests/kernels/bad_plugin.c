/* A device plugin with one thing wrong. */
#include "kernels/device.h"

#ifndef FAULT_SYMBOL
extern const struct device_class steptop_device_class;
__attribute__((visibility("default"))) const struct device_class steptop_device_class = {
#ifdef FAULT_ABI
    .abi = DEVICE_ABI + 1,
    .name = "fake",
#else
    .abi = DEVICE_ABI,
    .name = "other",
#endif
};
#endif
