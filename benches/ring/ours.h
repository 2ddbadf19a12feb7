/* libpubsub through its C ABI. Each answers nanoseconds: a message, half a round trip, or a call. */
#ifndef OURS_H
#define OURS_H
#include <stddef.h>
#include <stdint.h>

enum sending { ONE_BY_ONE, BATCHES, PACKED };
enum receiving { FETCH_BATCH, FETCH_PACKED };

struct flow_arguments {
    uint64_t messages, size;
    enum sending sending;
    enum receiving receiving;
    int publishers, receivers;
};

struct trip_arguments {
    uint64_t trips;
    int busy;     /* ps_fetch again and again, not ps_fetch_wait */
    int same_cpu; /* both sides on one processor */
};

/* A store: its directory is made by whoever uses it first. */
void use_store(const char *home);

/* Messages through channels, received and summed: nanoseconds for each that arrived. */
double flow(const void *flow_arguments);
double round_trip(const void *trip_arguments);
/* Opening a channel, and closing it, in this store. */
double open_one(const void *home);
double close_one(const void *home);
/* A publish in this store, to one channel of the same process. */
double publish_one(const void *home);

/* Processes that hold so many open channels in the store until they are released. */
struct crowd;
struct crowd *crowd_start(const char *home, int channels);
/* A process that opens and closes so many channels a second. */
struct crowd *churn_start(const char *home, int a_second);
void crowd_end(struct crowd *crowd);
#endif
