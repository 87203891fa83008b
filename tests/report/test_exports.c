/* JSON, CSV, Perfetto and SVG from the same document, each read back by a parser of its own or held against its rules. */
#include "report/emit.h"
#include "report/escape.h"
#include "synthetic.h"
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void hostile(struct report *report)
{
    struct report_cell *cell = report->cells.items[0];
    cell->kernels[0].name = "k<\"&'>\\ \033[2J\x80 ,=\n";
    cell->layers[1].path = cell->layers[1].name = "a\"b\\c";
    strcpy(cell->requested.model.name, "=m,\"x\"");
}

static json_t *parse(const char *text)
{
    json_error_t problem;
    json_t *json = json_loads(text, 0, &problem);
    if (!json)
        fail_msg("line %d: %s", problem.line, problem.text);
    return json;
}

static void test_json(void **state)
{
    (void)state;
    struct report report;
    struct strbuf out = {0};
    synthetic_report(&report, "tiny", true, 3, 1);
    hostile(&report);
    emit_json(&report, &out);
    json_t *json = parse(out.text), *cell = json_array_get(json_object_get(json, "cells"), 0);
    assert_string_equal(json_string_value(json_object_get(json, "schema")), "steptop/report/1");
    assert_int_equal(json_array_size(json_object_get(cell, "kernels")), report.cells.items[0]->kernel_count);
    assert_int_equal(json_array_size(json_object_get(cell, "timeline")), report.cells.items[0]->launch_count);
    const json_t *kernel = json_array_get(json_object_get(cell, "kernels"), 0);
    assert_int_equal(json_integer_value(json_object_get(kernel, "total_ns")),
                     report.cells.items[0]->kernels[0].total_ns);
    assert_string_equal(json_string_value(json_object_get(kernel, "name")), "k<\"&'>\\ \ufffd[2J\ufffd ,=");
    /* What is unknown is not there. */
    assert_null(json_object_get(json_object_get(cell, "device"), "clock_mhz"));
    json_decref(json);
    strbuf_release(&out);
    report_free(&report);
}

/* What is not known is left out, in maps and in rows; a kernel that is called - is a kernel. */
static void test_json_unknown(void **state)
{
    (void)state;
    struct report report;
    struct strbuf out = {0};
    struct error error = {0};
    synthetic_report(&report, "tiny", false, 2, 1);
    report.cells.items[0]->kernels[0].name = "-";
    report.cells.items[0]->kernels[1].name = " ";
    emit_json(&report, &out);
    json_t *json = parse(out.text), *cell = json_array_get(json_object_get(json, "cells"), 0);
    const json_t *kernels = json_object_get(cell, "kernels");
    assert_string_equal(json_string_value(json_object_get(json_array_get(kernels, 0), "name")), "-");
    assert_null(json_object_get(json_array_get(kernels, 1), "name"));
    assert_true(json_is_integer(json_object_get(json_object_get(json, "host"), "cores")));
    assert_true(json_is_boolean(json_object_get(json_object_get(json, "tool"), "dirty")));
    json_decref(json);
    report_free(&report);
    static const char bare[] = "schema: steptop/report/1\ncells: []\ncomplete: true\n";
    if (!report_parse(bare, sizeof bare - 1, "bare.yaml", &report, &error))
        fail_msg("%s", error.text);
    strbuf_clear(&out);
    emit_json(&report, &out);
    json = parse(out.text);
    assert_int_equal(json_object_size(json_object_get(json, "host")), 0);
    assert_int_equal(json_object_size(json_object_get(json, "tool")), 0);
    json_decref(json);
    strbuf_clear(&out);
    emit_markdown(&report, &out);
    assert_null(strstr(out.text, "cores that may be used"));
    strbuf_release(&out);
    report_free(&report);
}

/* Cells of one CSV line (RFC 4180) into `fields`; the rest of the text. */
static const char *csv_line(const char *text, char fields[64][256], int *count)
{
    for (*count = 0;; (*count)++) {
        size_t length = 0;
        if (*text == '"')
            for (text++; *text != '"' || *++text == '"'; text++)
                fields[*count][length++] = *text;
        else
            while (*text != ',' && *text != '\r')
                fields[*count][length++] = *text++;
        fields[*count][length] = 0;
        if (*text++ == '\r')
            break;
    }
    (*count)++;
    return text + 1;
}

