/* Processes that hold channels, or open and close them. */
#define _GNU_SOURCE
#include "harness.h"
#include "ours.h"
#include <pubsub.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { PROCESSES = 64 };

struct crowd {
    _Atomic uint32_t ready, over;
    const char *home;
    int a_second, count;
    struct part {
        struct crowd *crowd;
        int from, channels;
    } parts[PROCESSES];
    pid_t children[PROCESSES];
};

static ps_channel *open_one_of_many(const char *home, int number)
{
    /* Every kind of pattern, some of which share words with the topics that are measured; none matches one. */
    static const char *const patterns[] = {"other.%d", "bench.%d.=", "=.host%d.cpu", "bench.x%d.+"};
    ps_channel_options options = PS_CHANNEL_OPTIONS_INIT;
    ps_channel *channel;
    char pattern[64];
    options.transport = PS_TRANSPORT_RING;
    options.home = home;
    snprintf(pattern, sizeof pattern, patterns[number % 4], number);
    if (ps_channel_open(pattern, &options, &channel) != 0)
        die(ps_last_error());
    return channel;
}

static void hold(void *context)
{
    struct part *part = context;
    struct rlimit files;
    ps_channel **channels = calloc((size_t)part->channels, sizeof(ps_channel *));
    if (channels == NULL || getrlimit(RLIMIT_NOFILE, &files) != 0)
        die("no memory");
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    for (int i = 0; i < part->channels; i++)
        channels[i] = open_one_of_many(part->crowd->home, part->from + i);
    atomic_fetch_add(&part->crowd->ready, 1);
    while (!atomic_load(&part->crowd->over))
        usleep(20000);
    for (int i = 0; i < part->channels; i++)
        ps_channel_close(channels[i]);
    free(channels);
}

static void churn(void *context)
{
    struct part *part = context;
    struct timespec due;
    long pause = 1000000000L / part->crowd->a_second;
    atomic_fetch_add(&part->crowd->ready, 1);
    clock_gettime(CLOCK_MONOTONIC, &due);
    for (int number = 0; !atomic_load(&part->crowd->over); number++) {
        ps_channel *channel = open_one_of_many(part->crowd->home, 1000000 + number);
        ps_channel_close(channel);
        due.tv_nsec += pause;
        due.tv_sec += due.tv_nsec / 1000000000L;
        due.tv_nsec %= 1000000000L;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    }
}

static struct crowd *crowd_of(const char *home)
{
    struct crowd *crowd = shared_memory(sizeof *crowd);
    crowd->home = home;
    return crowd;
}

struct crowd *crowd_start(const char *home, int channels)
{
    struct crowd *crowd = crowd_of(home);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        die("no limit of open files");
    /* Two descriptors each; a few are used otherwise. */
    int each = files.rlim_max > 20000 ? 9000 : ((int)files.rlim_max - 100) / 2;
    for (int from = 0; from < channels && crowd->count < PROCESSES; from += each) {
        int many = channels - from < each ? channels - from : each;
        struct part *part = &crowd->parts[crowd->count];
        *part = (struct part){crowd, from, many};
        crowd->children[crowd->count++] = start(RECEIVER_CPU, hold, part);
    }
    await(&crowd->ready, (uint32_t)crowd->count);
    return crowd;
}

struct crowd *churn_start(const char *home, int a_second)
{
    struct crowd *crowd = crowd_of(home);
    crowd->a_second = a_second;
    crowd->parts[0] = (struct part){crowd, 0, 0};
    /* Not where the publishing is timed: what is asked is what it costs publishers, not the processor. */
    crowd->children[crowd->count++] = start(RECEIVER_CPU, churn, &crowd->parts[0]);
    await(&crowd->ready, 1);
    return crowd;
}

void crowd_end(struct crowd *crowd)
{
    atomic_store(&crowd->over, 1);
    for (int i = 0; i < crowd->count; i++)
        finish(crowd->children[i]);
    free_shared(crowd, sizeof *crowd);
}
