#include "words.h"

#include <string.h>

#include "count.h"

/* An open hash table: the word's place, or the next free one after it. */
static void add(struct words *words)
{
    unsigned long place = 5381;
    for (size_t i = 0; i < words->length; i++)
        place = (place * 33 + (unsigned char)words->current[i]) & 0xffffffffu;
    words->current[words->length] = '\0';
    for (unsigned long tried = 0; tried < TABLE_SIZE; tried++) {
        struct word *word = &words->table[(place + tried) % TABLE_SIZE];
        if (word->seen == 0) {
            memcpy(word->text, words->current, words->length + 1);
            word->seen = 1;
            words->different++;
            return;
        }
        if (strcmp(word->text, words->current) == 0) {
            word->seen++;
            return;
        }
    }
    words->left_out++;
}

void words_finish(struct words *words)
{
    if (words->length > 0)
        add(words);
    words->length = 0;
}

void words_feed(struct words *words, const unsigned char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (is_space(bytes[i]) || bytes[i] == '\0')
            words_finish(words);
        else if (words->length < WORD_LENGTH)
            words->current[words->length++] = (char)bytes[i];
    }
}

const struct word *words_most_frequent(const struct words *words)
{
    const struct word *best = NULL;
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        const struct word *word = &words->table[i];
        if (word->seen == 0)
            continue;
        if (best == NULL || word->seen > best->seen
            || (word->seen == best->seen && strcmp(word->text, best->text) < 0))
            best = word;
    }
    return best;
}
