/* Preloaded into steptop: the wall clock jumps an hour to and fro at every look, as if somebody set it all the time. The
 * monotonic clock is left alone. With NIGHT set the machine sleeps for eight hours, a second after the process began: the clock that goes
 * on meanwhile is ahead by them from then on. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *time);
__attribute__((visibility("default"))) int gettimeofday(struct timeval *restrict time, void *restrict zone);
__attribute__((visibility("default"))) time_t time(time_t *result);

static long jump(void)
{
    static unsigned count;
    return __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED) % 2 ? 3600 : -3600;
}

static long slept(void)
{
    static long began;
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    const long ms = now.tv_sec * 1000 + now.tv_nsec / 1000000;
    long first = 0;
    __atomic_compare_exchange_n(&began, &first, ms, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return getenv("NIGHT") && first && ms - first > 1000 ? 8 * 3600 : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    const long result = syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI))
        now->tv_sec += jump();
    if (result == 0 && clock == CLOCK_BOOTTIME)
        now->tv_sec += slept();
    return (int)result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    *now = (struct timeval){exact.tv_sec, exact.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *result)
{
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (result)
        *result = exact.tv_sec;
    return exact.tv_sec;
}
