#include "checksum.h"

#if defined(CHECKSUM_crc32)

uint32_t checksum_start(void) { return 0xffffffffu; }

uint32_t checksum_feed(uint32_t state, const unsigned char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        state ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            state = (state >> 1) ^ (0xedb88320u & (0u - (state & 1u)));
    }
    return state;
}

uint32_t checksum_finish(uint32_t state) { return ~state; }

#elif defined(CHECKSUM_adler32)

uint32_t checksum_start(void) { return 1; }

uint32_t checksum_feed(uint32_t state, const unsigned char *bytes, size_t length)
{
    uint32_t low = state & 0xffff, high = state >> 16;
    for (size_t i = 0; i < length; i++) {
        low = (low + bytes[i]) % 65521;
        high = (high + low) % 65521;
    }
    return high << 16 | low;
}

uint32_t checksum_finish(uint32_t state) { return state; }

#elif defined(CHECKSUM_fnv1a)

uint32_t checksum_start(void) { return 2166136261u; }

uint32_t checksum_feed(uint32_t state, const unsigned char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        state = (state ^ bytes[i]) * 16777619u;
    return state;
}

uint32_t checksum_finish(uint32_t state) { return state; }

#else
#error "CHECKSUM is crc32, adler32 or fnv1a"
#endif
