#ifndef CHECKSUM_H
#define CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* One of three checksums, chosen when tally is built.  Feed bytes in pieces, then finish. */
uint32_t checksum_start(void);
uint32_t checksum_feed(uint32_t state, const unsigned char *bytes, size_t length);
uint32_t checksum_finish(uint32_t state);

#endif
