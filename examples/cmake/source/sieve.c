#include "sieve.h"

#include <string.h>

void sieve(unsigned char *composite, unsigned most)
{
    unsigned n, multiple;

    memset(composite, 0, most + 1);
    composite[0] = composite[1] = 1;
    for (n = 2; n * n <= most; n++)
        if (!composite[n])
            for (multiple = n * n; multiple <= most; multiple += n)
                composite[multiple] = 1;
}
