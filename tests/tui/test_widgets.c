/* Widgets by themselves: tables, keys, figures, canvas, configuration, humps. */
#include "base/clock.h"
#include "base/unknown.h"
#include "tui/config.h"
#include "tui/devices.h"
#include "tui/edit.h"
#include "tui/flame.h"
#include "tui/format.h"
#include "tui/launches.h"
#include "tui/modes.h"
#include "tui/table.h"
#include "tui/terminal.h"
#include <fcntl.h>
#include <locale.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct rows {
    double value[8];
    const char *name[8];
};

static void name_text(const void *context, size_t index, struct cell_text *out)
{
    snprintf(out->text, sizeof out->text, "%s", ((const struct rows *)context)->name[index]);
}

static double rows_value(const void *context, size_t index)
{
    return ((const struct rows *)context)->value[index];
}

static const struct table_column columns[] = {{"name", "name", "", 0, 0, COLUMN_LEFT, NULL, NULL, name_text},
                                              {"value", "value", "", 8, 1, 0, rows_value, format_count, NULL}};
static const struct table_ops ops = {.columns = columns, .column_count = 2, .order = ORDER_COLUMN};

static const char *name_at(const struct table *table, const struct rows *rows, size_t position)
{
    return rows->name[table->items.items[position].index];
}

/* The selection is an id: whatever the values do, the same row stays selected; and the order rests after a key. */
static void test_table_selection(void **state)
{
    struct rows rows = {{1, 2, 3, UNKNOWN_DOUBLE}, {"a", "b", "c", "unknown"}};
    const uint64_t ids[] = {11, 12, 13, 14};
    struct table table;
    size_t index;
    (void)state;
    table_init(&table, &ops, 1);
    table_update(&table, &rows, ids, 4, 0);
    assert_string_equal(name_at(&table, &rows, 0), "c");
    assert_string_equal(name_at(&table, &rows, 3), "unknown");
    assert_true(table_command(&table, COMMAND_DOWN, 1000));
    assert_true(table_selected(&table, &index));
    assert_string_equal(rows.name[index], "b");
    rows.value[0] = 10;
    table_update(&table, &rows, ids, 4, 1000 + TABLE_REST_NS - 1);
    assert_string_equal(name_at(&table, &rows, 0), "c"); /* rests */
    table_update(&table, &rows, ids, 4, 1000 + TABLE_REST_NS + 1);
    assert_string_equal(name_at(&table, &rows, 0), "a");
    assert_true(table_selected(&table, &index));
    assert_string_equal(rows.name[index], "b");
    assert_true(table_command(&table, COMMAND_INVERT, 5));
    table_update(&table, &rows, ids, 4, (uint64_t)1 << 60);
    assert_string_equal(name_at(&table, &rows, 0), "b");
    assert_string_equal(name_at(&table, &rows, 3), "unknown"); /* last either way */
    /* The selected row goes away: its neighbour is selected, not nothing. */
    const uint64_t fewer[] = {11, 13};
    struct rows left = {{10, 3}, {"a", "c"}};
    table_update(&table, &left, fewer, 2, (uint64_t)1 << 60);
    assert_true(table_selected(&table, &index));
    assert_string_equal(left.name[index], "c"); /* the one that now stands where it stood: first */
    table_update(&table, &left, fewer, 0, (uint64_t)1 << 60);
    assert_false(table_selected(&table, &index));
    table_release(&table);
}

