/* The one loop: terminal, signals, session, clock. Data are drawn at most ten times a second, or as seldom as was set; keys at once. */
#include "base/clock.h"
#include "base/limits.h"
#include "base/unknown.h"
#include "tui/app.h"
#include "tui/lines.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define FRAME_BYTES 380
#define OWN_FDS 4
#define SESSION_FDS 60

struct loop {
    struct app app;
    struct canvas canvas;
    struct terminal *terminal;
    uint64_t last_frame, last_update, last_usage_at, last_usage;
    struct tui_statistics statistics;
    size_t ended;         /* runs that had ended when the files were written last */
    bool session_changed; /* since the last frame */
    double bytes_a_frame; /* that the data asked for, of the latest frames */
    int signal;
};

/* From one picture of the data to the next. */
static uint64_t frame_ns(const struct app *app)
{
    return (uint64_t)app->config.refresh_ms * 1000000u;
}

/* Processor time of this thread, for the statistics. */
static uint64_t thread_time(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t own_cpu(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * 1000000000u +
           ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * 1000u;
}

static void measure_self(struct loop *loop, uint64_t now)
{
    if (now - loop->last_usage_at < 2000000000u)
        return;
    if (getloadavg(&loop->app.load_average, 1) != 1)
        loop->app.load_average = UNKNOWN_DOUBLE;
    const uint64_t cpu = own_cpu();
    if (loop->last_usage_at && loop->app.session)
        loop->app.frame_share = (double)(cpu - loop->last_usage) / (double)(now - loop->last_usage_at);
    loop->last_usage = cpu;
    loop->last_usage_at = now;
}

/* The files asked for on the command line are rewritten after every cell, so that whatever ends us leaves them valid. */
static void renew_files(struct loop *loop)
{
    const struct tui_options *options = loop->app.options;
    struct error error = {0};
    size_t ended = 0;
    for (size_t i = 0; i < session_run_count(loop->app.session); i++) {
        const enum status status = session_run(loop->app.session, i)->status;
        ended += status != STATUS_PENDING && status != STATUS_RUNNING;
    }
    if (ended == loop->ended)
        return;
    loop->ended = ended;
    if (options->renew_files && !options->renew_files(options->context, &error))
        app_message(&loop->app, STYLE_BAD, "%s", error.text);
}

static void draw(struct loop *loop)
{
    int height, width;
    terminal_size(loop->terminal, &height, &width);
    canvas_resize(&loop->canvas, height, width);
    app_draw(&loop->app, &loop->canvas);
}

/* Data are brought up to date once a frame; a key that comes between is answered from what there is. */
static void update(struct loop *loop, uint64_t now)
{
    struct app *app = &loop->app;
    const bool due = loop->session_changed && !app->live.frozen && now - loop->last_update >= frame_ns(app);
    if (!app->session || (!due && !app->resync))
        return;
    const uint64_t before = thread_time();
    if (app->live.frozen)
        report_drop_removed(app->report, app->session);
    else
        report_update(app->report, app->session);
    loop->statistics.update_ns += thread_time() - before;
    loop->last_update = now;
    loop->session_changed = false;
    app->resync = false;
}

/* How many rows that only changed the next frames show: so many that they, and once a second a new order of the rows, come to
 * FRAME_BYTES on the average. A key's frame is no part of it. */
static void pace(struct loop *loop, size_t bytes)
{
    const int lines = loop->canvas.lines_a_frame ? loop->canvas.lines_a_frame : LINES_A_FRAME;
    loop->bytes_a_frame += ((double)bytes - loop->bytes_a_frame) / 10; /* a second of frames */
    if (loop->bytes_a_frame > FRAME_BYTES && lines > LINES_LEAST_A_FRAME)
        loop->canvas.lines_a_frame = lines - 1;
    else if (loop->bytes_a_frame < FRAME_BYTES * 4 / 5 && lines < LINES_A_FRAME)
        loop->canvas.lines_a_frame = lines + 1;
}

static void frame(struct loop *loop)
{
    const uint64_t now = clock_now();
    const bool asked = loop->app.dirty;
    loop->app.now = now;
    loop->last_frame = now;
    loop->app.dirty = false;
    update(loop, now);
    measure_self(loop, now);
    const uint64_t before = thread_time();
    draw(loop);
    const size_t bytes = terminal_show(loop->terminal, &loop->canvas);
    if (!asked)
        pace(loop, bytes);
    loop->statistics.bytes += bytes;
    loop->statistics.draw_ns += thread_time() - before;
    loop->statistics.frames++;
    if (loop->app.options->statistics)
        *loop->app.options->statistics = loop->statistics;
}

/* What orderly signals ask for. */
static void take_signals(struct loop *loop)
{
    for (int number = terminal_signal(loop->terminal); number; number = terminal_signal(loop->terminal)) {
        switch (number) {
        case SIGWINCH:
            if (terminal_resize(loop->terminal))
                loop->app.dirty = true;
            break;
        case SIGCONT:
            terminal_resume(loop->terminal);
            loop->app.dirty = true;
            break;
        case SIGTSTP:
            terminal_suspend(loop->terminal);
            loop->app.dirty = true;
            break;
        case SIGINT: {
            const struct mouse none = {0};
            app_key(&loop->app, 'C' & 31, &none);
            if (loop->app.quit)
                loop->signal = SIGINT;
            break;
        }
        default:
            loop->signal = number;
            loop->app.quit = true;
        }
    }
}

static void take_keys(struct loop *loop)
{
    struct mouse mouse = {0};
    for (int i = 0; i < 256 && !loop->app.quit; i++) {
        const int key = terminal_key(loop->terminal, &mouse);
        if (!key)
            return;
        take_signals(loop); /* a resize before the key counts before it: a screen too small for views takes no keys */
        if (loop->app.quit)
            return;
        loop->app.now = clock_now();
        /* Several keys at once (typed ahead, pasted): each acts on what the one before would have shown. */
        if (i > 0 && loop->app.dirty) {
            update(loop, loop->app.now); /* a run that was removed must not be drawn once more */
            draw(loop);
        }
        const bool interrupt = key == ('C' & 31);
        app_key(&loop->app, key, &mouse);
        if (interrupt && loop->app.quit)
            loop->signal = SIGINT;
    }
}

static int gather(struct loop *loop, struct pollfd *fds, int *session_fds, int *timeout)
{
    const bool asked = devices_asked(&loop->app.devices);
    *timeout = -1;
    *session_fds = 0;
    fds[0] = (struct pollfd){terminal_input(loop->terminal), POLLIN, 0};
    fds[1] = (struct pollfd){terminal_signals(loop->terminal), POLLIN, 0};
    fds[2] = (struct pollfd){terminal_is_behind(loop->terminal) ? terminal_output(loop->terminal) : -1, POLLOUT, 0};
    fds[3] = (struct pollfd){asked ? loop->app.devices.output : -1, POLLIN, 0};
    if (loop->app.session)
        *session_fds = session_poll(loop->app.session, fds + OWN_FDS, SESSION_FDS, timeout);
    if (asked && (*timeout < 0 || *timeout > 500))
        *timeout = 500; /* its deadline */
    return OWN_FDS + *session_fds;
}

/* Milliseconds until the next frame is due; −1: none is. */
static int until_frame(const struct loop *loop, uint64_t now)
{
    const struct app *app = &loop->app;
    /* A terminal that does not take what it was sent gets no more; POLLOUT wakes us up. */
    if (terminal_is_behind(loop->terminal))
        return -1;
    if (app->dirty)
        return 0;
    uint64_t due = 0;
    if (loop->session_changed && !app->live.frozen)
        due = loop->last_update + frame_ns(app);
    if ((app->live.frozen || app->pending) && (!due || loop->last_frame + frame_ns(app) < due))
        due = loop->last_frame + frame_ns(app);
    if (app->message_until > now && (!due || app->message_until < due))
        due = app->message_until;
    /* The sort order stops resting, clocks on the screen go on. */
    if (app->session && !session_idle(app->session) && !due)
        due = loop->last_frame + 1000000000u;
    if (!due)
        return -1;
    return due <= now ? 0 : (int)((due - now + 999999) / 1000000);
}

static void step(struct loop *loop)
{
    struct pollfd fds[OWN_FDS + SESSION_FDS];
    int session_fds, timeout;
    const int count = gather(loop, fds, &session_fds, &timeout);
    const int wait = until_frame(loop, clock_now());
    if (wait >= 0 && (timeout < 0 || wait < timeout))
        timeout = wait;
    const int ready = poll(fds, (nfds_t)count, timeout);
    if (ready < 0 && errno != EINTR)
        loop->app.quit = true;
    if (ready > 0 && (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL))) {
        loop->signal = SIGHUP; /* the terminal is gone */
        loop->app.quit = true;
        return;
    }
    take_signals(loop);
    if (!terminal_flush(loop->terminal)) {
        loop->signal = SIGHUP;
        loop->app.quit = true;
    }
    if (loop->app.quit)
        return;
    take_keys(loop);
    if (devices_asked(&loop->app.devices))
        pick_device_step(&loop->app);
    if (loop->app.dirty && until_frame(loop, 0) == 0)
        frame(loop); /* whoever pressed a key does not wait until a full ring is drained */
    if (loop->app.quit)
        return;
    if (loop->app.session) {
        const uint64_t before = thread_time();
        if (session_step(loop->app.session)) {
            loop->session_changed = true;
            renew_files(loop);
        }
        loop->statistics.drain_ns += thread_time() - before;
    }
    if (until_frame(loop, clock_now()) == 0)
        frame(loop);
}

