/* From YAML, or flags, to a profile. */
#include "base/file.h"
#include "base/suggest.h"
#include "profiles/spec.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA "steptop/profile/1"
#define NAME_MAX_ 63
#define DESCRIPTION_MAX 159
#define AXIS_VALUES_MAX 1024
#define MODELS_MAX 256

struct reader {
    struct profile *profile;
    struct profile_spec *spec;
    struct diagnostics *diagnostics;
    const struct profile_key *keys;
    int key_count;
};

/* --- values ------------------------------------------------------------------------------------------------------- */

/* Index of a mapping entry's key in the table; -1 when it does not belong there, which is diagnosed. */
static int known_key(const struct reader *reader, const struct tree *value, unsigned section)
{
    const int index = profile_key_find(value->key->text, section);
    if (index >= 0)
        return index;
    const char *name = value->key->text;
    const char *near = profile_key_suggest(name, section);
    /* A key of another section is more likely misplaced than mistyped. */
    const int other = profile_key_find(name, SECTION_TOP | SECTION_MATRIX | SECTION_MEASURE | SECTION_PROFILE);
    const unsigned there = other < 0 ? 0 : reader->keys[other].sections;
    if (near)
        diagnose(reader->diagnostics, value->key->place, "'%.64s' is not %s; did you mean '%s'?", name,
                 section_words(section), near);
    else if (there)
        diagnose(reader->diagnostics, value->key->place, "'%.64s' is not %s; it is %s", name, section_words(section),
                 section_words(there & -there));
    else
        diagnose(reader->diagnostics, value->key->place, "'%.64s' is not %s", name, section_words(section));
    return -1;
}

static bool expect(const struct reader *reader, const struct tree *value, enum tree_kind kind, const char *wanted)
{
    if (value->kind == kind)
        return true;
    diagnose(reader->diagnostics, value->place, "%s%s%s is %s; it must be %s", value->key ? "'" : "",
             value->key ? value->key->text : "this", value->key ? "'" : "", tree_kind_words(value), wanted);
    return false;
}

/* A name or a line of text: no control characters, not too long, not empty. */
static const char *read_text(const struct reader *reader, const struct tree *value, size_t longest)
{
    if (!expect(reader, value, TREE_SCALAR, "text"))
        return NULL;
    const char *problem = NULL;
    if (!value->text[0])
        problem = "is empty";
    for (const unsigned char *c = (const unsigned char *)value->text; *c; c++) {
        /* C0, DEL and, in UTF-8, C1: nothing that a terminal could act on. */
        if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0))
            problem = "holds a control character";
    }
    if (strlen(value->text) > longest)
        problem = "is too long";
    if (problem)
        diagnose(reader->diagnostics, value->place, "'%s' %s; it is text of up to %zu bytes on one line",
                 value->key->text, problem, longest);
    return problem ? NULL : value->text;
}

/* Checks a scalar against its key, by setting it in `cell`. */
static bool read_value(const struct reader *reader, const struct profile_key *key, const struct tree *value,
                       struct cell *cell)
{
    struct error error = {0};
    if (value->kind != TREE_SCALAR) {
        diagnose(reader->diagnostics, value->place, "%s is %s; it must be a single value", key->name,
                 tree_kind_words(value));
        return false;
    }
    if (!value->text[0]) {
        diagnose(reader->diagnostics, value->place, "%s has no value", key->name);
        return false;
    }
    const bool number =
        key->type == VALUE_INTEGER || (key->type == VALUE_STEPS && isdigit((unsigned char)*value->text));
    if (!value->plain && (number || key->type == VALUE_BOOLEAN)) {
        diagnose(reader->diagnostics, value->place, "%s is %s; write it without quotes", key->name,
                 number ? "a whole number" : "true or false");
        return false;
    }
    const bool good = key->type == VALUE_MODEL ? spec_model(reader->spec, value->text, &cell->model, &error)
                                               : key_set(key, cell, value->text, &error);
    if (!good)
        diagnose(reader->diagnostics, value->place, "%s", error.text);
    return good;
}

/* --- sections ----------------------------------------------------------------------------------------------------- */