static void test_table_filter_and_find(void **state)
{
    const struct rows rows = {{1, 2, 3, 4}, {"sgemm_nt", "silu", "sgemm_nn", "rmsnorm"}};
    const uint64_t ids[] = {1, 2, 3, 4};
    struct table table;
    size_t index;
    (void)state;
    table_init(&table, &ops, 0);
    table.ascending = true;
    strcpy(table.filter, "SGEMM");
    table_update(&table, &rows, ids, 4, 0);
    assert_int_equal(table.items.count, 2);
    assert_int_equal(table.total, 4);
    table.filter[0] = 0;
    table_update(&table, &rows, ids, 4, 0);
    assert_string_equal(name_at(&table, &rows, 0), "rmsnorm");
    strcpy(table.search, "sg");
    assert_true(table_find(&table, &rows, 1, true));
    assert_true(table_selected(&table, &index));
    assert_string_equal(rows.name[index], "sgemm_nn");
    assert_true(table_find(&table, &rows, 1, false));
    table_selected(&table, &index);
    assert_string_equal(rows.name[index], "sgemm_nt");
    assert_true(table_find(&table, &rows, 1, false)); /* round the end */
    table_selected(&table, &index);
    assert_string_equal(rows.name[index], "sgemm_nn");
    assert_true(table_find(&table, &rows, -1, false));
    table_selected(&table, &index);
    assert_string_equal(rows.name[index], "sgemm_nt");
    strcpy(table.search, "nowhere");
    assert_false(table_find(&table, &rows, 1, true));
    table_release(&table);
}

/* Every name in the key table is a key, no key means two things in one view, and every F-key has a letter. */
static void test_keys(void **state)
{
    int count;
    (void)state;
    const struct binding *bindings = key_bindings(&count);
    bool known[COMMAND_COUNT] = {false};
    for (int i = 0; i < count; i++) {
        bool letter = false;
        known[bindings[i].command] = true;
        assert_non_null(bindings[i].help);
        for (const char *name = bindings[i].keys; *name;) {
            const size_t length = strcspn(name, " ");
            const int key = key_parse(name, length);
            assert_int_not_equal(key, 0);
            letter |= key < KEY_CODE_F1 || key > KEY_CODE_F12;
            for (int view = 0; view < VIEW_COUNT; view++)
                if (bindings[i].views & 1u << view && key_command(key, (enum view_id)view) != bindings[i].command)
                    fail_msg("'%.*s' in view %d means something else than '%s'", (int)length, name, view,
                             bindings[i].help);
            name += length + (name[length] == ' ');
        }
        assert_true(letter);
    }
    for (int command = COMMAND_NONE + 1; command < COMMAND_COUNT; command++)
        if (!known[command] && command != COMMAND_SEARCH_NEXT) /* n, while a search is on */
            fail_msg("command %d has no key", command);
}

static void test_figures(void **state)
{
    static const struct {
        double ns;
        const char *text;
    } durations[] = {
        {0, "0 ns"},         {-0.3, "0 ns"},         {-0.6, "-1 ns"},    {999, "999 ns"},         {999.6, "1.000 µs"},
        {12345, "12.35 µs"}, {999.96e3, "1.000 ms"}, {1.5e9, "1.500 s"}, {UNKNOWN_DOUBLE, "n/a"}, {INFINITY, "n/a"}};
    char text[FORMAT_SIZE];
    (void)state;
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++)
        assert_string_equal(format_duration(text, durations[i].ns), durations[i].text);
    assert_string_equal(format_bytes(text, 1023), "1023 B");
    assert_string_equal(format_bytes(text, 1024), "1.00 KiB");
    assert_string_equal(format_bytes(text, 61.2 * 1024 * 1024 * 1024), "61.2 GiB");
    assert_string_equal(format_rate(text, 0), "0");
    assert_string_equal(format_rate(text, 118e9), "118 G");
    assert_string_equal(format_count(text, 99999), "99999");
    assert_string_equal(format_count(text, 1234567), "1.23 M");
    char bar[64];
    format_bar(bar, sizeof bar, 0.5, 3);
    assert_string_equal(bar, "█▌");
    format_bar(bar, sizeof bar, 7, 2);
    assert_string_equal(bar, "██");
    format_bar(bar, sizeof bar, UNKNOWN_DOUBLE, 2);
    assert_string_equal(bar, "");
}

