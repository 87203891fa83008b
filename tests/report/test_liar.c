/* A front against workers that lie at random: records, messages, sizes, the ring's own header, what they print. Whatever comes,
 * the front ends the run with a status and one clean line, its files are whole, and no control character from the worker is
 * in any of them. This program is its own worker; the cell's seed says which lies it tells.
 * STEPTOP_TEST_LIARS=N tries N of them, STEPTOP_TEST_LIAR=SEED that one alone. */
#include "base/unknown.h"
#include "profiler/protocol.h"
#include "profiler/ring.h"
#include "report/emit.h"
#include "tests/profiler/session_helpers.h"
#include "tests/profiler/worker_voice.h"
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the worker's side ---- */

struct liar {
    uint64_t state;
    struct ring *ring;
    unsigned char *shared; /* the ring's pages, as somebody who does not keep to the rules sees them */
    struct cell cell;
    int32_t node_count;
    uint64_t clock;
    bool plan_sent;
};

static uint64_t draw(struct liar *liar)
{
    liar->state += 0x9e3779b97f4a7c15u;
    uint64_t z = liar->state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint32_t below(struct liar *liar, uint32_t count)
{
    return (uint32_t)(draw(liar) % count);
}

static void fill(struct liar *liar, void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        ((unsigned char *)bytes)[i] = (unsigned char)draw(liar);
}

/* Numbers at the edges more often than chance would have them. */
static uint64_t odd_number(struct liar *liar)
{
    static const uint64_t edges[] = {
        0, 1, INT32_MAX, UINT32_MAX, (uint64_t)INT64_MAX, UINT64_MAX, UINT64_MAX - 1, 1ull << 62, 127, 255, 1ull << 53};
    return below(liar, 3) ? edges[below(liar, sizeof edges / sizeof *edges)] : draw(liar) >> below(liar, 64);
}

static double odd_double(struct liar *liar)
{
    const double edges[] = {0.0, -0.0, 1.0, -1.0, INFINITY, -INFINITY, NAN, 1e308, 5e-324, -1e300};
    return edges[below(liar, 10)];
}

/* Text of all that hurts a terminal, a table, YAML, JSON, HTML, a shell, printf. */
static size_t odd_text(struct liar *liar, char *text, size_t most)
{
    static const char *const parts[] = {"\x1b[2J",
                                        "\x1b]0;title\a",
                                        "\x9b"
                                        "31m",
                                        "\xc2\x9b"
                                        "31m",
                                        "|",
                                        "\n",
                                        "\r",
                                        "`",
                                        "<script>",
                                        "%s%n%99999d",
                                        "../../etc/passwd",
                                        ": ",
                                        "- ",
                                        "#",
                                        "\"",
                                        "'",
                                        "\\",
                                        "&amp;",
                                        "\xff\xfe",
                                        "\xe2\x80\xae",
                                        "$(id)",
                                        "\t",
                                        "\0x",
                                        "=1+1",
                                        "!!python",
                                        "{{",
                                        "\xf0\x9f\x92\xa9",
                                        "kernel",
                                        "]]>",
                                        "\x7f",
                                        "\b\b",
                                        "*",
                                        "&a",
                                        "~",
                                        "null"};
    size_t length = 0;
    for (uint32_t left = 1 + below(liar, 12); left; left--) {
        const char *part = parts[below(liar, sizeof parts / sizeof *parts)];
        const size_t size = *part ? strlen(part) : 2;
        if (length + size > most)
            break;
        memcpy(text + length, part, size);
        length += size;
    }
    while (length < 1)
        text[length++] = 'k';
    return length;
}

static void odd_record(struct liar *liar, struct record *record)
{
    if (below(liar, 4) == 0) {
        fill(liar, record, sizeof *record);
        return;
    }
    liar->clock += below(liar, 5000);
    *record = (struct record){.start = liar->clock,
                              .end = liar->clock + below(liar, 5000),
                              .launch = liar->clock,
                              .place = (int32_t)below(liar, (uint32_t)liar->node_count + 2) - 1,
                              .name = below(liar, 8),
                              .step = below(liar, 6),
                              .stream = (uint16_t)below(liar, 3),
                              .kind = (uint8_t)below(liar, RECORD_KIND_COUNT),
                              .pass = (uint8_t)below(liar, PASS_COUNT),
                              .flags = (uint8_t)draw(liar)};
    if (below(liar, 3) == 0) {
        uint64_t *const times[] = {&record->start, &record->end, &record->launch, &record->payload};
        *times[below(liar, 4)] = odd_number(liar);
    }
    if (below(liar, 8) == 0)
        record->place = (int32_t)odd_number(liar);
    if (below(liar, 8) == 0)
        record->name = (uint32_t)odd_number(liar);
}

static void lie_in_records(struct liar *liar)
{
    for (uint32_t left = below(liar, 400); left; left--) {
        struct record record;
        odd_record(liar, &record);
        ring_push(liar->ring, &record);
    }
}

static void lie_about_steps(struct liar *liar)
{
    struct sample sample = {.pass = PASS_FWD_BWD,
                            .kind = (uint8_t)below(liar, STEP_KIND_COUNT),
                            .step = (uint32_t)odd_number(liar),
                            .step_id = below(liar, 6),
                            .start = odd_number(liar),
                            .wall_ns = odd_number(liar)};
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        sample.phase_ns[phase] = odd_number(liar);
    if (below(liar, 50)) { /* an unbelievable time is an error, and the end of it */
        sample.wall_ns >>= 12;
        for (int phase = 0; phase < PHASE_COUNT; phase++)
            if (sample.phase_ns[phase] != UNKNOWN_U64)
                sample.phase_ns[phase] >>= 12;
    }
    say(MESSAGE_SAMPLE, &sample, sizeof sample);
}

static void lie_about_names(struct liar *liar)
{
    char bytes[400];
    const uint32_t id = below(liar, 30) ? liar->plan_sent + (uint32_t)(liar->clock++ % AGGREGATE_MAX_NAMES)
                                        : (uint32_t)odd_number(liar);
    memcpy(bytes, &id, sizeof id);
    say(MESSAGE_NAME, bytes, 4 + odd_text(liar, bytes + 4, sizeof bytes - 4));
}

static void lie_in_notes(struct liar *liar)
{
    char bytes[800];
    const size_t key = odd_text(liar, bytes, 100);
    bytes[key] = 0;
    say(MESSAGE_NOTE, bytes, key + 1 + odd_text(liar, bytes + key + 1, 600));
}

static void lie_about_the_device(struct liar *liar)
{
    struct device_info info;
    fill(liar, &info, sizeof info);
    if (below(liar, 2))
        odd_text(liar, info.model, sizeof info.model - 1);
    say(MESSAGE_DEVICE, &info, sizeof info);
    struct device_telemetry telemetry;
    fill(liar, &telemetry, sizeof telemetry);
    telemetry.power_w = odd_double(liar);
    telemetry.temperature_c = odd_double(liar);
    say(MESSAGE_TELEMETRY, &telemetry, sizeof telemetry);
    const struct message_ceilings ceilings = {odd_double(liar), odd_double(liar)};
    say(MESSAGE_CEILINGS, &ceilings, sizeof ceilings);
    const struct message_prepared prepared = {odd_number(liar), odd_number(liar), odd_number(liar)};
    say(MESSAGE_PREPARED, &prepared, sizeof prepared);
    const struct message_memory memory = {odd_number(liar), odd_number(liar)};
    say(MESSAGE_MEMORY, &memory, sizeof memory);
}

/* Mostly true, or else the run would end here every time. */
static void lie_about_a_scope(struct liar *liar, int32_t index, int32_t parent, const char *name)
{
    char bytes[300];
    const bool odd = below(liar, 2000) == 0;
    const struct message_scope head = {.parent = odd ? (int32_t)odd_number(liar)
                                                 : index > 0 && below(liar, 9) == 0
                                                     ? (int32_t)below(liar, (uint32_t)index)
                                                     : parent,
                                       .parameter_bytes = odd_number(liar)};
    memcpy(bytes, &head, sizeof head);
    size_t length = strlen(name) + 1;
    memcpy(bytes + sizeof head, name, length);
    if (below(liar, 20) == 0)
        length = odd_text(liar, bytes + sizeof head, 200);
    say(MESSAGE_SCOPE, bytes, sizeof head + (length ? length : 1));
}

static void lie_about_a_place(struct liar *liar, const struct node *node)
{
    char bytes[300] = "";
    const bool odd = below(liar, 4000) == 0;
    struct message_place head = {.scope = odd ? (int32_t)odd_number(liar) : node->scope,
                                 .phase = (uint8_t)(odd ? below(liar, 256) : below(liar, PLACE_PHASE_COUNT)),
                                 .kernel_class = (uint8_t)(odd ? below(liar, 256) : below(liar, CLASS_COUNT)),
                                 .flops = node->flops,
                                 .bytes = node->bytes,
                                 .saved_bytes = odd_number(liar)};
    if (below(liar, 6) == 0) {
        const uint64_t bits = odd_number(liar);
        memcpy(below(liar, 2) ? &head.flops : &head.bytes, &bits, sizeof bits);
    }
    memcpy(bytes, &head, sizeof head);
    const size_t length = odd_text(liar, bytes + sizeof head, 200);
    say(MESSAGE_PLACE, bytes, sizeof head + length + 1);
}

static void tell_the_plan(struct liar *liar)
{
    if (liar->plan_sent && below(liar, 8))
        return; /* twice is an error, and the end of it */
    struct plan_request request;
    struct plan_result result;
    struct error error = {0};
    const unsigned fusions = below(liar, 2) ? 0 : FUSE_ALL;
    cell_plan_request(&liar->cell, fusions, &request);
    struct plan *plan = plan_build(&request, &result, &error);
    if (!plan)
        _exit(8);
    liar->node_count = plan->node_count;
    const struct message_plan message = {.digest = plan->digest, .fusions = fusions};
    for (int32_t s = 0; s < plan->scope_count; s++)
        lie_about_a_scope(liar, s, plan->scopes[s].parent, plan->scopes[s].name);
    for (int32_t n = 0; n < plan->node_count; n++)
        lie_about_a_place(liar, &plan->nodes[n]);
    plan_free(plan);
    say(MESSAGE_PLAN, &message, sizeof message);
    liar->plan_sent = true;
}

static void print_lies(struct liar *liar)
{
    char text[3000];
    const size_t length = odd_text(liar, text, sizeof text);
    if (write(1 + (int)below(liar, 2), text, length) < 0)
        _exit(9);
}

static void write_over_the_ring(struct liar *liar)
{
    const uint32_t word = below(liar, 4096 / 8);
    ((volatile uint64_t *)liar->shared)[below(liar, 2) ? word : 8 * (1 + below(liar, 3))] = odd_number(liar);
}

static void send_no_message(struct liar *liar)
{
    unsigned char bytes[256];
    switch (below(liar, 4)) {
    case 0:
        fill(liar, bytes, sizeof bytes);
        send_raw(bytes, 1 + below(liar, sizeof bytes));
        break;
    case 1: { /* any type at a length it can have, with anything in it */
        static unsigned char payload[MESSAGE_MAX];
        fill(liar, payload, sizeof payload);
        const uint32_t type = below(liar, MESSAGE_TYPE_COUNT);
        for (uint32_t length = 0; length <= MESSAGE_MAX; length++)
            if (message_length_valid(type, length)) {
                say(type, payload, length);
                break;
            }
        break;
    }
    case 2:
        say((uint32_t)odd_number(liar), bytes, 0);
        break;
    default: {
        const struct message_header header = {below(liar, MESSAGE_TYPE_COUNT), (uint32_t)odd_number(liar)};
        send_raw(&header, sizeof header);
        break;
    }
    }
}

static int end_somehow(struct liar *liar)
{
    char bytes[300];
    const uint32_t status = below(liar, 3) ? STATUS_OK : (uint32_t)odd_number(liar);
    switch (below(liar, 6)) {
    case 0:
        signal(SIGSEGV, SIG_DFL);
        kill(getpid(), SIGSEGV);
        return 1;
    case 1:
        return (int)below(liar, 256);
    default:
        memcpy(bytes, &status, sizeof status);
        say(MESSAGE_END, bytes, 4 + odd_text(liar, bytes + 4, 200));
        return 0;
    }
}

static int lie(void)
{
    struct {
        struct message_header header;
        struct message_cell message;
    } order;
    struct error error = {0};
    for (size_t got = 0; got < sizeof order;) {
        const ssize_t part = recv(3, (char *)&order + got, sizeof order - got, 0);
        if (part <= 0)
            return 9;
        got += (size_t)part;
    }
    struct liar liar = {.state = order.message.cell.seed,
                        .ring = ring_attach(4, &error),
                        .cell = order.message.cell,
                        .node_count = 100,
                        .clock = 1000};
    liar.shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 4, 0);
    if (!liar.ring || liar.shared == MAP_FAILED)
        return 8;
    static void (*const lies[])(struct liar *) = {
        lie_in_records,  lie_in_records, lie_in_records,       lie_about_steps, lie_about_steps, lie_about_names,
        lie_about_names, lie_in_notes,   lie_about_the_device, tell_the_plan,   print_lies};
    for (uint32_t left = 5 + below(&liar, 60); left; left--) {
        lies[below(&liar, sizeof lies / sizeof *lies)](&liar);
        if (below(&liar, 40) == 0)
            write_over_the_ring(&liar);
        if (below(&liar, 100) == 0)
            send_no_message(&liar);
        if (below(&liar, 10) == 0)
            usleep(1000); /* the front has a look in between */
    }
    return end_somehow(&liar);
}

