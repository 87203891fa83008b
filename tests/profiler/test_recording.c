/* Recordings: what a session wrote plays again to the same figures; damaged, cut and forged files end as errors. This
 * program is its own worker. */
#include "base/random.h"
#include "base/unknown.h"
#include "profiler/recording.h"
#include "profiler/session_internal.h"
#include "tests/profiler/session_helpers.h"
#include "worker/worker.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static char *read_all(const char *path, size_t *length)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *length = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*length + 1);
    assert_int_equal(fread(bytes, 1, *length, file), *length);
    fclose(file);
    return bytes;
}

static void write_all(const char *path, const void *bytes, size_t length)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    fclose(file);
}

/* Records two runs of `tiny`, the second stopped by its time; replays; everything that a report is made of is equal. */
static void plays_what_was_recorded(void **state)
{
    (void)state;
    struct session *session = session_of("/proc/self/exe", path_of("two"));
    struct cell cell = tiny_cell();
    session_add(session, &cell);
    cell.passes = PASS_BIT(PASS_FWD);
    cell.device[0] = 'x'; /* a device that there is not: an unsupported run is recorded as well */
    session_add(session, &cell);
    assert_true(session_until(session, 60, session_idle, NULL));
    for (size_t i = 0; i < session_log_count(session); i++)
        assert_null(strstr(session_log(session, i)->text, "recording"));

    struct session *again = session_of("/no/such/program", NULL);
    struct error error = {0};
    assert_true(session_replay(again, path_of("two"), 0, &error));
    assert_false(session_idle(again));
    assert_true(session_until(again, 30, session_idle, NULL));
    assert_int_equal(session_run_count(again), 2);
    for (size_t i = 0; i < 2; i++) {
        const struct run *a = session_run(session, i), *b = session_run(again, i);
        /* On a busy machine three steps may well vary more than backward takes. */
        assert_true(i == 0 ? a->status == STATUS_OK || a->status == STATUS_UNRELIABLE
                           : a->status == STATUS_UNSUPPORTED);
        assert_int_equal(a->status, b->status);
        assert_string_equal(a->reason, b->reason);
        assert_true(b->replayed && !a->replayed);
        assert_true(cell_equal(&a->cell, &b->cell));
        assert_string_equal(run_lead(a)->device.model, run_lead(b)->device.model);
        assert_int_equal(a->prepare_ns, b->prepare_ns);
        assert_int_equal(run_lead(a)->resident_peak, run_lead(b)->resident_peak);
        assert_int_equal(run_lead(a)->samples.count, run_lead(b)->samples.count);
        if (run_lead(a)->samples.count)
            assert_memory_equal(run_lead(a)->samples.items, run_lead(b)->samples.items,
                                run_lead(a)->samples.count * sizeof *run_lead(a)->samples.items);
        assert_int_equal(a->notes.count, b->notes.count);
        for (size_t n = 0; n < a->notes.count; n++) {
            assert_string_equal(a->notes.items[n].key, b->notes.items[n].key);
            assert_string_equal(a->notes.items[n].text, b->notes.items[n].text);
        }
        size_t count_a, count_b;
        const struct entry *entries_a = aggregate_entries(run_lead(a)->aggregate, &count_a);
        const struct entry *entries_b = aggregate_entries(run_lead(b)->aggregate, &count_b);
        assert_int_equal(count_a, count_b);
        for (size_t e = 0; e < count_a; e++) {
            assert_memory_equal(&entries_a[e].time, &entries_b[e].time, sizeof entries_a[e].time);
            assert_memory_equal(entries_a[e].recent, entries_b[e].recent, sizeof entries_a[e].recent);
            assert_memory_equal(entries_a[e].counters, entries_b[e].counters, sizeof entries_a[e].counters);
            assert_string_equal(aggregate_name_text(run_lead(a)->aggregate, entries_a[e].name),
                                aggregate_name_text(run_lead(b)->aggregate, entries_b[e].name));
        }
        struct aggregate_counts counts_a, counts_b;
        aggregate_counts(run_lead(a)->aggregate, &counts_a);
        aggregate_counts(run_lead(b)->aggregate, &counts_b);
        assert_memory_equal(&counts_a, &counts_b, sizeof counts_a);
        assert_int_equal(a->plan.digest, b->plan.digest);
        assert_int_equal(run_lead(a)->places.list.count, run_lead(b)->places.list.count);
    }
    size_t printed[2] = {0}; /* what the session says of itself is of the day, not of the recording */
    for (size_t i = 0; i < session_log_count(session); i++)
        printed[0] += !session_log(session, i)->is_event;
    for (size_t i = 0; i < session_log_count(again); i++)
        printed[1] += !session_log(again, i)->is_event;
    assert_int_equal(printed[1], printed[0]);
    session_free(session);
    session_free(again);
}

