/* NVTX, as its header makes a program do it: push_a and pop are NULL until a library took them. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <wchar.h>

static int (*push_a)(const char *);
static int (*pop)(void);
static int (*push_w)(const wchar_t *);
static int (*domain_push)(void *, const void *);
static int (*domain_pop)(void *);
static void *(*register_a)(void *, const char *);
static void **slots[16], **domain_slots[16];

static int table_of(int module, void ****table, unsigned *size)
{
    slots[9] = (void **)&push_a;
    slots[10] = (void **)&push_w;
    slots[11] = (void **)&pop;
    domain_slots[4] = (void **)&domain_push;
    domain_slots[5] = (void **)&domain_pop;
    domain_slots[10] = (void **)&register_a;
    *table = module == 1 ? slots : domain_slots;
    *size = 16;
    return module == 1 || module == 5;
}

static const struct {
    size_t size;
    int (*table_of)(int, void ****, unsigned *);
} callbacks = {sizeof callbacks, table_of};

static const void *export_table(uint32_t id)
{
    return id == 1 ? &callbacks : NULL;
}

/* A range whose name was registered before, as C++ and Python programs do. */
static inline void push_registered(void *name)
{
    struct {
        uint16_t version, size;
        uint32_t category;
        int32_t color_type;
        uint32_t color;
        int32_t payload_type, reserved;
        uint64_t payload;
        int32_t message_type;
        void *message;
    } attributes = {.version = 3, .size = sizeof attributes, .message_type = 3, .message = name};
    domain_push(NULL, &attributes);
}
