/* Kernel names as people read them, and their ids. */
#pragma once
#include "kernels/device.h"
#include <stddef.h>
#include <stdint.h>

#define KERNEL_NAME_MAX 160

/* "_ZN3foo3barILi4EEEvPf" → "foo::bar<4>": demangled where the C++ library is at hand, without return type and parameters,
 * at most KERNEL_NAME_MAX − 1 bytes; a longer one is cut and ends in a hash of the whole, so that two stay two. */
void kernel_name_tidy(const char *symbol, char *name, size_t size);

/* Ids of the names that activity records point to. The pointer finds the entry, the text confirms it: a module that is
 * loaded later may have another name at the same place. Used by one thread at a time. */
struct name_cache;
struct name_cache *name_cache_create(const struct probe *probe);
void name_cache_free(struct name_cache *cache);
uint32_t name_cache_symbol(struct name_cache *cache, const char *symbol); /* a kernel's symbol, tidied first */
uint32_t name_cache_text(struct name_cache *cache, const char *text);     /* a constant text, as it is */
