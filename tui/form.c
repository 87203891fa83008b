/* The new-run form. Each value goes into the cell through the profile's own checks; what they refuse is said beside the
 * field, and nothing starts while anything is refused. */
#include "tui/app.h"
#include "tui/format.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum field {
    FIELD_DEVICE,
    FIELD_MODEL,
    FIELD_D_MODEL,
    FIELD_D_FF,
    FIELD_NUM_LAYERS,
    FIELD_NUM_HEADS,
    FIELD_VOCAB_SIZE,
    FIELD_BATCH_SIZE,
    FIELD_CONTEXT_LENGTH,
    FIELD_DTYPE,
    FIELD_COMPILE,
    FIELD_CHECKPOINT,
    FIELD_PASSES,
    FIELD_WARMUP,
    FIELD_STEPS,
    FIELD_RANKS,
    FIELD_PARALLEL,
    FIELD_BUCKET_MB,
    FIELD_GRAD_DTYPE,
    FIELD_THREADS,
    FIELD_SEED,
    FIELD_TIMEOUT,
    FIELD_COUNT
};

static const struct {
    const char *key;     /* the profile's */
    const char *choices; /* separated by blanks, for left and right; NULL: free text */
} fields[FIELD_COUNT] = {
    [FIELD_DEVICE] = {"device", "cpu cuda:0"},
    [FIELD_MODEL] = {"model", ""}, /* the presets */
    [FIELD_D_MODEL] = {"d_model", NULL},
    [FIELD_D_FF] = {"d_ff", NULL},
    [FIELD_NUM_LAYERS] = {"num_layers", NULL},
    [FIELD_NUM_HEADS] = {"num_heads", NULL},
    [FIELD_VOCAB_SIZE] = {"vocab_size", NULL},
    [FIELD_BATCH_SIZE] = {"batch_size", NULL},
    [FIELD_CONTEXT_LENGTH] = {"context_length", NULL},
    [FIELD_DTYPE] = {"dtype", "fp32 tf32 bf16"},
    [FIELD_COMPILE] = {"compile", "false true"},
    [FIELD_CHECKPOINT] = {"checkpoint", "none block"},
    [FIELD_PASSES] = {"passes", "fwd fwd,fwd_bwd fwd_bwd train_step fwd,fwd_bwd,train_step"},
    [FIELD_WARMUP] = {"warmup", NULL},
    [FIELD_STEPS] = {"steps", NULL},
    [FIELD_RANKS] = {"ranks", NULL},
    [FIELD_PARALLEL] = {"parallel", "none naive flat overlap bucket zero1 fsdp"},
    [FIELD_BUCKET_MB] = {"bucket_mb", NULL},
    [FIELD_GRAD_DTYPE] = {"grad_dtype", "fp32 bf16"},
    [FIELD_THREADS] = {"threads", NULL},
    [FIELD_SEED] = {"seed", NULL},
    [FIELD_TIMEOUT] = {"timeout_s", NULL},
};

struct form {
    struct modal modal;
    struct cell cell;
    struct edit edits[FIELD_COUNT];
    char refused[FIELD_COUNT][256];
    char problem[512], warning[256];
    int selected, top;
    bool touched; /* the selected field was typed in: what is typed first takes the place of what it held */
};

