#include "tui/style.h"
#include <string.h>

const char *const theme_names[THEME_COUNT] = {"default", "light", "mono", "contrast"};

enum { THEME_DEFAULT, THEME_LIGHT, THEME_MONO, THEME_CONTRAST };
enum { NONE = -1, BLACK, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, WHITE, GREY, BRIGHT = 8 };

/* The default theme lives on the terminal's own background with the 8 base colours, so that it is readable on dark and
 * light terminals alike; mono says everything by attributes. */
static const struct theme_style styles[THEME_COUNT][STYLE_COUNT] =
    {
        [THEME_DEFAULT] =
            {
                [STYLE_NORMAL] = {NONE, NONE, 0},
                [STYLE_DIM] = {NONE, NONE, ATTRIBUTE_DIM},
                [STYLE_BOLD] = {NONE, NONE, ATTRIBUTE_BOLD},
                [STYLE_TITLE] = {NONE, NONE, ATTRIBUTE_BOLD},
                [STYLE_TAB] = {NONE, NONE, 0},
                [STYLE_TAB_ON] = {NONE, NONE, ATTRIBUTE_REVERSE | ATTRIBUTE_BOLD},
                [STYLE_HEAD] = {BLACK, GREEN, 0},
                [STYLE_HEAD_ON] = {BLACK, CYAN, 0},
                [STYLE_SELECTED] = {BLACK, CYAN, 0},
                [STYLE_TAGGED] = {YELLOW, NONE, ATTRIBUTE_BOLD},
                [STYLE_MATCH] = {BLACK, YELLOW, 0},
                [STYLE_KEY] = {NONE, NONE, ATTRIBUTE_BOLD},
                [STYLE_LABEL] = {BLACK, CYAN, 0},
                [STYLE_GOOD] = {GREEN, NONE, 0},
                [STYLE_WARN] = {YELLOW, NONE, 0},
                [STYLE_BAD] = {RED, NONE, ATTRIBUTE_BOLD},
                [STYLE_LIVE] = {BLACK, GREEN, 0},
                [STYLE_PAUSED] = {BLACK, YELLOW, 0},
                [STYLE_DROPPED] = {WHITE, RED, ATTRIBUTE_BOLD},
                [STYLE_DONE] = {NONE, NONE, ATTRIBUTE_REVERSE},
                [STYLE_AXIS] = {NONE, NONE, ATTRIBUTE_DIM},
                [STYLE_BAR] = {CYAN, NONE, 0},
                [STYLE_CURSOR] = {BLACK, YELLOW, 0},
                [STYLE_BORDER] = {CYAN, NONE, 0},
                [STYLE_FIELD] = {NONE, NONE, ATTRIBUTE_UNDERLINE},
                [STYLE_FIELD_ON] = {BLACK, CYAN, 0},
                [STYLE_PHASE + PHASE_FWD] = {GREEN, NONE, 0},
                [STYLE_PHASE + PHASE_LOSS] = {YELLOW, NONE, 0},
                [STYLE_PHASE + PHASE_BWD] = {MAGENTA, NONE, 0},
                [STYLE_PHASE + PHASE_OPT] = {BLUE, NONE, 0},
                [STYLE_PHASE + PHASE_RECOMPUTE] = {CYAN, NONE, 0},
                [STYLE_KIND + TENSOR_INPUT] = {NONE, NONE, 0},
                [STYLE_KIND + TENSOR_CONSTANT] = {NONE, NONE, ATTRIBUTE_DIM},
                [STYLE_KIND + TENSOR_PARAMETER] = {GREEN, NONE, 0},
                [STYLE_KIND + TENSOR_PARAMETER_COPY] = {GREEN, NONE, ATTRIBUTE_DIM},
                [STYLE_KIND + TENSOR_GRADIENT] = {MAGENTA, NONE, 0},
                [STYLE_KIND + TENSOR_OPTIMIZER] = {BLUE, NONE, 0},
                [STYLE_KIND + TENSOR_SAVED] = {CYAN, NONE, 0},
                [STYLE_KIND + TENSOR_SCRATCH] = {YELLOW, NONE, 0},
                [STYLE_KIND + TENSOR_OUTPUT] = {RED, NONE, 0},
                [STYLE_CLASS + CLASS_MATMUL] = {CYAN, NONE, 0},
                [STYLE_CLASS + CLASS_ATTENTION] = {MAGENTA, NONE, 0},
                [STYLE_CLASS + CLASS_SOFTMAX] = {MAGENTA, NONE, ATTRIBUTE_BOLD},
                [STYLE_CLASS + CLASS_NORM] = {GREEN, NONE, 0},
                [STYLE_CLASS + CLASS_ELEMENTWISE] = {YELLOW, NONE, 0},
                [STYLE_CLASS + CLASS_EMBEDDING] = {BLUE, NONE, 0},
                [STYLE_CLASS + CLASS_LOSS] = {RED, NONE, 0},
                [STYLE_CLASS + CLASS_OPTIMIZER] = {BLUE, NONE, ATTRIBUTE_BOLD},
                [STYLE_CLASS + CLASS_COPY] = {NONE, NONE, ATTRIBUTE_DIM},
                [STYLE_CLASS + CLASS_COLLECTIVE] = {RED, NONE, ATTRIBUTE_BOLD},
            },
        [THEME_LIGHT] =
            {
                [STYLE_NORMAL] = {BLACK, WHITE + BRIGHT, 0},
                [STYLE_DIM] = {GREY, WHITE + BRIGHT, 0},
                [STYLE_BOLD] = {BLACK, WHITE + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_TITLE] = {BLACK, WHITE + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_TAB] = {BLACK, WHITE + BRIGHT, 0},
                [STYLE_TAB_ON] = {WHITE + BRIGHT, BLUE, ATTRIBUTE_BOLD},
                [STYLE_HEAD] = {BLACK, WHITE, ATTRIBUTE_BOLD},
                [STYLE_HEAD_ON] = {BLUE, WHITE, ATTRIBUTE_BOLD},
                [STYLE_SELECTED] = {WHITE + BRIGHT, BLUE, 0},
                [STYLE_TAGGED] = {RED, WHITE + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_MATCH] = {BLACK, YELLOW + BRIGHT, 0},
                [STYLE_KEY] = {BLACK, WHITE + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_LABEL] = {BLACK, WHITE, 0},
                [STYLE_GOOD] = {GREEN, WHITE + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_WARN] = {MAGENTA, WHITE + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_BAD] = {RED, WHITE + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_LIVE] = {WHITE + BRIGHT, GREEN, ATTRIBUTE_BOLD},
                [STYLE_PAUSED] = {BLACK, YELLOW + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_DROPPED] = {WHITE + BRIGHT, RED, ATTRIBUTE_BOLD},
                [STYLE_DONE] = {WHITE + BRIGHT, BLACK, 0},
                [STYLE_AXIS] = {GREY, WHITE + BRIGHT, 0},
                [STYLE_BAR] = {BLUE, WHITE + BRIGHT, 0},
                [STYLE_CURSOR] = {WHITE + BRIGHT, RED, 0},
                [STYLE_BORDER] = {BLUE, WHITE + BRIGHT, 0},
                [STYLE_FIELD] = {BLACK, WHITE, 0},
                [STYLE_FIELD_ON] = {WHITE + BRIGHT, BLUE, 0},
                [STYLE_PHASE + PHASE_FWD] = {GREEN, WHITE + BRIGHT, 0},
                [STYLE_PHASE + PHASE_LOSS] = {RED, WHITE + BRIGHT, 0},
                [STYLE_PHASE + PHASE_BWD] = {MAGENTA, WHITE + BRIGHT, 0},
                [STYLE_PHASE + PHASE_OPT] = {BLUE, WHITE + BRIGHT, 0},
                [STYLE_PHASE + PHASE_RECOMPUTE] = {CYAN, WHITE + BRIGHT, 0},
                [STYLE_KIND + TENSOR_INPUT] = {BLACK, WHITE + BRIGHT, 0},
                [STYLE_KIND + TENSOR_CONSTANT] = {GREY, WHITE + BRIGHT, 0},
                [STYLE_KIND + TENSOR_PARAMETER] = {GREEN, WHITE + BRIGHT, 0},
                [STYLE_KIND + TENSOR_PARAMETER_COPY] = {GREEN, WHITE + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_KIND + TENSOR_GRADIENT] = {MAGENTA, WHITE + BRIGHT, 0},
                [STYLE_KIND + TENSOR_OPTIMIZER] = {BLUE, WHITE + BRIGHT, 0},
                [STYLE_KIND + TENSOR_SAVED] = {CYAN, WHITE + BRIGHT, 0},
                [STYLE_KIND + TENSOR_SCRATCH] = {RED, WHITE + BRIGHT, 0},
                [STYLE_KIND + TENSOR_OUTPUT] = {BLACK, WHITE + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_CLASS + CLASS_MATMUL] = {BLUE, WHITE + BRIGHT, 0},
                [STYLE_CLASS + CLASS_ATTENTION] = {MAGENTA, WHITE + BRIGHT, 0},
                [STYLE_CLASS + CLASS_SOFTMAX] = {MAGENTA, WHITE + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_CLASS + CLASS_NORM] = {GREEN, WHITE + BRIGHT, 0},
                [STYLE_CLASS + CLASS_ELEMENTWISE] = {RED, WHITE + BRIGHT, 0},
                [STYLE_CLASS + CLASS_EMBEDDING] = {CYAN, WHITE + BRIGHT, 0},
                [STYLE_CLASS + CLASS_LOSS] = {RED, WHITE + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_CLASS + CLASS_OPTIMIZER] = {BLUE, WHITE + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_CLASS + CLASS_COPY] = {GREY, WHITE + BRIGHT, 0},
                [STYLE_CLASS + CLASS_COLLECTIVE] = {BLACK, WHITE + BRIGHT, ATTRIBUTE_BOLD},
            },
        [THEME_MONO] =
            {
                [STYLE_NORMAL] = {NONE, NONE, 0},
                [STYLE_BOLD] = {NONE, NONE, ATTRIBUTE_BOLD},
                [STYLE_TITLE] = {NONE, NONE, ATTRIBUTE_BOLD},
                [STYLE_TAB_ON] = {NONE, NONE, ATTRIBUTE_REVERSE},
                [STYLE_HEAD] = {NONE, NONE, ATTRIBUTE_UNDERLINE},
                [STYLE_HEAD_ON] = {NONE, NONE, ATTRIBUTE_UNDERLINE | ATTRIBUTE_BOLD},
                [STYLE_SELECTED] = {NONE, NONE, ATTRIBUTE_REVERSE},
                [STYLE_TAGGED] = {NONE, NONE, ATTRIBUTE_BOLD},
                [STYLE_MATCH] = {NONE, NONE, ATTRIBUTE_UNDERLINE | ATTRIBUTE_BOLD},
                [STYLE_KEY] = {NONE, NONE, ATTRIBUTE_BOLD},
                [STYLE_WARN] = {NONE, NONE, ATTRIBUTE_BOLD},
                [STYLE_BAD] = {NONE, NONE, ATTRIBUTE_BOLD | ATTRIBUTE_UNDERLINE},
                [STYLE_LIVE] = {NONE, NONE, ATTRIBUTE_BOLD},
                [STYLE_PAUSED] = {NONE, NONE, ATTRIBUTE_REVERSE},
                [STYLE_DROPPED] = {NONE, NONE, ATTRIBUTE_REVERSE | ATTRIBUTE_BOLD},
                [STYLE_CURSOR] = {NONE, NONE, ATTRIBUTE_REVERSE},
                [STYLE_FIELD] = {NONE, NONE, ATTRIBUTE_UNDERLINE},
                [STYLE_FIELD_ON] = {NONE, NONE, ATTRIBUTE_REVERSE},
                [STYLE_PHASE + PHASE_BWD] = {NONE, NONE, ATTRIBUTE_BOLD},
            },
        [THEME_CONTRAST] =
            {
                [STYLE_NORMAL] = {WHITE + BRIGHT, BLACK, 0},
                [STYLE_BOLD] = {WHITE + BRIGHT, BLACK, ATTRIBUTE_BOLD},
                [STYLE_TITLE] = {WHITE + BRIGHT, BLACK, ATTRIBUTE_BOLD},
                [STYLE_TAB_ON] = {BLACK, WHITE + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_HEAD] = {BLACK, WHITE + BRIGHT, 0},
                [STYLE_HEAD_ON] = {BLACK, YELLOW + BRIGHT, 0},
                [STYLE_SELECTED] = {BLACK, YELLOW + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_TAGGED] = {YELLOW + BRIGHT, BLACK, ATTRIBUTE_BOLD},
                [STYLE_MATCH] = {BLACK, GREEN + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_KEY] = {YELLOW + BRIGHT, BLACK, ATTRIBUTE_BOLD},
                [STYLE_GOOD] = {GREEN + BRIGHT, BLACK, 0},
                [STYLE_WARN] = {YELLOW + BRIGHT, BLACK, ATTRIBUTE_BOLD},
                [STYLE_BAD] = {RED + BRIGHT, BLACK, ATTRIBUTE_BOLD},
                [STYLE_LIVE] = {BLACK, GREEN + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_PAUSED] = {BLACK, YELLOW + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_DROPPED] = {WHITE + BRIGHT, RED, ATTRIBUTE_BOLD},
                [STYLE_DONE] = {BLACK, WHITE + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_BAR] = {CYAN + BRIGHT, BLACK, 0},
                [STYLE_CURSOR] = {BLACK, YELLOW + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_FIELD] = {WHITE + BRIGHT, BLACK, ATTRIBUTE_UNDERLINE},
                [STYLE_FIELD_ON] = {BLACK, YELLOW + BRIGHT, ATTRIBUTE_BOLD},
                [STYLE_PHASE + PHASE_FWD] = {GREEN + BRIGHT, BLACK, 0},
                [STYLE_PHASE + PHASE_LOSS] = {YELLOW + BRIGHT, BLACK, 0},
                [STYLE_PHASE + PHASE_BWD] = {MAGENTA + BRIGHT, BLACK, 0},
                [STYLE_PHASE + PHASE_OPT] = {CYAN + BRIGHT, BLACK, 0},
                [STYLE_PHASE + PHASE_RECOMPUTE] = {BLUE + BRIGHT, BLACK, 0},
                [STYLE_KIND + TENSOR_PARAMETER] = {GREEN + BRIGHT, BLACK, 0},
                [STYLE_KIND + TENSOR_GRADIENT] = {MAGENTA + BRIGHT, BLACK, 0},
                [STYLE_KIND + TENSOR_OPTIMIZER] = {BLUE + BRIGHT, BLACK, 0},
                [STYLE_KIND + TENSOR_SAVED] = {CYAN + BRIGHT, BLACK, 0},
                [STYLE_KIND + TENSOR_SCRATCH] = {YELLOW + BRIGHT, BLACK, 0},
                [STYLE_KIND + TENSOR_OUTPUT] = {RED + BRIGHT, BLACK, 0},
                [STYLE_CLASS + CLASS_MATMUL] = {CYAN + BRIGHT, BLACK, 0},
                [STYLE_CLASS + CLASS_ATTENTION] = {MAGENTA + BRIGHT, BLACK, 0},
                [STYLE_CLASS + CLASS_NORM] = {GREEN + BRIGHT, BLACK, 0},
                [STYLE_CLASS + CLASS_ELEMENTWISE] = {YELLOW + BRIGHT, BLACK, 0},
                [STYLE_CLASS + CLASS_LOSS] = {RED + BRIGHT, BLACK, 0},
            },
};

