#include "worker/last_word.h"
#include "base/limits.h"
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void on_exit_or_abort(void)
{
    if (memory_is_exhausted())
        _exit(EXIT_NO_MEMORY);
}

static void on_abort(int number)
{
    on_exit_or_abort();
    raise(number); /* the default action, once this returns: SA_RESETHAND */
}

void last_word_prepare(void)
{
    struct sigaction action = {.sa_handler = on_abort, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGABRT, &action, NULL);
    atexit(on_exit_or_abort);
}
