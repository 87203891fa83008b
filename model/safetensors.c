#include "model/safetensors.h"
#include "base/file.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* The format's own limit of a header, and ours of a file: a reference model, not a checkpoint of a large one. */
#define HEADER_MAX 100000000u
#define FILE_MAX ((size_t)8 << 30)

static const struct {
    const char *name;
    uint64_t size;
} dtypes[SAFETENSORS_DTYPES] = {
    [SAFETENSORS_F64] = {"F64", 8}, [SAFETENSORS_F32] = {"F32", 4}, [SAFETENSORS_BF16] = {"BF16", 2},
    [SAFETENSORS_I64] = {"I64", 8}, [SAFETENSORS_I32] = {"I32", 4},
};

/* Names come from the file: what is printed of them is cut and has no control characters. */
struct shown {
    char text[96];
};
static struct shown shown(const char *name)
{
    struct shown shown;
    size_t length = 0;
    for (; length < sizeof shown.text - 1 && name[length]; length++)
        shown.text[length] = (unsigned char)name[length] < 0x20 || name[length] == 0x7f ? '?' : name[length];
    shown.text[length] = '\0';
    return shown;
}

static uint64_t read_u64(const unsigned char *bytes)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

static bool read_dtype(const json_t *value, enum safetensors_dtype *dtype, struct error *error)
{
    const char *name = json_string_value(value);
    for (int i = 0; name && i < SAFETENSORS_DTYPES; i++) {
        if (strcmp(name, dtypes[i].name) == 0) {
            *dtype = (enum safetensors_dtype)i;
            return true;
        }
    }
    return error_set(error, ERROR_INPUT, "its dtype is %s%s; F64, F32, BF16, I64 and I32 are read",
                     name ? "" : "missing or not a string", name ? shown(name).text : "");
}

static bool read_shape(const json_t *value, struct safetensors_tensor *tensor, struct error *error)
{
    if (!json_is_array(value))
        return error_set(error, ERROR_INPUT, "its shape is missing or not a list");
    if (json_array_size(value) > SAFETENSORS_MAX_RANK)
        return error_set(error, ERROR_INPUT, "its shape has %zu axes; at most %d are read", json_array_size(value),
                         SAFETENSORS_MAX_RANK);
    tensor->rank = (int)json_array_size(value);
    tensor->elements = 1;
    for (int i = 0; i < tensor->rank; i++) {
        const json_t *axis = json_array_get(value, (size_t)i);
        if (!json_is_integer(axis) || json_integer_value(axis) < 0)
            return error_set(error, ERROR_INPUT, "axis %d of its shape is not a whole number from 0 on", i);
        tensor->shape[i] = json_integer_value(axis);
        if (__builtin_mul_overflow(tensor->elements, tensor->shape[i], &tensor->elements))
            return error_set(error, ERROR_INPUT, "its shape has more elements than 64 bits count");
    }
    return true;
}

static bool read_offsets(const json_t *value, uint64_t data_length, struct safetensors_tensor *tensor,
                         struct error *error)
{
    const json_t *begin = json_array_get(value, 0), *end = json_array_get(value, 1);
    if (json_array_size(value) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return error_set(error, ERROR_INPUT, "its data_offsets are not two whole numbers in order");
    tensor->begin = (uint64_t)json_integer_value(begin);
    tensor->end = (uint64_t)json_integer_value(end);
    if (tensor->end > data_length)
        return error_set(error, ERROR_INPUT, "its data end at byte %llu, but the file holds only %llu after the header",
                         (unsigned long long)tensor->end, (unsigned long long)data_length);
    uint64_t bytes;
    if (__builtin_mul_overflow((uint64_t)tensor->elements, dtypes[tensor->dtype].size, &bytes) ||
        bytes != tensor->end - tensor->begin)
        return error_set(error, ERROR_INPUT, "its shape and dtype do not make the %llu bytes of its data_offsets",
                         (unsigned long long)(tensor->end - tensor->begin));
    return true;
}

static bool read_tensor(const json_t *value, const unsigned char *data, uint64_t data_length,
                        struct safetensors_tensor *tensor, struct error *error)
{
    if (!json_is_object(value))
        return error_set(error, ERROR_INPUT, "its entry is not an object");
    const char *key;
    json_t *unused;
    json_object_foreach((json_t *)value, key, unused)
    {
        if (strcmp(key, "dtype") != 0 && strcmp(key, "shape") != 0 && strcmp(key, "data_offsets") != 0)
            return error_set(error, ERROR_INPUT, "'%s' is not a key of a tensor", shown(key).text);
    }
    if (!read_dtype(json_object_get(value, "dtype"), &tensor->dtype, error) ||
        !read_shape(json_object_get(value, "shape"), tensor, error) ||
        !read_offsets(json_object_get(value, "data_offsets"), data_length, tensor, error))
        return false;
    tensor->data = data + tensor->begin;
    return true;
}

static bool read_notes(const json_t *value, struct safetensors *file, struct error *error)
{
    if (!json_is_object(value))
        return error_set(error, ERROR_INPUT, "__metadata__ is not an object");
    file->notes = arena_array(&file->arena, struct safetensors_note, json_object_size(value) + 1);
    const char *key;
    json_t *text;
    json_object_foreach((json_t *)value, key, text)
    {
        if (!json_is_string(text))
            return error_set(error, ERROR_INPUT, "__metadata__ '%s' is not a string", shown(key).text);
        file->notes[file->note_count++] = (struct safetensors_note){
            .key = arena_strdup(&file->arena, key), .value = arena_strdup(&file->arena, json_string_value(text))};
    }
    return true;
}

static int compare_places(const void *left, const void *right)
{
    const struct safetensors_tensor *a = left, *b = right;
    return a->begin != b->begin ? (a->begin < b->begin ? -1 : 1) : a->end < b->end ? -1 : a->end > b->end;
}

/* The format wants the data covered from end to end, nothing twice and nothing hidden. */
static bool check_cover(const struct safetensors *file, uint64_t data_length, struct error *error)
{
    uint64_t at = 0;
    for (size_t i = 0; i < file->tensor_count; i++) {
        const struct safetensors_tensor *tensor = &file->tensors[i];
        if (tensor->begin != at)
            return error_set(error, ERROR_INPUT,
                             "tensor '%s' starts at byte %llu of the data where %llu was due: tensors %s",
                             shown(tensor->name).text, (unsigned long long)tensor->begin, (unsigned long long)at,
                             tensor->begin < at ? "overlap" : "leave a gap");
        at = tensor->end;
    }
    return at == data_length || error_set(error, ERROR_INPUT, "%llu bytes after the last tensor belong to none",
                                          (unsigned long long)(data_length - at));
}

static bool read_header(const json_t *header, const unsigned char *data, uint64_t data_length, struct safetensors *file,
                        struct error *error)
{
    if (!json_is_object(header))
        return error_set(error, ERROR_INPUT, "the header is not a JSON object");
    file->tensors = arena_array(&file->arena, struct safetensors_tensor, json_object_size(header) + 1);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)header, key, value)
    {
        if (strcmp(key, "__metadata__") == 0) {
            if (!read_notes(value, file, error))
                return false;
            continue;
        }
        struct safetensors_tensor *tensor = &file->tensors[file->tensor_count++];
        tensor->name = arena_strdup(&file->arena, key);
        if (!read_tensor(value, data, data_length, tensor, error))
            return error_prefix(error, "tensor '%s'", shown(key).text);
    }
    qsort(file->tensors, file->tensor_count, sizeof *file->tensors, compare_places);
    return check_cover(file, data_length, error);
}

