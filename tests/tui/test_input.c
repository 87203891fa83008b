/* Bytes to keys: what each means, whole and in pieces at every place; what nobody knows means nothing. */
#include "tui/input.h"
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS 1000000ull

struct keys {
    int codes[512];
    struct mouse mice[512];
    size_t count;
};

static void drain(struct input *input, struct keys *keys)
{
    struct mouse mouse = {0};
    for (int key; (key = input_key(input, &mouse)) != 0;) {
        assert_true(keys->count < 512);
        keys->codes[keys->count] = key;
        keys->mice[keys->count++] = mouse;
    }
}

static struct input described(void)
{
    struct input input = {0};
    input_describe(&input, "\033OA", KEY_CODE_UP);
    input_describe(&input, "\033[33~", KEY_CODE_F1 + 6); /* of this description alone */
    input_describe(&input, "\033Q", KEY_CODE_F1 + 7);
    return input;
}

/* The keys of all bytes, cut after `cut` of them with a pause that is shorter than patience. */
static void feed(struct keys *keys, const char *bytes, size_t length, size_t cut)
{
    struct input input = described();
    keys->count = 0;
    assert_int_equal(input_add(&input, bytes, cut, 10 * MS), cut);
    drain(&input, keys);
    assert_int_equal(input_add(&input, bytes + cut, length - cut, 300 * MS), length - cut);
    drain(&input, keys);
    const int last = input_is_undecided(&input) ? input_decide(&input) : 0;
    if (last)
        keys->codes[keys->count++] = last;
}

#define S(text) text, sizeof text - 1

static void test_keys(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
        int codes[6];
    } cases[] = {
        {S("a"), {'a'}},
        {S("\xc3\xa9x"), {0xe9, 'x'}},
        {S("\r\n\t"), {KEY_CODE_ENTER, KEY_CODE_ENTER, KEY_CODE_TAB}},
        {S("\x7f\b"), {KEY_CODE_BACKSPACE, KEY_CODE_BACKSPACE}},
        {S("\033"), {KEY_CODE_ESCAPE}},
        {S("\033\033"), {KEY_CODE_ESCAPE, KEY_CODE_ESCAPE}},
        {S("\033q"), {KEY_CODE_ESCAPE, 'q'}},
        {S("\033Q"), {KEY_CODE_F1 + 7}},
        /* both modes of cursor keys */
        {S("\033OA\033OB\033OC\033OD"), {KEY_CODE_UP, KEY_CODE_DOWN, KEY_CODE_RIGHT, KEY_CODE_LEFT}},
        {S("\033[A\033[B\033[C\033[D"), {KEY_CODE_UP, KEY_CODE_DOWN, KEY_CODE_RIGHT, KEY_CODE_LEFT}},
        {S("\033[1;5A\033[1;2D"), {KEY_CODE_UP, KEY_CODE_LEFT}},
        {S("\033OH\033OF\033[H\033[F"), {KEY_CODE_HOME, KEY_CODE_END, KEY_CODE_HOME, KEY_CODE_END}},
        {S("\033[1~\033[4~\033[7~\033[8~"), {KEY_CODE_HOME, KEY_CODE_END, KEY_CODE_HOME, KEY_CODE_END}},
        {S("\033[5~\033[6~\033[3~\033[Z"), {KEY_CODE_PAGE_UP, KEY_CODE_PAGE_DOWN, KEY_CODE_DELETE, KEY_CODE_BACKTAB}},
        {S("\033OP\033OS\033[15~\033[24~\033[[A\033[[E"),
         {KEY_CODE_F1, KEY_CODE_F1 + 3, KEY_CODE_F1 + 4, KEY_CODE_F12, KEY_CODE_F1, KEY_CODE_F1 + 4}},
        {S("\033[33~\033OM"), {KEY_CODE_F1 + 6, KEY_CODE_ENTER}},
        /* a control character comes through, whatever it comes in the midst of */
        {S("\033[12\003"), {3}},
        {S("\033Pxyz\003q"), {3, 'q'}},
        {S("\033]0;t\033[Aq"), {KEY_CODE_UP, 'q'}},
        {S("\033[1\033[Bq"), {KEY_CODE_DOWN, 'q'}},
        /* a paste: its characters are text, what else is in it is nothing, and a ^C is a ^C */
        {S("\033[200~q\xc3\xa9\r\t\033[A \033[201~q"), {KEY_PASTED | 'q', KEY_PASTED | 0xe9, KEY_PASTED | ' ', 'q'}},
        {S("\033[200~\003\033"), {3}},
    };
    struct keys keys;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t cut = 0; cut <= cases[i].length; cut++) {
            feed(&keys, cases[i].bytes, cases[i].length, cut);
            size_t count = 0;
            while (count < 6 && cases[i].codes[count])
                count++;
            if (keys.count != count || memcmp(keys.codes, cases[i].codes, count * sizeof(int)) != 0)
                fail_msg("case %zu cut at %zu: %zu keys, the first %d", i, cut, keys.count, keys.codes[0]);
        }
    }
    /* What is no character does not hide the one after it. */
    feed(&keys, "\xff\xc3\003", 3, 0);
    assert_true(keys.count == 1 && keys.codes[0] == 3);
    feed(&keys, "\xc3\xc3\xa9", 3, 1);
    assert_true(keys.count == 1 && keys.codes[0] == 0xe9);
}

