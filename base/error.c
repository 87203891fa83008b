#include "base/error.h"
#include <stdio.h>
#include <string.h>

bool(error_set)(struct error *error, enum error_kind kind, const char *format, ...)
{
    if (error) {
        va_list list;
        va_start(list, format);
        error->kind = kind;
        error->placed = error->names_limit = false;
        vsnprintf(error->text, sizeof error->text, format, list);
        va_end(list);
    }
    return false;
}

bool(error_prefix)(struct error *error, const char *format, ...)
{
    if (error) {
        error->placed = false; /* the text begins with something else then */
        char old[sizeof error->text];
        memcpy(old, error->text, sizeof old);
        va_list list;
        va_start(list, format);
        const int length = vsnprintf(error->text, sizeof error->text, format, list);
        va_end(list);
        if (length >= 0 && (size_t)length < sizeof error->text)
            snprintf(error->text + length, sizeof error->text - (size_t)length, ": %.*s",
                     (int)(sizeof error->text - (size_t)length - 3), old);
    }
    return false;
}
