/* Ranks as launchers say them. */
#include "base/launcher.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *const all[] = {"RANK",
                                  "LOCAL_RANK",
                                  "WORLD_SIZE",
                                  "OMPI_COMM_WORLD_RANK",
                                  "OMPI_COMM_WORLD_LOCAL_RANK",
                                  "OMPI_COMM_WORLD_SIZE",
                                  "MV2_COMM_WORLD_RANK",
                                  "MV2_COMM_WORLD_LOCAL_RANK",
                                  "MV2_COMM_WORLD_SIZE",
                                  "PMI_RANK",
                                  "MPI_LOCALRANKID",
                                  "PMI_SIZE",
                                  "PMIX_RANK",
                                  "PMIX_LOCAL_RANK",
                                  "PMIX_SIZE",
                                  "SLURM_PROCID",
                                  "SLURM_LOCALID",
                                  "SLURM_STEP_NUM_TASKS"};
#define VARIABLES (sizeof all / sizeof *all)

static void forget(void)
{
    for (size_t i = 0; i < VARIABLES; i++)
        unsetenv(all[i]);
    unsetenv("SLURM_NTASKS");
    setenv("SLURM_STEP_ID", "0", 1); /* where the others of Slurm's are not there it says nothing */
}

static void expect(int rank, int local, int world)
{
    struct launcher_rank found;
    assert_int_equal(launcher_rank(&found), rank >= 0);
    assert_int_equal(found.rank, rank);
    assert_int_equal(found.local, local);
    assert_int_equal(found.world, world);
}

static void each_launcher_is_known(void **state)
{
    (void)state;
    forget();
    expect(-1, -1, -1);
    for (size_t i = 0; i < VARIABLES; i += 3) {
        setenv(all[i], "6", 1);
        setenv(all[i + 2], "8", 1);
        expect(6, 6, 8); /* a launcher that says nothing of the machine: as many machines as one */
        setenv(all[i + 1], "2", 1);
        expect(6, 2, 8);
        forget();
    }
}

static void who_is_started_by_two_is_of_the_nearer(void **state)
{
    (void)state;
    forget();
    setenv("SLURM_PROCID", "1", 1); /* a machine of a job, on which torchrun starts four */
    setenv("SLURM_STEP_NUM_TASKS", "2", 1);
    setenv("RANK", "5", 1);
    setenv("LOCAL_RANK", "1", 1);
    setenv("WORLD_SIZE", "8", 1);
    expect(5, 1, 8);
    forget();
}

static void what_is_no_rank_is_none(void **state)
{
    (void)state;
    forget();
    setenv("SLURM_PROCID", "0", 1); /* of a job of one task: all that it starts has these */
    setenv("SLURM_STEP_NUM_TASKS", "1", 1);
    expect(-1, -1, -1);
    forget();
    setenv("SLURM_PROCID", "0", 1); /* of a batch script of a job of four, outside of any step */
    setenv("SLURM_NTASKS", "4", 1);
    unsetenv("SLURM_STEP_ID");
    expect(-1, -1, -1);
    setenv("SLURM_STEP_ID", "0", 1);
    unsetenv("SLURM_PROCID");
    setenv("RANK", "0", 1); /* torchrun with one process */
    setenv("WORLD_SIZE", "1", 1);
    expect(0, 0, 1);
    forget();
    static const char *const none[] = {"", "-1", "two", "3x", "99999999999", "0x1"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        setenv("PMI_RANK", none[i], 1);
        expect(-1, -1, -1);
    }
    forget();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_launcher_is_known),
        cmocka_unit_test(who_is_started_by_two_is_of_the_nearer),
        cmocka_unit_test(what_is_no_rank_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
