/* What a profile says before its matrix is multiplied out: the form in which flags can still replace an axis. */
#pragma once
#include "profiles/keys.h"
#include "profiles/tree.h"

/* The values of one key, as written. */
struct axis {
    const char **values; /* in the profile's arena */
    struct place *places;
    int count;
};

/* One entry of matrix: or exclude:; axes by index of the key table, empty where the key is not given. */
struct matrix {
    struct place place;
    struct axis axes[PROFILE_KEY_MAX];
};

struct profile_spec {
    struct model_config *models; /* those of models:, in order */
    int model_count;
    struct matrix *matrices, *excludes;
    int matrix_count, exclude_count;
    struct cell base; /* defaults, then measure: and profile: */
};

/* The model called `name`: one of models:, else a preset. */
bool spec_model(const struct profile_spec *spec, const char *name, struct model_config *config, struct error *error);

/* Multiplies the matrices out into profile->cells, without those that are excluded, and checks each cell; fills warnings and
 * digest. What is wrong goes to `diagnostics`. */
void profile_expand(struct profile *profile, struct diagnostics *diagnostics);
