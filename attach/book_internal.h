/* Places by what they are, for work.c: BOOK_NONE where nothing has run there yet. */
#pragma once
#include "attach/book.h"

/* The op's own; of one that hands a convolution on, that of the op in this context which does the work. */
int32_t book_find(int32_t context, uint32_t name);
int32_t book_find_class(int32_t context, enum kernel_class kernel_class);
