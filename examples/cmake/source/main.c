/* Prints the primes up to MOST, or with --count how many there are. */
#include <stdio.h>
#include <string.h>

#include "sieve.h"

static unsigned char composite[MOST + 2];

int main(int argc, char **argv)
{
    int only_count = argc > 1 && strcmp(argv[1], "--count") == 0;
    unsigned n, count = 0;
    unsigned long sum = 0;

    sieve(composite, MOST);
    for (n = 2; n <= MOST; n++) {
        if (composite[n])
            continue;
        count++;
        sum += n;
        if (!only_count)
            printf("%u\n", n);
    }
    if (only_count)
        printf("%u\n", count);
#ifdef WITH_SUM
    printf("sum %lu\n", sum);
#endif
    return sum == 0;
}
