#include "base/suggest.h"
#include <string.h>
#include <strings.h>

#define WORD_MAX 63
#define FAR_AWAY 1000

static int least(int a, int b)
{
    return a < b ? a : b;
}

int suggest_distance(const char *a, const char *b)
{
    const size_t n = strnlen(a, WORD_MAX + 1), m = strnlen(b, WORD_MAX + 1);
    if (n > WORD_MAX || m > WORD_MAX)
        return FAR_AWAY;
    int rows[3][WORD_MAX + 1]; /* of prefixes of b: two before, one before, now */
    int *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= m; j++)
        last[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            now[j] = least(least(last[j], now[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], before[j - 2] + 1);
        }
        int *oldest = before;
        before = last, last = now, now = oldest;
    }
    return last[m];
}

const char *suggest(const char *word, const char *const *candidates, size_t count)
{
    const size_t length = strlen(word);
    int best = (int)(length / 3 > 1 ? length / 3 : 1) + 1;
    const char *nearest = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!candidates[i])
            continue;
        const int distance = strcasecmp(word, candidates[i]) == 0 ? 0 : suggest_distance(word, candidates[i]);
        if (distance < best && distance < (int)length)
            best = distance, nearest = candidates[i];
    }
    return nearest;
}
