#include "attach/book.h"
#include "attach/book_internal.h"
#include "attach/classes.h"
#include "attach/link.h"
#include "base/hash.h"
#include "base/unknown.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One book a process, as there is one link. Tables of a fixed size with open addressing, twice as long as what may be in them. */
struct scope_row {
    int32_t parent;
    int depth;
    size_t length; /* of its path */
    char *name;
};
struct name_row {
    char *text;
    uint8_t kernel_class;
};
struct place_row {
    int32_t context;
    uint32_t name;
};

static struct {
    pthread_mutex_t lock;
    struct scope_row scopes[BOOK_SCOPES];
    struct name_row names[BOOK_NAMES];
    struct place_row places[BOOK_PLACES];
    int32_t scope_cells[2 * BOOK_SCOPES], name_cells[2 * BOOK_NAMES], place_cells[2 * BOOK_PLACES]; /* index + 1 */
    int32_t scope_count, name_count, place_count;
} book = {.lock = PTHREAD_MUTEX_INITIALIZER};

#define CLASS_ROW (UINT32_MAX - 64) /* + a class: of places that are all of a class in a layer */
#define KEPT_ROW (UINT32_MAX - 65)  /* of what a layer keeps for backward */

static uint32_t hash_of(const char *text, uint32_t seed)
{
    const uint64_t hash = hash_text(HASH_START ^ seed, text);
    return (uint32_t)(hash >> 32 ^ hash);
}

/* Of `parent` as the front counts; a path may become longer there by what is written for bytes that are no text. */
static bool too_deep(int32_t parent, const char *name)
{
    const struct scope_row *above = &book.scopes[parent];
    return above->depth >= PLACE_DEPTH_MAX || above->length + strlen(name) >= PLACE_PATH_MAX / 4;
}

int32_t book_scope(int32_t parent, const char *name, uint64_t parameter_bytes)
{
    if (!link_is_open())
        return BOOK_NONE;
    pthread_mutex_lock(&book.lock);
    int32_t found = BOOK_NONE;
    name = *name ? name : "?";
    if (parent >= 0 && too_deep(parent, name)) {
        pthread_mutex_unlock(&book.lock);
        return parent;
    }
    for (uint32_t i = hash_of(name, (uint32_t)parent);; i++) {
        int32_t *cell = &book.scope_cells[i % (2 * BOOK_SCOPES)];
        if (*cell) {
            const struct scope_row *row = &book.scopes[*cell - 1];
            if (row->parent != parent || strcmp(row->name, name) != 0)
                continue;
            found = *cell - 1;
        } else if (book.scope_count < BOOK_SCOPES) {
            char *copy = strdup(name);
            if (!copy)
                break;
            const struct scope_row *above = parent >= 0 ? &book.scopes[parent] : NULL;
            book.scopes[book.scope_count] = (struct scope_row){.parent = parent,
                                                               .depth = above ? above->depth + 1 : 0,
                                                               .length = (above ? above->length + 1 : 0) + strlen(name),
                                                               .name = copy};
            const struct message_scope message = {.parent = parent, .parameter_bytes = parameter_bytes};
            link_send(MESSAGE_SCOPE, &message, sizeof message, name, strnlen(name, 256));
            found = book.scope_count++;
            *cell = found + 1;
        }
        break;
    }
    pthread_mutex_unlock(&book.lock);
    return found;
}

/* Whoever has a scope had it from book_scope: its row is written and stays. */
bool book_is_root(int32_t scope)
{
    return scope >= 0 && scope < BOOK_SCOPES && book.scopes[scope].parent == BOOK_NONE;
}

/* The last row is that of all names for which there is none: a program may put a number into each of its ranges' names. */
#define MORE_NAMES "(one of the names after the first 16383)"
_Static_assert(BOOK_NAMES == 16384, "as the row of the others says");

static uint32_t name_add(const char *name)
{
    struct name_row *row = &book.names[book.name_count];
    row->text = strdup(name);
    if (!row->text)
        return BOOK_NAMES;
    row->kernel_class = (uint8_t)class_of_name(name);
    const struct message_name message = {(uint32_t)book.name_count};
    const size_t length = strnlen(name, AGGREGATE_NAME_MAX - 1);
    link_send(MESSAGE_NAME, &message, sizeof message, length ? name : "?", length ? length : 1);
    return (uint32_t)book.name_count++;
}

bool book_is_compiled(uint32_t name)
{
    static const char *const starts[] = {"CompiledFunction", "Torch-Compiled Region"};
    bool compiled = false;
    pthread_mutex_lock(&book.lock);
    for (size_t i = 0; i < sizeof starts / sizeof *starts && name < (uint32_t)book.name_count; i++)
        compiled |= strncmp(book.names[name].text, starts[i], strlen(starts[i])) == 0;
    pthread_mutex_unlock(&book.lock);
    return compiled;
}