/* A hand-made recording of known times plays at the speed that was asked for, and calls never wait. */
static void plays_at_speed(void **state)
{
    (void)state;
    struct error error = {0};
    struct cell cell = tiny_cell();
    struct recording_writer *writer = recording_create(path_of("slow"), &error);
    const struct message_run begin = {.version = PROTOCOL_VERSION, .cell_bytes = sizeof cell, .cell = cell};
    assert_true(recording_write(writer, 5, 0, MESSAGE_RUN, &begin, sizeof begin, NULL, 0, &error));
    usleep(400000);
    assert_true(recording_write(writer, 5, 0, MESSAGE_ACTIVITY, "later", 5, NULL, 0, &error));
    const struct message_result result = {.status = STATUS_KILLED, .dropped = 3};
    assert_true(recording_write(writer, 5, 0, MESSAGE_RESULT, &result, sizeof result, "because", 7, &error));
    recording_close(writer);
    static const double speeds[] = {1, 4, 0};
    static const double least[] = {0.39, 0.09, 0}, most[] = {3, 2, 1.5};
    for (int i = 0; i < 3; i++) {
        struct session *session = session_of("/no/such/program", NULL);
        assert_true(session_replay(session, path_of("slow"), speeds[i], &error));
        uint64_t longest = 0;
        const uint64_t start = clock_now();
        assert_true(session_until(session, 10, session_idle, &longest));
        const double took = (double)(clock_now() - start) / 1e9;
        assert_true(took >= least[i] && took < most[i]);
        assert_int_equal(session_run(session, 0)->status, STATUS_KILLED);
        assert_string_equal(session_run(session, 0)->reason, "because");
        assert_int_equal(run_lead(session_run(session, 0))->dropped, 3);
        session_free(session);
    }
    struct session *session = session_of("/no/such/program", NULL);
    assert_false(session_replay(session, path_of("slow"), -1, &error));
    assert_false(session_replay(session, path_of("slow"), NAN, &error));
    /* stopping a replay ends its run and the rest of the file */
    assert_true(session_replay(session, path_of("slow"), 0.001, &error));
    session_step(session);
    assert_int_equal(session_run(session, 0)->status, STATUS_RUNNING);
    session_stop_all(session);
    assert_int_equal(session_run(session, 0)->status, STATUS_INTERRUPTED);
    assert_true(session_idle(session));
    session_free(session);
}