static void field_text(const struct cell *cell, enum field field, char *text, size_t size)
{
    switch (field) {
    case FIELD_DEVICE:
        snprintf(text, size, "%s", cell->device);
        break;
    case FIELD_MODEL:
        snprintf(text, size, "%s%s%s", cell->model.preset, cell->model.preset[0] ? "/" : "", cell->model.name);
        break;
    case FIELD_D_MODEL:
        snprintf(text, size, "%lld", (long long)cell->model.d_model);
        break;
    case FIELD_D_FF:
        snprintf(text, size, "%lld", (long long)cell->model.d_ff);
        break;
    case FIELD_NUM_LAYERS:
        snprintf(text, size, "%lld", (long long)cell->model.num_layers);
        break;
    case FIELD_NUM_HEADS:
        snprintf(text, size, "%lld", (long long)cell->model.num_heads);
        break;
    case FIELD_VOCAB_SIZE:
        snprintf(text, size, "%lld", (long long)cell->model.vocab_size);
        break;
    case FIELD_BATCH_SIZE:
        snprintf(text, size, "%lld", (long long)cell->batch_size);
        break;
    case FIELD_CONTEXT_LENGTH:
        snprintf(text, size, "%lld", (long long)cell->context_length);
        break;
    case FIELD_DTYPE:
        snprintf(text, size, "%s", precision_name(cell->dtype));
        break;
    case FIELD_COMPILE:
        snprintf(text, size, "%s", cell->compile ? "true" : "false");
        break;
    case FIELD_CHECKPOINT:
        snprintf(text, size, "%s", checkpoint_name(cell->checkpoint));
        break;
    case FIELD_PASSES:
        text[0] = 0;
        for (int pass = 0; pass < PASS_COUNT; pass++)
            if (cell->passes & PASS_BIT(pass)) {
                const size_t used = strlen(text);
                snprintf(text + used, size - used, "%s%s", used ? "," : "", pass_name((enum pass)pass));
            }
        break;
    case FIELD_WARMUP:
        snprintf(text, size, "%u", cell->warmup);
        break;
    case FIELD_STEPS:
        if (cell->steps == STEPS_FOREVER)
            snprintf(text, size, "forever");
        else
            snprintf(text, size, "%u", cell->steps);
        break;
    case FIELD_RANKS:
        snprintf(text, size, "%d", cell->ranks);
        break;
    case FIELD_PARALLEL:
        snprintf(text, size, "%s", parallel_name(cell->parallel));
        break;
    case FIELD_BUCKET_MB:
        snprintf(text, size, "%d", cell->bucket_mb);
        break;
    case FIELD_GRAD_DTYPE:
        snprintf(text, size, "%s", gradient_dtype_name(cell->gradient_dtype));
        break;
    case FIELD_THREADS:
        snprintf(text, size, "%d", cell->threads);
        break;
    case FIELD_SEED:
        snprintf(text, size, "%llu", (unsigned long long)cell->seed);
        break;
    default:
        snprintf(text, size, "%u", cell->timeout_s);
        break;
    }
}

/* One field may change others: a preset sets the sizes, own sizes change the model's name. */
static void show_cell(struct form *form, int but)
{
    for (int i = 0; i < FIELD_COUNT; i++) {
        char text[128];
        if (i == but || form->refused[i][0])
            continue;
        field_text(&form->cell, (enum field)i, text, sizeof text);
        if (strcmp(form->edits[i].text, text) != 0)
            edit_set(&form->edits[i], text);
    }
}

static void check(struct form *form)
{
    struct error error = {0};
    form->problem[0] = form->warning[0] = 0;
    for (int i = 0; i < FIELD_COUNT; i++)
        if (form->refused[i][0])
            return;
    if (!cell_check(&form->cell, form->warning, sizeof form->warning, &error))
        snprintf(form->problem, sizeof form->problem, "%.500s", error.text);
}

static void field_changed(struct form *form, int field)
{
    struct error error = {0};
    form->refused[field][0] = 0;
    if (!cell_set(&form->cell, fields[field].key, form->edits[field].text, &error))
        snprintf(form->refused[field], sizeof form->refused[field], "%.250s", error.text);
    else
        show_cell(form, field);
    check(form);
}

#define CHOICE_SIZE 80 /* a preset, a slash and a name */

/* The names to go through with left and right. */
static int field_choices(int field, char names[][CHOICE_SIZE], int max)
{
    int count = 0;
    if (field == FIELD_MODEL) {
        int presets;
        const struct model_preset *preset = model_presets(&presets);
        for (; count < presets && count < max; count++)
            snprintf(names[count], CHOICE_SIZE, "%s%s%s", preset[count].config.preset,
                     preset[count].config.preset[0] ? "/" : "", preset[count].config.name);
        return count;
    }
    for (const char *name = fields[field].choices; name && *name && count < max; count++) {
        const size_t length = strcspn(name, " ");
        snprintf(names[count], CHOICE_SIZE, "%.*s", (int)length, name);
        name += length + (name[length] == ' ');
    }
    return count;
}

static void cycle(struct form *form, int step)
{
    char names[32][CHOICE_SIZE];
    const int count = field_choices(form->selected, names, 32);
    if (count == 0)
        return;
    int at = step > 0 ? -1 : 0;
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], form->edits[form->selected].text) == 0)
            at = i;
    edit_set(&form->edits[form->selected], names[(at + step + count) % count]);
    field_changed(form, form->selected);
}

static void draw_field(const struct form *form, const struct area *box, int y, int field)
{
    const bool selected = field == form->selected;
    area_text(box, y, 2, -1, selected ? STYLE_BOLD : STYLE_NORMAL, fields[field].key);
    edit_draw(&form->edits[field], box, y, 18, 24, selected ? STYLE_FIELD_ON : STYLE_FIELD,
              selected && !fields[field].choices);
    const int x = 43, room = box->width - x - 2;
    if (form->refused[field][0])
        area_text_fit(box, y, x, room, STYLE_BAD, form->refused[field]);
    else if (selected && fields[field].choices)
        area_text_fit(box, y, x, room, STYLE_DIM, "← → choose");
}