static void read_axis(const struct reader *reader, const struct profile_key *key, const struct tree *value,
                      struct axis *axis)
{
    const bool list = value->kind == TREE_LIST;
    if (list && value->count == 0) {
        diagnose(reader->diagnostics, value->place, "%s is an empty list", key->name);
        return;
    }
    if (list && value->count > AXIS_VALUES_MAX) {
        diagnose(reader->diagnostics, value->place, "%s has more than %d values", key->name, AXIS_VALUES_MAX);
        return;
    }
    const int count = list ? value->count : 1;
    axis->count = 0; /* a key that is given twice is an error already; the later values stand in for both */
    axis->values = arena_array(&reader->profile->arena, const char *, count);
    axis->places = arena_array(&reader->profile->arena, struct place, count);
    struct cell *cells = arena_array(&reader->profile->arena, struct cell, count);
    for (const struct tree *item = list ? value->first : value; item; item = list ? item->next : NULL) {
        struct cell *cell = &cells[axis->count];
        *cell = reader->spec->base;
        if (!read_value(reader, key, item, cell))
            continue;
        int twin = 0;
        while (twin < axis->count && !key_equal(key, &cells[twin], cell))
            twin++;
        if (twin < axis->count) {
            diagnose(reader->diagnostics, item->place, "%s '%.64s' is in the list twice", key->name, item->text);
            continue;
        }
        axis->values[axis->count] = item->text;
        axis->places[axis->count++] = item->place;
    }
}

static void read_matrix(const struct reader *reader, const struct tree *value, struct matrix *matrix)
{
    matrix->place = value->place;
    if (!expect(reader, value, TREE_MAPPING, "a mapping of axes"))
        return;
    if (!value->count)
        diagnose(reader->diagnostics, value->place, "an empty mapping; name an axis or leave it out");
    for (const struct tree *axis = value->first; axis; axis = axis->next) {
        const int key = known_key(reader, axis, SECTION_MATRIX);
        if (key >= 0)
            read_axis(reader, &reader->keys[key], axis, &matrix->axes[key]);
    }
}

/* matrix: or exclude:, one mapping or a list of them. */
static struct matrix *read_matrices(const struct reader *reader, const struct tree *value, int *count)
{
    const bool list = value->kind == TREE_LIST;
    const int wanted = list ? value->count : 1;
    *count = 0;
    if (list && (value->count == 0 || value->count > AXIS_VALUES_MAX)) {
        diagnose(reader->diagnostics, value->place, "'%s' is a list of %d; it holds 1 to %d mappings", value->key->text,
                 value->count, AXIS_VALUES_MAX);
        return NULL;
    }
    struct matrix *matrices = arena_array(&reader->profile->arena, struct matrix, wanted);
    for (const struct tree *item = list ? value->first : value; item; item = list ? item->next : NULL)
        read_matrix(reader, item, &matrices[(*count)++]);
    return matrices;
}

static void add_model(const struct reader *reader, const struct tree *at, const struct model_config *model)
{
    struct profile_spec *spec = reader->spec;
    for (int i = 0; i < spec->model_count; i++) {
        if (strcmp(spec->models[i].name, model->name) == 0) {
            diagnose(reader->diagnostics, at->place, "there is a model '%s' already; give each its own name",
                     model->name);
            return;
        }
    }
    if (spec->model_count == MODELS_MAX) {
        diagnose(reader->diagnostics, at->place, "more than %d models", MODELS_MAX);
        return;
    }
    spec->models[spec->model_count++] = *model;
}

static void add_preset(const struct reader *reader, const struct tree *at, const char *family, const char *name)
{
    struct error error = {0};
    struct model_config model;
    char full[160];
    snprintf(full, sizeof full, "%s%s%s", family ? family : "", family ? "/" : "", name);
    if (model_preset_find(full, &model, &error))
        add_model(reader, at, &model);
    else
        diagnose(reader->diagnostics, at->place, "%s", error.text);
}