/* Of all ranks, not of the first alone. */
static void what_each_rank_lost_is_recorded(void **state)
{
    (void)state;
    static const uint64_t lost[] = {3, 0, 5};
    struct error error = {0};
    struct session *session = session_of("/no/such/program", path_of("lost"));
    const struct cell cell = small_cell_of_ranks(3, PARALLEL_BUCKET);
    const struct message_run begin = {.version = PROTOCOL_VERSION, .cell_bytes = sizeof cell, .cell = cell};
    struct live_run *live = session_append(session, &cell, &error);
    assert_non_null(live);
    session_record(session, live->run.id, 0, MESSAGE_RUN, &begin, sizeof begin, NULL, 0);
    live->run.started = clock_now();
    live->run.status = STATUS_RUNNING;
    for (size_t i = 0; i < 3; i++)
        run_rank(&live->run, i)->dropped = lost[i];
    session_finish(session, live, STATUS_OK, "");
    session_free(session);
    session = session_of("/no/such/program", NULL);
    assert_true(session_replay(session, path_of("lost"), 0, &error));
    assert_true(session_until(session, 10, session_idle, NULL));
    const struct run *run = session_run(session, 0);
    assert_int_equal(run->status, STATUS_OK);
    assert_int_equal(run->ranks.count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(run_rank(run, i)->dropped, lost[i]);
    session_free(session);
}

/* Nobody counted so many. */
static void losses_beyond_belief_are_none(void **state)
{
    (void)state;
    struct error error = {0};
    struct recording_writer *writer = recording_create(path_of("beyond"), &error);
    const struct cell cell = small_cell_of_ranks(2, PARALLEL_BUCKET);
    const struct message_run begin = {.version = PROTOCOL_VERSION, .cell_bytes = sizeof cell, .cell = cell};
    const struct message_dropped dropped = {UINT64_MAX - 1};
    const struct message_result result = {.status = STATUS_OK, .dropped = UINT64_MAX - 1};
    assert_true(recording_write(writer, 5, 0, MESSAGE_RUN, &begin, sizeof begin, NULL, 0, &error));
    assert_true(recording_write(writer, 5, 1, MESSAGE_DROPPED, &dropped, sizeof dropped, NULL, 0, &error));
    assert_true(recording_write(writer, 5, 0, MESSAGE_RESULT, &result, sizeof result, NULL, 0, &error));
    recording_close(writer);
    struct session *session = session_of("/no/such/program", NULL);
    assert_true(session_replay(session, path_of("beyond"), 0, &error));
    assert_true(session_until(session, 10, session_idle, NULL));
    const struct run *run = session_run(session, 0);
    assert_int_equal(run->status, STATUS_OK);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(run_rank(run, i)->dropped, 0);
    session_free(session);
}

/* Every file here must end without harm: idle, no run still running. */
static void play(const char *path)
{
    struct error error = {0};
    struct session *session = session_of("/no/such/program", NULL);
    if (session_replay(session, path, 0, &error)) {
        assert_true(session_until(session, 20, session_idle, NULL));
        for (size_t i = 0; i < session_run_count(session); i++)
            assert_true(session_run(session, i)->status > STATUS_RUNNING);
    } else {
        assert_int_equal(error.kind, ERROR_INPUT);
        assert_non_null(strstr(error.text, path));
    }
    session_free(session);
}

static void cut_and_damaged_files(void **state)
{
    (void)state;
    size_t length;
    char source[128];
    snprintf(source, sizeof source, "%s", path_of("two"));
    char *bytes = read_all(source, &length);
    assert_true(length > 10000);
    for (uint64_t i = 0; i < 60; i++) { /* cut anywhere */
        const size_t cut = i < 45 ? (size_t)i * 7 : (size_t)(random_bits(1, 1, i) % length);
        write_all(path_of("cut"), bytes, cut);
        play(path_of("cut"));
    }
    for (uint64_t i = 0; i < 60; i++) { /* one bit */
        const size_t place = (size_t)(random_bits(2, 1, i) % (i < 30 ? 4000 : length));
        bytes[place] ^= (char)(1 << (i % 8));
        write_all(path_of("bit"), bytes, length);
        play(path_of("bit"));
        bytes[place] ^= (char)(1 << (i % 8));
    }
    /* the damage is named with its place */
    char place[48];
    struct recording_frame frame = {0};
    const void *payload;
    struct error none = {0};
    struct recording_reader *reader = recording_open(source, &none);
    assert_non_null(reader);
    while (recording_next(reader, &frame, &payload, &none) == RECORDING_FRAME)
        snprintf(place, sizeof place, "byte %zu: the frame is damaged", length - sizeof frame - frame.length);
    recording_reader_close(reader);
    bytes[length - 1] ^= 1;
    write_all(path_of("bit"), bytes, length);
    struct session *session = session_of("/no/such/program", NULL);
    struct error error = {0};
    assert_true(session_replay(session, path_of("bit"), 0, &error));
    assert_true(session_until(session, 20, session_idle, NULL));
    bool named = false;
    for (size_t i = 0; i < session_log_count(session); i++)
        named |= strstr(session_log(session, i)->text, place) != NULL;
    assert_true(named);
    session_free(session);
    free(bytes);
}

/* Frames with right check sums and wrong content: what a stranger would write. */
static void forged_files(void **state)
{
    (void)state;
    struct error error = {0};
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct recording_writer *writer = recording_create(path_of("forged"), &error);
        assert_non_null(writer);
        struct message_run begin = {
            .version = PROTOCOL_VERSION, .cell_bytes = sizeof(struct cell), .cell = tiny_cell()};
        if (seed % 3 == 1) /* random bytes over a part of the cell */
            for (uint64_t i = 0; i < 24; i++)
                ((unsigned char *)&begin.cell)[random_bits(seed, 3, i) % sizeof begin.cell] =
                    (unsigned char)random_bits(seed, 4, i);
        assert_true(recording_write(writer, 1, 0, MESSAGE_RUN, &begin, sizeof begin, NULL, 0, &error));
        for (uint64_t i = 0; i < 40; i++) {
            static unsigned char payload[MESSAGE_MAX];
            const uint32_t type = (uint32_t)(random_bits(seed, 5, i) % (MESSAGE_TYPE_COUNT + 1));
            uint32_t size = (uint32_t)(random_bits(seed, 6, i) % 2048);
            for (uint32_t s = 0; s < sizeof payload && !message_length_valid(type, size); s += 1)
                size = s;
            for (uint32_t b = 0; b < size; b++)
                payload[b] = (unsigned char)(random_bits(seed, 7 + i, b) >> (random_bits(seed, 8 + i, b / 8) % 60));
            recording_write(writer, 1, 0, type, payload, size, NULL, 0, &error);
        }
        recording_close(writer);
        play(path_of("forged"));
    }
}

