/* What may be said of scopes and places: up to which bounds, and what is refused. */
#include "base/unknown.h"
#include "profiler/places.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void scopes_are_as_deep_as_is_said(void **state)
{
    (void)state;
    struct places places = {0};
    struct error error = {0};
    char name[16];
    for (int depth = 0; depth <= PLACE_DEPTH_MAX; depth++) { /* the root's is 0 */
        snprintf(name, sizeof name, "s%d", depth);
        if (!places_add_scope(&places, depth - 1, name, 0, &error))
            fail_msg("%s", error.text);
        assert_int_equal(places.scopes.items[depth].depth, depth);
    }
    assert_string_equal(places.scopes.items[2].path, "s1.s2"); /* without the root's */
    assert_false(places_add_scope(&places, PLACE_DEPTH_MAX, "too deep", 0, &error));
    assert_non_null(strstr(error.text, "lies too deep"));
    assert_false(places_add_scope(&places, PLACE_DEPTH_MAX + 1, "of nobody", 0, &error));
    assert_non_null(strstr(error.text, "was not said before it"));
    assert_false(places_add_scope(&places, -2, "of nobody", 0, &error));
    assert_int_equal(places.scopes.count, PLACE_DEPTH_MAX + 1);
    places_release(&places);
}

static void peaks_are_of_scopes_and_of_two_phases(void **state)
{
    (void)state;
    struct places places = {0};
    struct error error = {0};
    assert_true(places_add_scope(&places, -1, "model", 0, &error));
    assert_true(places_peak(&places, 0, PHASE_FWD, 7, &error));
    assert_true(places_peak(&places, 0, PHASE_BWD, 9, &error));
    assert_true(places_peak(&places, 0, PHASE_BWD, 8, &error)); /* the most counts */
    assert_true(places_peak(&places, 0, PHASE_BWD, UNKNOWN_U64, &error));
    assert_int_equal(places.scopes.items[0].peak_bytes[0], 7);
    assert_int_equal(places.scopes.items[0].peak_bytes[1], 9);
    assert_false(places_peak(&places, 1, PHASE_FWD, 7, &error)); /* the one behind the last */
    assert_false(places_peak(&places, -1, PHASE_FWD, 7, &error));
    assert_false(places_peak(&places, 0, PHASE_OPT, 7, &error));
    assert_false(places_peak(&places, 0, UINT32_MAX, 7, &error));
    assert_int_equal(places.scopes.items[0].peak_bytes[0], 7);
    places_release(&places);
}

static void work_is_of_places(void **state)
{
    (void)state;
    struct places places = {0};
    struct error error = {0};
    const struct place place = {.scope = -1, .op = "op", .label = "", .flops = 1, .bytes = 1};
    assert_true(places_add(&places, &place, &error));
    assert_true(places_work(&places, 0, 5, 6, &error));
    assert_false(places_work(&places, 1, 5, 6, &error));
    assert_false(places_work(&places, -1, 5, 6, &error));
    struct place bad = place;
    bad.scope = 0; /* there is none yet */
    assert_false(places_add(&places, &bad, &error));
    bad = place, bad.scope = -2;
    assert_false(places_add(&places, &bad, &error));
    bad = place, bad.phase = PLACE_PHASE_COUNT;
    assert_false(places_add(&places, &bad, &error));
    bad = place, bad.kernel_class = CLASS_COUNT;
    assert_false(places_add(&places, &bad, &error));
    assert_int_equal(places.list.count, 1);
    places_release(&places);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scopes_are_as_deep_as_is_said),
        cmocka_unit_test(peaks_are_of_scopes_and_of_two_phases),
        cmocka_unit_test(work_is_of_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
