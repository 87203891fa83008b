/* Words of the screen that are no key and no column, for the help page. */
#pragma once

struct word {
    const char *word, *meaning;
};
extern const struct word screen_words[]; /* ends with a word of NULL */