uint32_t book_name(const char *name)
{
    uint32_t found = 0;
    if (!link_is_open())
        return found;
    pthread_mutex_lock(&book.lock);
    for (uint32_t i = hash_of(name, 0);; i++) {
        int32_t *cell = &book.name_cells[i % (2 * BOOK_NAMES)];
        if (*cell) {
            if (strcmp(book.names[*cell - 1].text, name) != 0)
                continue;
            found = (uint32_t)(*cell - 1);
        } else {
            if (book.name_count == BOOK_NAMES - 1)
                name_add(MORE_NAMES);
            const bool full = book.name_count == BOOK_NAMES;
            const uint32_t added = full ? BOOK_NAMES - 1 : name_add(name);
            if (!full && added < BOOK_NAMES)
                *cell = (int32_t)added + 1;
            found = added < BOOK_NAMES ? added : 0;
        }
        break;
    }
    pthread_mutex_unlock(&book.lock);
    return found;
}

enum kernel_class book_class(uint32_t name)
{
    return name < BOOK_NAMES ? (enum kernel_class)book.names[name].kernel_class : CLASS_OTHER;
}

static void say_place(int32_t context, uint32_t name, uint64_t kept)
{
    const enum kernel_class kernel_class = name >= CLASS_ROW ? (enum kernel_class)(name - CLASS_ROW) : book_class(name);
    const struct message_place message = {.scope = CONTEXT_SCOPE(context),
                                          .phase = (uint8_t)CONTEXT_PHASE(context),
                                          .kernel_class = (uint8_t)kernel_class,
                                          .flops = UNKNOWN_DOUBLE,
                                          .bytes = UNKNOWN_DOUBLE,
                                          .saved_bytes = kept};
    char text[PLACE_TEXT_MAX] = "";
    const char *op = name < BOOK_NAMES ? book.names[name].text : ""; /* beyond: a row of a class */
    const int length = snprintf(text, sizeof text - 1, "%.*s", PLACE_TEXT_MAX - 8, op);
    link_send(MESSAGE_PLACE, &message, sizeof message, text, (size_t)length + 1); /* no label */
}

static int32_t place_of(int32_t context, uint32_t name, uint64_t kept)
{
    int32_t found = BOOK_NONE;
    if (!link_is_open())
        return found;
    pthread_mutex_lock(&book.lock);
    for (uint32_t i = (uint32_t)context * 0x9e3779b1u + name * 0x85ebca6bu;; i++) {
        int32_t *cell = &book.place_cells[(i ^ i >> 15) % (2 * BOOK_PLACES)];
        if (*cell) {
            const struct place_row *row = &book.places[*cell - 1];
            if (row->context != context || row->name != name)
                continue;
            found = *cell - 1;
        } else if (book.place_count < BOOK_PLACES) {
            book.places[book.place_count] = (struct place_row){context, name};
            say_place(context, name, kept);
            found = book.place_count++;
            *cell = found + 1;
        }
        break;
    }
    pthread_mutex_unlock(&book.lock);
    return found;
}

int32_t book_place(int32_t context, uint32_t name)
{
    return place_of(context, name, UNKNOWN_U64);
}

void book_kept(int32_t scope, uint64_t bytes)
{
    place_of(CONTEXT(scope, PHASE_FWD), KEPT_ROW, bytes);
}

int32_t book_place_of_class(int32_t context, enum kernel_class kernel_class)
{
    return book_place(context, CLASS_ROW + (uint32_t)kernel_class);
}

static int32_t find(int32_t context, uint32_t name)
{
    for (uint32_t i = (uint32_t)context * 0x9e3779b1u + name * 0x85ebca6bu;; i++) {
        const int32_t cell = book.place_cells[(i ^ i >> 15) % (2 * BOOK_PLACES)];
        if (!cell)
            return BOOK_NONE;
        if (book.places[cell - 1].context == context && book.places[cell - 1].name == name)
            return cell - 1;
    }
}

/* What hands a convolution on, and was longer by itself at most while it was new. */
static bool hands_on(const char *op)
{
    static const char *const names[] = {"aten::conv1d",      "aten::conv2d",       "aten::conv3d",
                                        "aten::convolution", "aten::_convolution", "aten::convolution_backward"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(op, names[i]) == 0)
            return true;
    return false;
}

int32_t book_find(int32_t context, uint32_t name)
{
    pthread_mutex_lock(&book.lock);
    int32_t found = find(context, name);
    const bool handed_on = name < BOOK_NAMES && hands_on(book.names[name].text);
    for (int32_t i = 0; handed_on && i < book.place_count; i++) {
        const struct place_row *row = &book.places[i];
        const char *op = row->context == context && row->name < BOOK_NAMES ? book.names[row->name].text : "";
        if (strstr(op, "conv") && book.names[row->name].kernel_class == CLASS_MATMUL && !hands_on(op))
            found = i;
    }
    pthread_mutex_unlock(&book.lock);
    return found;
}

int32_t book_find_class(int32_t context, enum kernel_class kernel_class)
{
    pthread_mutex_lock(&book.lock);
    const int32_t found = find(context, CLASS_ROW + (uint32_t)kernel_class);
    pthread_mutex_unlock(&book.lock);
    return found;
}