static void test_csv(void **state)
{
    (void)state;
    struct report report;
    struct strbuf out = {0};
    static char header[64][256], fields[64][256];
    int columns, count, rows = 0, model = -1, mean = -1;
    synthetic_report(&report, "tiny", false, 3, 1);
    hostile(&report);
    /* Each axis of a sweep is a column. */
    static const struct {
        const char *name, *value;
    } axes[] = {{"threads", "3"}, {"warmup", "5"}, {"seed", "11"}, {"d_ff", "1024"}, {"vocab_size", "10000"}};
    report.cells.items[0]->requested.threads = 3;
    report.cells.items[0]->requested.warmup = 5;
    report.cells.items[0]->requested.seed = 11;
    emit_csv(&report, &out);
    const char *at = csv_line(out.text, header, &columns);
    for (int c = 0; c < columns; c++) {
        model = strcmp(header[c], "model") == 0 ? c : model;
        mean = strcmp(header[c], "mean_ns") == 0 ? c : mean;
    }
    for (; *at; rows++) {
        at = csv_line(at, fields, &count);
        assert_int_equal(count, columns);
        assert_string_equal(fields[model], "'=m,\"x\"");
        assert_true(strtod(fields[mean], NULL) > 0);
        for (size_t a = 0; a < sizeof axes / sizeof *axes; a++) {
            int c = 0;
            while (c < columns && strcmp(header[c], axes[a].name) != 0)
                c++;
            assert_true(c < columns);
            assert_string_equal(fields[c], axes[a].value);
        }
    }
    assert_int_equal(rows, 6); /* fwd: fwd, total; fwd_bwd: fwd, loss, bwd, total */
    strbuf_release(&out);
    report_free(&report);
}

static double number(const json_t *event, const char *key)
{
    return json_number_value(json_object_get(event, key));
}

/* The rules of the trace format: known event kinds, tracks that have names, on each track slices in order of their start
 * that nest or stand apart, counters in order of time. */
static void check_trace(const json_t *trace, int *slices, int *counters)
{
    enum { TRACKS = 700, DEPTH = 64 };
    static struct {
        int64_t process, track;
        double last, stack[DEPTH];
        int depth;
        bool named;
    } tracks[TRACKS];
    int used = 0;
    memset(tracks, 0, sizeof tracks);
    size_t index;
    const json_t *event;
    *slices = *counters = 0;
    json_array_foreach(json_object_get(trace, "traceEvents"), index, event)
    {
        const char *kind = json_string_value(json_object_get(event, "ph"));
        const int64_t process = json_integer_value(json_object_get(event, "pid"));
        const int64_t track = json_integer_value(json_object_get(event, "tid"));
        int t = 0;
        assert_non_null(kind);
        assert_true(json_is_integer(json_object_get(event, "pid")) && json_is_integer(json_object_get(event, "tid")));
        assert_true(json_is_string(json_object_get(event, "name")));
        while (t < used && (tracks[t].process != process || tracks[t].track != track))
            t++;
        assert_true(t < TRACKS);
        if (t == used) {
            tracks[t].process = process;
            tracks[t].track = track;
            tracks[t].last = -1;
            used++;
        }
        if (kind[0] == 'M') {
            assert_true(json_is_string(json_object_get(json_object_get(event, "args"), "name")));
            tracks[t].named = true;
            continue;
        }
        const double start = number(event, "ts");
        assert_true(json_is_number(json_object_get(event, "ts")) && start >= 0 && tracks[t].named);
        if (start < tracks[t].last)
            fail_msg("event %zu goes back in time: %.3f after %.3f", index, start, tracks[t].last);
        tracks[t].last = start;
        if (kind[0] == 'C') {
            (*counters)++;
            continue;
        }
        assert_string_equal(kind, "X");
        const double end = start + number(event, "dur");
        assert_true(number(event, "dur") >= 0);
        while (tracks[t].depth && tracks[t].stack[tracks[t].depth - 1] <= start + 1e-6)
            tracks[t].depth--;
        if (tracks[t].depth && end > tracks[t].stack[tracks[t].depth - 1] + 1e-3)
            fail_msg("event %zu overlaps its neighbour without nesting", index);
        assert_true(tracks[t].depth < DEPTH);
        tracks[t].stack[tracks[t].depth++] = end;
        (*slices)++;
    }
}

