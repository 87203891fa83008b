/* What kernels/plan.c needs of the op table beyond op_info. */
#pragma once
#include "kernels/plan.h"

/* Shapes of a node's tensors as the table says them for the node's dims. False with the operand in `error`. */
bool op_check_shapes(const struct plan *plan, const struct node *node, struct error *error);
