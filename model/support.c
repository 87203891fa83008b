/* Which fusion passes a device can take: it must run every op that a pass makes. */
#include "model/model.h"
#include <string.h>

static const struct {
    enum fusion fusion;
    enum op ops[2];
} made_ops[] = {
    {FUSE_ATTENTION, {OP_ATTENTION, OP_ATTENTION_BACKWARD}},
    {FUSE_SWIGLU, {OP_SWIGLU, OP_SWIGLU_BACKWARD}},
    {FUSE_ADD_RMSNORM, {OP_ADD_RMSNORM, OP_RMSNORM_BACKWARD}},
    {FUSE_CROSS_ENTROPY, {OP_CROSS_ENTROPY_FUSED, OP_CROSS_ENTROPY_FUSED}},
    {FUSE_ADAMW, {OP_ADAMW_ALL, OP_ADAMW_ALL}},
};

unsigned model_supported_fusions(const struct device_class *class, const struct device *device,
                                 enum precision precision, struct left_out *left_out)
{
    char why[sizeof left_out->why[0]] = "";
    unsigned fusions = FUSE_ALL | (class->overlap.ops ? 1u << FUSE_OVERLAP : 0u);
    for (size_t i = 0; i < sizeof made_ops / sizeof *made_ops; i++)
        for (int k = 0; k < 2; k++) {
            if (class->supports(device, made_ops[i].ops[k], precision, why, sizeof why))
                continue;
            fusions &= ~(1u << made_ops[i].fusion);
            if (left_out)
                memcpy(left_out->why[made_ops[i].fusion], why, sizeof why);
        }
    return fusions;
}