/* ---- the front's side ---- */

/* Nothing that a terminal acts on, and valid UTF-8. `lines`: line ends are the file's own. */
static void assert_clean(const char *what, uint64_t seed, const char *text, size_t length, bool lines)
{
    char *copy = malloc(length + 1);
    memcpy(copy, text, length);
    for (size_t i = 0; i < length; i++)
        if (lines && (copy[i] == '\n' || copy[i] == '\t' || copy[i] == '\r'))
            copy[i] = ' ';
    text_clean(copy, length);
    for (size_t i = 0; i < length; i++)
        if (copy[i] != text[i] && !(lines && strchr("\n\t\r", text[i])))
            fail_msg("liar %llu: byte 0x%02x at %zu of the %s: %.*s", (unsigned long long)seed, (unsigned char)text[i],
                     i, what, 60, text + (i > 30 ? i - 30 : 0));
    free(copy);
}

static void check_document(struct report *report, uint64_t seed)
{
    for (int format = 0; format < FORMAT_COUNT; format++) {
        struct strbuf out = {0};
        struct error error = {0};
        report_emit(report, (enum report_format)format, &out);
        assert_clean(report_format_name((enum report_format)format), seed, out.text, out.length, true);
        if (format == FORMAT_YAML) {
            struct report read;
            if (!report_parse(out.text, out.length, "liar.yaml", &read, &error))
                fail_msg("liar %llu: its report cannot be read again: %s", (unsigned long long)seed, error.text);
            report_free(&read);
        }
        strbuf_release(&out);
    }
}

