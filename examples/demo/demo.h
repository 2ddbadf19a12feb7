/* What the demo's C programs share. */
#ifndef DEMO_H
#define DEMO_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <pubsub.h>

/* Microseconds since the Unix epoch: the one clock that all programs of a machine share. */
static inline int64_t demo_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Adler-32 (RFC 1950), so that the ledgers show whether contents arrived unchanged. */
static inline uint32_t demo_checksum(const void *data, size_t len)
{
    const unsigned char *bytes = data;
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < len; i++) {
        a = (a + bytes[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

/* Ends the program if a call of the library failed. */
static inline int64_t demo_check(int64_t answer, const char *doing)
{
    if (answer < 0) {
        fprintf(stderr, "%s: %s: %s\n", doing, ps_error_name((int)answer), ps_last_error());
        exit(1);
    }
    return answer;
}

#endif