/* Nothing is drawn outside an area, halves of wide characters never stay, control characters never get in. */
static void test_canvas(void **state)
{
    struct canvas canvas = {0};
    (void)state;
    canvas_resize(&canvas, 4, 10);
    const struct area whole = canvas_area(&canvas);
    const struct area inner = area_part(&whole, 1, 2, 2, 5);
    area_text(&inner, 0, -2, -1, STYLE_NORMAL, "abcdefghij");
    area_text(&inner, -1, 0, -1, STYLE_NORMAL, "above");
    area_text(&inner, 2, 0, -1, STYLE_NORMAL, "below");
    area_text(&inner, 1, 5, -1, STYLE_NORMAL, "right");
    area_fill(&inner, -5, -5, 50, 1, STYLE_NORMAL, L'x');
    char *text = canvas_to_text(&canvas);
    assert_string_equal(text, "\n  cdefg\n\n\n");
    free(text);
    canvas_clear(&canvas);
    area_text(&whole, 0, 0, -1, STYLE_NORMAL, "核心核心核");
    area_text(&whole, 0, 1, -1, STYLE_NORMAL, "x");
    area_text(&whole, 1, 0, 5, STYLE_NORMAL, "核心核");
    area_text_fit(&whole, 2, 0, 6, STYLE_NORMAL, "e\xcc\x81tude longue");
    area_text(&whole, 3, 0, -1, STYLE_NORMAL, "\033[m\x7f\xc2\x9b\xff\n");
    text = canvas_to_text(&canvas);
    assert_string_equal(text, " x心核心核\n核心\ne\xcc\x81tude…\n␛[m␡��␊\n");
    free(text);
    /* Both ends of what is too long; half of a wide character is a blank. */
    int kept;
    canvas_clear(&canvas);
    assert_int_equal(area_text_ends(&whole, 0, 0, 7, STYLE_NORMAL, "abcdefgh", &kept), 7);
    assert_int_equal(kept, 3);
    assert_int_equal(area_text_ends(&whole, 1, 2, 6, STYLE_NORMAL, "核心核心x", &kept), 6);
    assert_int_equal(kept, 2);
    assert_int_equal(area_text_ends(&whole, 2, 0, 8, STYLE_NORMAL, "abcdefgh", &kept), 8);
    assert_int_equal(kept, -1);
    area_text_ends(&whole, 3, 9, 5, STYLE_NORMAL, "abc", &kept); /* room for one */
    assert_int_equal(kept, 0);
    text = canvas_to_text(&canvas);
    assert_string_equal(text, "abc…fgh\n  核…心x\nabcdefgh\n         …\n");
    free(text);
    canvas.ascii = true;
    canvas_clear(&canvas);
    area_text(&whole, 0, 0, -1, STYLE_NORMAL, "█▁é核µ…");
    text = canvas_to_text(&canvas);
    assert_string_equal(text, "#_??u.\n\n\n\n");
    free(text);
    canvas_release(&canvas);
}

/* What tells kernels apart stays: the letters before the sizes, the sizes, and the whole first word where there is room. */
static void test_long_names(void **state)
{
    static const struct {
        const char *name, *shown;
        int width;
    } names[] = {
        {"sgemm_avx512_nt 64x256x256", "sgemm_av…nt 64x256x256", 22},
        {"sgemm_avx512_nt 64x10000x256", "sgem…nt 64x10000x256", 20},
        {"gemm_batched_tn avx512 4 of 64x64x64", "gemm_batched_tn…64x64x64", 24},
        {"gemm_batched_tn avx512 4 of 64x64x64", "gemm_batched_tn… 4 of 64x64x64", 30},
        {"flash_attention_backward avx512 8 of 64x64", "flash_attention_backward…64x64", 30},
        {"      · bwd sgemm_avx512_tn 256x64x64", "      · bwd …tn 256x64x64", 25},
        {"ampere_sgemm_128x64_tn", "ampere_…28x64_tn", 16},
        {"aten::native_batch_norm", "native_batch_norm", 17}, /* namespaces go first, as many as must */
        {"aten::native_batch_norm", "native…h_norm", 13},
        {"aten::mm", "aten::mm", 8},
        {"void at::native::reduce_kernel<512, 1>", "native::reduce_kernel<512, 1>", 29},
        {"void at::native::reduce_kernel<512, 1>", "reduc…2, 1>", 11},
        {"transformer.h.*.attn", "transformer.h.*.attn", 20}, /* of a path the first words go */
        {"transformer.h.*.attn", "…h.*.attn", 19},
        {"transformer.h.*.attn", "…*.attn", 8},
        {"transformer.h.*.attn", "t…tn", 4},
        {"token_embeddings", "toke…dings", 10},
        {"fused 1234567890123456789", "fused…56789", 11}, /* a last word that has no room is cut, too */
    };
    struct canvas canvas = {0};
    (void)state;
    canvas_resize(&canvas, 1, 40);
    const struct area whole = canvas_area(&canvas);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        canvas_clear(&canvas);
        area_text_ends(&whole, 0, 0, names[i].width, STYLE_NORMAL, names[i].name, NULL);
        char *text = canvas_to_text(&canvas);
        text[strcspn(text, "\n")] = 0;
        assert_string_equal(text, names[i].shown);
        free(text);
    }
    canvas_release(&canvas);
}