/* Memory changes where a launch begins: every counter has a launch of its process that starts with it. */
static void check_counters(const json_t *trace)
{
    size_t c, x;
    const json_t *counter, *slice, *events = json_object_get(trace, "traceEvents");
    json_array_foreach(events, c, counter)
    {
        bool found = false;
        if (strcmp(json_string_value(json_object_get(counter, "ph")), "C") != 0)
            continue;
        json_array_foreach(events, x, slice)
        {
            found = strcmp(json_string_value(json_object_get(slice, "ph")), "X") == 0 &&
                    number(slice, "pid") == number(counter, "pid") &&
                    json_object_get(json_object_get(slice, "args"), "op") &&
                    number(slice, "ts") == number(counter, "ts");
            if (found)
                break;
        }
        if (!found)
            fail_msg("memory changes at %.3f, where no launch begins", number(counter, "ts"));
    }
}

/* Each counter event is one node of the plan: all kinds of tensors, with their bytes. */
static void check_memory(const json_t *trace, const struct report_memory *memory)
{
    size_t index;
    int32_t node = 0;
    const json_t *event;
    json_array_foreach(json_object_get(trace, "traceEvents"), index, event)
    {
        const json_t *kinds = json_object_get(event, "args");
        if (strcmp(json_string_value(json_object_get(event, "ph")), "C") != 0)
            continue;
        while (node < memory->curve_count && memory->curve_phase[node] != PHASE_FWD)
            node++;
        if (node == memory->curve_count)
            return; /* the first pass is through */
        assert_int_equal(json_object_size(kinds), TENSOR_KIND_COUNT);
        for (int kind = 0; kind < TENSOR_KIND_COUNT; kind++)
            assert_int_equal(json_integer_value(json_object_get(kinds, tensor_kind_name((enum tensor_kind)kind))),
                             memory->curve[node * TENSOR_KIND_COUNT + kind]);
        node++;
    }
}

static void test_perfetto(void **state)
{
    (void)state;
    struct report report;
    struct strbuf out = {0};
    int slices, counters;
    synthetic_report(&report, "tiny", false, 3, 1);
    hostile(&report);
    struct report_cell *cell = report.cells.items[0];
    emit_perfetto(&report, &out);
    json_t *json = parse(out.text);
    check_trace(json, &slices, &counters);
    assert_true(slices > (int)cell->launch_count); /* launches, and the layers above them */
    assert_true(counters >= cell->memory.curve_count);
    check_counters(json);
    check_memory(json, &cell->memory);
    json_decref(json);
    /* A second stream whose launches overlap the first's, and one that overlaps its own neighbour by a little. */
    for (size_t i = 0; i < cell->launch_count; i++)
        cell->timeline[i].stream = (uint16_t)(i % 2);
    cell->timeline[0].duration_ns = cell->timeline[3].start_ns + 5 - cell->timeline[0].start_ns;
    strbuf_clear(&out);
    emit_perfetto(&report, &out);
    json = parse(out.text);
    check_trace(json, &slices, &counters);
    json_decref(json);
    /* Without a timeline a step is laid out from the kernels, and says so. */
    cell->launch_count = 0;
    strbuf_clear(&out);
    emit_perfetto(&report, &out);
    json = parse(out.text);
    check_trace(json, &slices, &counters);
    assert_true(slices > 10 && counters == 0);
    assert_non_null(strstr(out.text, "not a recorded order"));
    json_decref(json);
    strbuf_release(&out);
    report_free(&report);
}

static void check_svg(const char *text)
{
    assert_memory_equal(text, "<svg xmlns=", 11);
    assert_string_equal(text + strlen(text) - 7, "</svg>\n");
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
    assert_true(text_is_clean(text, strcspn(text, "\n")));
    int open = 0;
    for (const char *c = text; *c; c++) {
        assert_true((unsigned char)*c >= 0x20 || *c == '\n');
        if (*c != '<')
            continue;
        const char *end = strchr(c, '>');
        assert_non_null(end);
        open += c[1] == '/' ? -1 : end[-1] == '/' ? 0 : 1;
        assert_true(open >= 0);
    }
    assert_int_equal(open, 0);
}

/* Legend entries: a 10 × 10 square and a text. None may begin before the one to its left has ended, at 6 px a letter. */
static void check_legends(const char *text)
{
    double x, y, end = 0, line = -1;
    for (const char *c = text; (c = strstr(c, "<rect ")); c++) {
        char name[64];
        double text_x, text_y;
        if (sscanf(c,
                   "<rect x=\"%lf\" y=\"%lf\" width=\"10.0\" height=\"10.0\" fill=\"%*[^\"]\"/>\n"
                   "<text x=\"%lf\" y=\"%lf\" text-anchor=\"start\">%63[^<]",
                   &x, &y, &text_x, &text_y, name) != 5)
            continue;
        if (y == line && x < end)
            fail_msg("the legend's '%s' at %.1f begins before the one to its left ends, at %.1f", name, x, end);
        line = y;
        end = text_x + 6 * (double)utf8_length(name);
    }
    assert_true(line > 0);
}