/* Each is followed by a z, the one key. */
static void test_unknown(void **state)
{
    static const char *const unknown[] = {
        "\033[1 q", /* the cursor's shape */
        "\xc2\x9b"
        "1 q", /* CSI of eight bits, as UTF-8 */
        "\x9b"
        "1 q", /* and by itself */
        "\xc2\x9d"
        "0;q\xc3\x9cq\xc2\x9c",              /* a title with a letter that ends in ST's byte */
        "\xc2\x90q\033\\",                   /* DCS */
        "\xc2\x8fq",                         /* SS3 */
        "\xc2\x85",                          /* a next line is no key */
        "\033[?62;22c",                      /* device attributes */
        "\033[>1;4000;29c",                  /* the second kind */
        "\033[24;80R",                       /* the cursor's place */
        "\033[8;50;132t",                    /* the window's size */
        "\033[?2026;2$y",                    /* a mode's state */
        "\033[200~\033[201~",                /* marks of pasted text */
        "\033[I\033[O",                      /* focus */
        "\033[2~",                           /* Insert */
        "\033[1;3S",                         /* Alt-F4 is not F4 */
        "\033[113u\033[113;5:3u\033[1;1:3A", /* q and arrows as kitty reports them */
        "\033[27;5;113~",                    /* q as xterm reports it */
        "\033[3;5~",                         /* Delete with a modifier */
        "\033[99999999999999999999A",        /* numbers of any size */
        "\033[1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1A",
        "\033Oq\033Oj\033O5A",              /* SS3 */
        "\033[[q",                          /* a console's */
        "\033]11;rgb:ffff/ffff/ffff\033\\", /* colours, ended in both ways */
        "\033]11;rgb:ffff/ffff/ffff\a",
        "\033]52;c;cXVpdA==\a", /* the clipboard */
        "\033P1$rq\033\\",      /* DCS */
        "\033P>|XTerm(390)\033\\",
        "\033_Gi=1;OK\033\\\033^q\033\\\033Xq\033\\",               /* APC, PM, SOS */
        "\033[<0;5;5m",                                             /* a release */
        "\033[<35;5;5M\033[<2;5;5M\033[<0;5M\033[<;;M\033[<0;0;0M", /* movement, other buttons, broken ones */
        "\033[M#!!",                                                /* a release, the old way */
        "\033[\x7f",
    };
    struct keys keys;
    (void)state;
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        char bytes[128];
        snprintf(bytes, sizeof bytes, "%sz", unknown[i]);
        const size_t length = strlen(bytes);
        for (size_t cut = 0; cut <= length; cut++) {
            feed(&keys, bytes, length, cut);
            if (keys.count != 1 || keys.codes[0] != 'z')
                fail_msg("unknown %zu cut at %zu: %zu keys, the first %d", i, cut, keys.count, keys.codes[0]);
        }
    }
}