/* Launches of 10 ns, one each 20 ns, ten a step, on two streams; stream 1 hands its own over ten too late. */
/* Blocks are found below what only holds them, and a number is told with what it counts. */
static void test_flame(void **state)
{
    static const struct {
        const char *path, *name, *block, *part;
        int32_t parent;
    } layers[] = {{"", "GPT", "GPT", "", -1},
                  {"transformer", "transformer", "transformer", "", 0},
                  {"transformer.wte", "wte", "wte", "", 1},
                  {"transformer.h", "h", "h", "", 1},
                  {"transformer.h.0", "0", "h.0", "", 3},
                  {"transformer.h.0.attn", "attn", "h.0", "attn", 4},
                  {"transformer.h.0.attn.c_attn", "c_attn", "h.0", "attn", 5},
                  {"transformer.h.1", "1", "h.1", "", 3},
                  {"lm_head", "lm_head", "lm_head", "", 0}};
    enum { COUNT = sizeof layers / sizeof *layers };
    struct report_layer made[COUNT] = {0};
    struct report_cell cell = {.layers = made, .layer_count = COUNT};
    struct flame flame;
    (void)state;
    for (int i = 0; i < COUNT; i++)
        made[i] = (struct report_layer){.path = layers[i].path, .name = layers[i].name, .parent = layers[i].parent};
    flame_make(&flame, &cell);
    for (int i = 0; i < COUNT; i++) {
        assert_string_equal(flame_name(&flame, PHASE_BWD, i, 0), "bwd");
        assert_string_equal(flame_name(&flame, PHASE_BWD, i, 1), layers[i].block);
        assert_string_equal(flame_name(&flame, PHASE_BWD, i, 2), layers[i].part);
    }
    assert_string_equal(flame_name(&flame, PHASE_OPT, -1, 1), "(no module)");
    flame_release(&flame);
}

static void fill_launches(struct aggregate *aggregate, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        const uint32_t at = i % 2 && i > 20 ? i - 10 : i;
        const struct record record = {.start = 1000 + at * 20,
                                      .end = 1010 + at * 20,
                                      .launch = UNKNOWN_U64,
                                      .place = PLACE_UNKNOWN,
                                      .step = i / 10,
                                      .sequence = i,
                                      .stream = i % 2};
        aggregate_add(aggregate, &record, 1);
    }
}

