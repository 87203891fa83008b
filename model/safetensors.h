/* Reader of safetensors files: 8 bytes of header length, a JSON header, the tensors' bytes. Strict: whatever the format does
 * not allow is refused with the place and the reason, and no byte is believed before it is checked. */
#pragma once
#include "base/arena.h"
#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

#define SAFETENSORS_MAX_RANK 8

enum safetensors_dtype {
    SAFETENSORS_F64,
    SAFETENSORS_F32,
    SAFETENSORS_BF16,
    SAFETENSORS_I64,
    SAFETENSORS_I32,
    SAFETENSORS_DTYPES
};

struct safetensors_tensor {
    const char *name;
    enum safetensors_dtype dtype;
    int rank;
    int64_t shape[SAFETENSORS_MAX_RANK];
    int64_t elements;
    uint64_t begin, end;       /* in the data */
    const unsigned char *data; /* elements values, little-endian, of no particular alignment */
};

struct safetensors_note {
    const char *key, *value;
};

struct safetensors {
    struct arena arena;
    char *file; /* what the tensors point into; malloc'ed, NULL when the caller keeps the bytes */
    struct safetensors_tensor *tensors; /* in order of place */
    size_t tensor_count;
    struct safetensors_note *notes; /* __metadata__ */
    size_t note_count;
};

/* Reads a whole file. ERROR_INPUT names the file and what is wrong with it. */
bool safetensors_read(const char *path, struct safetensors *file, struct error *error);

/* The same from `length` bytes in memory, which must outlive `file`; `name` is for messages. */
bool safetensors_parse(const void *bytes, size_t length, const char *name, struct safetensors *file,
                       struct error *error);

void safetensors_free(struct safetensors *file);

/* NULL when there is none. */
const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name);
const char *safetensors_note(const struct safetensors *file, const char *key);

/* All elements as doubles; values must have room for `elements`. Integers convert as well. */
void safetensors_values(const struct safetensors_tensor *tensor, double *values);