/* {preset: cs336-2025, select: [S, M]}; without select all models of that preset. */
static void read_preset(const struct reader *reader, const struct tree *value)
{
    for (const struct tree *entry = value->first; entry; entry = entry->next)
        known_key(reader, entry, SECTION_SELECT);
    const struct tree *family = tree_get(value, "preset"), *select = tree_get(value, "select");
    if (!family) {
        diagnose(reader->diagnostics, value->place, "models are chosen with preset and select; preset is missing");
        return;
    }
    if (!expect(reader, family, TREE_SCALAR, "the name of a preset"))
        return;
    int preset_count, matching = 0;
    const struct model_preset *presets = model_presets(&preset_count);
    const char **families = arena_array(&reader->profile->arena, const char *, preset_count);
    for (int i = 0; i < preset_count; i++) {
        families[i] = presets[i].family;
        matching += strcmp(presets[i].family, family->text) == 0;
        if (!select && strcmp(presets[i].family, family->text) == 0)
            add_model(reader, family, &presets[i].config);
    }
    if (!matching) {
        const char *near = suggest(family->text, families, (size_t)preset_count);
        diagnose(reader->diagnostics, family->place, "there is no preset '%.64s'%s%s%s", family->text,
                 near ? "; did you mean '" : "; there are cs336-2025, cs336-2026 and steptop", near ? near : "",
                 near ? "'?" : "");
        return;
    }
    if (!select)
        return;
    if (select->kind == TREE_LIST && !select->count)
        diagnose(reader->diagnostics, select->place, "select is an empty list");
    for (const struct tree *name = select->kind == TREE_LIST ? select->first : select; name;
         name = select->kind == TREE_LIST ? name->next : NULL) {
        if (name->kind == TREE_SCALAR)
            add_preset(reader, name, family->text, name->text);
        else
            diagnose(reader->diagnostics, name->place, "a model's name is missing here; this is %s",
                     tree_kind_words(name));
    }
}