static void test_launches(void **state)
{
    const struct session_options options = {.program = "/bin/true", .timeline_records = 1000};
    struct error error = {0};
    struct session *session = session_create(&options, &error);
    struct live live = {.session = session};
    struct report report;
    struct cell cell;
    struct launches launches = {0};
    uint64_t first, last;
    size_t begin, end;
    (void)state;
    assert_non_null(session);
    cell_default(&cell);
    const struct run *run = session_find(session, session_add(session, &cell));
    assert_non_null(run);
    struct aggregate *aggregate = run_lead(run)->aggregate;
    report_init(&report);
    report_update(&report, session);
    launches_follow(&launches, &live, run, 0);
    launches_range(&launches, 0, 1000, &begin, &end);
    assert_int_equal(launches.count, 0);
    assert_int_equal(begin, end);
    assert_true(isnan(launches_step_ns(&launches)));
    fill_launches(aggregate, 0, 205);
    launches_follow(&launches, &live, run, 0);
    assert_int_equal(launches.count, 205);
    launches_extent(&launches, &first, &last);
    assert_int_equal(first, 1000);
    assert_int_equal(last, 1010 + 204 * 20);
    /* Step 20 is under way; of step 19 the earliest is number 191, which ran as 181st, and the latest 198. */
    assert_true(launches_step_ns(&launches) == (198 - 181) * 20 + 10);
    /* From launch 100 to 103, which are numbers 100, 111, 102 and 113. */
    launches_range(&launches, 1000 + 100 * 20, 1000 + 103 * 20 + 1, &begin, &end);
    assert_int_equal(begin, 100);
    assert_int_equal(end, 114);
    /* A copy stands still while others come, and when the oldest have gone. */
    live_freeze(&live, &report);
    fill_launches(aggregate, 205, 3000);
    launches_follow(&launches, &live, run, 0);
    assert_int_equal(live_waiting(&live), 2795);
    assert_int_equal(launches.count, 205);
    assert_int_equal(launches_at(&launches, 0)->sequence, 0);
    assert_string_equal(launches_name(&launches, launches_at(&launches, 0)), "(unnamed)");
    assert_true(aggregate_name(aggregate, 0, "sgemm")); /* said late */
    assert_string_equal(launches_name(&launches, launches_at(&launches, 0)), "sgemm");
    live_thaw(&live);
    assert_int_equal(live_waiting(&live), 0);
    launches_follow(&launches, &live, run, 0);
    assert_int_equal(launches.count, 1000);
    assert_int_equal(launches_at(&launches, 0)->sequence, 2000);
    assert_int_equal(launches_at(&launches, 999)->sequence, 2999);
    launches_release(&launches);
    report_free(&report);
    session_free(session);
}

static void test_editor(void **state)
{
    struct edit edit = {0};
    (void)state;
    edit_set(&edit, "aé");
    assert_true(edit_key(&edit, KEY_CODE_LEFT));
    assert_true(edit_key(&edit, 0x6838));
    assert_string_equal(edit.text, "a核é");
    assert_true(edit_key(&edit, KEY_CODE_BACKSPACE));
    assert_true(edit_key(&edit, KEY_CODE_DELETE));
    assert_string_equal(edit.text, "a");
    for (int i = 0; i < 2000; i++)
        edit_key(&edit, 0x6838);
    assert_true(strlen(edit.text) < sizeof edit.text);
    assert_true(edit_key(&edit, 'U' & 31));
    assert_string_equal(edit.text, "");
    assert_true(edit_key(&edit, KEY_CODE_BACKSPACE));
    assert_false(edit_key(&edit, KEY_CODE_UP));
}