bool tui_run(const struct tui_options *options, int *signal_number, struct error *error)
{
    struct config config;
    const char *no_color = getenv("NO_COLOR");
    config_load(&config, NULL);
    int theme = config.theme < 0 ? 0 : config.theme;
    if (options->theme) {
        theme = theme_find(options->theme);
        if (theme < 0)
            return error_set(error, ERROR_USAGE, "there is no theme '%s'; there are default, light, mono and contrast",
                             options->theme);
    }
    const struct terminal_options terminal_options = {
        .theme = theme,
        .ascii = options->ascii,
        .mouse = options->mouse && config.mouse,
        /* A theme that is asked for by name outweighs the environment. */
        .no_color = no_color && *no_color && !options->theme,
    };
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        memory_exhausted(1, "screen");
    loop->terminal = terminal_open(&terminal_options, error);
    if (!loop->terminal) {
        free(loop);
        return false;
    }
    loop->canvas.ascii = terminal_is_ascii(loop->terminal);
    app_init(&loop->app, options, loop->terminal);
    loop->session_changed = options->session != NULL;
    loop->app.dirty = true;
    while (!loop->app.quit)
        step(loop);
    terminal_close(loop->terminal);
    if (loop->app.session)
        report_update(loop->app.report, loop->app.session);
    *signal_number = loop->signal;
    app_release(&loop->app);
    canvas_release(&loop->canvas);
    free(loop);
    return true;
}
