/* What the machine allows. Each answers nanoseconds: a message, or half a round trip. */
#ifndef LIMITS_H
#define LIMITS_H
#include <stdint.h>

struct bare_arguments {
    uint64_t messages, size, step; /* a commit for each `step` messages */
};

struct pair_arguments {
    uint64_t trips;
    int same_cpu; /* both sides on one processor */
};

double bare_ring(const void *bare_arguments);
double bare_line(const void *unused);
double bare_datagram(const void *pair_arguments);
#endif
