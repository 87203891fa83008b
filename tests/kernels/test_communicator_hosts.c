/* Ranks that meet by connections: who may come, what they are told of one that is missing, fails or goes, and what they do with one
 * that says something else than was agreed. */
#include "base/clock.h"
#include "tests/model/apart.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>

struct meeting {
    struct apart apart;
    struct communicator *ranks[4];
};

struct seat {
    struct meeting *meeting;
    int rank;
};

static void *sit_down(void *argument)
{
    const struct seat *seat = argument;
    struct error error = {0};
    seat->meeting->ranks[seat->rank] = apart_connect(&seat->meeting->apart, seat->rank, &error);
    return NULL;
}

static void meeting_open(struct meeting *meeting, int world)
{
    struct error error = {0};
    pthread_t threads[4];
    struct seat seats[4];
    *meeting = (struct meeting){0};
    assert_true(apart_open(&meeting->apart, world, &error));
    for (int rank = 0; rank < world; rank++) {
        seats[rank] = (struct seat){meeting, rank};
        assert_int_equal(pthread_create(&threads[rank], NULL, sit_down, &seats[rank]), 0);
    }
    for (int rank = 0; rank < world; rank++)
        pthread_join(threads[rank], NULL);
    for (int rank = 0; rank < world; rank++) {
        assert_non_null(meeting->ranks[rank]);
        assert_true(communicator_apart(meeting->ranks[rank]));
        assert_int_equal(communicator_rank(meeting->ranks[rank]), rank);
        assert_int_equal(communicator_world(meeting->ranks[rank]), world);
        communicator_limit(meeting->ranks[rank], 300000000);
    }
}

static void meeting_close(struct meeting *meeting)
{
    for (int rank = 0; rank < meeting->apart.peers.world; rank++)
        communicator_leave(meeting->ranks[rank]);
    apart_close(&meeting->apart);
}

struct part {
    struct communicator *communicator;
    bool any;
    char word[200];
};

static void *take_part(void *argument)
{
    struct part *part = argument;
    struct error error = {0};
    const int rank = communicator_rank(part->communicator);
    bool any = false;
    const bool ok = communicator_meet(part->communicator, "the test", &error) &&
                    communicator_tell(part->communicator, part->word, sizeof part->word, &error) &&
                    communicator_any(part->communicator, rank == 1, "the test", &part->any, &error) &&
                    communicator_any(part->communicator, false, "the test", &any, &error);
    if (!ok || any)
        snprintf(part->word, sizeof part->word, "rank %d: %.150s", rank, error.text);
    return NULL;
}

static void all_hear_the_same(void **state)
{
    (void)state;
    struct meeting meeting;
    struct part parts[4] = {{0}};
    pthread_t threads[4];
    meeting_open(&meeting, 4);
    snprintf(parts[0].word, sizeof parts[0].word, "a word");
    for (int rank = 0; rank < 4; rank++) {
        parts[rank].communicator = meeting.ranks[rank];
        assert_int_equal(pthread_create(&threads[rank], NULL, take_part, &parts[rank]), 0);
    }
    for (int rank = 0; rank < 4; rank++) {
        pthread_join(threads[rank], NULL);
        assert_string_equal(parts[rank].word, "a word");
        assert_true(parts[rank].any);
    }
    void *piece[4];
    struct error error = {0};
    assert_false(communicator_share(meeting.ranks[0], 64, piece, &error));
    assert_int_equal(error.kind, ERROR_UNSUPPORTED);
    meeting_close(&meeting);
}

static void a_missing_rank_is_named(void **state)
{
    (void)state;
    struct meeting meeting;
    struct error error = {0};
    meeting_open(&meeting, 3);
    assert_false(communicator_meet(meeting.ranks[0], "the all_reduce of lm_head", &error));
    assert_string_equal(error.text, "rank 1 did not come to the all_reduce of lm_head within 0 s");
    /* Those who come later are told. */
    assert_false(communicator_meet(meeting.ranks[2], "its step", &error));
    assert_non_null(strstr(error.text, "rank 0 failed: rank 1 did not come to the all_reduce"));
    assert_int_equal(error.kind, ERROR_INTERRUPTED);
    meeting_close(&meeting);
}

