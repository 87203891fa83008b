/* The CPU device, inside. One thread pool (libgomp's, which the OpenMP build of OpenBLAS shares), one arena, one kernel
 * a node, and nothing allocated while a step runs. */
#pragma once
#include "kernels/cpu/gemm.h"
#include "kernels/device.h"
#include <cblas.h>
#include <stddef.h>

struct program;
struct cpu_ranks;
typedef void cpu_kernel(struct program *program, const struct node *node);

/* The kernels of one instruction set, from the files in simd/. NULL where an op has none there (GEMMs are elsewhere). */
struct cpu_isa {
    const char *name; /* "avx2" */
    cpu_gemm *gemm;
    const char *gemm_name; /* "sgemm_avx2" */
    cpu_gemm_bf16 *gemm_bf16;
    const char *gemm_bf16_name; /* "gemm_bf16_avx512_bf16" */
    cpu_kernel *kernels[OP_COUNT];
};
extern const struct cpu_isa cpu_isa_baseline, cpu_isa_avx2, cpu_isa_avx512, cpu_isa_avx512_bf16;

/* The best one that this machine and its operating system run. */
const struct cpu_isa *cpu_isa_best(void);
/* May this process use the processor's tile unit (AMX) for bf16? The first call asks the system for it. */
bool cpu_amx_ready(void);

/* Who multiplies: the fastest for each shape. */
enum gemm_choice { GEMM_OPENBLAS, GEMM_OWN_FLAT, GEMM_OWN_DEEP, GEMM_CHOICES };

/* OpenBLAS's functions; blas.c. */
struct cpu_blas {
    __typeof__(cblas_sgemm) *sgemm;
    __typeof__(openblas_set_num_threads) *set_threads; /* of the pool, outside of parallel regions */
    __typeof__(openblas_get_config) *config;
    __typeof__(openblas_get_corename) *core;
};
/* Loads it, once in a process and for its life. False: it is not installed, or does not fit below an address limit. */
bool cpu_blas_open(struct cpu_blas *blas, struct error *error);
/* That of a device; NULL: there is none, and the own products do all. */
const struct cpu_blas *cpu_blas_of(const struct device *device);
const char *cpu_blas_reason(const struct device *device); /* why not */

static inline enum gemm_choice cpu_gemm_first(const struct cpu_blas *blas)
{
    return blas ? GEMM_OPENBLAS : GEMM_OWN_FLAT;
}

struct cpu_step {
    cpu_kernel *kernel;
    const struct node *node;
    char *name; /* "sgemm_nt 1024x3072x768" */
    uint32_t interned;
    enum gemm_choice gemm; /* linear layers */
};

struct program {
    const struct plan *plan;
    const struct cpu_isa *isa;
    const struct cpu_blas *blas; /* NULL: none */
    bool amx;                    /* bf16 products are the tile unit's */
    int threads;
    void *arena;
    size_t arena_bytes;
    bool activations_touched;
    void **data;            /* by tensor: its first element in the arena */
    struct cpu_step *steps; /* by node */
    bool interned;          /* names went to a probe */
    int64_t steps_done;     /* of the optimizer */
    /* Scratch for kernels: `threads` pieces of scratch_stride floats, each aligned to a huge page's cache lines. */
    float *scratch;
    size_t scratch_stride, scratch_bytes;
    struct arena strings;
    struct cpu_ranks *ranks; /* collectives.c; NULL in a plan without any: the arena is the program's own */
};

static inline float *cpu_input(const struct program *program, const struct node *node, int k)
{
    return node->input[k] == TENSOR_NONE ? NULL : program->data[node->input[k]];
}

static inline float *cpu_output(const struct program *program, const struct node *node, int k)
{
    return node->output[k] == TENSOR_NONE ? NULL : program->data[node->output[k]];
}

/* Elements from row to row. */
static inline int64_t cpu_stride(const struct program *program, int32_t tensor)
{
    const struct tensor *t = &program->plan->tensors[tensor];
    return t->row_stride ? t->row_stride : t->shape[t->rank - 1];
}

/* Piece `part` of `parts` of [0, total), in whole multiples of `grain` but for the last. */
static inline void cpu_split(int64_t total, int64_t grain, int part, int parts, int64_t *begin, int64_t *end)
{
    const int64_t grains = (total + grain - 1) / grain;
    *begin = grains * part / parts * grain;
    *end = grains * (part + 1) / parts * grain;
    if (*begin > total)
        *begin = total;
    if (*end > total)
        *end = total;
}

