/* What the user set on the screen and finds again next time: $XDG_CONFIG_HOME/steptop/screen, lines of "key value". */
#pragma once
#include "base/error.h"
#include "tui/keys.h"
#include <stdint.h>

/* What tables keep their columns and order under: their view; Memory has a second one. */
enum { CONFIG_TENSORS = VIEW_COUNT, CONFIG_TABLES };

struct config {
    int theme;    /* index in theme_names; −1: not set */
    bool braille; /* plots in braille instead of eighth blocks */
    bool mouse;
    uint32_t columns[CONFIG_TABLES]; /* bit a column; 0: the view's own choice */
    int sort[CONFIG_TABLES];         /* −1: the view's own choice */
    bool ascending[CONFIG_TABLES];
    int choice[VIEW_COUNT]; /* how a view shows things: its group, mode, split; 0: as at first */
    int refresh_ms;         /* how often data are drawn, 100 … 10000 */
    double threshold;       /* share below which kernels and layers are hidden; 0: none */
};

void config_default(struct config *config);
/* A missing file is no error; a line that is not understood is left out and named in *error, and true is returned still. */
void config_load(struct config *config, struct error *error);
bool config_save(const struct config *config, struct error *error); /* atomic */