static void test_config(void **state)
{
    char folder[] = "/tmp/steptop-config-XXXXXX", path[128], command[160];
    struct config config, again;
    struct error error = {0};
    (void)state;
    assert_non_null(mkdtemp(folder));
    setenv("XDG_CONFIG_HOME", folder, 1);
    config_load(&config, &error); /* there is none: the defaults, and no complaint */
    assert_int_equal(error.kind, ERROR_NONE);
    assert_int_equal(config.theme, -1);
    config.theme = theme_find("contrast");
    config.braille = true;
    config.mouse = false;
    config.threshold = 0.015;
    config.columns[VIEW_KERNELS] = 0x1234;
    config.sort[VIEW_RUNS] = 3;
    config.ascending[VIEW_RUNS] = true;
    config.choice[VIEW_KERNELS] = 2;
    config.choice[VIEW_MEMORY] = 1;
    config.refresh_ms = 500;
    assert_true(config_save(&config, &error));
    config_load(&again, &error);
    assert_int_equal(error.kind, ERROR_NONE);
    assert_memory_equal(&config, &again, sizeof config);
    snprintf(path, sizeof path, "%s/steptop/screen", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("theme mono\nthreshold_percent -4\nplots braille\n", file);
    fclose(file);
    config_load(&again, &error);
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_non_null(strstr(error.text, "screen:2:"));
    assert_int_equal(again.theme, theme_find("mono"));
    assert_true(again.braille);
    /* What is left out sets nothing, to its last byte. */
    static const char *const refused[] = {"mouse yes",
                                          "plots dots",
                                          "theme none",
                                          "refresh_ms 5",
                                          "refresh_ms",
                                          "kernels.sort 3",
                                          "kernels.sort x3",
                                          "kernels.sort +",
                                          "kernels.sort -x",
                                          "kernels.sort ",
                                          "kernels.sort +4294967296",
                                          "kernels.columns",
                                          "kernels.columns x",
                                          "kernels.shows -1",
                                          "threshold_percent "};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct config defaults;
        error = (struct error){0};
        config_default(&defaults);
        assert_non_null(file = fopen(path, "w"));
        fputs(refused[i], file);
        fclose(file);
        config_load(&again, &error);
        if (error.kind != ERROR_INPUT || memcmp(&again, &defaults, sizeof defaults) != 0)
            fail_msg("'%s' set something", refused[i]);
    }
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

static void test_devices(void **state)
{
    struct device_listing listings[4];
    struct error error = {0};
    (void)state;
    const int count = devices_parse("name,model,architecture,memory_bytes,free_bytes,units,precisions,status,reason\r\n"
                                    "cpu,\"AMD \"\"EPYC\"\", 2 cores\",x86-64-v3,8589934592,,2,fp32,ok,\r\n"
                                    "cuda,,,,,,,missing,\"no driver, and\nno plugin\"\r\n",
                                    listings, 4, &error);
    assert_int_equal(count, 2);
    assert_string_equal(listings[0].model, "AMD \"EPYC\", 2 cores");
    assert_true(listings[0].available);
    assert_true(listings[0].memory_bytes == 8589934592.0);
    assert_false(is_known(listings[0].free_bytes));
    assert_false(listings[1].available);
    assert_string_equal(listings[1].reason, "no driver, and\nno plugin");
    assert_int_equal(devices_parse("Segmentation fault\n", listings, 4, &error), -1);
    assert_int_equal(devices_parse("", listings, 4, &error), -1);
}

/* A driver that hangs holds nothing up: the question is given up after its time, and its child ended. */
static void test_devices_that_hang(void **state)
{
    struct device_listing listings[4];
    struct error error = {0};
    int ends[2], count = 0;
    (void)state;
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        assert_int_equal(pipe(ends), 0);
        fcntl(ends[0], F_SETFL, O_NONBLOCK);
        struct devices_query query = {.child = fork(), .output = ends[0], .deadline = clock_now() + 200000000u};
        if (query.child == 0)
            for (;;)
                pause();
        const pid_t child = query.child;
        close(ends[1]);
        const uint64_t before = clock_now();
        assert_true(devices_asked(&query));
        assert_false(devices_step(&query, listings, 4, &count, &error));
        if (cancelled)
            devices_cancel(&query);
        while (devices_asked(&query) && !devices_step(&query, listings, 4, &count, &error))
            poll(NULL, 0, 10);
        assert_true(clock_now() - before < 2000000000u);
        assert_false(devices_asked(&query));
        /* It was ended: else this would wait for ever. */
        const pid_t left = waitpid(child, NULL, 0);
        assert_true(left == child || left == -1);
        if (!cancelled) {
            assert_int_equal(count, -1);
            assert_non_null(strstr(error.text, "longer than 5 s"));
        }
    }
}

static struct line *place(struct lines *lines, size_t row, uint64_t id, uint64_t version)
{
    struct line *line = lines_place(lines, row, id);
    line->stale = !line->shown_at || line->version != version;
    return line;
}

