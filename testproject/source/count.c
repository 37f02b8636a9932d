#include "count.h"

int is_space(unsigned char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static int starts_character(unsigned char byte)
{
#if UTF8
    return (byte & 0xc0) != 0x80; /* all but the continuation bytes */
#else
    (void)byte;
    return 1;
#endif
}

void count_feed(struct count *count, const unsigned char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        count->lines += bytes[i] == '\n';
        count->characters += starts_character(bytes[i]);
        if (is_space(bytes[i])) {
            count->in_word = 0;
        } else if (!count->in_word) {
            count->in_word = 1;
            count->words++;
        }
    }
}
