/* NVTX, as its header makes a program do it: push_a and pop are NULL until a library took them. */
#pragma once
#include <stddef.h>
#include <stdint.h>

static int (*push_a)(const char *);
static int (*pop)(void);
static void **slots[16];

static int table_of(int module, void ****table, unsigned *size)
{
    slots[9] = (void **)&push_a;
    slots[11] = (void **)&pop;
    *table = slots;
    *size = 16;
    return module == 1;
}

static const struct {
    size_t size;
    int (*table_of)(int, void ****, unsigned *);
} callbacks = {sizeof callbacks, table_of};

static const void *export_table(uint32_t id)
{
    return id == 1 ? &callbacks : NULL;
}
