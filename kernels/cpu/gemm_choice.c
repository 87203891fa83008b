/* Which GEMM is the fastest for each shape on this machine, by timing them against each other. */
#include "base/clock.h"
#include "base/file.h"
#include "base/strbuf.h"
#include "kernels/cpu/cpu.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Runs of each choice for a shape: a small one, whose single run a busy machine disturbs, more often. */
#define TRIALS 3
#define TRIALS_MOST 20
#define TRIALS_NS 20000000u
#define HOPELESS 1.15 /* times the quickest after two runs: not tried again */

const char *cpu_gemm_choice_name(enum gemm_choice choice)
{
    static const char *const names[GEMM_CHOICES] = {"OpenBLAS", "own 192x512", "own 96x1024"};
    return names[choice];
}

static bool is_linear(enum op op)
{
    return op == OP_LINEAR || op == OP_LINEAR_BACKWARD_INPUT || op == OP_LINEAR_BACKWARD_WEIGHT;
}

/* The quickest of some interleaved runs of each choice, on memory of its own: the arena's zeros stay. */
static enum gemm_choice fastest(const struct program *program, struct gemm gemm, float *memory, uint64_t deadline,
                                uint64_t best[GEMM_CHOICES])
{
    gemm.c = memory;
    gemm.ldc = gemm.n;
    gemm.a = memory + gemm.m * gemm.n;
    gemm.b = gemm.a + gemm.m * gemm.k;
    if (gemm.a_ks == 1)
        gemm.a_rs = gemm.k;
    else
        gemm.a_ks = gemm.m;
    if (gemm.b_cs == 1)
        gemm.b_ks = gemm.n;
    else
        gemm.b_cs = gemm.k;
    for (int choice = 0; choice < GEMM_CHOICES; choice++)
        best[choice] = UINT64_MAX;
    uint64_t least = UINT64_MAX;
    enum gemm_choice quickest = GEMM_OPENBLAS;
    const uint64_t enough = clock_now() + TRIALS_NS;
    for (int trial = 0;
         trial < TRIALS_MOST && (trial == 0 || clock_now() < deadline) && (trial < TRIALS || clock_now() < enough);
         trial++)
        for (int choice = 0; choice < GEMM_CHOICES; choice++) {
            if (trial > 1 && (double)best[choice] > HOPELESS * (double)least)
                continue;
            const uint64_t start = clock_now();
            cpu_gemm_run(program->isa, (enum gemm_choice)choice, &gemm, program->threads, program->scratch,
                         program->scratch_stride);
            const uint64_t took = clock_now() - start;
            best[choice] = took < best[choice] ? took : best[choice];
            if (took < least) {
                least = took;
                quickest = (enum gemm_choice)choice;
            }
        }
    return quickest;
}

static const char *gemm_letters(enum op op)
{
    return op == OP_LINEAR ? "nt" : op == OP_LINEAR_BACKWARD_INPUT ? "nn" : "tn";
}

/* One shape's choice, with the rates that decided it. */
struct known {
    enum op op;
    int64_t m, n, k;
    int choice;
    double rate[GEMM_CHOICES]; /* GFLOP/s */
};
#define KNOWN_MAX 512

struct book {
    struct known entries[KNOWN_MAX];
    int count;
    bool changed;
};

static struct known *book_find(struct book *book, enum op op, const struct gemm *g)
{
    for (int i = 0; i < book->count; i++) {
        struct known *known = &book->entries[i];
        if (known->op == op && known->m == g->m && known->n == g->n && known->k == g->k)
            return known;
    }
    return NULL;
}

/* What the choices depend on beside the shape: one line that a kept file must start with. */
static void book_heading(const struct program *program, char *heading, size_t size)
{
    struct device_info info;
    cpu_machine_info(&info);
    snprintf(heading, size, "steptop gemm 2; %s; %s; %s; %d threads", info.model, info.architecture, info.driver,
             program->threads);
}

/* A file of another machine, another BLAS or with a line that does not parse is as good as none. */
static void book_read(struct book *book, const struct program *program, const char *path)
{
    char *text, heading[512], *rest = NULL;
    size_t length;
    if (!file_read(path, 1u << 20, &text, &length, NULL))
        return;
    book_heading(program, heading, sizeof heading);
    const char *line = strtok_r(text, "\n", &rest);
    const bool ours = line && strcmp(line, heading) == 0;
    while (ours && book->count < KNOWN_MAX && (line = strtok_r(NULL, "\n", &rest))) {
        struct known known = {0};
        int op;
        long long m, n, k;
        if (sscanf(line, "%d %lldx%lldx%lld %d %lf %lf %lf", &op, &m, &n, &k, &known.choice, &known.rate[0],
                   &known.rate[1], &known.rate[2]) != 5 + GEMM_CHOICES ||
            known.choice < 0 || known.choice >= GEMM_CHOICES) {
            book->count = 0;
            break;
        }
        known.op = (enum op)op;
        known.m = m;
        known.n = n;
        known.k = k;
        book->entries[book->count++] = known;
    }
    free(text);
}

