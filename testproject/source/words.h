#ifndef WORDS_H
#define WORDS_H

#include <stddef.h>

#define WORD_LENGTH 31

/* How often each word was seen, for the first TABLE_SIZE different words; the others are only counted. */
struct word {
    char text[WORD_LENGTH + 1];
    unsigned long seen;
};

struct words {
    struct word table[TABLE_SIZE];
    unsigned long different, left_out;
    char current[WORD_LENGTH + 1];
    size_t length;
};

void words_feed(struct words *words, const unsigned char *bytes, size_t length);
void words_finish(struct words *words);
const struct word *words_most_frequent(const struct words *words);

#endif
