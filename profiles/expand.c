/* From the axes of a profile to its cells. */
#include "base/sha256.h"
#include "profiles/spec.h"
#include <stdio.h>
#include <string.h>

bool spec_model(const struct profile_spec *spec, const char *name, struct model_config *config, struct error *error)
{
    for (int i = 0; i < spec->model_count; i++) {
        const struct model_config *model = &spec->models[i];
        char full[sizeof model->preset + sizeof model->name + 1];
        snprintf(full, sizeof full, "%s/%s", model->preset, model->name);
        if (strcmp(model->name, name) == 0 || strcmp(full, name) == 0) {
            *config = *model;
            return true;
        }
    }
    return model_preset_find(name, config, error);
}

/* Sets one axis' value; it was checked when it was read. */
static bool apply(const struct profile_spec *spec, const struct profile_key *key, struct cell *cell, const char *value,
                  struct error *error)
{
    return key->type == VALUE_MODEL ? spec_model(spec, value, &cell->model, error) : key_set(key, cell, value, error);
}

/* The value that `cell` would need under `key` to be meant by one of the axis' values. */
static bool axis_has(const struct profile_spec *spec, const struct profile_key *key, const struct axis *axis,
                     const struct cell *cell)
{
    for (int i = 0; i < axis->count; i++) {
        struct cell meant = *cell;
        if (apply(spec, key, &meant, axis->values[i], NULL) && key_equal(key, &meant, cell))
            return true;
    }
    return false;
}

/* Index of the exclude entry that the cell falls under, or -1. */
static int excluded(const struct profile_spec *spec, const struct cell *cell)
{
    int key_count;
    const struct profile_key *keys = profile_keys(&key_count);
    for (int i = 0; i < spec->exclude_count; i++) {
        bool all = true;
        for (int k = 0; k < key_count && all; k++) {
            const struct axis *axis = &spec->excludes[i].axes[k];
            all = axis->count == 0 || axis_has(spec, &keys[k], axis, cell);
        }
        if (all)
            return i;
    }
    return -1;
}

/* A model whose sizes an axis changed is not the preset any more: "S" with d_model 512 is "S-d512". */
static void rename_resized(struct cell *cell, const struct model_config *original)
{
    const struct {
        const char *letter;
        int64_t now, before;
    } sizes[] = {
        {"d", cell->model.d_model, original->d_model},       {"ff", cell->model.d_ff, original->d_ff},
        {"L", cell->model.num_layers, original->num_layers}, {"h", cell->model.num_heads, original->num_heads},
        {"v", cell->model.vocab_size, original->vocab_size},
    };
    size_t used = strlen(cell->model.name);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (sizes[i].now == sizes[i].before || used >= sizeof cell->model.name)
            continue;
        cell->model.preset[0] = 0;
        const int added = snprintf(cell->model.name + used, sizeof cell->model.name - used, "-%s%lld", sizes[i].letter,
                                   (long long)sizes[i].now);
        used += added > 0 ? (size_t)added : 0;
    }
}

static void add_warning(struct profile *profile, const char *text)
{
    for (size_t i = 0; i < profile->warnings.count; i++) {
        if (strcmp(profile->warnings.items[i], text) == 0)
            return;
    }
    vec_push(&profile->warnings, arena_strdup(&profile->arena, text));
}

struct expansion {
    struct profile *profile;
    struct diagnostics *diagnostics;
    const struct matrix *matrix;
    uint64_t *exclude_hits; /* a count for each exclude entry */
    uint64_t left_out;
    size_t first_cell; /* of this matrix */
    /* One wrong size may concern thousands of cells: it is said once. */
    char problems[8][256];
    int problem_count;
};

static int axis_count(const struct matrix *matrix, const char *key)
{
    const int index = profile_key_find(key, SECTION_MATRIX);
    return index < 0 ? 0 : matrix->axes[index].count;
}

static void add_cell(struct expansion *expansion, struct cell *cell, const struct model_config *original)
{
    struct profile *profile = expansion->profile;
    if (cell->ranks == 1 && axis_count(expansion->matrix, "ranks") > 1)
        cell->parallel = PARALLEL_NONE; /* ranks: [1, 2] with parallel: one rank is what the others are held against */
    const bool several = axis_count(expansion->matrix, "parallel") > 1 || axis_count(expansion->matrix, "ranks") > 1;
    if (several || cell->collective != COLLECTIVE_NONE)
        cell_canonical(cell);
    else if (!parallel_has_buckets(cell->parallel))
        cell->bucket_mb = BUCKET_MB_DEFAULT;
    for (size_t i = expansion->first_cell; i < profile->cells.count && (several || cell->collective != COLLECTIVE_NONE);
         i++)
        if (cell_equal(cell, &profile->cells.items[i]))
            return;
    const int hit = excluded(profile->spec, cell);
    if (hit >= 0) {
        expansion->exclude_hits[hit]++;
        expansion->left_out++;
        return;
    }
    if (cell->collective == COLLECTIVE_NONE)
        rename_resized(cell, original);
    char warning[256] = "";
    struct error error = {0};
    if (!cell_check(cell, warning, sizeof warning, &error)) {
        error.text[sizeof expansion->problems[0] - 1] = 0;
        for (int i = 0; i < expansion->problem_count && i < 8; i++) {
            if (strcmp(error.text, expansion->problems[i]) == 0)
                return;
        }
        strcpy(expansion->problems[expansion->problem_count++ % 8], error.text);
        char title[160];
        cell_title(cell, false, title, sizeof title);
        diagnose(expansion->diagnostics, expansion->matrix->place, "%s: %s", title, error.text);
        return;
    }
    if (warning[0])
        add_warning(profile, warning);
    vec_push(&profile->cells, *cell);
}

