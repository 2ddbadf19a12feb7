#define _GNU_SOURCE
#include "ours.h"
#include "harness.h"
#include <pubsub.h>
#include <string.h>

enum { BATCH = 64, SIDES = 8 };

static const char *store;

void use_store(const char *home) { store = home; }

static int64_t must(int64_t answer)
{
    if (answer < 0)
        die(ps_last_error());
    return answer;
}

static ps_channel *open_channel(const char *home, const char *pattern)
{
    ps_channel_options options = PS_CHANNEL_OPTIONS_INIT;
    ps_channel *channel;
    options.transport = PS_TRANSPORT_RING;
    options.home = home;
    must(ps_channel_open(pattern, &options, &channel));
    return channel;
}

static ps_publisher *open_publisher(const char *home, const char *topic)
{
    ps_publisher_options options = PS_PUBLISHER_OPTIONS_INIT;
    ps_publisher *publisher;
    options.full_timeout_ms = 30000;
    options.home = home;
    must(ps_publisher_open(topic, &options, &publisher));
    return publisher;
}

/* Shared by the processes of one flow. */
struct flow {
    _Alignas(128) _Atomic uint32_t receivers_ready;
    _Alignas(128) _Atomic uint32_t publishers_ready;
    _Alignas(128) _Atomic uint32_t go;
    struct flow_arguments arguments;
    /* Of each receiver: when its first and its last message came. */
    uint64_t first[SIDES], last[SIDES];
};

struct side {
    struct flow *flow;
    int number;
};

static void publish_flow(void *context)
{
    struct flow *flow = ((struct side *)context)->flow;
    struct flow_arguments a = flow->arguments;
    uint64_t content[BATCH][128];
    ps_payload payloads[BATCH];
    uint32_t lengths[BATCH];
    ps_publisher *publisher = open_publisher(store, "bench.flow");
    memset(content, 0, sizeof content);
    for (int i = 0; i < BATCH; i++) {
        payloads[i] = (ps_payload){content[i], a.size, NULL};
        lengths[i] = (uint32_t)a.size;
    }
    await(&flow->receivers_ready, (uint32_t)a.receivers);
    atomic_fetch_add(&flow->publishers_ready, 1);
    await(&flow->go, 1);
    if (a.sending == ONE_BY_ONE) {
        for (uint64_t i = 0; i < a.messages; i++) {
            content[0][0] = i;
            must(ps_publisher_publish(publisher, content[0], a.size, NULL));
        }
    } else {
        uint64_t *packed = &content[0][0];
        for (uint64_t i = 0; i < a.messages; i += BATCH) {
            for (uint64_t j = 0; j < BATCH; j++)
                *(a.sending == PACKED ? &packed[j * a.size / 8] : content[j]) = i + j;
            int64_t done = a.sending == PACKED ? ps_publisher_publish_packed(publisher, packed, lengths, BATCH, NULL)
                                               : ps_publisher_publish_batch(publisher, payloads, BATCH);
            if (must(done) != BATCH)
                die("a batch was cut short");
        }
    }
    ps_publisher_close(publisher);
}

static void receive_flow(void *context)
{
    struct side *side = context;
    struct flow *flow = side->flow;
    struct flow_arguments a = flow->arguments;
    uint64_t expected = a.messages * (uint64_t)a.publishers, received = 0, sum = 0, first = 0;
    ps_message *messages[256];
    static _Alignas(8) unsigned char buffer[64 << 10];
    ps_channel *channel = open_channel(store, "bench.flow");
    atomic_fetch_add(&flow->receivers_ready, 1);
    while (received < expected) {
        int count;
        if (a.receiving == FETCH_BATCH) {
            count = (int)must(ps_fetch_batch(channel, messages, 256, 30000));
            first = first == 0 ? now_ns() : first;
            for (int i = 0; i < count; i++)
                sum += sum_of(messages[i]->data, messages[i]->data_len);
            ps_message_free_batch(messages, (size_t)count);
        } else {
            size_t used = 0, at = 0;
            count = (int)must(ps_fetch_packed(channel, buffer, sizeof buffer, 30000, &used));
            first = first == 0 ? now_ns() : first;
            while (at < used) {
                const ps_packed_record *record = (const void *)(buffer + at);
                size_t texts = ((size_t)record->topic_len + record->headers_json_len + 7) / 8 * 8;
                sum += sum_of((const unsigned char *)(record + 1) + texts, record->data_len);
                at += record->size;
            }
        }
        if (count == 0)
            die("no message for 30 seconds");
        received += (uint64_t)count;
    }
    flow->first[side->number] = first;
    flow->last[side->number] = now_ns();
    /* Everything came, and came whole: each publisher counts from 0. */
    if (sum != (uint64_t)a.publishers * (a.messages * (a.messages - 1) / 2))
        die("the sum of what was received is wrong");
    must(ps_channel_close(channel));
}

double flow(const void *arguments)
{
    struct flow *flow = shared_memory(sizeof *flow);
    struct side receivers[SIDES], publishers[SIDES];
    pid_t children[2 * SIDES];
    int count = 0;
    flow->arguments = *(const struct flow_arguments *)arguments;
    for (int i = 0; i < flow->arguments.receivers; i++) {
        receivers[i] = (struct side){flow, i};
        children[count++] = start(RECEIVER_CPU, receive_flow, &receivers[i]);
    }
    for (int i = 0; i < flow->arguments.publishers; i++) {
        publishers[i] = (struct side){flow, i};
        children[count++] = start(SENDER_CPU, publish_flow, &publishers[i]);
    }
    await(&flow->publishers_ready, (uint32_t)flow->arguments.publishers);
    atomic_store(&flow->go, 1);
    for (int i = 0; i < count; i++)
        finish(children[i]);
    uint64_t first = UINT64_MAX, last = 0;
    for (int i = 0; i < flow->arguments.receivers; i++) {
        first = flow->first[i] < first ? flow->first[i] : first;
        last = flow->last[i] > last ? flow->last[i] : last;
    }
    uint64_t deliveries =
        flow->arguments.messages * (uint64_t)flow->arguments.publishers * (uint64_t)flow->arguments.receivers;
    free_shared(flow, sizeof *flow);
    return (double)(last - first) / (double)deliveries;
}