static void refuses_what_is_no_recording(void **state)
{
    (void)state;
    struct error error = {0};
    assert_null(recording_open(path_of("absent"), &error));
    assert_non_null(strstr(error.text, "absent"));
    assert_null(recording_open(folder, &error));
    write_all(path_of("text"), "schema: steptop/report/1\n", 25);
    assert_null(recording_open(path_of("text"), &error));
    assert_non_null(strstr(error.text, "not a recording"));
    char old[64] = "steptop recording 1\n"; /* 0.1's */
    write_all(path_of("old"), old, sizeof old);
    assert_null(recording_open(path_of("old"), &error));
    assert_non_null(strstr(error.text, "version 1 of the format"));
    assert_null(recording_create(folder, &error));
    assert_null(recording_create("/dev/null", &error));
    char target[128];
    snprintf(target, sizeof target, "%s", path_of("target"));
    write_all(target, "precious", 8);
    assert_int_equal(symlink(target, path_of("link")), 0);
    assert_null(recording_create(path_of("link"), &error));
    assert_non_null(strstr(error.text, "symbolic link"));
    size_t length;
    char *bytes = read_all(target, &length);
    assert_int_equal(length, 8);
    free(bytes);
    const struct session_options options = {.program = "/proc/self/exe", .record_file = folder};
    assert_null(session_create(&options, &error));
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    assert_null(recording_open(path_of("fifo"), &error)); /* and does not wait for a writer */
    assert_null(recording_create(path_of("fifo"), &error));
}

/* A disk that is full: the run goes on, the trouble is said once. */
static void a_full_disk(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK))
        skip();
    struct error error = {0};
    struct recording_writer *writer = recording_create(path_of("full"), &error);
    assert_non_null(writer);
    const int full = open("/dev/full", O_WRONLY);
    /* the writer's own descriptor now leads to the full device */
    int own = -1;
    struct stat a, b;
    assert_int_equal(stat(path_of("full"), &a), 0);
    for (int fd = 3; fd < 64; fd++)
        if (fstat(fd, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev)
            own = fd;
    assert_true(own >= 0);
    assert_int_equal(dup2(full, own), own);
    int failures = 0;
    static unsigned char payload[MESSAGE_MAX / 64 * 64];
    for (int i = 0; i < 100; i++)
        failures += !recording_write(writer, 1, 0, MESSAGE_RECORDS, payload, sizeof payload, NULL, 0, &error);
    assert_int_equal(failures, 1);
    assert_non_null(strstr(error.text, "No space left"));
    recording_close(writer);
    close(full);
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/steptop-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"two",  "slow", "cut",  "bit", "forged", "text",  "target",
                                        "link", "fifo", "full", "old", "lost",   "beyond"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(path_of(names[i]));
    return rmdir(folder);
}

int main(int argc, char **argv)
{
    char devices[] = STEPTOP_BINARY; /* the devices lie beside it */
    *strrchr(devices, '/') = 0;
    setenv("STEPTOP_PLUGIN_FOLDER", devices, 0);
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return worker_main(3, 4);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plays_what_was_recorded),
        cmocka_unit_test(plays_at_speed),
        cmocka_unit_test(losses_beyond_belief_are_none),
        cmocka_unit_test(cut_and_damaged_files),
        cmocka_unit_test(forged_files),
        cmocka_unit_test(refuses_what_is_no_recording),
        cmocka_unit_test(a_full_disk),
        cmocka_unit_test(what_each_rank_lost_is_recorded),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
