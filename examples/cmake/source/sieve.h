#ifndef SIEVE_H
#define SIEVE_H

/* Set composite[n] for every n up to most that is no prime. */
void sieve(unsigned char *composite, unsigned most);

#endif
