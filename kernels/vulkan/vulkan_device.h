/* The Vulkan plugin's class, for tests that link it. */
#pragma once
#include "kernels/device.h"
extern const struct device_class steptop_device_class;