wchar_t kind_shade(enum tensor_kind kind, bool ascii)
{
    static const struct {
        wchar_t shade;
        char letter;
    } glyphs[TENSOR_KIND_COUNT] = {
        [TENSOR_INPUT] = {0x2588, 'i'},          [TENSOR_CONSTANT] = {0x2591, 'c'}, [TENSOR_PARAMETER] = {0x2588, 'p'},
        [TENSOR_PARAMETER_COPY] = {0x2593, 'y'}, [TENSOR_GRADIENT] = {0x2593, 'g'}, [TENSOR_OPTIMIZER] = {0x2591, 'o'},
        [TENSOR_SAVED] = {0x2592, 's'},          [TENSOR_SCRATCH] = {0x259a, 'w'},  [TENSOR_OUTPUT] = {0x2592, 'u'},
    };
    return ascii ? glyphs[kind].letter : glyphs[kind].shade;
}

int theme_find(const char *name)
{
    for (int i = 0; i < THEME_COUNT; i++)
        if (strcmp(theme_names[i], name) == 0)
            return i;
    return -1;
}

struct theme_style theme_style(int theme, enum style style)
{
    const struct theme_style found = styles[theme][style];
    /* Black on black is nobody's choice: it is a style that this theme leaves as its plain one. */
    return found.foreground == BLACK && found.background == BLACK ? styles[theme][STYLE_NORMAL] : found;
}
