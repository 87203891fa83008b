/* base/: the arena's alignment and zeroing, atomic writes that leave the old file alone on failure, XDG's rules, and the
 * distribution of the random numbers that weights are drawn from. */
#include "base/arena.h"
#include "base/cgroup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/gap.h"
#include "base/net.h"
#include "base/processors.h"
#include "base/random.h"
#include "base/sha256.h"
#include "base/strbuf.h"
#include "base/unknown.h"
#include "base/vec.h"
#include "base/xdg.h"
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
/* clang-format off: cmocka.h needs the headers above it */
#include <cmocka.h>
/* clang-format on */

static int folder_make(void **state)
{
    *state = mkdtemp(strdup("/tmp/steptop-base-XXXXXX"));
    return *state ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status, (void)type, (void)place;
    return remove(path);
}

static int folder_remove(void **state)
{
    const int result = nftw(*state, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return result;
}

static size_t entries_in(const char *path)
{
    size_t count = 0;
    DIR *dir = opendir(path);
    while (dir && readdir(dir))
        count++;
    closedir(dir);
    return count - 2;
}

static void arena_is_zeroed_aligned_and_disjoint(void **state)
{
    (void)state;
    struct arena arena = {0};
    unsigned char *places[500];
    size_t sizes[500];
    for (size_t i = 0; i < 500; i++) {
        sizes[i] = (i * i * 7919) % 9000 + 1; /* from a byte to more than a block */
        places[i] = arena_alloc(&arena, sizes[i]);
        assert_int_equal((uintptr_t)places[i] % _Alignof(max_align_t), 0);
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(places[i][k], 0);
        memset(places[i], (int)(i & 0xff), sizes[i]);
    }
    for (size_t i = 0; i < 500; i++)
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(places[i][k], i & 0xff);
    assert_string_equal(arena_printf(&arena, "%s.%d", "layers", 3), "layers.3");
    arena_release(&arena);
    assert_null(arena.blocks);
}

static void error_keeps_kind_and_prefixes(void **state)
{
    (void)state;
    struct error error = {0};
    assert_false(error_set(&error, ERROR_INPUT, "line %d is bad", 7));
    assert_false(error_prefix(&error, "%s", "run.yaml"));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_string_equal(error.text, "run.yaml: line 7 is bad");
    error.placed = error.names_limit = true;
    error_prefix(&error, "cell 2");
    assert_false(error.placed); /* it begins with no place any more */
    assert_true(error.names_limit);
    char longer[4000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    error_set(&error, ERROR_INPUT, "%s", longer);
    error_prefix(&error, "%s", longer);
    assert_int_equal(strlen(error.text), sizeof error.text - 1);
    assert_false(error_set(NULL, ERROR_INPUT, "nobody listens"));
}

static void strbuf_grows(void **state)
{
    (void)state;
    struct strbuf buffer = {0};
    for (int i = 0; i < 1000; i++)
        strbuf_printf(&buffer, "%d,", i);
    strbuf_putc(&buffer, '!');
    assert_int_equal(buffer.length, 10 * 2 + 90 * 3 + 900 * 4 + 1);
    assert_memory_equal(buffer.text + buffer.length - 5, "999,!", 6);
    char wide[500];
    memset(wide, 'w', sizeof wide - 1);
    wide[sizeof wide - 1] = 0;
    strbuf_clear(&buffer);
    strbuf_printf(&buffer, "<%s>", wide);
    assert_int_equal(buffer.length, 501);
    assert_int_equal(buffer.text[500], '>');
    strbuf_release(&buffer);
}

static void vec_keeps_items(void **state)
{
    (void)state;
    VEC(uint64_t) numbers = {0};
    for (uint64_t i = 0; i < 10000; i++)
        vec_push(&numbers, i * i);
    for (uint64_t i = 0; i < 10000; i++)
        assert_int_equal(numbers.items[i], i * i);
    vec_release(&numbers);
    assert_null(numbers.items);
}

static void write_replaces_whole_files(void **state)
{
    char path[128], *text = NULL;
    size_t length = 0;
    struct error error = {0};
    snprintf(path, sizeof path, "%s/report.yaml", (char *)*state);
    assert_true(file_write_atomic(path, "first", 5, &error));
    assert_int_equal(chmod(path, 0640), 0);
    assert_true(file_write_atomic(path, "second!", 7, &error));
    assert_true(file_read(path, 100, &text, &length, &error));
    assert_int_equal(length, 7);
    assert_string_equal(text, "second!");
    free(text);
    struct stat stat_of;
    assert_int_equal(stat(path, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 07777, 0640); /* the replaced file's permissions stay */
    assert_int_equal(entries_in(*state), 1);         /* and no temporary file */
    assert_false(file_read(path, 6, &text, &length, &error));
    assert_non_null(strstr(error.text, "larger than 6 bytes"));
}

static void write_refuses_links_and_folders(void **state)
{
    char target[128], link[128], sub[128], *text = NULL;
    size_t length;
    struct error error = {0};
    snprintf(target, sizeof target, "%s/target", (char *)*state);
    snprintf(link, sizeof link, "%s/link", (char *)*state);
    snprintf(sub, sizeof sub, "%s/sub", (char *)*state);
    assert_true(file_write_atomic(target, "precious", 8, &error));
    assert_int_equal(symlink(target, link), 0);
    assert_int_equal(mkdir(sub, 0700), 0);
    assert_false(file_write_atomic(link, "x", 1, &error));
    assert_non_null(strstr(error.text, "symbolic link"));
    assert_false(file_write_atomic(sub, "x", 1, &error));
    assert_non_null(strstr(error.text, "a folder"));
    assert_false(file_read(sub, 100, &text, &length, &error));
    assert_true(file_read(target, 100, &text, &length, &error));
    assert_string_equal(text, "precious");
    free(text);
}

static void a_full_disk_leaves_the_old_file(void **state)
{
    char path[128], *text = NULL, *large = calloc(1, 1 << 20);
    size_t length = 0;
    struct error error = {0};
    snprintf(path, sizeof path, "%s/report.yaml", (char *)*state);
    assert_true(file_write_atomic(path, "old", 3, &error));
    struct rlimit limit, old;
    getrlimit(RLIMIT_FSIZE, &old);
    limit = old;
    limit.rlim_cur = 1 << 16; /* a write beyond fails with EFBIG, as a full disk does with ENOSPC */
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    const bool written = file_write_atomic(path, large, 1 << 20, &error);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_false(written);
    assert_non_null(strstr(error.text, path));
    assert_true(file_read(path, 100, &text, &length, &error));
    assert_string_equal(text, "old");
    assert_int_equal(entries_in(*state), 1);
    free(text);
    free(large);
}

static void read_never_hangs_on_a_pipe(void **state)
{
    char path[128], *text;
    size_t length;
    struct error error = {0};
    snprintf(path, sizeof path, "%s/fifo", (char *)*state);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_false(file_read(path, 100, &text, &length, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
}

static void directories_are_made_with_parents(void **state)
{
    char deep[160], middle[128];
    struct error error = {0};
    struct stat stat_of;
    snprintf(middle, sizeof middle, "%s/a", (char *)*state);
    snprintf(deep, sizeof deep, "%s/a/b", (char *)*state);
    assert_true(directory_create(deep, 0700, &error));
    assert_true(directory_create(deep, 0700, &error));
    assert_int_equal(stat(deep, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 0777, 0700);
    rmdir(deep);
    rmdir(middle);
}

static void xdg_counts_only_absolute_paths(void **state)
{
    (void)state;
    char path[256];
    struct error error = {0};
    setenv("HOME", "/home/u", 1);
    setenv("XDG_CONFIG_HOME", "/etc/u", 1);
    assert_true(xdg_path(XDG_CONFIG, "keys.yaml", path, sizeof path, &error));
    assert_string_equal(path, "/etc/u/steptop/keys.yaml");
    setenv("XDG_CONFIG_HOME", "relative", 1);
    assert_true(xdg_path(XDG_CONFIG, NULL, path, sizeof path, &error));
    assert_string_equal(path, "/home/u/.config/steptop");
    unsetenv("XDG_CACHE_HOME");
    assert_true(xdg_path(XDG_CACHE, NULL, path, sizeof path, &error));
    assert_string_equal(path, "/home/u/.cache/steptop");
    assert_false(xdg_path(XDG_CACHE, NULL, path, 8, &error));
    unsetenv("HOME");
    assert_false(xdg_path(XDG_CACHE, NULL, path, sizeof path, &error));
    assert_non_null(strstr(error.text, "XDG_CACHE_HOME"));
}

static void tree_put(const char *folder, const char *name, const char *text)
{
    char path[4200];
    struct error error = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    char *slash = strrchr(path, '/');
    *slash = 0;
    assert_true(directory_create(path, 0700, &error));
    *slash = '/';
    assert_true(file_write_atomic(path, text, strlen(text), &error));
}

/* The file of the made tree that says which groups the process is in; until the next call. */
static const char *membership_of(const char *folder)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/membership", folder);
    return path;
}

static uint64_t left_of(const char *folder)
{
    return cgroup_memory_left_at(membership_of(folder), folder);
}

/* The nearest limit on the way up counts, less what is used of it; file cache that can be dropped is not used. */
static void the_least_limit_of_the_groups_above(void **state)
{
    const char *folder = *state;
    assert_true(left_of(folder) == UNKNOWN_U64);
    tree_put(folder, "membership", "0::/a/b\n");
    assert_true(left_of(folder) == UNKNOWN_U64); /* a container: the path is the host's */
    tree_put(folder, "a/b/memory.max", "max\n");
    tree_put(folder, "a/b/memory.current", "500\n");
    assert_true(left_of(folder) == UNKNOWN_U64);
    tree_put(folder, "a/memory.max", "4000\n");
    tree_put(folder, "a/memory.current", "3000\n");
    assert_int_equal(left_of(folder), 1000);
    tree_put(folder, "a/memory.stat", "anon 2000\nfile 1000\nkernel 9\ninactive_file 700\nactive_file 300\n");
    assert_int_equal(left_of(folder), 1700);
    tree_put(folder, "a/b/memory.max", "600\n");
    assert_int_equal(left_of(folder), 100);
    tree_put(folder, "a/b/memory.current", "700\n"); /* over it: the limit was lowered */
    assert_int_equal(left_of(folder), 0);
    /* With both versions mounted, memory is version 1's, whose "no limit" is a number. */
    tree_put(folder, "membership", "4:memory:/c\n3:cpu,cpuacct:/\n0::/a/b\n");
    tree_put(folder, "memory/c/memory.limit_in_bytes", "9223372036854771712\n");
    tree_put(folder, "memory/c/memory.usage_in_bytes", "10\n");
    assert_true(left_of(folder) == UNKNOWN_U64);
    tree_put(folder, "memory/memory.limit_in_bytes", "50\n");
    tree_put(folder, "memory/memory.usage_in_bytes", "20\n");
    assert_int_equal(left_of(folder), 30);
    tree_put(folder, "membership", "garbage\n:\n4:memory:\n");
    assert_int_equal(left_of(folder), 30);
}

static double quota_of(const char *folder)
{
    return cgroup_processors_at(membership_of(folder), folder);
}

/* Both versions, the least on the way up; "max" and -1 are none. */
static void the_least_quota_of_the_groups_above(void **state)
{
    const char *folder = *state;
    assert_true(isnan(quota_of(folder)));
    tree_put(folder, "membership", "0::/a/b\n");
    tree_put(folder, "a/b/cpu.max", "max 100000\n");
    assert_true(isnan(quota_of(folder)));
    tree_put(folder, "a/cpu.max", "150000 100000\n");
    assert_true(quota_of(folder) == 1.5);
    tree_put(folder, "cpu.max", "40000 80000\n"); /* in a container the root of the mount is the own group */
    assert_true(quota_of(folder) == 0.5);
    tree_put(folder, "membership", "7:cpu,cpuacct:/c/d\n2:cpuset:/\n0::/a/b\n");
    assert_true(isnan(quota_of(folder)));
    tree_put(folder, "cpu/c/d/cpu.cfs_quota_us", "-1\n");
    tree_put(folder, "cpu/c/d/cpu.cfs_period_us", "100000\n");
    assert_true(isnan(quota_of(folder)));
    tree_put(folder, "cpu/c/cpu.cfs_quota_us", "250000\n");
    tree_put(folder, "cpu/c/cpu.cfs_period_us", "50000\n");
    assert_true(quota_of(folder) == 5);
    tree_put(folder, "cpu,cpuacct/c/d/cpu.cfs_quota_us", "100000\n");
    tree_put(folder, "cpu,cpuacct/c/d/cpu.cfs_period_us", "100000\n");
    assert_true(quota_of(folder) == 1);
    tree_put(folder, "membership", "2:cpuset:/x\n0::/\n"); /* the processors' set is not their time */
    tree_put(folder, "unified/cpu.max", "300000 100000\n");
    assert_true(quota_of(folder) == 3);
}

static uint64_t throttled_of(const char *folder)
{
    return cgroup_throttled_ns_at(membership_of(folder), folder);
}

/* The worst of the groups on the way up: one that stops stops all below it. */
static void time_stopped_by_a_quota(void **state)
{
    const char *folder = *state;
    assert_true(throttled_of(folder) == UNKNOWN_U64);
    tree_put(folder, "membership", "0::/t/u\n");
    tree_put(folder, "t/u/cpu.stat", "usage_usec 5\nnr_throttled 2\nthrottled_usec 700\n");
    assert_true(throttled_of(folder) == 700000);
    tree_put(folder, "t/cpu.stat", "throttled_usec 9000\n");
    assert_true(throttled_of(folder) == 9000000);
    tree_put(folder, "membership", "3:cpu,cpuacct:/t\n");
    tree_put(folder, "cpu,cpuacct/t/cpu.stat", "nr_periods 1\nnr_throttled 1\nthrottled_time 123\n");
    assert_true(throttled_of(folder) == 123);
}

static bool frozen_in(const char *folder)
{
    return cgroup_frozen_at(membership_of(folder), folder);
}

static void the_least_number_of_processes_of_the_groups_above(void **state)
{
    const char *folder = *state;
    assert_true(cgroup_processes_at(membership_of(folder), folder) == UNKNOWN_U64);
    tree_put(folder, "membership", "0::/a/b\n");
    tree_put(folder, "a/b/pids.max", "max\n");
    assert_true(cgroup_processes_at(membership_of(folder), folder) == UNKNOWN_U64);
    tree_put(folder, "a/pids.max", "40\n");
    assert_int_equal(cgroup_processes_at(membership_of(folder), folder), 40);
    tree_put(folder, "membership", "5:pids:/c\n0::/a/b\n");
    tree_put(folder, "pids/c/pids.max", "7\n");
    tree_put(folder, "pids/pids.max", "9\n");
    assert_int_equal(cgroup_processes_at(membership_of(folder), folder), 7);
}

static void frozen_groups(void **state)
{
    const char *folder = *state;
    assert_false(frozen_in(folder));
    tree_put(folder, "membership", "0::/a\n");
    tree_put(folder, "a/cgroup.events", "populated 1\nfrozen 0\n");
    assert_false(frozen_in(folder));
    tree_put(folder, "a/cgroup.events", "populated 1\nfrozen 1\n");
    assert_true(frozen_in(folder));
    tree_put(folder, "membership", "6:freezer:/b\n4:memory:/\n");
    tree_put(folder, "freezer/b/freezer.state", "THAWED\n");
    assert_false(frozen_in(folder));
    tree_put(folder, "freezer/b/freezer.state", "FROZEN\n");
    assert_true(frozen_in(folder));
    /* Both at once: either may be. */
    tree_put(folder, "freezer/b/freezer.state", "THAWED\n");
    tree_put(folder, "membership", "6:freezer:/b\n0::/c\n");
    assert_false(frozen_in(folder));
    tree_put(folder, "unified/c/cgroup.events", "populated 1\nfrozen 1\n");
    assert_true(frozen_in(folder));
}

#ifdef SYSTEM_LINUX
static int mask_of_a_large_machine(size_t bytes, cpu_set_t *set)
{
    if (bytes < 8192 / 8) { /* what Linux answers where the set is smaller than its own */
        errno = EINVAL;
        return -1;
    }
    CPU_SET_S(1, bytes, set);
    CPU_SET_S(1500, bytes, set);
    CPU_SET_S(8191, bytes, set);
    return 0;
}

static int no_mask(size_t bytes, cpu_set_t *set)
{
    (void)bytes, (void)set;
    errno = ENOSYS;
    return -1;
}
#endif

#ifdef SYSTEM_LINUX
static void tell(const char *root, const char *path, const char *text)
{
    char whole[512];
    snprintf(whole, sizeof whole, "%s/%s", root, path);
    for (char *slash = whole + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(whole, 0700);
        *slash = '/';
    }
    FILE *file = fopen(whole, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* Processors that share a core are told apart; a virtual machine that shares none does not say so. */
static void cores_are_told_or_not(void **state)
{
    cpu_set_t mask;
    assert_int_equal(sched_getaffinity(0, sizeof mask, &mask), 0);
    char root[300], path[100], text[100];
    for (int machine = 0; machine < 4; machine++) { /* alone, alone and virtual, shared and virtual, nothing told */
        snprintf(root, sizeof root, "%s/machine%d", (const char *)*state, machine);
        mkdir(root, 0700);
        tell(root, "proc/cpuinfo", machine % 3 ? "flags\t\t: fpu hypervisor sse\n" : "flags\t\t: fpu sse\n");
        for (int cpu = 0; cpu < CPU_SETSIZE && machine < 3; cpu++) {
            if (!CPU_ISSET(cpu, &mask))
                continue;
            snprintf(path, sizeof path, "sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
            snprintf(text, sizeof text, machine == 2 ? "0,%d\n" : "%d\n", machine == 2 ? CPU_SETSIZE - 1 : cpu);
            tell(root, path, text);
        }
        assert_int_equal(processors_cores(root), machine == 0 ? CPU_COUNT(&mask) : machine == 2 ? 1 : 0);
    }
}
#endif

static void processors_are_the_lesser_of_mask_and_quota(void **state)
{
    (void)state;
    static const struct {
        int affinity;
        double quota;
        int allowed;
    } cases[] = {{2, NAN, 2}, {2, 1, 1}, {8, 2.5, 2}, {8, 0.25, 1}, {2, 64, 2}, {0, NAN, 1}, {1, 1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(processors_of(cases[i].affinity, cases[i].quota).allowed, cases[i].allowed);
    char text[100];
    const struct processors less = processors_of(8, 2.5), all = processors_of(4, NAN);
    processors_text(&less, text, sizeof text);
    assert_string_equal(text, "2: control group's quota of 2.50 of 8 processors");
    processors_text(&all, text, sizeof text);
    assert_string_equal(text, "4: all processors that this process may use");
#ifdef SYSTEM_LINUX
    assert_int_equal(processors_in_mask(mask_of_a_large_machine), 3);
    assert_int_equal(processors_in_mask(no_mask), 0);
#endif
}

static void normals_have_the_cut_distribution(void **state)
{
    (void)state;
    /* N(0,1) cut at ±3: variance 1 − 6 φ(3)/(2Φ(3) − 1) = 0.97334, P(x < −1) = (Φ(−1) − Φ(−3))/(1 − 2Φ(−3)) = 0.15773. */
    enum { COUNT = 400000 };
    double sum = 0, squares = 0, highest = 0;
    int below = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        const double x = random_normal_cut3(42, 7, i);
        sum += x;
        squares += x * x;
        highest = fmax(highest, fabs(x));
        below += x < -1;
    }
    assert_true(fabs(sum / COUNT) < 4 / sqrt(COUNT));
    assert_true(fabs(squares / COUNT - 0.97334) < 0.01);
    assert_true(highest <= 3 && highest > 2.95);
    assert_true(fabs((double)below / COUNT - 0.15773) < 0.003);
    assert_true(random_normal_cut3(42, 7, 5) == random_normal_cut3(42, 7, 5));
    assert_true(random_normal_cut3(42, 7, 5) != random_normal_cut3(42, 8, 5));
    assert_true(random_normal_cut3(43, 7, 5) != random_normal_cut3(42, 7, 5));
}

/* RFC 4231, cases 1, 2 and 6. */
static void hmac_is_the_standards(void **state)
{
    (void)state;
    unsigned char key[131];
    char hex[65];
    memset(key, 0x0b, 20);
    hmac_sha256_hex(key, 20, "Hi There", 8, hex);
    assert_string_equal(hex, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac_sha256_hex("Jefe", 4, "what do ya want for nothing?", 28, hex);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    hmac_sha256_hex(key, sizeof key, "Test Using Larger Than Block-Size Key - Hash Key First", 54, hex);
    assert_string_equal(hex, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void addresses_are_taken_apart(void **state)
{
    (void)state;
    char host[32];
    uint16_t port = 7;
    struct error error = {0};
    assert_true(net_split("node", host, sizeof host, &port, &error) && port == 7);
    assert_true(net_split("fd00::1", host, sizeof host, &port, &error) && port == 7);
    assert_string_equal(host, "fd00::1");
    assert_true(net_split("[fd00::1]:80", host, sizeof host, &port, &error) && port == 80);
    assert_string_equal(host, "fd00::1");
    assert_true(net_split("10.0.0.1:65535", host, sizeof host, &port, &error) && port == 65535);
    static const char *const wrong[] = {"", ":1", "a:", "a:0", "a:65536", "a:1x", "[a", "[]:1", "[a]x", "a: 1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (net_split(wrong[i], host, sizeof host, &port, &error))
            fail_msg("'%s' is host %s port %u", wrong[i], host, port);
}

/* Who was stopped between two looks has not waited all that time. */
static void patience_is_what_was_looked_at(void **state)
{
    (void)state;
    struct patience patience = {0};
    assert_int_equal(patience_look(&patience), 0); /* it begins with the first look */
    patience.looked -= 10000000000u;
    assert_int_equal(patience_look(&patience), GAP_LOOK_NS);
    patience.looked -= 100000000u;
    const uint64_t waited = patience_look(&patience);
    assert_true(waited >= GAP_LOOK_NS + 100000000u && waited <= 2 * (uint64_t)GAP_LOOK_NS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hmac_is_the_standards),
        cmocka_unit_test(addresses_are_taken_apart),
        cmocka_unit_test(arena_is_zeroed_aligned_and_disjoint),
        cmocka_unit_test(error_keeps_kind_and_prefixes),
        cmocka_unit_test(strbuf_grows),
        cmocka_unit_test(vec_keeps_items),
        cmocka_unit_test_setup_teardown(write_replaces_whole_files, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(write_refuses_links_and_folders, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(a_full_disk_leaves_the_old_file, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(read_never_hangs_on_a_pipe, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(directories_are_made_with_parents, folder_make, folder_remove),
        cmocka_unit_test(xdg_counts_only_absolute_paths),
        cmocka_unit_test_setup_teardown(the_least_limit_of_the_groups_above, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(time_stopped_by_a_quota, folder_make, folder_remove),
#ifdef SYSTEM_LINUX
        cmocka_unit_test_setup_teardown(cores_are_told_or_not, folder_make, folder_remove),
#endif
        cmocka_unit_test_setup_teardown(the_least_quota_of_the_groups_above, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(the_least_number_of_processes_of_the_groups_above, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(frozen_groups, folder_make, folder_remove),
        cmocka_unit_test(processors_are_the_lesser_of_mask_and_quota),
        cmocka_unit_test(patience_is_what_was_looked_at),
        cmocka_unit_test(normals_have_the_cut_distribution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
