/* Which GEMM is the fastest for each shape on this machine, by timing them against each other. */
#include "base/clock.h"
#include "base/file.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "kernels/cpu/cpu.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Runs of each choice for a shape: a small one, whose single run a busy machine disturbs, more often. */
#define TRIALS 3
#define TRIALS_MOST 20
#define TRIALS_NS 20000000u
#define HELD_TRIALS 8 /* runs of a shape that the process was kept from, and that are made again */
#define HOPELESS 1.15 /* times the quickest after two runs: not tried again */

const char *cpu_gemm_choice_name(enum gemm_choice choice)
{
    static const char *const names[GEMM_CHOICES] = {"OpenBLAS", "own 192x512", "own 96x1024"};
    return names[choice];
}

/* bf16 has one product, nothing to choose from. */
static bool is_timed(const struct program *program, const struct node *node)
{
    const bool linear =
        node->op == OP_LINEAR || node->op == OP_LINEAR_BACKWARD_INPUT || node->op == OP_LINEAR_BACKWARD_WEIGHT;
    return linear && !cpu_gemm_is_bf16(program, node);
}

/* The quickest of some interleaved runs of each choice, on memory of its own: the arena's zeros stay. */
static enum gemm_choice fastest(const struct program *program, struct gemm gemm, float *memory,
                                const struct prepare_options *options, uint64_t *deadline, uint64_t best[GEMM_CHOICES])
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
    enum gemm_choice quickest = cpu_gemm_first(program->blas);
    uint64_t enough = clock_now() + TRIALS_NS;
    int held = 0;
    for (int trial = 0;
         trial < TRIALS_MOST && (trial == 0 || clock_now() < *deadline) && (trial < TRIALS || clock_now() < enough);
         trial++)
        for (int choice = cpu_gemm_first(program->blas); choice < GEMM_CHOICES; choice++) {
            if (trial > 1 && (double)best[choice] > HOPELESS * (double)least)
                continue;
            const uint64_t start = clock_now();
            cpu_gemm_run(program->blas, program->isa, (enum gemm_choice)choice, &gemm, program->threads,
                         program->scratch, program->scratch_stride);
            const uint64_t end = clock_now(), took = end - start;
            if (prepare_held(options, start, end) && held++ < HELD_TRIALS) {
                *deadline += took; /* it is no time of the product's: once more */
                enough += took;
                choice--;
                continue;
            }
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

static bool letters_op(const char *letters, enum op *op)
{
    static const enum op ops[] = {OP_LINEAR, OP_LINEAR_BACKWARD_INPUT, OP_LINEAR_BACKWARD_WEIGHT};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (strcmp(gemm_letters(*op = ops[i]), letters) == 0)
            return true;
    return false;
}

/* One shape's choice, with the rates that decided it. */
struct known {
    enum op op;
    int64_t m, n, k;
    int choice;
    double rate[GEMM_CHOICES]; /* GFLOP/s; 0: not tried */
    bool used;                 /* by this program */
};
#define KEPT_MAX 2048 /* shapes that the file holds: those used last */

struct book {
    VEC(struct known) entries; /* as in the file, the oldest first; then what this program timed */
    size_t timed, dropped;
};

static struct known *book_find(struct book *book, enum op op, const struct gemm *g)
{
    for (size_t i = 0; i < book->entries.count; i++) {
        struct known *known = &book->entries.items[i];
        if (known->op == op && known->m == g->m && known->n == g->n && known->k == g->k)
            return known;
    }
    return NULL;
}

/* What the choices depend on beside the shape: one line that a kept file must start with. */
static void book_heading(const struct program *program, char *heading, size_t size)
{
    struct device_info info;
    cpu_machine_info(program->blas, &info);
    snprintf(heading, size, "steptop gemm 3; %s; %s; %s; %d threads", info.model, info.architecture, info.driver,
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
    while (ours && (line = strtok_r(NULL, "\n", &rest))) {
        struct known known = {0};
        char letters[3];
        long long m, n, k;
        if (sscanf(line, "%2s %lldx%lldx%lld %d %lf %lf %lf", letters, &m, &n, &k, &known.choice, &known.rate[0],
                   &known.rate[1], &known.rate[2]) != 5 + GEMM_CHOICES ||
            known.choice < 0 || known.choice >= GEMM_CHOICES || !letters_op(letters, &known.op)) {
            book->entries.count = 0;
            break;
        }
        known.m = m;
        known.n = n;
        known.k = k;
        vec_push(&book->entries, known);
    }
    free(text);
}

static void write_entry(struct strbuf *text, const struct known *known)
{
    strbuf_printf(text, "%s %lldx%lldx%lld %d %.1f %.1f %.1f\n", gemm_letters(known->op), (long long)known->m,
                  (long long)known->n, (long long)known->k, known->choice, known->rate[0], known->rate[1],
                  known->rate[2]);
}

/* What this program used becomes the newest; where there is no room for all, the oldest go. */
static bool book_write(struct book *book, const struct program *program, const char *folder, const char *path,
                       struct error *error)
{
    char heading[512];
    struct strbuf text = {0};
    const size_t count = book->entries.count;
    book->dropped = count > KEPT_MAX ? count - KEPT_MAX : 0;
    book_heading(program, heading, sizeof heading);
    strbuf_printf(&text, "%s\n", heading);
    size_t skip = book->dropped;
    for (int used = 0; used < 2; used++)
        for (size_t i = 0; i < count; i++) {
            if (book->entries.items[i].used != (used == 1))
                continue;
            if (skip)
                skip--;
            else
                write_entry(&text, &book->entries.items[i]);
        }
    const bool written =
        directory_create(folder, 0700, error) && file_write_atomic(path, text.text, text.length, error);
    strbuf_release(&text);
    return written;
}

/* The shape of `node`, timed and entered unless the book knows it. */
static struct known *book_learn(struct book *book, const struct program *program, const struct node *node,
                                float *memory, const struct prepare_options *options, uint64_t *deadline)
{
    const struct gemm g = cpu_gemm_of(program, node);
    struct known *known = book_find(book, node->op, &g);
    if (known)
        return known;
    uint64_t best[GEMM_CHOICES];
    struct known fresh = {.op = node->op, .m = g.m, .n = g.n, .k = g.k};
    fresh.choice = fastest(program, g, memory, options, deadline, best);
    for (int choice = cpu_gemm_first(program->blas); choice < GEMM_CHOICES; choice++)
        fresh.rate[choice] = 2.0 * (double)g.m * (double)g.n * (double)g.k / (double)best[choice];
    vec_push(&book->entries, fresh);
    book->timed++;
    return &book->entries.items[book->entries.count - 1];
}

static void note_choice(struct program *program, const struct known *known, struct prepare_report *report)
{
    struct strbuf rates = {0};
    for (int choice = cpu_gemm_first(program->blas); choice < GEMM_CHOICES; choice++)
        strbuf_printf(&rates, "%s%s %.0f", rates.length ? ", " : "", cpu_gemm_choice_name((enum gemm_choice)choice),
                      known->rate[choice]);
    prepare_say(report,
                arena_printf(&program->strings, "gemm %s %lldx%lldx%lld", gemm_letters(known->op), (long long)known->m,
                             (long long)known->n, (long long)known->k),
                arena_printf(&program->strings, "%s (GFLOP/s: %s)",
                             cpu_gemm_choice_name((enum gemm_choice)known->choice), rates.text));
    strbuf_release(&rates);
}

/* What the cache did: a run whose choices were made anew can differ from one before it. */
static void note_book(struct program *program, const struct book *book, bool has_cache, const struct error *failure,
                      struct prepare_report *report)
{
    size_t used = 0;
    for (size_t i = 0; i < book->entries.count; i++)
        used += book->entries.items[i].used;
    struct strbuf text = {0};
    strbuf_printf(&text, "%zu shapes: %zu timed now, %zu known from the cache", used, book->timed, used - book->timed);
    if (book->dropped)
        strbuf_printf(&text, "; its %zu oldest made room, %d are kept", book->dropped, KEPT_MAX);
    if (failure->text[0])
        strbuf_printf(&text, "; not kept: %.200s", failure->text);
    else if (!has_cache)
        strbuf_puts(&text, "; not kept");
    prepare_say(report, "gemm choices", arena_printf(&program->strings, "%s", text.text));
    strbuf_release(&text);
}

/* The memory that timing the shapes takes which the book does not know. */
static size_t unknown_bytes(struct book *book, const struct program *program)
{
    size_t floats = 0;
    for (int32_t i = 0; i < program->plan->node_count; i++) {
        const struct node *node = &program->plan->nodes[i];
        if (!is_timed(program, node))
            continue;
        const struct gemm g = cpu_gemm_of(program, node);
        const size_t wanted = (size_t)(g.m * g.n + g.m * g.k + g.k * g.n);
        if (wanted > floats && !book_find(book, node->op, &g))
            floats = wanted;
    }
    return floats * sizeof(float);
}

/* Linear layers whose shape is not known yet, one of each. */
static int unknown_shapes(struct book *book, const struct program *program)
{
    const struct plan *plan = program->plan;
    int count = 0;
    for (int32_t i = 0; i < plan->node_count; i++) {
        if (!is_timed(program, &plan->nodes[i]))
            continue;
        const struct gemm g = cpu_gemm_of(program, &plan->nodes[i]);
        bool before = book_find(book, plan->nodes[i].op, &g) != NULL;
        for (int32_t k = 0; k < i && !before; k++) {
            if (plan->nodes[k].op != plan->nodes[i].op)
                continue;
            const struct gemm other = cpu_gemm_of(program, &plan->nodes[k]);
            before = other.m == g.m && other.n == g.n && other.k == g.k;
        }
        count += !before;
    }
    return count;
}

bool cpu_gemm_choose(struct program *program, const struct prepare_options *options, uint64_t budget_ns,
                     struct prepare_report *report, struct error *error)
{
    const char *cache_folder = options ? options->cache_folder : NULL;
    const struct plan *plan = program->plan;
    struct book book = {0};
    struct error failure = {0};
    /* What was chosen without OpenBLAS is no choice for a run that has it. */
    const char *path = cache_folder && program->blas
                           ? arena_printf(&program->strings, "%s/cpu-gemm-%d.txt", cache_folder, program->threads)
                           : NULL;
    if (path)
        book_read(&book, program, path);
    const size_t bytes = unknown_bytes(&book, program);
    float *memory = bytes ? cpu_memory_map(bytes) : NULL;
    if (bytes && !memory) {
        vec_release(&book.entries);
        return error_set(error, ERROR_MEMORY, "timing the GEMMs needs %.1f MiB for a moment and the system refuses it",
                         (double)bytes / 0x1p20);
    }
    if (memory)
        cpu_memory_touch(memory, bytes, program->threads);
    bool any = false;
    const int shapes = memory && options && options->progress ? unknown_shapes(&book, program) : 0;
    uint64_t deadline = clock_now() + budget_ns;
    for (int32_t i = 0; i < plan->node_count; i++) {
        if (!is_timed(program, &plan->nodes[i]))
            continue;
        if (shapes)
            prepare_progress(options, "timing products", (int)book.timed, shapes);
        struct known *known = book_learn(&book, program, &plan->nodes[i], memory, options, &deadline);
        program->steps[i].gemm = (enum gemm_choice)known->choice;
        known->used = any = true;
    }
    if (path && book.timed)
        book_write(&book, program, cache_folder, path, &failure);
    if (any)
        note_book(program, &book, path != NULL, &failure, report);
    for (size_t i = 0; i < book.entries.count; i++)
        if (book.entries.items[i].used)
            note_choice(program, &book.entries.items[i], report);
    vec_release(&book.entries);
    if (memory)
        cpu_memory_unmap(memory, bytes);
    return true;
}