/* Rows that all change take turns, those that waited longest first; new ones and the selected one never wait. */
static void rows_take_turns(int most)
{
    enum { ROWS = 45 };
    const int turn = most ? most : LINES_A_FRAME;
    struct lines lines = {0};
    uint64_t shown[ROWS] = {0};
    for (uint64_t frame = 1; frame <= 50; frame++) {
        int made = 0;
        lines_begin(&lines, ROWS);
        for (size_t row = 0; row < ROWS; row++)
            place(&lines, row, 100 + (row + frame) % ROWS, frame); /* and move up a row each time */
        const size_t waiting = lines_choose(&lines, 7, most);
        for (size_t row = 0; row < ROWS; row++) {
            struct line *line = &lines.items.items[row];
            const size_t which = (size_t)(line->id - 100);
            assert_int_equal(line->id, 100 + (row + frame) % ROWS);
            if (line->stale) {
                made++;
                line->shown_at = line->version = frame;
                shown[which] = frame;
            }
            /* Nobody waits longer than it takes to have all others shown. */
            assert_true(frame - shown[which] <= (uint64_t)((ROWS + turn - 1) / turn + 1));
        }
        if (frame == 1) {
            assert_int_equal(made, ROWS);
            assert_int_equal(waiting, 0);
        } else {
            assert_true(lines.items.items[7].shown_at == frame);
            assert_true(made >= turn && made <= turn + 1);
            assert_int_equal(waiting, ROWS - (size_t)made);
        }
    }
    /* Nothing changed: nothing is made; one row is new: it is, at once. */
    lines_begin(&lines, ROWS);
    for (size_t row = 0; row < ROWS; row++)
        lines.items.items[row].stale = place(&lines, row, row == 3 ? 999 : 100 + row, 0)->shown_at == 0;
    assert_int_equal(lines_choose(&lines, 7, most), 0);
    for (size_t row = 0; row < ROWS; row++)
        assert_int_equal(lines.items.items[row].stale, row == 3);
    lines_release(&lines);
}

static void test_lines(void **state)
{
    (void)state;
    rows_take_turns(0);
    rows_take_turns(3);
}

static void test_modes(void **state)
{
    struct histogram one = {0}, two = {0};
    uint64_t *bins = calloc(BINS, sizeof *bins);
    double valley = 0;
    (void)state;
    assert_non_null(bins);
    for (int i = 0; i < 200; i++) {
        histogram_add(&one, 1000000 + (uint64_t)(i % 20) * 5000);
        histogram_add(&two, (i % 3 ? 1000000u : 2500000u) + (uint64_t)(i % 20) * 5000);
    }
    bins_of(&one, bins);
    assert_false(modes_find(bins, &valley));
    bins_of(&two, bins);
    assert_true(modes_find(bins, &valley));
    assert_true(valley > 1.1e6 && valley < 2.5e6);
    histogram_release(&one);
    histogram_release(&two);
    free(bins);
}

/* As printf, but for a sign before nothing. */
static const char *without_minus_zero(const char *text)
{
    return text[0] == '-' && strtod(text, NULL) == 0 ? text + 1 : text;
}

/* Figures are what printf makes of them, at every size and close to the middle between two. */
static void test_figures_as_printf(void **state)
{
    uint64_t random = 1;
    (void)state;
    for (int i = 0; i < 200000; i++) {
        char text[FORMAT_SIZE], wanted[FORMAT_SIZE];
        random = random * 6364136223846793005u + 1442695040888963407u;
        double value = (double)(random >> 40) / 8000 * (i % 3 ? 1 : 1e-4);
        if (i % 7 == 0)
            value = (double)(random >> 44) + 0.5; /* a tie */
        if (i % 11 == 0)
            value = -value;
        snprintf(wanted, sizeof wanted, "%.3f", value);
        assert_string_equal(format_ratio(text, value), without_minus_zero(wanted));
        snprintf(wanted, sizeof wanted, "%.1f", value * 100);
        assert_string_equal(format_percent(text, value), without_minus_zero(wanted));
        const double magnitude = value < 0 ? -value : value;
        if (magnitude < 99999) {
            snprintf(wanted, sizeof wanted, "%.0f", value);
            assert_string_equal(format_count(text, value), without_minus_zero(wanted));
        }
        if (magnitude < 999) {
            snprintf(wanted, sizeof wanted, "%.0f ns", value);
            assert_string_equal(format_duration(text, value), without_minus_zero(wanted));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_selection),
        cmocka_unit_test(test_table_filter_and_find),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_figures),
        cmocka_unit_test(test_canvas),
        cmocka_unit_test(test_editor),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_flame),
        cmocka_unit_test(test_launches),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_figures_as_printf),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_devices_that_hang),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_modes),
    };
    setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
