/* steptop run: from a profile and flags to a session, on the screen or without one. */
#include "cli/run.h"
#include "base/system.h"
#include "base/xdg.h"
#include "cli/kind.h"
#include "cli/screen.h"
#include "cli/verdict.h"
#include "profiler/hosts.h"
#include "profiler/joiner.h"
#include "report/queue.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The profile that is named, else quickstart: the user's file or the shipped one, or where neither is found the same built in. */
static bool read_profile(const struct arguments *arguments, struct profile *profile, struct error *error)
{
    char path[PATH_MAX];
    if (arguments->positional_count)
        return (!profile_path(arguments->positional[0], path, sizeof path) || file_is(path, KIND_PROFILE, error)) &&
               profile_read(arguments->positional[0], profile, error);
    const bool there = profile_path("quickstart", path, sizeof path) && strchr(path, '/'); /* found in a folder */
    return there ? profile_read(path, profile, error) : profile_default(profile, error);
}

/* The options that stand for a key of the profile; a launcher's ranks are as many as it started. */
static bool apply_options(const struct arguments *arguments, const struct launcher *launcher, struct profile *profile,
                          struct error *error)
{
    struct profile_override overrides[OPTION_COUNT];
    char flags[OPTION_COUNT][40], ranks[16];
    int count = 0;
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option_info *info = option_info((enum option_id)i);
        if (!info->key || !arguments->value[i])
            continue;
        snprintf(flags[count], sizeof flags[count], "--%s", info->name);
        overrides[count] =
            (struct profile_override){info->key, info->argument ? arguments->value[i] : info->value, flags[count]};
        count++;
    }
    if (launcher && !arguments->value[OPTION_RANKS]) {
        snprintf(ranks, sizeof ranks, "%d", launcher->world);
        overrides[count++] = (struct profile_override){"ranks", ranks, "--join"};
    }
    return !count || profile_apply(profile, overrides, count, error);
}

static bool any_of_profile(const struct report *report, const struct profile *profile)
{
    for (size_t i = 0; i < report->cells.count; i++) {
        for (size_t j = 0; j < profile->cells.count; j++) {
            if (cell_equal(&report->cells.items[i]->requested, &profile->cells.items[j]))
                return true;
        }
    }
    return false;
}

static bool start_report(const struct arguments *arguments, const struct profile *profile, struct report *report,
                         struct error *error)
{
    const char *resumed = arguments->value[OPTION_RESUME];
    report_init(report);
    if (resumed) {
        struct report old = {0};
        if (!file_is(resumed, KIND_REPORT, error) || !report_read(resumed, &old, error))
            return false;
        report_free(report);
        *report = old;
        if (!any_of_profile(report, profile))
            return error_set(error, ERROR_INPUT,
                             "--resume %s: none of its %zu cells is one of this run's %zu (one is the same when all is "
                             "that it was asked for: steps, warm-up and passes too)",
                             resumed, report->cells.count, profile->cells.count);
        report_take_on(report);
    }
    report->profile_name = arena_strdup(&report->arena, profile->name);
    report->profile_digest = arena_strdup(&report->arena, profile->digest);
    return true;
}

static struct session *start_session(const struct arguments *arguments, const struct profile *profile,
                                     const struct launcher *launcher, const struct report *report, struct error *error)
{
    char cache[PATH_MAX], program[PATH_MAX];
    uint32_t used = 0;
    for (size_t i = 0; i < report->cells.count; i++)
        used = report->cells.items[i]->run_id > used ? report->cells.items[i]->run_id : used;
    const struct session_options options = {
        .first_id = used,
        .launcher = launcher,
        .program = program_self(program, sizeof program),
        .record_file = arguments->value[OPTION_RECORD],
        .cache_folder = xdg_path(XDG_CACHE, NULL, cache, sizeof cache, NULL) ? cache : NULL,
    };
    struct session *session = session_create(&options, error);
    size_t queued;
    if (session && !profile_queue(profile, session, report, &queued, error)) {
        session_free(session);
        return NULL;
    }
    return session;
}

/* One of the ranks after the first: the profile, the screen and the files are rank 0's. */
static int run_joiner(const struct launcher *launcher)
{
    char cache[PATH_MAX], program[PATH_MAX];
    struct error error = {0};
    int signal = 0;
    const struct joiner_options options = {
        .launcher = launcher,
        .program = program_self(program, sizeof program),
        .cache_folder = xdg_path(XDG_CACHE, NULL, cache, sizeof cache, NULL) ? cache : NULL,
        .wait_ns = HOSTS_JOIN_NS,
    };
    if (joiner_run(&options, &signal, &error))
        return EXIT_OK;
    const int code = fail(&error);
    return signal ? 128 + signal : code;
}

int command_run(const struct arguments *arguments)
{
    struct launcher launcher, *joins = NULL;
    struct profile profile = {0};
    struct report report = {0};
    struct outputs outputs;
    struct session *session = NULL;
    enum report_format format;
    struct error error = {0};
    int code = EXIT_FAILED;
    if (arguments->value[OPTION_JOIN]) {
        joins = &launcher;
        if (!launcher_read(arguments->value[OPTION_JOIN], joins, &error))
            return fail(&error);
        if (launcher.rank > 0)
            return arguments->value[OPTION_DRY_RUN] ? EXIT_OK : run_joiner(joins);
    }
    if (!read_profile(arguments, &profile, &error))
        return fail(&error);
    if (!apply_options(arguments, joins, &profile, &error))
        goto failed;
    for (size_t i = 0; i < profile.warnings.count; i++)
        say("steptop: warning: %s", profile.warnings.items[i]);
    /* What a run would be refused for is told without running, too. */
    if (!fail_on_check(arguments, &error) || !format_take(arguments, &format, &error) ||
        !outputs_take(&outputs, arguments, FORMAT_YAML, &error) || !start_report(arguments, &profile, &report, &error))
        goto failed;
    if (arguments->value[OPTION_DRY_RUN]) {
        code = dry_run(&profile);
        goto cleanup;
    }
    session = start_session(arguments, &profile, joins, &report, &error);
    if (!session)
        goto failed;
    if (screen_wanted(arguments)) {
        struct screen screen = {arguments, session, &report, &outputs, false};
        code = screen_run(&screen);
    } else {
        struct batch batch = {arguments, session, &report, &outputs, format};
        code = batch_run(&batch);
    }
    goto cleanup;
failed:
    code = fail(&error);
cleanup:
    session_free(session);
    report_free(&report);
    profile_free(&profile);
    return code;
}