/* Without a folder to write to the choices hold for this process alone. */
static void book_write(const struct book *book, const struct program *program, const char *folder, const char *path)
{
    char heading[512];
    struct strbuf text = {0};
    book_heading(program, heading, sizeof heading);
    strbuf_printf(&text, "%s\n", heading);
    for (int i = 0; i < book->count; i++) {
        const struct known *known = &book->entries[i];
        strbuf_printf(&text, "%d %lldx%lldx%lld %d %.1f %.1f %.1f\n", (int)known->op, (long long)known->m,
                      (long long)known->n, (long long)known->k, known->choice, known->rate[0], known->rate[1],
                      known->rate[2]);
    }
    if (directory_create(folder, 0700, NULL))
        file_write_atomic(path, text.text, text.length, NULL);
    strbuf_release(&text);
}

/* Times `node`'s shape and enters it, unless the book knows it or is full. */
static const struct known *book_learn(struct book *book, const struct program *program, const struct node *node,
                                      float *memory, uint64_t deadline)
{
    const struct gemm g = cpu_gemm_of(program, node);
    struct known *known = book_find(book, node->op, &g);
    if (known || book->count == KNOWN_MAX)
        return known;
    uint64_t best[GEMM_CHOICES];
    known = &book->entries[book->count++];
    *known = (struct known){.op = node->op, .m = g.m, .n = g.n, .k = g.k};
    known->choice = fastest(program, g, memory, deadline, best);
    for (int choice = 0; choice < GEMM_CHOICES; choice++)
        known->rate[choice] = 2.0 * (double)g.m * (double)g.n * (double)g.k / (double)best[choice];
    book->changed = true;
    return known;
}

static void note_choice(struct program *program, const struct known *known, struct prepare_report *report)
{
    cpu_note(report,
             arena_printf(&program->strings, "gemm %s %lldx%lldx%lld", gemm_letters(known->op), (long long)known->m,
                          (long long)known->n, (long long)known->k),
             arena_printf(&program->strings, "%s (GFLOP/s: %s %.0f, %s %.0f, %s %.0f)",
                          cpu_gemm_choice_name((enum gemm_choice)known->choice), cpu_gemm_choice_name(GEMM_OPENBLAS),
                          known->rate[GEMM_OPENBLAS], cpu_gemm_choice_name(GEMM_OWN_FLAT), known->rate[GEMM_OWN_FLAT],
                          cpu_gemm_choice_name(GEMM_OWN_DEEP), known->rate[GEMM_OWN_DEEP]));
}

/* The memory that timing the shapes takes which the book does not know. */
static size_t unknown_bytes(struct book *book, const struct program *program)
{
    size_t floats = 0;
    for (int32_t i = 0; i < program->plan->node_count; i++) {
        const struct node *node = &program->plan->nodes[i];
        if (!is_linear(node->op))
            continue;
        const struct gemm g = cpu_gemm_of(program, node);
        const size_t wanted = (size_t)(g.m * g.n + g.m * g.k + g.k * g.n);
        if (wanted > floats && !book_find(book, node->op, &g))
            floats = wanted;
    }
    return floats * sizeof(float);
}

bool cpu_gemm_choose(struct program *program, const char *cache_folder, uint64_t budget_ns,
                     struct prepare_report *report, struct error *error)
{
    const struct plan *plan = program->plan;
    struct book *book = calloc(1, sizeof *book);
    if (!book)
        return error_set(error, ERROR_MEMORY, "no memory to choose GEMMs");
    const char *path =
        cache_folder ? arena_printf(&program->strings, "%s/cpu-gemm-%d.txt", cache_folder, program->threads) : NULL;
    if (path)
        book_read(book, program, path);
    const size_t bytes = unknown_bytes(book, program);
    float *memory = bytes ? cpu_memory_map(bytes) : NULL;
    if (bytes && !memory) {
        free(book);
        return error_set(error, ERROR_MEMORY, "timing the GEMMs needs %.1f MiB for a moment and the system refuses it",
                         (double)bytes / 0x1p20);
    }
    if (memory)
        cpu_memory_touch(memory, bytes, program->threads);
    bool noted[KNOWN_MAX] = {false};
    const uint64_t deadline = clock_now() + budget_ns;
    for (int32_t i = 0; i < plan->node_count; i++) {
        if (!is_linear(plan->nodes[i].op))
            continue;
        const struct known *known = book_learn(book, program, &plan->nodes[i], memory, deadline);
        if (!known)
            continue; /* more shapes than the book holds: OpenBLAS */
        program->steps[i].gemm = (enum gemm_choice)known->choice;
        if (!noted[known - book->entries])
            note_choice(program, known, report);
        noted[known - book->entries] = true;
    }
    if (path && book->changed)
        book_write(book, program, cache_folder, path);
    free(book);
    if (memory)
        cpu_memory_unmap(memory, bytes);
    return true;
}
