/* The class of a kernel or op by its name, which is all that a stranger's program tells. */
#pragma once
#include "kernels/plan.h"

/* CLASS_OTHER where no word of the table is in it. Case does not matter. */
enum kernel_class class_of_name(const char *name);