static void one_liar(uint64_t seed)
{
    struct session *session = session_of("/proc/self/exe", NULL);
    struct cell cell = tiny_cell();
    cell.passes = PASS_BIT(PASS_FWD_BWD);
    cell.seed = seed;
    const uint32_t id = session_add(session, &cell);
    struct report report;
    report_init(&report);
    const uint64_t end = clock_now() + 30000000000u;
    while (!session_idle(session)) {
        session_step(session);
        report_update(&report, session);
        usleep(500);
        if (clock_now() > end)
            fail_msg("liar %llu holds the front up", (unsigned long long)seed);
    }
    report_update(&report, session);
    const struct run *run = session_find(session, id);
    assert_true(run->status > STATUS_RUNNING && run->status < STATUS_COUNT);
    assert_clean("reason", seed, run->reason, strlen(run->reason), false);
    assert_null(strchr(run->reason, '|'));
    /* Sizes and times that cannot be are not known, and their sums stay within 64 bits. */
    const uint64_t sizes[] = {
        run_lead(run)->resident_peak,       run_lead(run)->resident_base,     run->compile_ns, run->workspace_bytes,
        run_lead(run)->device.memory_bytes, run_lead(run)->device.free_bytes, run->prepare_ns};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        assert_true(sizes[i] == UNKNOWN_U64 || sizes[i] <= (uint64_t)1 << 53);
    for (size_t i = 0; i < session_log_count(session); i++)
        assert_clean("log", seed, session_log(session, i)->text, strlen(session_log(session, i)->text), false);
    check_document(&report, seed);
    report_free(&report);
    session_free(session);
}

static void liars(void **state)
{
    (void)state;
    const char *one = getenv("STEPTOP_TEST_LIAR"), *many = getenv("STEPTOP_TEST_LIARS");
    if (one) {
        one_liar(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1, count = many ? strtoull(many, NULL, 10) : 60; seed <= count; seed++)
        one_liar(seed);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        _exit(lie()); /* what it leaves is no leak to report */
    const struct CMUnitTest tests[] = {cmocka_unit_test(liars)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