static void a_failure_and_an_end_are_told(void **state)
{
    (void)state;
    struct meeting meeting;
    struct error error = {0};
    meeting_open(&meeting, 3);
    assert_false(communicator_failed(meeting.ranks[0], &error));
    communicator_fail(meeting.ranks[1], "its device broke");
    assert_false(communicator_meet(meeting.ranks[0], "its step", &error));
    assert_string_equal(error.text, "rank 1 failed: its device broke");
    assert_true(communicator_failed(meeting.ranks[2], &error)); /* without a meeting, too */
    assert_string_equal(error.text, "rank 1 failed: its device broke");
    meeting_close(&meeting);

    meeting_open(&meeting, 3);
    communicator_leave(meeting.ranks[2]);
    meeting.ranks[2] = NULL;
    assert_false(communicator_meet(meeting.ranks[0], "its step", &error));
    assert_string_equal(error.text, "rank 2 is gone: it ended the connection");
    meeting_close(&meeting);
}

static void who_is_behind_is_known(void **state)
{
    (void)state;
    struct meeting meeting;
    meeting_open(&meeting, 3);
    communicator_progress(meeting.ranks[0], 5);
    communicator_progress(meeting.ranks[2], 5);
    communicator_progress(meeting.ranks[1], 4);
    for (int tries = 0; tries < 100 && communicator_behind(meeting.ranks[0]) != 1; tries++)
        poll(NULL, 0, 10);
    assert_int_equal(communicator_behind(meeting.ranks[0]), 1);
    assert_int_equal(communicator_behind(meeting.ranks[1]), -1);
    meeting_close(&meeting);
}

static void another_size_is_another_plan(void **state)
{
    (void)state;
    struct meeting meeting;
    struct error error = {0};
    char bytes[64] = "";
    const struct communicator_part short_one[2] = {{bytes, 16}, {bytes, 16}}, long_one[2] = {{bytes, 32}, {bytes, 32}},
                                   none[2] = {{0}};
    meeting_open(&meeting, 2);
    communicator_swap(meeting.ranks[0], long_one, none, "the test", &error);
    assert_false(communicator_swap(meeting.ranks[1], none, short_one, "the test", &error));
    assert_non_null(strstr(error.text, "rank 0 sent 32 bytes (its 1. word) where 16 (the 1.) were expected"));
    meeting_close(&meeting);
}

/* Whoever knocks at a rank that waits for another: garbage, half a word, a whole one with the wrong key. The right one gets in. */
static void *knock(void *argument)
{
    const struct meeting *meeting = argument;
    struct error error = {0};
    const struct net_address *at = &meeting->apart.peers.at[0];
    unsigned char bytes[64];
    int fds[24];
    for (int i = 0; i < 24; i++) {
        fds[i] = net_connect(at->host, at->port, clock_now() + 2000000000u, &error);
        if (fds[i] < 0)
            continue;
        for (size_t b = 0; b < sizeof bytes; b++)
            bytes[b] = (unsigned char)(i * 37 + b * 11);
        if (i % 3 == 0) { /* as it should be, but for the key */
            const struct {
                uint64_t magic;
                uint32_t rank, world;
            } head = {0x74706f7470657473u, 1, 2};
            memcpy(bytes, &head, sizeof head);
        }
        const size_t length = i % 3 == 2 ? 7 : sizeof bytes;
        net_send(fds[i], bytes, length, clock_now() + 1000000000u);
        if (i % 3 != 2) {
            close(fds[i]);
            fds[i] = -1;
        }
    }
    struct meeting *mine = argument;
    mine->ranks[1] = apart_connect(&meeting->apart, 1, &error);
    for (int i = 0; i < 24; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return NULL;
}

/* Frames as the ranks send them to each other (communicator_hosts.c). */
struct frame {
    uint32_t kind, number;
    uint64_t bytes;
};
enum { FRAME_DATA = 0x5d01, FRAME_PROGRESS = 0x5d03 };

/* As if each of the two ranks had said so: on both ends of their connection. */
static void say_to_both(const struct meeting *meeting, const struct frame *frame)
{
    int ends = 0;
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_storage other;
        socklen_t length = sizeof other;
        if (getpeername(fd, (struct sockaddr *)&other, &length) == 0)
            ends += send(fd, frame, sizeof *frame, MSG_NOSIGNAL) == (ssize_t)sizeof *frame;
    }
    assert_int_equal(meeting->apart.peers.world, 2);
    assert_int_equal(ends, 2);
}