bool safetensors_parse(const void *bytes, size_t length, const char *name, struct safetensors *file,
                       struct error *error)
{
    *file = (struct safetensors){0};
    const unsigned char *at = bytes;
    json_t *header = NULL;
    bool ok = false;
    if (length < 8) {
        error_set(error, ERROR_INPUT, "%zu bytes are no safetensors file: the header's length alone takes 8", length);
        goto done;
    }
    const uint64_t header_length = read_u64(at);
    if (header_length > HEADER_MAX || header_length > length - 8) {
        error_set(error, ERROR_INPUT, "the header is said to have %llu bytes, but %zu follow (at most %u are read)",
                  (unsigned long long)header_length, length - 8, HEADER_MAX);
        goto done;
    }
    if (!header_length || at[8] != '{') {
        error_set(error, ERROR_INPUT, "the header does not start with '{'");
        goto done;
    }
    json_error_t json_error;
    header = json_loadb((const char *)at + 8, (size_t)header_length, JSON_REJECT_DUPLICATES, &json_error);
    if (!header) {
        error_set(error, ERROR_INPUT, "the header is not valid JSON at byte %d: %s", 8 + json_error.position,
                  shown(json_error.text).text);
        goto done;
    }
    ok = read_header(header, at + 8 + header_length, length - 8 - header_length, file, error);
done:
    json_decref(header);
    if (!ok) {
        error_prefix(error, "%s", name);
        arena_release(&file->arena);
        *file = (struct safetensors){0};
    }
    return ok;
}

bool safetensors_read(const char *path, struct safetensors *file, struct error *error)
{
    char *bytes;
    size_t length;
    *file = (struct safetensors){0};
    if (!file_read(path, FILE_MAX, &bytes, &length, error))
        return false;
    if (!safetensors_parse(bytes, length, path, file, error)) {
        free(bytes);
        return false;
    }
    file->file = bytes;
    return true;
}

void safetensors_free(struct safetensors *file)
{
    arena_release(&file->arena);
    free(file->file);
    *file = (struct safetensors){0};
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name)
{
    for (size_t i = 0; i < file->tensor_count; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

const char *safetensors_note(const struct safetensors *file, const char *key)
{
    for (size_t i = 0; i < file->note_count; i++)
        if (strcmp(file->notes[i].key, key) == 0)
            return file->notes[i].value;
    return NULL;
}

void safetensors_values(const struct safetensors_tensor *tensor, double *values)
{
    for (int64_t i = 0; i < tensor->elements; i++) {
        const unsigned char *at = tensor->data + (uint64_t)i * dtypes[tensor->dtype].size;
        union {
            uint32_t bits;
            int32_t whole;
            float real;
        } word;
        double real;
        int64_t whole;
        switch (tensor->dtype) {
        case SAFETENSORS_F64:
            memcpy(&real, at, sizeof real);
            values[i] = real;
            break;
        case SAFETENSORS_BF16:
            word.bits = (uint32_t)at[1] << 24 | (uint32_t)at[0] << 16;
            values[i] = (double)word.real;
            break;
        case SAFETENSORS_I64:
            memcpy(&whole, at, sizeof whole);
            values[i] = (double)whole;
            break;
        case SAFETENSORS_I32:
            memcpy(&word.whole, at, sizeof word.whole);
            values[i] = (double)word.whole;
            break;
        default:
            memcpy(&word.real, at, sizeof word.real);
            values[i] = (double)word.real;
            break;
        }
    }
}
