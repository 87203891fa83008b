/* CSV of the kernels: one row a kernel of each pass and phase, as in the Kernels view. Times in ns, shares from 0 to 1, what is not
 * known is empty. */
#include "report/emit.h"
#include "report/escape.h"
#include "report/fields.h"
#include <string.h>

static const char heads[] =
    "cell,device,model,batch_size,context_length,dtype,compile,pass,phase,class,op,kernel,modules,calls,"
    "profiled_steps,total_ns,share,mean_ns,sd_ns,median_ns,p95_ns,p99_ns,min_ns,max_ns,flops,bytes\r\n";

static void put_text(struct strbuf *out, const char *text)
{
    escape_csv(out, text);
    strbuf_putc(out, ',');
}

static void put_whole(struct strbuf *out, uint64_t value)
{
    if (is_known_u64(value))
        strbuf_unsigned(out, value);
    strbuf_putc(out, ',');
}

static void put_number(struct strbuf *out, double value)
{
    if (is_known(value))
        number_print(out, value);
}

static void put_kernel(const struct report_cell *cell, const struct report_kernel *kernel, struct strbuf *out)
{
    const struct cell *asked = &cell->requested;
    put_whole(out, cell->run_id);
    put_text(out, asked->device);
    put_text(out, asked->model.name);
    put_whole(out, requested_is_known(cell, "batch_size") ? (uint64_t)asked->batch_size : UNKNOWN_U64);
    put_whole(out, requested_is_known(cell, "context_length") ? (uint64_t)asked->context_length : UNKNOWN_U64);
    put_text(out, requested_is_known(cell, "dtype") ? precision_name(asked->dtype) : "");
    put_text(out, !requested_is_known(cell, "compile") ? "" : asked->compile ? "true" : "false");
    put_text(out, pass_name((enum pass)kernel->pass));
    put_text(out, phase_name((enum phase)kernel->phase));
    put_text(out, kernel_class_name(kernel->kernel_class));
    put_text(out, kernel->op);
    put_text(out, kernel->name);
    put_whole(out, (uint64_t)kernel->layers);
    put_whole(out, kernel->calls);
    put_whole(out, cell->passes[kernel->pass].profiled_steps);
    put_whole(out, kernel->total_ns);
    const double values[] = {kernel->share,     kernel->mean_ns, kernel->sd_ns,
                             kernel->median_ns, kernel->p95_ns,  kernel->p99_ns};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        put_number(out, values[i]);
        strbuf_putc(out, ',');
    }
    put_whole(out, kernel->min_ns);
    put_whole(out, kernel->max_ns);
    put_number(out, kernel->flops);
    strbuf_putc(out, ',');
    put_number(out, kernel->bytes);
    strbuf_puts(out, "\r\n");
}

void emit_kernels(const struct report *report, struct strbuf *out)
{
    strbuf_puts(out, heads);
    for (size_t i = 0; i < report->cells.count; i++)
        for (size_t k = 0; k < report->cells.items[i]->kernel_count; k++)
            put_kernel(report->cells.items[i], &report->cells.items[i]->kernels[k], out);
}
