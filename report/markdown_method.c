#include "report/escape.h"
#include "report/fields.h"
#include "report/markdown.h"
#include "report/pipe_table.h"
#include "report/rules.h"
#include <stdio.h>
#include <string.h>

void markdown_failures(const struct report *report, struct strbuf *out)
{
    bool any = false;
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        if (cell->status == STATUS_OK)
            continue;
        if (!any)
            strbuf_puts(out, "\n## Cells that are not ok\n\n");
        any = true;
        strbuf_puts(out, "- ");
        markdown_title(cell, out);
        strbuf_printf(out, ": %s", status_name(cell->status));
        if (cell->reason && *cell->reason) {
            strbuf_puts(out, ", ");
            escape_markdown_cell(out, cell->reason);
        }
        strbuf_putc(out, '\n');
    }
}

static void line(struct strbuf *out, const char *what, const char *text)
{
    if (!text || !*text)
        return;
    strbuf_printf(out, "- %s: ", what);
    escape_markdown_cell(out, text);
    strbuf_putc(out, '\n');
}

static const char *text_or_na(const char *text)
{
    return text && *text ? text : "n/a";
}

static void host_lines(const struct report *report, struct strbuf *out)
{
    const struct report_host *host = &report->host;
    char text[256];
    const bool commit = report->commit && *report->commit;
    snprintf(text, sizeof text, "%.60s, commit %.60s%s", text_or_na(report->tool_version), text_or_na(report->commit),
             commit && report->dirty ? ", with changes" : "");
    line(out, "steptop", text);
    line(out, "written", report->created);
    if (report->profile_name && *report->profile_name) {
        snprintf(text, sizeof text, "%.80s, digest %.16s", report->profile_name,
                 report->profile_digest && *report->profile_digest ? report->profile_digest : "unknown");
        line(out, "profile", text);
    }
    line(out, "host", host->hostname);
    line(out, "system", host->os);
    line(out, "kernel", host->kernel);
    line(out, "processor", host->cpu);
    if (host->cores && host->cores != UINT32_MAX) {
        snprintf(text, sizeof text, "%u", host->cores);
        line(out, "cores that may be used", text);
        if (host->physical_cores && host->physical_cores != UNKNOWN_U32 && host->physical_cores < host->cores) {
            snprintf(text, sizeof text, "%u", host->physical_cores);
            line(out, "of them on cores of their own", text);
        }
    }
    if (is_known_u64(host->memory_bytes)) {
        snprintf(text, sizeof text, "%.1f GiB", (double)host->memory_bytes / 0x1p30);
        line(out, "memory", text);
    }
    line(out, "governor", host->governor && *host->governor ? host->governor : "not known here");
    if (is_known(host->load_average)) {
        snprintf(text, sizeof text, "%.2f", host->load_average);
        line(out, "load average at the start", text);
    }
}

/* "this run 71 %, other programs 3 %, idle 26 %, stolen 0.0 %" */
static void machine_line(const struct machine_use *use, struct strbuf *out)
{
    const double own = 1 - use->others - use->idle - use->steal;
    const struct {
        const char *name;
        double share;
    } shares[] = {{"this run", own},
                  {"other programs", use->others},
                  {"idle", use->idle},
                  {"stolen by the host", use->steal},
                  {"stopped by a quota", use->throttled > 0 ? use->throttled : UNKNOWN_DOUBLE}};
    struct strbuf text = {0};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++)
        if (is_known(shares[i].share))
            strbuf_printf(&text, "%s%s %.1f %%", text.length ? ", " : "", shares[i].name,
                          fmax(0, shares[i].share) * 100);
    if (text.length)
        line(out, "processors' time", text.text);
    strbuf_release(&text);
}

static void telemetry_line(const struct device_telemetry *telemetry, struct strbuf *out)
{
    struct strbuf text = {0};
    const struct {
        const char *what, *unit;
        double value;
    } figures[] = {
        {"clock", "MHz", telemetry->sm_clock_mhz},
        {"memory clock", "MHz", telemetry->memory_clock_mhz},
        {"power", "W", telemetry->power_w},
        {"power limit", "W", telemetry->power_limit_w},
        {"temperature", "°C", telemetry->temperature_c},
        {"links to other devices", "GB/s in one direction by the driver", telemetry->link_bytes_per_s / 1e9},
    };
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        if (is_known(figures[i].value) && figures[i].value != 0)
            strbuf_printf(&text, "%s%s %.4g %s", text.length ? ", " : "", figures[i].what, figures[i].value,
                          figures[i].unit);
    if (telemetry->throttle[0])
        strbuf_printf(&text, "%sthrottled: %s", text.length ? ", " : "", telemetry->throttle);
    if (telemetry->other_processes != UINT32_MAX)
        strbuf_printf(&text, "%sother processes on the device: %u", text.length ? ", " : "",
                      telemetry->other_processes);
    line(out, "sampled during the run", text.text);
    strbuf_release(&text);
}

/* A step was taken, of whatever kind. */
static bool has_run(const struct report_cell *cell)
{
    for (int pass = 0; pass < PASS_COUNT; pass++) {
        const struct report_phase *total = &cell->passes[pass].phases[PHASE_COUNT];
        if (cell->passes[pass].present && (total->warmup_count || total->profiled_count || total->summary.n))
            return true;
    }
    return false;
}

