#ifndef COUNT_H
#define COUNT_H

#include <stddef.h>

/* Lines, words and characters seen so far.  Built with UTF8=1 a character is a code point, else a byte. */
struct count {
    unsigned long lines, words, characters;
    int in_word;
};

void count_feed(struct count *count, const unsigned char *bytes, size_t length);
int is_space(unsigned char byte);

#endif
