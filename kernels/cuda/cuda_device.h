/* The class that the plugin exports; tests link it by the same name. */
#pragma once
#include "kernels/device.h"

extern const struct device_class steptop_device_class;