/* Of the same size, and yet not what is due: the ranks are not at the same place. */
static void another_number_is_another_plan(void **state)
{
    (void)state;
    struct meeting meeting;
    struct error error = {0};
    meeting_open(&meeting, 2);
    say_to_both(&meeting, &(struct frame){FRAME_DATA, 7, 0});
    assert_false(communicator_meet(meeting.ranks[0], "its step", &error));
    if (!strstr(error.text, "(its 7. word)") || !strstr(error.text, "do not run the same plan"))
        fail_msg("%s", error.text);
    meeting_close(&meeting);
}

struct comer {
    struct communicator *communicator;
    struct error error;
    bool met;
};

static void *comes(void *argument)
{
    struct comer *comer = argument;
    comer->met = communicator_meet(comer->communicator, "the test", &comer->error);
    return NULL;
}

/* Who hears something has no less patience than before: a large part on a slow wire may take longer than the limit. */
static void what_comes_slowly_is_waited_for(void **state)
{
    (void)state;
    struct meeting meeting;
    struct error error = {0};
    pthread_t thread;
    meeting_open(&meeting, 2);
    communicator_limit(meeting.ranks[0], 1000000000);
    struct comer first = {.communicator = meeting.ranks[0]};
    assert_int_equal(pthread_create(&thread, NULL, comes, &first), 0);
    for (uint64_t begin = clock_now(), i = 1; clock_now() - begin < 1600000000u; i++) {
        say_to_both(&meeting, &(struct frame){FRAME_PROGRESS, 0, i});
        poll(NULL, 0, 50);
    }
    assert_true(communicator_meet(meeting.ranks[1], "the test", &error));
    pthread_join(thread, NULL);
    if (!first.met)
        fail_msg("%s", first.error.text);
    meeting_close(&meeting);
}

static void strangers_stay_outside(void **state)
{
    (void)state;
    struct meeting meeting = {.apart = {.peers = {.world = 0}}};
    struct error error = {0};
    pthread_t thread;
    assert_true(apart_open(&meeting.apart, 2, &error));
    assert_int_equal(pthread_create(&thread, NULL, knock, &meeting), 0);
    meeting.ranks[0] = apart_connect(&meeting.apart, 0, &error);
    pthread_join(thread, NULL);
    assert_non_null(meeting.ranks[0]);
    assert_non_null(meeting.ranks[1]);
    struct part part = {.communicator = meeting.ranks[1]};
    assert_int_equal(pthread_create(&thread, NULL, take_part, &part), 0);
    struct part first = {.communicator = meeting.ranks[0], .word = "well"};
    take_part(&first);
    pthread_join(thread, NULL);
    assert_string_equal(part.word, "well");
    meeting_close(&meeting);
}

static void who_does_not_come_is_named(void **state)
{
    (void)state;
    struct apart apart;
    struct error error = {0};
    assert_true(apart_open(&apart, 2, &error));
    assert_null(communicator_connect(apart.listening[0], 0, &apart.peers, 200000000, &error));
    assert_string_equal(error.text, "rank 1 did not connect to rank 0 within 0 s");
    close(apart.listening[0]);
    apart.listening[0] = dup(apart.listening[1]);
    assert_null(communicator_connect(apart.listening[1], 1, &apart.peers, 200000000, &error));
    assert_non_null(strstr(error.text, "rank 1 wants to meet rank 0: cannot connect"));
    assert_null(communicator_connect(apart.listening[1], 2, &apart.peers, 1, &error));
    apart_close(&apart);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_hear_the_same),
        cmocka_unit_test(a_missing_rank_is_named),
        cmocka_unit_test(a_failure_and_an_end_are_told),
        cmocka_unit_test(who_is_behind_is_known),
        cmocka_unit_test(another_size_is_another_plan),
        cmocka_unit_test(another_number_is_another_plan),
        cmocka_unit_test(what_comes_slowly_is_waited_for),
        cmocka_unit_test(strangers_stay_outside),
        cmocka_unit_test(who_does_not_come_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
