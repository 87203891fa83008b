/* How the tables of a report file's keys are written down: one row a key, one set a struct. Of schema.c and schema_device.c alone. */
#pragma once
#include "report/fields.h"
#include <stddef.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))
#define SHARED_SET(id, struct_type, text)                                                                              \
    const struct field_set id##_fields = {text, id##_list, COUNT(id##_list), sizeof(struct_type), 0}
#define SET(id, struct_type, text) static SHARED_SET(id, struct_type, text)
/* Of a part of struct report_cell whose keys may be absent: where the mask of them is, seen from the part. */
#define SET_WITH_MASK(id, struct_type, text, part, mask)                                                               \
    const struct field_set id##_fields = {text, id##_list, COUNT(id##_list), sizeof(struct_type),                      \
                                          (ptrdiff_t)offsetof(struct report_cell, mask) -                              \
                                              (ptrdiff_t)offsetof(struct report_cell, part)}
#define SET_ABSENT(id, struct_type, text, part, mask)                                                                  \
    _Static_assert(COUNT(id##_list) <= 64, "a bit a key");                                                             \
    static SET_WITH_MASK(id, struct_type, text, part, mask)
#define SHARED_SET_ABSENT(id, struct_type, text, part, mask)                                                           \
    _Static_assert(COUNT(id##_list) <= 64, "a bit a key");                                                             \
    SET_WITH_MASK(id, struct_type, text, part, mask)
#define AT(struct_type, member) .offset = offsetof(struct_type, member), .size = sizeof(((struct_type *)0)->member)
#define AND_COUNT(struct_type, member, number)                                                                         \
    .offset = offsetof(struct_type, member), .count_offset = offsetof(struct_type, number), .size = sizeof(void *)

/* schema_device.c */
extern const struct field_set device_fields, telemetry_fields, machine_fields, use_fields, program_fields, ceilings_fields;