/* arena.c: zeroed memory on huge pages where the system gives them, first touched by the pool's threads; NULL when the
 * system refuses. cpu_memory_free is what one may still allocate: available memory, the control group's and the address
 * space's limits, whichever is least. */
void *cpu_memory_map(size_t bytes);
void cpu_memory_touch(void *memory, size_t bytes, int threads);
void cpu_memory_unmap(void *memory, size_t bytes);
uint64_t cpu_memory_free(void);
uint64_t cpu_memory_total(void);

/* machine.c */
void cpu_machine_info(const struct cpu_blas *blas, struct device_info *info);
/* Why bf16 does not run on a CPU with these flags of /proc/cpuinfo; NULL: it does. */
const char *cpu_bf16_refusal(const char *flags);
bool cpu_precision_works(enum precision precision, char *why, size_t why_size);

/* program.c */
struct program *cpu_prepare(struct device *device, const struct plan *plan, const struct prepare_options *options,
                            struct prepare_report *report, struct error *error);
void cpu_release(struct program *program);
bool cpu_run(struct program *program, unsigned phases, uint64_t step_id, const struct probe *probe,
             struct step_times *times, struct error *error);
bool cpu_write(struct program *program, int32_t tensor, const void *bytes, struct error *error);
bool cpu_read(struct program *program, int32_t tensor, void *bytes, struct error *error);
const char *cpu_kernel_name(const struct program *program, int32_t node);
/* The kernel of an op, or NULL. */
cpu_kernel *cpu_find_kernel(const struct cpu_isa *isa, enum op op);

/* collectives.c. cpu_ranks_open takes the place of mapping an arena when the plan has collectives: program->arena is then a piece of
 * memory that all ranks see. Around each node of such a plan: before, and run in place of a collective's kernel. */
bool cpu_ranks_open(struct program *program, struct communicator *communicator, struct error *error);
void cpu_ranks_close(struct program *program);
bool cpu_ranks_before(struct program *program, int32_t node, struct error *error);
bool cpu_ranks_run(struct program *program, int32_t node, struct error *error);
bool cpu_ranks_apart(const struct program *program); /* over connections, not in memory */
bool cpu_ranks_phase_end(struct program *program, struct error *error);
void cpu_ranks_step_end(struct program *program, uint64_t step_id, const struct probe *probe);
cpu_kernel cpu_collective;

/* gemm.c: linear layers. */
cpu_kernel cpu_linear, cpu_linear_backward_input, cpu_linear_backward_weight;

/* threads.c: how many threads `wanted` stands for (0: all that this process may keep busy). */
int cpu_thread_count(int wanted);
void cpu_each_thread(int threads, void (*body)(void *argument, int thread), void *argument);

/* The product by one of the choices, OpenBLAS only where it is there. Operands are row-major or the transpose of row-major. `scratch` holds
 * GEMM_SCRATCH_FLOATS for each thread, scratch_stride apart. */
void cpu_gemm_run(const struct cpu_blas *blas, const struct cpu_isa *isa, enum gemm_choice choice,
                  const struct gemm *gemm, int threads, float *scratch, size_t scratch_stride);
/* The product that a linear node stands for; of bf16 operands cpu_gemm_bf16_of. */
struct gemm cpu_gemm_of(const struct program *program, const struct node *node);
struct gemm_bf16 cpu_gemm_bf16_of(const struct program *program, const struct node *node);
bool cpu_gemm_is_bf16(const struct program *program, const struct node *node);

/* gemm_choice.c: times every shape of the plan's linear layers that options->cache_folder (NULL: none) does not know yet, sets
 * their steps' choices and keeps them in the folder, so that a second run makes the same bits; notes in the report.
 * `budget_ns` bounds the timing. */
bool cpu_gemm_choose(struct program *program, const struct prepare_options *options, uint64_t budget_ns,
                     struct prepare_report *report, struct error *error);
const char *cpu_gemm_choice_name(enum gemm_choice choice);

/* ceilings.c */
bool cpu_measure_ceilings(struct device *device, enum precision precision, int budget_ms, double *flops_per_s,
                          double *bytes_per_s, struct error *error);
