/* How many messages a second go from one process to another.
 *
 *   throughput [COUNT [SIZE]]      (100000 messages of 64 bytes) */
#define _POSIX_C_SOURCE 200809L
#include <pubsub.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCH 256

static void must(int64_t answer, const char *doing)
{
    if (answer < 0) {
        fprintf(stderr, "%s: %s: %s\n", doing, ps_error_name((int)answer), ps_last_error());
        exit(1);
    }
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

/* The child: receives `count` messages. A byte through `ready` says that the channel is open. */
static void receive(const char *topic, long count, int ready)
{
    ps_channel *channel;
    ps_message *messages[BATCH];
    must(ps_channel_open(topic, NULL, &channel), "open");
    if (write(ready, "", 1) != 1)
        exit(1);
    for (long received = 0; received < count;) {
        int got = ps_fetch_batch(channel, messages, BATCH, 30000);
        must(got, "fetch");
        if (got == 0) {
            fprintf(stderr, "%ld of %ld messages, then none for 30 s\n", received, count);
            exit(1);
        }
        received += got;
        ps_message_free_batch(messages, (size_t)got);
    }
    must(ps_channel_close(channel), "close");
}

int main(int argc, char **argv)
{
    long count = argc > 1 ? strtol(argv[1], NULL, 10) : 100000;
    long size = argc > 2 ? strtol(argv[2], NULL, 10) : 64;
    int ready[2], status;
    char topic[64], byte;
    if (argc > 3 || count <= 0 || size < 0) {
        fprintf(stderr, "usage: %s [COUNT [SIZE]]\n", argv[0]);
        return 2;
    }
    snprintf(topic, sizeof topic, "throughput.%ld", (long)getpid());
    unsigned char *data = calloc(1, (size_t)size + 1);
    if (data == NULL || pipe(ready) != 0) {
        perror("throughput");
        return 1;
    }

    pid_t child = fork();
    if (child == 0) {
        receive(topic, count, ready[1]);
        return 0;
    }
    close(ready[1]);
    if (child < 0 || read(ready[0], &byte, 1) != 1) {
        fputs("the receiver did not start\n", stderr);
        return 1;
    }

    ps_publisher *publisher;
    ps_publisher_options options = PS_PUBLISHER_OPTIONS_INIT;
    options.full_timeout_ms = 30000; /* wait for the receiver instead of being refused */
    must(ps_publisher_open(topic, &options, &publisher), "publisher");
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (long i = 0; i < count; i++)
        must(ps_publisher_publish(publisher, data, (size_t)size, NULL), "publish");
    double published = seconds_since(&start);
    waitpid(child, &status, 0);
    double received = seconds_since(&start);
    ps_publisher_close(publisher);
    free(data);

    if (status != 0)
        return 1;
    printf("%ld messages of %ld bytes: published %.0f/s, all received %.0f/s\n", count, size, (double)count / published,
           (double)count / received);
    return 0;
}