static void form_draw(struct app *app, struct modal *modal, const struct area *screen)
{
    struct form *form = (struct form *)modal;
    (void)app;
    const int width = screen->width < 100 ? screen->width : 100;
    const int height = screen->height < FIELD_COUNT + 6 ? screen->height : FIELD_COUNT + 6;
    const struct area box =
        area_part(screen, (screen->height - height) / 2, (screen->width - width) / 2, height, width);
    area_box(&box, "New run");
    const int page = box.height - 5;
    if (form->selected < form->top)
        form->top = form->selected;
    if (form->selected >= form->top + page)
        form->top = form->selected - page + 1;
    if (form->top + page > FIELD_COUNT)
        form->top = FIELD_COUNT > page ? FIELD_COUNT - page : 0;
    for (int row = 0; row < page && form->top + row < FIELD_COUNT; row++)
        draw_field(form, &box, 1 + row, form->top + row);
    const int foot = box.height - 4;
    char parameters[FORMAT_SIZE];
    if (form->refused[form->selected][0])
        area_text_fit(&box, foot, 2, box.width - 4, STYLE_BAD, form->refused[form->selected]);
    else if (form->problem[0])
        area_text_fit(&box, foot, 2, box.width - 4, STYLE_BAD, form->problem);
    else if (form->warning[0])
        area_text_fit(&box, foot, 2, box.width - 4, STYLE_WARN, form->warning);
    else
        area_printf(&box, foot, 2, STYLE_DIM, "%s parameters",
                    format_rate(parameters, (double)model_parameter_count(&form->cell.model)));
    area_text_fit(&box, box.height - 2, 2, box.width - 4, STYLE_KEY,
                  form->top + page < FIELD_COUNT ? "Enter starts  Esc leaves  Tab next  (more fields below)"
                                                 : "Enter starts   Esc leaves   Tab ↑ ↓ next field   ← → choose");
}

static void start(struct app *app, struct form *form)
{
    for (int i = 0; i < FIELD_COUNT; i++)
        if (form->refused[i][0]) {
            form->selected = i;
            return;
        }
    if (form->problem[0])
        return;
    const struct cell cell = form->cell;
    modal_close(app);
    action_run_cell(app, &cell);
}

static void form_key(struct app *app, struct modal *modal, int key)
{
    struct form *form = (struct form *)modal;
    switch (key) {
    case KEY_CODE_ESCAPE:
        modal_close(app);
        return;
    case KEY_CODE_ENTER:
        start(app, form);
        return;
    case KEY_CODE_UP:
    case KEY_CODE_BACKTAB:
        form->selected = (form->selected + FIELD_COUNT - 1) % FIELD_COUNT;
        form->touched = false;
        return;
    case KEY_CODE_DOWN:
    case KEY_CODE_TAB:
        form->selected = (form->selected + 1) % FIELD_COUNT;
        form->touched = false;
        return;
    case KEY_CODE_LEFT:
    case KEY_CODE_RIGHT:
    case ' ':
        if (fields[form->selected].choices) {
            cycle(form, key == KEY_CODE_LEFT ? -1 : 1);
            return;
        }
        break;
    default:
        break;
    }
    const size_t before = strlen(form->edits[form->selected].text);
    char text[sizeof form->edits->text];
    snprintf(text, sizeof text, "%s", form->edits[form->selected].text);
    if (!form->touched && key > ' ' && key < KEY_CODE_UP && key != 127)
        edit_set(&form->edits[form->selected], "");
    form->touched = true;
    if (edit_key(&form->edits[form->selected], key) &&
        (before != strlen(form->edits[form->selected].text) || strcmp(text, form->edits[form->selected].text) != 0))
        field_changed(form, form->selected);
}

static void form_release(struct modal *modal)
{
    free(modal);
}

struct modal *form_create(const struct cell *cell, const char *key)
{
    static const struct modal_ops ops = {form_draw, form_key, form_release};
    struct form *form = calloc(1, sizeof *form);
    if (!form)
        abort();
    form->modal.ops = &ops;
    form->cell = *cell;
    for (int i = 0; key && i < FIELD_COUNT; i++)
        if (strcmp(fields[i].key, key) == 0)
            form->selected = i;
    show_cell(form, -1);
    check(form);
    return &form->modal;
}