struct trip {
    _Atomic uint32_t ready;
    struct trip_arguments arguments;
    uint64_t elapsed;
};

static ps_message *next(ps_channel *channel, int busy)
{
    ps_message *message = NULL;
    if (!busy) {
        if (must(ps_fetch_wait(channel, 30000, &message)) == 0)
            die("no message for 30 seconds");
        return message;
    }
    while (must(ps_fetch(channel, &message)) == 0) {
    }
    return message;
}

static void answer_trips(void *context)
{
    struct trip *trip = context;
    ps_channel *ping = open_channel(store, "bench.ping");
    ps_publisher *pong = open_publisher(store, "bench.pong");
    atomic_fetch_add(&trip->ready, 1);
    for (uint64_t i = 0; i < trip->arguments.trips; i++) {
        ps_message *message = next(ping, trip->arguments.busy);
        must(ps_publisher_publish(pong, message->data, message->data_len, NULL));
        ps_message_free(message);
    }
    ps_publisher_close(pong);
    must(ps_channel_close(ping));
}

static void make_trips(void *context)
{
    struct trip *trip = context;
    uint64_t trips = trip->arguments.trips, begin = 0;
    char content[64] = {0};
    ps_channel *pong = open_channel(store, "bench.pong");
    ps_publisher *ping = open_publisher(store, "bench.ping");
    await(&trip->ready, 1);
    for (uint64_t i = 0; i < trips; i++) {
        if (i == trips / 4)
            begin = now_ns();
        must(ps_publisher_publish(ping, content, sizeof content, NULL));
        ps_message_free(next(pong, trip->arguments.busy));
    }
    trip->elapsed = now_ns() - begin;
    ps_publisher_close(ping);
    must(ps_channel_close(pong));
}

double round_trip(const void *arguments)
{
    struct trip *trip = shared_memory(sizeof *trip);
    trip->arguments = *(const struct trip_arguments *)arguments;
    pid_t other = start(trip->arguments.same_cpu ? SENDER_CPU : RECEIVER_CPU, answer_trips, trip);
    pid_t one = start(SENDER_CPU, make_trips, trip);
    finish(one);
    finish(other);
    double answer = (double)trip->elapsed / (double)(trip->arguments.trips - trip->arguments.trips / 4) / 2;
    free_shared(trip, sizeof *trip);
    return answer;
}

/* Opening and publishing are measured in a child each, because a process that has used the library may not fork and go on. */
struct call {
    const char *home;
    uint64_t elapsed;
};

enum { OPENS = 101, PUBLISHES = 4000 };

/* The median of many: one call is short enough to pass undisturbed. */
static uint64_t middle(uint64_t *times, int count)
{
    for (int i = 1; i < count; i++)
        for (int j = i; j > 0 && times[j - 1] > times[j]; j--) {
            uint64_t time = times[j];
            times[j] = times[j - 1];
            times[j - 1] = time;
        }
    return times[count / 2];
}

static void time_channels(struct call *call, int closing)
{
    uint64_t times[OPENS];
    must(ps_channel_close(open_channel(call->home, "bench.warm")));
    for (int i = 0; i < OPENS; i++) {
        uint64_t begin = now_ns();
        ps_channel *channel = open_channel(call->home, "bench.opened");
        uint64_t opened = now_ns();
        must(ps_channel_close(channel));
        times[i] = closing ? now_ns() - opened : opened - begin;
    }
    call->elapsed = middle(times, OPENS);
}

static void time_opening(void *context) { time_channels(context, 0); }

static void time_closing(void *context) { time_channels(context, 1); }

static void time_publishing(void *context)
{
    struct call *call = context;
    char content[64] = {0};
    ps_channel *channel = open_channel(call->home, "bench.one");
    ps_publisher *publisher = open_publisher(call->home, "bench.one");
    ps_message *messages[BATCH];
    /* Long enough for several of the others' channels to open and close meanwhile. */
    for (int i = 0; i < PUBLISHES; i++) {
        uint64_t begin = now_ns();
        for (int j = 0; j < BATCH; j++)
            must(ps_publisher_publish(publisher, content, sizeof content, NULL));
        uint64_t elapsed = now_ns() - begin;
        if (i >= PUBLISHES / 8)
            call->elapsed += elapsed;
        for (int taken = 0; taken < BATCH;) {
            int count = (int)must(ps_fetch_batch(channel, messages, BATCH, 0));
            ps_message_free_batch(messages, (size_t)count);
            taken += count;
        }
    }
    ps_publisher_close(publisher);
    must(ps_channel_close(channel));
}

static double timed(const char *home, void (*body)(void *), double operations)
{
    struct call *call = shared_memory(sizeof *call);
    call->home = home;
    finish(start(SENDER_CPU, body, call));
    double answer = (double)call->elapsed / operations;
    free_shared(call, sizeof *call);
    return answer;
}

double open_one(const void *home) { return timed(home, time_opening, 1); }

double close_one(const void *home) { return timed(home, time_closing, 1); }

double publish_one(const void *home)
{
    return timed(home, time_publishing, (double)(PUBLISHES - PUBLISHES / 8) * BATCH);
}
