/* The demo's publisher: live readings of the machine, many a second, on topics such as PREFIX.host.NAME.cpu.0.
 *
 *   feed PREFIX LEDGER SECONDS ROUNDS_PER_SECOND
 *
 * Each message is a JSON reading with headers `seq` (a number per topic, from 0) and `sent_us` (the time of the
 * publish). The ledger gets a line a message: topic, seq, checksum, channels that took it. */
#define _POSIX_C_SOURCE 200809L
#include <string.h>
#include <unistd.h>

#include "demo.h"
#include "readings.h"

struct topic {
    char *name;
    ps_publisher *publisher;
    int64_t seq;
};

struct feed {
    char machine[160]; /* "PREFIX.host.NAME" */
    FILE *ledger;
    ps_headers *headers;
    struct topic *topics;
    size_t topic_count;
    int64_t published, refused;
};

/* The topic's publisher, opened when the topic is first seen: devices may appear while the feed runs. */
static struct topic *find_topic(struct feed *feed, const char *name)
{
    for (size_t i = 0; i < feed->topic_count; i++)
        if (strcmp(feed->topics[i].name, name) == 0)
            return &feed->topics[i];

    struct topic *grown = realloc(feed->topics, (feed->topic_count + 1) * sizeof *grown);
    char *copy = strdup(name);
    if (grown == NULL || copy == NULL) {
        fputs("feed: out of memory\n", stderr);
        exit(1);
    }
    feed->topics = grown;
    struct topic *topic = &grown[feed->topic_count++];
    *topic = (struct topic){.name = copy};
    /* A subscriber that falls behind is waited for rather than refused: the demo is about losing nothing. */
    ps_publisher_options options = PS_PUBLISHER_OPTIONS_INIT;
    options.full_timeout_ms = 10000;
    demo_check(ps_publisher_open(name, &options, &topic->publisher), name);
    return topic;
}

static void publish(const char *reading, const char *values, void *context)
{
    struct feed *feed = context;
    char name[256], json[256];
    snprintf(name, sizeof name, "%s.%s", feed->machine, reading);
    struct topic *topic = find_topic(feed, name);

    int length = snprintf(json, sizeof json, "{\"seq\":%lld,%s}", (long long)topic->seq, values);
    if (length < 0 || (size_t)length >= sizeof json) {
        fprintf(stderr, "feed: a reading of %s does not fit: %s\n", name, values);
        exit(1);
    }
    demo_check(ps_headers_set_int(feed->headers, "seq", topic->seq), name);
    demo_check(ps_headers_set_int(feed->headers, "sent_us", demo_now_us()), name);
    int64_t taken = demo_check(ps_publisher_publish(topic->publisher, json, (size_t)length, feed->headers), name);
    feed->refused += ps_last_rejected();

    fprintf(feed->ledger, "%s\t%lld\t%u\t%lld\n", name, (long long)topic->seq, demo_checksum(json, (size_t)length),
            (long long)taken);
    topic->seq++;
    feed->published++;
}

/* Sleeps until `round` rounds are due. A publisher that is behind goes on at once. */
static void wait_for_round(const struct timespec *start, long round, long rounds_per_second)
{
    struct timespec due = *start;
    due.tv_sec += round / rounds_per_second;
    due.tv_nsec += round % rounds_per_second * (1000000000L / rounds_per_second);
    if (due.tv_nsec >= 1000000000L) {
        due.tv_sec++;
        due.tv_nsec -= 1000000000L;
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

int main(int argc, char **argv)
{
    char hostname[256] = "", word[64];
    struct feed feed = {0};
    double limit = argc == 5 ? strtod(argv[3], NULL) : 0;
    long per_second = argc == 5 ? strtol(argv[4], NULL, 10) : 0;
    if (!(limit > 0) || per_second <= 0) {
        fputs("usage: feed PREFIX LEDGER SECONDS ROUNDS_PER_SECOND\n", stderr);
        return 2;
    }
    gethostname(hostname, sizeof hostname - 1);
    readings_word(word, sizeof word, hostname[0] != '\0' ? hostname : "localhost");
    snprintf(feed.machine, sizeof feed.machine, "%s.host.%s", argv[1], word);
    feed.ledger = fopen(argv[2], "w");
    feed.headers = ps_headers_new();
    if (feed.ledger == NULL || feed.headers == NULL) {
        perror(argv[2]);
        return 1;
    }

    struct timespec start;
    double seconds;
    long round = 0;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        wait_for_round(&start, round++, per_second);
        readings_take(publish, &feed);
        seconds = seconds_since(&start);
    } while (seconds < limit);

    printf("published %lld readings on %zu topics in %.2f s: %.0f/s", (long long)feed.published, feed.topic_count,
           seconds, (double)feed.published / seconds);
    if (feed.refused > 0)
        printf("; %lld times a full channel refused one", (long long)feed.refused);
    putchar('\n');

    for (size_t i = 0; i < feed.topic_count; i++) {
        ps_publisher_close(feed.topics[i].publisher);
        free(feed.topics[i].name);
    }
    free(feed.topics);
    ps_headers_free(feed.headers);
    if (fclose(feed.ledger) != 0) {
        perror(argv[2]);
        return 1;
    }
    return 0;
}
