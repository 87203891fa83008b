#include "base/file.h"
#include "base/limits.h"
#include "base/suggest.h"
#include "base/text.h"
#include "cli/cli.h"
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

int fail(const struct error *error)
{
    static const enum exit_code codes[] = {
        [ERROR_NONE] = EXIT_FAILED,        [ERROR_USAGE] = EXIT_USAGE,
        [ERROR_INPUT] = EXIT_INPUT,        [ERROR_DEVICE] = EXIT_DEVICE,
        [ERROR_UNSUPPORTED] = EXIT_FAILED, [ERROR_MEMORY] = EXIT_FAILED,
        [ERROR_SYSTEM] = EXIT_FAILED,      [ERROR_INTERRUPTED] = EXIT_INTERRUPTED,
        [ERROR_INTERNAL] = EXIT_FAILED,
    };
    struct strbuf text = {0};
    /* Lines that name a file and a place start with it, as compilers' do: editors jump there. */
    strbuf_puts(&text, error->placed ? "" : "steptop: error: ");
    struct error full = *error;
    error_name_limit(&full);
    text_terminal(&text, full.text, true);
    strbuf_puts(&text, "\n");
    if (error->kind == ERROR_USAGE)
        strbuf_puts(&text, "Try 'steptop --help'.\n");
    fputs(text.text, stderr);
    strbuf_release(&text);
    return codes[error->kind];
}

bool write_all(const char *path, const char *text, size_t length, struct error *error)
{
    const bool to_file = path && strcmp(path, "-") != 0;
    return to_file ? file_write_atomic(path, text, length, error) : print_all(text, length, error);
}

bool terminal_draws(void)
{
    const char *term = getenv("TERM");
    return term && term[0] && strcmp(term, "dumb") != 0;
}

/* A closed standard descriptor would be given to the next file that is opened, and progress lines would end up in a
 * report: fill the gaps with /dev/null, opened so that what is read from it or written to it fails as it would have. */
static void fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            _exit(EXIT_FAILED);
    }
}

static bool unknown_command(const char *word, struct error *error)
{
    const char *names[SUBCOMMAND_COUNT] = {0};
    for (int i = 0; i < SUBCOMMAND_COUNT; i++) {
        const struct subcommand_info *info = subcommand_info((enum subcommand)i);
        names[i] = info && !info->hidden ? info->name : NULL;
    }
    const char *near = suggest(word, names, SUBCOMMAND_COUNT);
    struct stat stat_;
    if (!near && stat(word, &stat_) == 0)
        return error_set(error, ERROR_USAGE, "'%s' is not a subcommand; to run a profile: steptop run %s", word, word);
    return error_set(error, ERROR_USAGE, "'%s' is not a subcommand%s%s%s", word, near ? "; did you mean '" : "",
                     near ? near : "", near ? "'?" : "");
}

/* What a subcommand and the libraries that it calls take of a stack: ncurses 64 KiB to read a terminal's description, Vulkan's loader more. */
#define STACK_BYTES ((size_t)1 << 20)

struct call {
    const struct subcommand_info *command;
    const struct arguments *arguments;
    int code;
};

static void *call_command(void *argument)
{
    struct call *call = argument;
    call->code = call->command->run(call->arguments);
    return NULL;
}

/* Where the stack is limited to less (ulimit -s), on one of its own: signals are that thread's, too. */
static int run_with_room(const struct subcommand_info *command, const struct arguments *arguments)
{
    struct call call = {command, arguments, EXIT_FAILED};
    struct rlimit limit;
    pthread_attr_t attributes;
    pthread_t thread;
    bool started = false;
    const bool small = getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur < STACK_BYTES;
    if (small && pthread_attr_init(&attributes) == 0) {
        started = pthread_attr_setstacksize(&attributes, STACK_BYTES) == 0 &&
                  pthread_create(&thread, &attributes, call_command, &call) == 0;
        pthread_attr_destroy(&attributes);
    }
    if (started) {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, NULL);
        pthread_join(thread, NULL);
    } else {
        call_command(&call);
    }
    return call.code;
}

void crash(int number)
{
    if (number == SIGABRT && memory_ended())
        _exit(EXIT_FAILED);
    signal(number, SIG_DFL);
    raise(number);
}

int main(int argc, char **argv)
{
    const struct sigaction abort_action = {.sa_handler = crash};
    struct arguments arguments = {.command = SUBCOMMAND_RUN};
    struct error error = {0};
    fill_standard_descriptors();
    setlocale(LC_ALL, "");
    setlocale(LC_NUMERIC, "C"); /* files and tables have decimal points wherever they are made */
    sigaction(SIGABRT, &abort_action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* both are errors of a write */
    /* Without a subcommand: run. */
    const bool named = argc > 1 && argv[1][0] != '-';
    if (named && !subcommand_find(argv[1], &arguments.command)) {
        unknown_command(argv[1], &error);
        return fail(&error);
    }
    if (!arguments_parse(argc - named, argv + named, &arguments, &error))
        return fail(&error);
    if (arguments.value[OPTION_VERSION])
        return command_version(&arguments);
    if (arguments.value[OPTION_HELP]) {
        struct strbuf text = {0};
        if (named)
            help_command(arguments.command, &text);
        else
            help_usage(&text);
        const bool printed = print_all(text.text, text.length, &error);
        strbuf_release(&text);
        return printed ? EXIT_OK : fail(&error);
    }
    const struct subcommand_info *command = subcommand_info(arguments.command);
    if (!command) {
        error_set(&error, ERROR_USAGE, "name a subcommand");
        return fail(&error);
    }
    return run_with_room(command, &arguments);
}