/* However many launches cross: each has its own times, and no track two that do. */
static void test_perfetto_crossing(void **state)
{
    (void)state;
    static const size_t counts[] = {3, 60, 600};
    for (size_t n = 0; n < sizeof counts / sizeof *counts; n++) {
        struct report report;
        struct strbuf out = {0};
        int slices, counters;
        synthetic_report(&report, "tiny", false, 3, 1);
        struct report_cell *cell = report.cells.items[0];
        const size_t count = cell->launch_count = counts[n],
                     again = count / 3; /* the last third finds tracks that are free */
        struct report_launch *launches = calloc(count, sizeof *launches);
        for (size_t i = 0; i < count; i++) {
            const bool late = i >= count - again;
            launches[i] = cell->timeline[0];
            launches[i].stream = 0;
            launches[i].start_ns = (late ? 9000 * count : 0) + 1000 * i;
            launches[i].duration_ns = 2000 * count + 7 * i;
        }
        cell->timeline = launches;
        emit_perfetto(&report, &out);
        json_t *json = parse(out.text);
        check_trace(json, &slices, &counters);
        size_t index, seen = 0;
        const json_t *event;
        json_array_foreach(json_object_get(json, "traceEvents"), index, event)
        {
            const char *class = json_string_value(json_object_get(event, "cat"));
            if (!class || strcmp(class, "layer") == 0)
                continue;
            assert_true(fabs(number(event, "ts") * 1e3 - (double)launches[seen].start_ns) < 1e-3);
            assert_true(fabs(number(event, "dur") * 1e3 - (double)launches[seen].duration_ns) < 1e-3);
            seen++;
        }
        assert_int_equal(seen, count);
        char name[48];
        snprintf(name, sizeof name, "\"stream 0, beside (%zu)\"", count - again);
        assert_non_null(strstr(out.text, name));
        snprintf(name, sizeof name, "\"stream 0, beside (%zu)\"", count - again + 1);
        assert_null(strstr(out.text, name));
        json_decref(json);
        strbuf_release(&out);
        cell->launch_count = 0;
        free(launches);
        report_free(&report);
    }
}

static void test_svg(void **state)
{
    (void)state;
    struct report report;
    struct strbuf out = {0};
    struct error error = {0};
    synthetic_report(&report, "tiny", false, 3, 1);
    hostile(&report);
    emit_svg(&report, &out);
    check_svg(out.text);
    check_legends(out.text);
    /* Each phase that is wide enough for its name has it, the widest first of all; shares stand on the bars. */
    assert_non_null(strstr(out.text, "text-anchor=\"middle\">fwd</text>"));
    assert_non_null(strstr(out.text, "text-anchor=\"middle\">bwd</text>"));
    assert_non_null(strstr(out.text, "fill=\"#ffffff\">"));
    assert_null(strstr(out.text, "e+0"));
    assert_non_null(strstr(out.text, "Roofline"));
    assert_non_null(strstr(out.text, "60.0 GFLOP/s"));
    /* Beside a Markdown file: one picture each, shown by the text. */
    char folder[] = "/tmp/steptop-svg-XXXXXX", path[128];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/r (1).md", folder);
    if (!report_write(&report, FORMAT_MARKDOWN, path, &error))
        fail_msg("%s", error.text);
    unlink(path);
    static const char *const names[] = {"classes", "layers", "histogram", "memory", "roofline"};
    for (size_t i = 0; i < 5; i++) {
        struct stat stat_;
        snprintf(path, sizeof path, "%s/r (1)-1-%s.svg", folder, names[i]);
        assert_int_equal(stat(path, &stat_), 0);
        assert_true(stat_.st_size > 500);
        unlink(path);
    }
    assert_int_equal(rmdir(folder), 0);
    strbuf_release(&out);
    report_free(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),     cmocka_unit_test(test_json_unknown),      cmocka_unit_test(test_csv),
        cmocka_unit_test(test_perfetto), cmocka_unit_test(test_perfetto_crossing), cmocka_unit_test(test_svg),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
