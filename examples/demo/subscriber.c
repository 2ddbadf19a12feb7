/* A subscriber of the demo, in C: one poll(2) over the descriptors of its channels and its standard input.
 *
 *   subscriber LEDGER PATTERN...
 *
 * Prints "READY" when its channels are open. Its standard input closes when all has been published: then it takes what
 * is still there, and ends. The ledger gets a line a message: pattern, topic, seq, checksum, when it was sent and when received
 * (microseconds since the epoch). */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "demo.h"

#define MAX_PATTERNS 8
#define SAMPLES 2 /* messages shown of each channel */

struct subscription {
    const char *pattern;
    ps_channel *channel;
    int64_t *latencies; /* of each message so far */
    size_t count, room;
    int64_t first_us, last_us;
};

static int64_t int_header(const ps_headers *headers, const char *key)
{
    ps_header_value value;
    if (ps_headers_get(headers, key, &value) != 1 || value.type != PS_HEADER_INT)
        return -1;
    return value.integer;
}

static void receive(struct subscription *to, const ps_message *message, FILE *ledger)
{
    int64_t now = demo_now_us();
    ps_headers *headers;
    demo_check(ps_message_headers(message, &headers), message->topic);
    int64_t seq = int_header(headers, "seq"), sent = int_header(headers, "sent_us");
    ps_headers_free(headers);

    if (to->count == to->room) {
        to->room = to->room > 0 ? to->room * 2 : 1024;
        to->latencies = realloc(to->latencies, to->room * sizeof *to->latencies);
        if (to->latencies == NULL) {
            fputs("subscriber: out of memory\n", stderr);
            exit(1);
        }
    }
    if (to->count < SAMPLES)
        printf("%s %.*s\n", message->topic, (int)message->data_len, (const char *)message->data);
    if (to->count == 0)
        to->first_us = now;
    to->last_us = now;
    to->latencies[to->count++] = now - sent;
    fprintf(ledger, "%s\t%s\t%" PRId64 "\t%u\t%" PRId64 "\t%" PRId64 "\n", to->pattern, message->topic, seq,
            demo_checksum(message->data, message->data_len), sent, now);
}

/* Takes everything that waits; the descriptor stays readable until that is done. */
static void drain(struct subscription *from, FILE *ledger)
{
    ps_message *message;
    while (demo_check(ps_fetch(from->channel, &message), from->pattern) == 1) {
        receive(from, message, ledger);
        ps_message_free(message);
    }
}

static int by_size(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static void summarise(struct subscription *of)
{
    if (of->count == 0) {
        printf("%s: nothing received\n", of->pattern);
        return;
    }
    qsort(of->latencies, of->count, sizeof *of->latencies, by_size);
    double seconds = (double)(of->last_us - of->first_us) / 1e6;
    printf("%s: received %zu, %.0f/s, latency p50 %" PRId64 " us, p99 %" PRId64 " us\n", of->pattern, of->count,
           seconds > 0 ? (double)of->count / seconds : 0.0, of->latencies[of->count / 2],
           of->latencies[of->count * 99 / 100]);
}

int main(int argc, char **argv)
{
    struct subscription subscriptions[MAX_PATTERNS] = {0};
    struct pollfd polled[MAX_PATTERNS + 1];
    int count = argc - 2;
    if (count < 1 || count > MAX_PATTERNS) {
        fputs("usage: subscriber LEDGER PATTERN...\n", stderr);
        return 2;
    }
    FILE *ledger = fopen(argv[1], "w");
    if (ledger == NULL) {
        perror(argv[1]);
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 0; i < count; i++) {
        struct subscription *subscription = &subscriptions[i];
        subscription->pattern = argv[i + 2];
        demo_check(ps_channel_open(subscription->pattern, NULL, &subscription->channel), subscription->pattern);
        int fd = (int)demo_check(ps_channel_fd(subscription->channel), subscription->pattern);
        polled[i] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    polled[count] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    puts("READY");

    for (bool open = true; open;) {
        if (poll(polled, (nfds_t)count + 1, -1) < 0) {
            if (errno == EINTR)
                continue;
            perror("poll");
            return 1;
        }
        /* Looked at first: what was published before the input closed is then in the channels, and drained below. */
        open = polled[count].revents == 0;
        for (int i = 0; i < count; i++)
            drain(&subscriptions[i], ledger);
    }

    for (int i = 0; i < count; i++) {
        summarise(&subscriptions[i]);
        free(subscriptions[i].latencies);
        demo_check(ps_channel_close(subscriptions[i].channel), subscriptions[i].pattern);
    }
    if (fclose(ledger) != 0) {
        perror(argv[1]);
        return 1;
    }
    return 0;
}