/* One nesting of the loops; the keys' order in the table is that of the loops. */
static void expand_from(struct expansion *expansion, int first, struct cell *cell, const struct model_config *original)
{
    int key_count;
    const struct profile_key *keys = profile_keys(&key_count);
    const struct profile_spec *spec = expansion->profile->spec;
    for (int k = first; k < key_count; k++) {
        const struct axis *axis = &expansion->matrix->axes[k];
        const bool models = keys[k].type == VALUE_MODEL;
        const int count = axis->count ? axis->count : models ? spec->model_count : 0;
        if (!count)
            continue;
        for (int i = 0; i < count; i++) {
            struct cell next = *cell;
            if (!axis->count)
                next.model = spec->models[i];
            else if (!apply(spec, &keys[k], &next, axis->values[i], NULL))
                continue; /* was diagnosed when it was read */
            const struct model_config model = next.model;
            expand_from(expansion, k + 1, &next, models ? &model : original);
        }
        return;
    }
    struct cell done = *cell;
    add_cell(expansion, &done, original);
}

/* Cells of one matrix, PROFILE_CELLS_MAX + 1 for anything above that. */
static uint64_t matrix_cells(const struct profile_spec *spec, const struct matrix *matrix)
{
    int key_count;
    const struct profile_key *keys = profile_keys(&key_count);
    uint64_t cells = 1;
    for (int k = 0; k < key_count; k++) {
        const int count = matrix->axes[k].count                              ? matrix->axes[k].count
                          : keys[k].type == VALUE_MODEL && spec->model_count ? spec->model_count
                                                                             : 1;
        cells *= (uint64_t)count;
        if (cells > PROFILE_CELLS_MAX)
            return PROFILE_CELLS_MAX + 1;
    }
    return cells;
}

static void repeat(struct profile *profile)
{
    const size_t count = profile->cells.count;
    VEC(struct cell) all = {0};
    vec_reserve(&all, count * profile->repetitions);
    for (size_t i = 0; i < count * profile->repetitions; i++) {
        const uint32_t repetition = (uint32_t)(profile->interleave ? i / count : i % profile->repetitions);
        const size_t at = profile->interleave ? i % count : i / profile->repetitions;
        vec_push(&all, profile->cells.items[profile->interleave && repetition % 2 ? count - 1 - at : at]);
        all.items[all.count - 1].repetition = repetition;
    }
    vec_release(&profile->cells);
    profile->cells.items = all.items;
    profile->cells.count = all.count;
    profile->cells.capacity = all.capacity;
}

/* Of all that a cell asks for, as text, so that padding and the order of fields do not matter. */
static void cell_text(const struct cell *cell, struct strbuf *out)
{
    int key_count;
    const struct profile_key *keys = profile_keys(&key_count);
    for (int k = 0; k < key_count; k++) {
        if (!keys[k].width)
            continue;
        strbuf_printf(out, "%s=", keys[k].name);
        key_text(&keys[k], cell, out);
        strbuf_putc(out, '\n');
    }
    strbuf_putc(out, '\n');
}

bool cell_equal(const struct cell *a, const struct cell *b)
{
    int key_count;
    const struct profile_key *keys = profile_keys(&key_count);
    if (strcmp(a->command, b->command) != 0)
        return false;
    for (int k = 0; k < key_count; k++) {
        if (keys[k].width && !key_equal(&keys[k], a, b))
            return false;
    }
    return true;
}

void profile_expand(struct profile *profile, struct diagnostics *diagnostics)
{
    const struct profile_spec *spec = profile->spec;
    struct expansion expansion = {.profile = profile, .diagnostics = diagnostics};
    expansion.exclude_hits = arena_array(&profile->arena, uint64_t, spec->exclude_count + 1);
    profile->cells.count = 0;
    profile->warnings.count = 0;
    uint64_t total = 0;
    for (int i = 0; i < spec->matrix_count; i++)
        total += matrix_cells(spec, &spec->matrices[i]);
    if (total > PROFILE_CELLS_MAX || total * profile->repetitions > PROFILE_CELLS_MAX) {
        diagnose(diagnostics, spec->matrices[0].place, "the matrix has more than %d cells; make it smaller",
                 PROFILE_CELLS_MAX);
        return;
    }
    for (int i = 0; i < spec->matrix_count; i++) {
        struct cell cell = spec->base;
        expansion.matrix = &spec->matrices[i];
        expansion.first_cell = profile->cells.count;
        expand_from(&expansion, 0, &cell, &spec->base.model);
    }
    for (int i = 0; i < spec->exclude_count; i++) {
        char text[128];
        snprintf(text, sizeof text, "the exclude entry at line %zu matches no cell", spec->excludes[i].place.line);
        if (!expansion.exclude_hits[i])
            add_warning(profile, text);
    }
    if (!profile->cells.count && diagnostics->count == 0)
        diagnose(diagnostics, spec->exclude_count ? spec->excludes[0].place : spec->matrices[0].place,
                 "no cell is left: all %llu are excluded", (unsigned long long)expansion.left_out);
    unsigned told = 0;
    for (size_t i = 1; i < profile->cells.count; i++)
        told |= cell_tell(&profile->cells.items[0], &profile->cells.items[i]);
    for (size_t i = 0; i < profile->cells.count; i++)
        profile->cells.items[i].told = (uint8_t)told;
    repeat(profile);
    struct strbuf text = {0};
    for (size_t i = 0; i < profile->cells.count; i++)
        cell_text(&profile->cells.items[i], &text);
    sha256_hex(text.text ? text.text : "", text.length, profile->digest);
    strbuf_release(&text);
}