static void settings_line(const struct report_cell *cell, struct strbuf *out)
{
    const struct cell *asked = &cell->requested;
    struct strbuf text = {0};
    if (asked->command[0]) {
        line(out, "settings", "a command as it is; warm-up steps are left out, and one step of fifty is not recorded");
        return;
    }
    strbuf_puts(&text, "warm-up ");
    put_count(&text, requested_is_known(cell, "warmup") ? asked->warmup : UNKNOWN_U64);
    strbuf_puts(&text, ", steps ");
    if (requested_is_known(cell, "steps") && asked->steps == STEPS_FOREVER)
        strbuf_puts(&text, "until stopped");
    else
        put_count(&text, requested_is_known(cell, "steps") ? asked->steps : UNKNOWN_U64);
    strbuf_puts(&text, ", seed ");
    put_count(&text, asked->seed);
    strbuf_puts(&text, ", a profiled step ");
    if (!requested_is_known(cell, "profile_every"))
        strbuf_puts(&text, "n/a");
    else if (asked->profile_every == 1)
        strbuf_puts(&text, "beside each timed step");
    else if (asked->profile_every)
        strbuf_printf(&text, "beside one timed step in %u", asked->profile_every);
    else
        strbuf_puts(&text, "never");
    line(out, "settings", text.text);
    strbuf_clear(&text);
    strbuf_printf(&text, "asked for %s %s, ", requested_is_known(cell, "dtype") ? precision_name(asked->dtype) : "n/a",
                  !requested_is_known(cell, "compile") ? "n/a"
                  : asked->compile                     ? "compiled"
                                                       : "eager");
    if (has_run(cell) && !cell->absent.effective)
        strbuf_printf(&text, "ran %s %s", precision_name(cell->effective_dtype),
                      cell->effective_compile ? "compiled" : "eager");
    else
        strbuf_puts(&text, has_run(cell) ? "what ran is not said" : "took no step");
    const char *before = "; fused: ";
    for (int f = 0; f < FUSE_COUNT; f++)
        if (cell->fired >> f & 1) {
            strbuf_printf(&text, "%s%s", before, fusion_name((enum fusion)f));
            before = ", ";
        }
    line(out, "configuration", text.text);
    strbuf_release(&text);
}

static void ceilings_line(const struct report_cell *cell, struct strbuf *out)
{
    const struct report_ceilings *ceilings = &cell->ceilings;
    struct strbuf text = {0};
    if (is_known(ceilings->flops_per_s))
        strbuf_printf(&text, "%.1f GFLOP/s matmul", ceilings->flops_per_s * 1e-9);
    if (is_known(ceilings->bytes_per_s))
        strbuf_printf(&text, "%s%.1f GB/s copy", text.length ? ", " : "", ceilings->bytes_per_s * 1e-9);
    line(out, note_text(cell, NOTE_CEILINGS) ? "ceilings, measured" : "ceilings, measured in this run", text.text);
    strbuf_release(&text);
}

static void cell_lines(const struct report_cell *cell, struct strbuf *out)
{
    char text[512];
    const struct device_info *device = &cell->device;
    if (device->name[0]) {
        snprintf(text, sizeof text, "%s, %s%s%s%s%s", device->name, device->model, device->architecture[0] ? ", " : "",
                 device->architecture, device->driver[0] ? ", " : "", device->driver);
        line(out, "device", text);
    }
    settings_line(cell, out);
    const struct {
        uint64_t count;
        const char *what;
    } counts[] = {{cell->records, " received"},
                  {cell->dropped, " lost"},
                  {cell->invalid, " refused as invalid"},
                  {cell->unattributed, " of no layer"}};
    struct strbuf records = {0};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        strbuf_puts(&records, i ? ", " : "");
        put_count(&records, counts[i].count);
        strbuf_puts(&records, counts[i].what);
    }
    line(out, "records", records.text);
    strbuf_release(&records);
    ceilings_line(cell, out);
    telemetry_line(&cell->telemetry, out);
    machine_line(&cell->use, out);
    for (size_t n = 0; n < cell->note_count; n++) {
        struct strbuf key = {0};
        escape_markdown_cell(&key, cell->notes[n].key);
        line(out, key.text ? key.text : "note", cell->notes[n].text);
        strbuf_release(&key);
    }
}

void markdown_method(const struct report *report, struct strbuf *out)
{
    strbuf_puts(
        out,
        "\n## How this was measured\n\n"
        "Each cell runs in a process of its own: warm-up steps that do not count, then timed steps with the profiler "
        "off, which give the headline figures, in turns with profiled steps, which give the kernel tables. The device "
        "is "
        "synchronised at both ends of a step. All times are CLOCK_MONOTONIC. Medians and percentiles of kernels come "
        "from a logarithmic histogram (within 1.1 %). FLOPs of attention count the pairs that the causal mask leaves, "
        "T(T + 1)/2 a head: half of the T² that papers and courses often count.\n\n");
    host_lines(report, out);
    for (size_t i = 0; i < report->cells.count && i < MARKDOWN_DETAIL_CELLS; i++) {
        const struct report_cell *cell = report->cells.items[i];
        strbuf_puts(out, "\n### Settings and surroundings of ");
        markdown_title(cell, out);
        strbuf_puts(out, "\n\n");
        cell_lines(cell, out);
    }
}
