/* Runs steptop, or any program, as a person would: arguments, environment, standard input; gives back what it said and its
 * exit code. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct command {
    const char *const *arguments;   /* after the program's name; NULL-terminated */
    const char *const *environment; /* "NAME=value", or "NAME" to unset; NULL-terminated; NULL: as it is */
    const char *input;              /* standard input; NULL: /dev/null */
    const char *folder;             /* working folder; NULL: as it is */
    bool close_input, close_output, close_errors;
    const char *output_to; /* standard output into this file, such as /dev/full */
    size_t file_limit;     /* RLIMIT_FSIZE in bytes; 0: none */
    size_t memory_limit;   /* RLIMIT_AS in bytes; 0: none */
    size_t data_limit;     /* RLIMIT_DATA in bytes; 0: none */
    size_t process_limit;  /* RLIMIT_NPROC; as a user who has no process yet, where this one may become it; 0: none */
    bool one_processor;    /* may use the first of its processors alone */
    const char *group;     /* folder of a control group to be in */
    int signal;            /* is sent to the process once a worker of its is there and */
    const char *signal_after;        /* it has said this; */
    const char *second_signal_after; /* and again once it has said this; NULL: once is enough */
    int timeout_s;                   /* 0: 60; then it is killed and the test fails */
};

struct outcome {
    int code; /* exit code, or 128 + signal */
    char *output, *errors;
    double seconds;
};

void command_execute(const struct command *command, struct outcome *outcome);
void outcome_release(struct outcome *outcome);
/* Fails the test, with all that was said, unless the code is this one and each text (NULL: any) is part of its stream. */
void expect(const struct outcome *outcome, int code, const char *in_output, const char *in_errors);
int count_of(const char *text, const char *part); /* places where the part stands */

/* steptop with these words: steptop_run(&outcome, "run", "--steps", "0", NULL). */
void steptop_run(struct outcome *outcome, ...) __attribute__((sentinel));

/* A new empty folder under /tmp, and its removal with all that is in it. */
char *folder_new(void);
void folder_delete(char *folder);
/* The same as a test's set-up and teardown: the folder is *state. No worker outlives its steptop, whatever a test did: that
 * fails the teardown. */
int folder_setup(void **state);
int folder_teardown(void **state);
char *path_in(const char *folder, const char *name); /* malloc'ed */
void file_put(const char *path, const char *text);
char *file_get(const char *path); /* NULL where there is none */

/* Processes called "steptop worker" that were started under this test, whoever their parent is now. */
int workers_alive(void);
