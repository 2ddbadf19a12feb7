#define _GNU_SOURCE
#include "harness.h"
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void die(const char *what)
{
    fprintf(stderr, "ring benchmark: %s\n", what);
    exit(1);
}

void *shared_memory(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED)
        die("no shared memory");
    return memory;
}

void free_shared(void *memory, size_t bytes) { munmap(memory, bytes); }

int processors(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

/* Of the processors that the program was given, the first and the last: they share the least with each other's work. */
void pin(int which)
{
    static cpu_set_t given;
    static int known;
    cpu_set_t one;
    int first = -1, last = -1;
    if (!known) {
        if (sched_getaffinity(0, sizeof given, &given) != 0)
            return;
        known = 1;
    }
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &given)) {
            first = first < 0 ? cpu : first;
            last = cpu;
        }
    }
    CPU_ZERO(&one);
    CPU_SET(which == SENDER_CPU ? first : last, &one);
    sched_setaffinity(0, sizeof one, &one);
}

pid_t start(int cpu, void (*body)(void *), void *context)
{
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        die("fork failed");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pin(cpu);
        body(context);
        exit(0);
    }
    return child;
}

void finish(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (status != 0)
        die("a process of the benchmark failed");
}

void await(_Atomic uint32_t *flag, uint32_t value)
{
    uint64_t end = now_ns() + 60000000000u;
    while (atomic_load(flag) < value) {
        if (now_ns() > end)
            die("the other side did not come within a minute");
        sched_yield();
    }
}

void contest(struct measure *measures, int count, int rounds)
{
    for (int round = 0; round <= rounds; round++) {
        for (int turn = 0; turn < count; turn++) {
            struct measure *measure = &measures[(turn + round) % count];
            double sample = measure->run(measure->arguments);
            if (round > 0 && measure->count < 64)
                measure->samples[measure->count++] = sample;
        }
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(const struct measure *measure)
{
    double sorted[64];
    if (measure->count == 0)
        return 0;
    memcpy(sorted, measure->samples, sizeof(double) * (size_t)measure->count);
    qsort(sorted, (size_t)measure->count, sizeof(double), ascending);
    return sorted[measure->count / 2];
}

double best(const struct measure *measure)
{
    double least = measure->count > 0 ? measure->samples[0] : 0;
    for (int i = 1; i < measure->count; i++)
        least = measure->samples[i] < least ? measure->samples[i] : least;
    return least;
}
