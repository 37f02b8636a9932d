/* tally: what is in a text.  Counts lines, words and characters, sums up, and names the most frequent word. */
#include <stdio.h>
#include <string.h>

#include "checksum.h"
#include "count.h"
#include "words.h"

#define VERSION "1.0"

static struct words words;

static void report(const struct count *count, uint32_t sum)
{
    const struct word *best = words_most_frequent(&words);
    printf("lines %lu\nwords %lu\n%s %lu\n", count->lines, count->words,
           UTF8 ? "characters" : "bytes", count->characters);
    printf("%s %08lx\n", CHECKSUM_NAME, (unsigned long)sum);
    printf("different %lu%s\n", words.different, words.left_out ? " or more" : "");
    if (best != NULL)
        printf("most frequent %s %lu\n", best->text, best->seen);
}

static int tally(FILE *stream)
{
    static unsigned char buffer[65536];
    struct count count = {0, 0, 0, 0};
    uint32_t sum = checksum_start();
    size_t length;

    while ((length = fread(buffer, 1, sizeof buffer, stream)) > 0) {
        count_feed(&count, buffer, length);
        words_feed(&words, buffer, length);
        sum = checksum_feed(sum, buffer, length);
    }
    if (ferror(stream)) {
        perror("tally: cannot read");
        return 1;
    }
    words_finish(&words);
    report(&count, checksum_finish(sum));
    return 0;
}

static int failures;

static void expect(const char *what, unsigned long wanted, unsigned long got)
{
    printf("%s %s: %lu\n", wanted == got ? "ok" : "FAILED", what, got);
    if (wanted != got) {
        printf("  %lu was expected\n", wanted);
        failures++;
    }
}

static int selftest(void)
{
    /* The check value of each algorithm is what it makes of these nine digits. */
    static const unsigned char digits[] = "123456789";
    static const unsigned char text[] = "one two\none \xc3\xbc\n";
    struct count count = {0, 0, 0, 0};
    uint32_t sum = checksum_feed(checksum_start(), digits, 4);
#if defined(CHECKSUM_crc32)
    unsigned long known = 0xcbf43926ul;
#elif defined(CHECKSUM_adler32)
    unsigned long known = 0x091e01deul;
#else
    unsigned long known = 0xbb86b11cul;
#endif

    expect(CHECKSUM_NAME, known, checksum_finish(checksum_feed(sum, digits + 4, 5)));
    count_feed(&count, text, sizeof text - 1);
    expect("lines", 2, count.lines);
    expect("words", 4, count.words);
    expect("characters", UTF8 ? 14 : 15, count.characters);
    words_feed(&words, text, sizeof text - 1);
    words_finish(&words);
    expect("different words", TABLE_SIZE < 3 ? TABLE_SIZE : 3, words.different);
    expect("most frequent", 2, words_most_frequent(&words)->seen);
    return failures > 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("tally %s checksum=%s utf8=%s table_size=%d\n", VERSION, CHECKSUM_NAME,
               UTF8 ? "yes" : "no", TABLE_SIZE);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--selftest") == 0)
        return selftest();
    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
        fprintf(stderr, "usage: tally [FILE | --selftest | --version]\n");
        return 2;
    }
    if (argc == 2) {
        FILE *stream = fopen(argv[1], "rb");
        int status;
        if (stream == NULL) {
            perror(argv[1]);
            return 1;
        }
        status = tally(stream);
        fclose(stream);
        return status;
    }
    return tally(stdin);
}
