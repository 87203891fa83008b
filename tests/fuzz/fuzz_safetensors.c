/* The safetensors reader on any bytes: a refusal with a sentence, or tensors that cover the data from end to end, each of
 * which can be found by its name and read whole. */
#include "fuzz.h"
#include "model/safetensors.h"
#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX 4096 /* of an error's text: names in it are cut */

static void check_tensor(const struct safetensors *file, const struct safetensors_tensor *tensor, const uint8_t *data,
                         size_t size)
{
    static const size_t sizes[SAFETENSORS_DTYPES] = {8, 4, 2, 8, 4};
    size_t elements = 1;
    if (tensor->rank < 0 || tensor->rank > SAFETENSORS_MAX_RANK)
        abort();
    for (int i = 0; i < tensor->rank; i++)
        elements *= (size_t)tensor->shape[i];
    if (elements != (size_t)tensor->elements || elements * sizes[tensor->dtype] != tensor->end - tensor->begin)
        abort();
    if (tensor->data < data || tensor->data + (tensor->end - tensor->begin) > data + size)
        abort();
    if (safetensors_find(file, tensor->name) != tensor)
        abort();
    double *values = malloc(elements * sizeof *values + 1);
    if (!values)
        abort();
    safetensors_values(tensor, values);
    free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct safetensors file;
    struct error error = {0};
    if (!safetensors_parse(data, size, "fuzz.safetensors", &file, &error)) {
        if (error.kind != ERROR_INPUT || strncmp(error.text, "fuzz.safetensors: ", 18) != 0 || !error.text[18] ||
            strlen(error.text) > SHOWN_MAX)
            abort();
        return 0;
    }
    uint64_t at = 0;
    for (size_t i = 0; i < file.tensor_count; i++) {
        if (file.tensors[i].begin != at)
            abort();
        at = file.tensors[i].end;
        check_tensor(&file, &file.tensors[i], data, size);
    }
    for (size_t i = 0; i < file.note_count; i++)
        if (!safetensors_note(&file, file.notes[i].key))
            abort();
    safetensors_free(&file);
    return 0;
}
