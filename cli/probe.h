/* What devices there are, asked in a child process: the caller never loads a driver, and a driver that crashes or hangs takes
 * no more than the child with it. */
#pragma once
#include "base/error.h"
#include "kernels/device.h"

#define PROBE_DEVICES_MAX 16

/* The devices of a class ("cpu", "cuda"); false with a sentence that says what is missing when there are none. */
bool probe_class(const char *class_name, struct device_info *infos, int *count, struct error *error);

/* The one called `name` ("cpu", "cuda:0"; a class alone is its first). */
bool probe_device(const char *name, struct device_info *info, struct error *error);