static void test_mouse(void **state)
{
    struct keys keys;
    (void)state;
    static const char click[] = "\033[<0;12;7M\033[<0;12;7m\033[<65;1;2M\033[M !\"\033[M#!\"\033[<4;223;500M";
    for (size_t cut = 0; cut < sizeof click; cut++) {
        feed(&keys, click, sizeof click - 1, cut);
        assert_int_equal(keys.count, 4);
        for (int i = 0; i < 4; i++)
            assert_int_equal(keys.codes[i], KEY_CODE_MOUSE);
        assert_true(keys.mice[0].action == MOUSE_PRESS && keys.mice[0].x == 11 && keys.mice[0].y == 6);
        assert_true(keys.mice[1].action == MOUSE_WHEEL_DOWN && keys.mice[1].x == 0 && keys.mice[1].y == 1);
        assert_true(keys.mice[2].action == MOUSE_PRESS && keys.mice[2].x == 0 && keys.mice[2].y == 1);
        assert_true(keys.mice[3].action == MOUSE_PRESS && keys.mice[3].x == 222 && keys.mice[3].y == 499);
    }
}

/* A sequence that stays away (a key with Alt) takes no more with it than what comes at once. */
static void test_patience(void **state)
{
    struct keys keys = {0};
    struct input input = described();
    (void)state;
    input_add(&input, "\033[", 2, 0);
    drain(&input, &keys);
    input_add(&input, "q", 1, 600 * MS);
    drain(&input, &keys);
    assert_true(keys.count == 1 && keys.codes[0] == 'q');
    input_add(&input, "\033]11;rgb:", 9, 1000 * MS);
    drain(&input, &keys);
    input_add(&input, "ffff", 4, 2000 * MS); /* a slow line */
    drain(&input, &keys);
    assert_int_equal(keys.count, 1);
    input_add(&input, "j", 1, 5000 * MS);
    drain(&input, &keys);
    assert_true(keys.count == 2 && keys.codes[1] == 'j');
}

/* Any bytes in pieces of any size: no key that is none, and ^C at the end always comes through. */
static void test_any(void **state)
{
    uint64_t seed = 1;
    (void)state;
    for (int round = 0; round < 20000; round++) {
        struct input input = described();
        struct mouse mouse = {0};
        for (int piece = 0; piece < 8; piece++) {
            static const char common[] = "\033[]O;0123M<~\\P\a\xc3\xff";
            char bytes[24];
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            const size_t length = seed >> 60;
            for (size_t i = 0; i < length; i++) {
                seed = seed * 6364136223846793005u + 1442695040888963407u;
                bytes[i] = seed >> 63 ? common[(seed >> 40) % (sizeof common - 1)] : (char)(seed >> 33);
            }
            input_add(&input, bytes, length, (uint64_t)piece * 10 * MS);
            for (int key; (key = input_key(&input, &mouse)) != 0;) {
                assert_true(key > 0 && key <= KEY_CODE_MOUSE);
                if (key == KEY_CODE_MOUSE)
                    assert_true(mouse.x >= 0 && mouse.y >= 0 && mouse.x < 10000 && mouse.y < 10000);
            }
        }
        input_add(&input, "\003\003\003\003", 4, 5000 * MS); /* three may be an old mouse report's */
        int last = 0;
        for (int key; (key = input_key(&input, &mouse)) != 0;)
            last = key;
        assert_int_equal(last, 3);
    }
}

int main(void)
{
    setlocale(LC_ALL, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),     cmocka_unit_test(test_unknown), cmocka_unit_test(test_mouse),
        cmocka_unit_test(test_patience), cmocka_unit_test(test_any),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
