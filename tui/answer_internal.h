/* What the answer under Runs holds between its making (answer.c) and its drawing (answer_draw.c). */
#pragma once
#include "base/vec.h"
#include "tui/answer.h"
#include "tui/format.h"

#define CURVE_MAX 512
#define CURVE_NS 300000000000u /* the last minutes of the steps */
#define LIST_MAX 32

enum section { FINDINGS, PHASES, CLASSES, MODULES, KERNELS, STEPS, MEMORY, TRUST, SECTION_COUNT };

struct item {
    enum section section;
    char label[320], right[FORMAT_SIZE], more[16];
    double fraction; /* as a bar; NaN: none */
    enum style style;
    uint64_t target;         /* phase, class, kernel_id */
    int y, x, height, width; /* where it was drawn; height 0: it was not */
};

struct answer {
    VEC(struct item) items;
    int selected;
    uint32_t run;
    int pass;
    uint64_t version, made_at;
    double steps[CURVE_MAX], step_low, step_high;
    double step_at[CURVE_MAX], step_end; /* when each began, of the time that is shown: ns from the first's beginning */
    int step_count;
    bool braille, live;
    double kinds[TENSOR_KIND_COUNT], peak;
    char steps_text[160], span_text[64], memory_text[160], trust_text[320];
    enum style trust_style;
};
