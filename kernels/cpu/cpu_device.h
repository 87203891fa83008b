/* The class as tests link it; the plugin exports the same as steptop_device_class. */
#pragma once
#include "kernels/device.h"

extern const struct device_class cpu_device_class;