/* {name: mine, d_model: 512, …}: all sizes are needed, but those that attention alone does not have. */
static void read_inline_model(const struct reader *reader, const struct tree *value)
{
    struct cell cell = {0};
    const int errors = reader->diagnostics->count;
    for (const struct tree *entry = value->first; entry; entry = entry->next) {
        const int key = known_key(reader, entry, SECTION_MODEL);
        if (key < 0)
            continue;
        if (reader->keys[key].type != VALUE_TEXT) {
            read_value(reader, &reader->keys[key], entry, &cell);
            continue;
        }
        const char *name = read_text(reader, entry, sizeof cell.model.name - 1);
        if (name && name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-")])
            diagnose(reader->diagnostics, entry->place,
                     "a model's name is of letters, digits and . _ + - only, so that it can stand in a list");
        else if (name)
            snprintf(cell.model.name, sizeof cell.model.name, "%s", name);
    }
    const bool attention = cell.model.kind == MODEL_ATTENTION;
    for (int k = 0; k < reader->key_count; k++) {
        const char *name = reader->keys[k].name;
        const bool needed = reader->keys[k].size || strcmp(name, "name") == 0;
        const bool spared = attention && (strcmp(name, "d_ff") == 0 || strcmp(name, "vocab_size") == 0 ||
                                          strcmp(name, "num_layers") == 0);
        if (needed && !spared && !tree_get(value, name))
            diagnose(reader->diagnostics, value->place, "this model has no %s", name);
    }
    if (attention && !tree_get(value, "num_layers"))
        cell.model.num_layers = 1;
    if (reader->diagnostics->count == errors)
        add_model(reader, value, &cell.model);
}

static void read_model(const struct reader *reader, const struct tree *value)
{
    if (value->kind == TREE_SCALAR)
        add_preset(reader, value, NULL, value->text);
    else if (!expect(reader, value, TREE_MAPPING, "a preset's name, {preset, select} or a model's sizes"))
        return;
    else if (tree_get(value, "preset") || tree_get(value, "select"))
        read_preset(reader, value);
    else
        read_inline_model(reader, value);
}

static void read_models(const struct reader *reader, const struct tree *value)
{
    if (value->kind == TREE_LIST && !value->count)
        diagnose(reader->diagnostics, value->place, "models is an empty list");
    if (value->kind != TREE_LIST)
        read_model(reader, value);
    else
        for (const struct tree *item = value->first; item; item = item->next)
            read_model(reader, item);
}

/* The keys that set the profile and not a cell. */
static bool profile_set(struct profile *profile, const struct profile_key *key, const char *text, struct error *error)
{
    /* Checked through a cell's field of the same width; what was there is not used. */
    struct cell scratch = {0};
    struct profile_key checked = *key;
    checked.offset = offsetof(struct cell, repetition);
    checked.width = sizeof scratch.repetition;
    if (!key_set(&checked, &scratch, text, error))
        return false;
    if (strcmp(key->name, "repetitions") == 0)
        profile->repetitions = scratch.repetition;
    else if (strcmp(key->name, "interleave") == 0)
        profile->interleave = scratch.repetition;
    else if (strcmp(key->name, "on_oom") == 0)
        profile->on_oom = scratch.repetition;
    else if (strcmp(key->name, "kernels") == 0 && !scratch.repetition)
        profile->spec->base.profile_every = 0;
    return true;
}

/* measure: and profile:. */
static void read_settings(const struct reader *reader, const struct tree *section, enum section which)
{
    if (!expect(reader, section, TREE_MAPPING, "a mapping"))
        return;
    for (const struct tree *entry = section->first; entry; entry = entry->next) {
        const int index = known_key(reader, entry, which);
        if (index < 0)
            continue;
        const struct profile_key *key = &reader->keys[index];
        if (key->type == VALUE_PASSES && entry->kind == TREE_LIST) {
            unsigned passes = 0;
            if (!entry->count)
                diagnose(reader->diagnostics, entry->place, "passes is an empty list");
            for (const struct tree *item = entry->first; item; item = item->next) {
                struct cell cell = {0};
                if (!read_value(reader, key, item, &cell))
                    continue;
                if (passes & cell.passes)
                    diagnose(reader->diagnostics, item->place, "the pass '%.64s' is in the list twice", item->text);
                passes |= cell.passes;
            }
            reader->spec->base.passes = passes;
            continue;
        }
        struct cell scratch = {0};
        if (key->width)
            read_value(reader, key, entry, &reader->spec->base);
        else if (read_value(reader, key, entry, &scratch))
            profile_set(reader->profile, key, entry->text, NULL);
    }
    const struct tree *kernels = tree_get(section, "kernels"), *every = tree_get(section, "every");
    if (kernels && every && kernels->kind == TREE_SCALAR && strcmp(kernels->text, "false") == 0)
        diagnose(reader->diagnostics, every->key->place, "'every' has no meaning with kernels: false");
}

static void read_profile(struct reader *reader, const struct tree *root)
{
    struct profile *profile = reader->profile;
    static const char *const sections[] = {"models", "matrix", "exclude", "measure", "profile"};
    if (root->kind != TREE_MAPPING) {
        diagnose(reader->diagnostics, root->place, "a profile is a mapping that starts with schema: %s; this is %s",
                 SCHEMA, tree_kind_words(root));
        return;
    }
    for (const struct tree *entry = root->first; entry; entry = entry->next) {
        bool section = false;
        for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
            section |= strcmp(entry->key->text, sections[i]) == 0;
        if (section || profile_key_find(entry->key->text, SECTION_TOP) >= 0)
            continue;
        const char *near = suggest(entry->key->text, sections, sizeof sections / sizeof *sections);
        if (near)
            diagnose(reader->diagnostics, entry->key->place, "'%.64s' is not a key of a profile; did you mean '%s'?",
                     entry->key->text, near);
        else
            known_key(reader, entry, SECTION_TOP);
    }
    const struct tree *schema = tree_get(root, "schema"), *name = tree_get(root, "name");
    const struct tree *description = tree_get(root, "description"), *section;
    if (!schema)
        diagnose(reader->diagnostics, root->place, "schema is missing; a profile starts with schema: %s", SCHEMA);
    else if (expect(reader, schema, TREE_SCALAR, SCHEMA) && strcmp(schema->text, SCHEMA) != 0)
        diagnose(reader->diagnostics, schema->place, "the schema '%.64s' is not one that this version reads; it is %s",
                 schema->text, SCHEMA);
    if (name) {
        const char *text = read_text(reader, name, NAME_MAX_);
        profile->name = text ? text : profile->name;
    }
    if (description) {
        const char *text = read_text(reader, description, DESCRIPTION_MAX);
        profile->description = text ? text : "";
    }
    /* In the order in which each needs the ones before it, whatever their order in the file. */
    if ((section = tree_get(root, "models")))
        read_models(reader, section);
    if ((section = tree_get(root, "measure")))
        read_settings(reader, section, SECTION_MEASURE);
    if ((section = tree_get(root, "profile")))
        read_settings(reader, section, SECTION_PROFILE);
    if ((section = tree_get(root, "matrix")))
        reader->spec->matrices = read_matrices(reader, section, &reader->spec->matrix_count);
    if ((section = tree_get(root, "exclude")))
        reader->spec->excludes = read_matrices(reader, section, &reader->spec->exclude_count);
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static void profile_init(struct profile *profile, const char *source)
{
    *profile = (struct profile){.repetitions = 1, .description = ""};
    profile->source = arena_strdup(&profile->arena, source);
    profile->name = "";
    profile->spec = arena_alloc(&profile->arena, sizeof *profile->spec);
    profile->spec->models = arena_array(&profile->arena, struct model_config, MODELS_MAX);
    cell_default(&profile->spec->base);
}

/* Without matrix: one empty one, that is the defaults and the models. */
static void ensure_matrix(struct profile *profile)
{
    if (profile->spec->matrix_count)
        return;
    profile->spec->matrices = arena_array(&profile->arena, struct matrix, 1);
    profile->spec->matrix_count = 1;
}

/* Cells of what was read; or the errors that were found, and no profile. */
static bool finish(struct profile *profile, struct diagnostics *diagnostics, struct error *error)
{
    if (diagnostics->count == 0) {
        ensure_matrix(profile);
        profile_expand(profile, diagnostics);
    }
    if (diagnostics_finish(diagnostics, error))
        return true;
    profile_free(profile);
    return false;
}

bool profile_parse(const char *text, size_t length, const char *file_name, struct profile *profile, struct error *error)
{
    struct diagnostics diagnostics = {.file = file_name, .text = text, .length = length};
    struct reader reader = {.profile = profile, .diagnostics = &diagnostics};
    profile_init(profile, file_name);
    reader.spec = profile->spec;
    reader.keys = profile_keys(&reader.key_count);
    if (length > PROFILE_BYTES_MAX)
        diagnose(&diagnostics, (struct place){0}, "larger than %u bytes, the most that is read", PROFILE_BYTES_MAX);
    else {
        const struct tree *root = tree_parse(text, length, &profile->arena, &diagnostics);
        if (root)
            read_profile(&reader, root);
    }
    if (!profile->name[0]) {
        /* The file's name without folder and ending. */
        const char *slash = strrchr(file_name, '/');
        const char *base = slash ? slash + 1 : file_name;
        profile->name = arena_strndup(&profile->arena, base, strcspn(base, "."));
    }
    return finish(profile, &diagnostics, error);
}

bool profile_default(struct profile *profile, struct error *error)
{
    struct diagnostics diagnostics = {.text = ""};
    profile_init(profile, "flags");
    profile->name = "quickstart";
    return finish(profile, &diagnostics, error);
}

/* A flag's comma list as a list of scalars. */
static struct tree *flag_tree(struct profile *profile, const char *value)
{
    struct tree *list = arena_alloc(&profile->arena, sizeof *list), **end = &list->first;
    list->kind = TREE_LIST;
    for (;; value++) {
        struct tree *item = arena_alloc(&profile->arena, sizeof *item);
        const size_t length = strcspn(value, ",");
        item->text = arena_strndup(&profile->arena, value, length);
        item->plain = true;
        *end = item;
        end = &item->next;
        list->count++;
        value += length;
        if (!*value)
            return list;
    }
}

bool profile_apply(struct profile *profile, const struct profile_override *overrides, int count, struct error *error)
{
    struct diagnostics diagnostics = {.text = ""};
    struct reader reader = {.profile = profile, .spec = profile->spec, .diagnostics = &diagnostics};
    reader.keys = profile_keys(&reader.key_count);
    for (int i = 0; i < count; i++) {
        const struct profile_override *override = &overrides[i];
        const int index = profile_key_find(override->key, SECTION_MATRIX | SECTION_MEASURE | SECTION_PROFILE);
        const struct profile_key *key = &reader.keys[index < 0 ? 0 : index];
        struct error problem = {0};
        diagnostics.file = override->flag;
        if (!override->value)
            continue;
        if (index < 0)
            diagnose(&diagnostics, (struct place){0}, "'%.64s' is not a key of a profile", override->key);
        else if (key->sections & SECTION_MATRIX) {
            struct axis axis = {0};
            read_axis(&reader, key, flag_tree(profile, override->value), &axis);
            for (int m = 0; m < profile->spec->matrix_count; m++)
                profile->spec->matrices[m].axes[index] = axis;
        } else if (key->width ? !key_set(key, &profile->spec->base, override->value, &problem)
                              : !profile_set(profile, key, override->value, &problem))
            diagnose(&diagnostics, (struct place){0}, "%s", problem.text);
    }
    if (diagnostics.count == 0) {
        diagnostics.file = strcmp(profile->source, "flags") == 0 ? NULL : profile->source;
        for (int m = 0; m < profile->spec->matrix_count; m++)
            profile->spec->matrices[m].place = (struct place){0};
        profile_expand(profile, &diagnostics);
    }
    const bool done = diagnostics_finish(&diagnostics, error);
    if (!done && error)
        error->kind = ERROR_USAGE;
    return done;
}

void profile_free(struct profile *profile)
{
    vec_release(&profile->cells);
    vec_release(&profile->warnings);
    arena_release(&profile->arena);
    *profile = (struct profile){0};
}
