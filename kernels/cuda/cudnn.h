/* cuDNN, where it is installed: its graph interface in plain C. A graph is made of tensors and operations on them, is handed to
 * the library's heuristics and becomes a plan; whatever fails on the way is a sentence, never an error of a run. */
#pragma once
#include "base/error.h"
#include <cuda.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cudnn;

/* Opens the library; NULL with the reason when it is not there. Searched: the folder that STEPTOP_CUDNN_FOLDER names, then where the
 * other CUDA libraries are, then the packages of the Python environment that is active (VIRTUAL_ENV). */
struct cudnn *cudnn_open(char *why, size_t why_size);

/* Starts it on the current context, which takes a moment: before the first graph. Does nothing the second time. */
bool cudnn_start(struct cudnn *cudnn, char *why, size_t why_size);

/* For a device that is described instead of present (cuDNN's own JSON, 9.8 and newer): graphs become plans but do not run. */
struct cudnn *cudnn_open_described(const char *json, char *why, size_t why_size);
void cudnn_close(struct cudnn *cudnn);
uint64_t cudnn_version(const struct cudnn *cudnn); /* 91900 for 9.19.0 */

enum cudnn_type { CUDNN_TENSOR_BF16, CUDNN_TENSOR_F32, CUDNN_TENSOR_I32, CUDNN_TENSOR_BOOL };

/* Where a tensor's values are: in memory, nowhere (a step between two operations), or a number on the host. */
enum cudnn_place { CUDNN_IN_MEMORY, CUDNN_VIRTUAL, CUDNN_NUMBER };

/* Up to four dimensions, strides in elements. */
struct cudnn_layout {
    int64_t size[4], stride[4];
};

struct cudnn_graph;
struct cudnn_graph *cudnn_graph_new(struct cudnn *cudnn);

/* The tensor's number. After a first failure all that follows does nothing; cudnn_graph_plan gives the reason. */
int cudnn_graph_tensor(struct cudnn_graph *graph, enum cudnn_type type, enum cudnn_place place,
                       struct cudnn_layout layout);
int cudnn_graph_number(struct cudnn_graph *graph, float value);

enum cudnn_pointwise {
    CUDNN_MUL,
    CUDNN_ADD,
    CUDNN_SUB,
    CUDNN_DIV,
    CUDNN_EXP,
    CUDNN_LOG,
    CUDNN_INDEX,  /* y = the position along `axis` */
    CUDNN_GE,     /* x ≥ b */
    CUDNN_SELECT, /* y = t ? x : b */
    CUDNN_COPY
};
#define CUDNN_NO_TENSOR (-1)

/* y = f(x, b, t); those a function does not have are CUDNN_NO_TENSOR. Arithmetic is in fp32. */
void cudnn_graph_pointwise(struct cudnn_graph *graph, enum cudnn_pointwise function, int x, int b, int t, int y,
                           int axis);
void cudnn_graph_product(struct cudnn_graph *graph, int a, int b, int c);
void cudnn_graph_reduce(struct cudnn_graph *graph, bool maximum, int x, int y); /* or the sum */
void cudnn_graph_reshape(struct cudnn_graph *graph, int x, int y);

/* The first engine of the heuristics' list that gives the same bits from run to run and needs no more than `most_workspace`
 * bytes; NULL with the reason, and in `needed` the least workspace when only that is too large, else 0. Takes the graph. */
struct cudnn_plan;
struct cudnn_plan *cudnn_graph_plan(struct cudnn_graph *graph, uint64_t most_workspace, uint64_t *needed, char *why,
                                    size_t why_size);
uint64_t cudnn_plan_workspace(const struct cudnn_plan *plan); /* bytes */
void cudnn_plan_release(struct cudnn_plan *plan);

/* Runs it on a stream, which may stand being captured. `addresses` holds the device address of each tensor in memory, by
 * number. */
bool cudnn_plan_run(const struct cudnn_plan *plan, const CUdeviceptr *addresses, CUdeviceptr workspace, CUstream stream,
                    struct error *error);
