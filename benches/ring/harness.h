/* What the measurements share: processes pinned to processors, a page that they share, times, medians. */
#ifndef HARNESS_H
#define HARNESS_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The two sides of every measurement have a processor each, the same ones for everything that is compared. */
enum { SENDER_CPU = 0, RECEIVER_CPU = 1 };

uint64_t now_ns(void);
/* Prints what failed and ends the process. */
_Noreturn void die(const char *what);
/* Memory that forked processes share, zeroed and present. */
void *shared_memory(size_t bytes);
void free_shared(void *memory, size_t bytes);
/* Confines the calling process to a processor; where there is one only, to that. */
void pin(int cpu);
int processors(void);

/* A forked child, pinned, that runs `body` and ends. */
pid_t start(int cpu, void (*body)(void *), void *context);
/* Waits for a child and ends the program if it failed. */
void finish(pid_t child);

/* Spins until the flag is at least `value`; ends the program after a minute. */
void await(_Atomic uint32_t *flag, uint32_t value);

/* The sum of the words of a buffer that is 8-byte aligned: what "received" means, the bytes were read. */
static inline uint64_t sum_of(const void *data, size_t len)
{
    const uint64_t *words = data;
    uint64_t sum = 0;
    for (size_t i = 0; i < len / 8; i++)
        sum += words[i];
    return sum;
}

/* One thing to measure: answers nanoseconds an operation. */
struct measure {
    const char *name;
    double (*run)(const void *arguments);
    const void *arguments;
    double samples[64];
    int count;
};

/* Measures each in turn, `rounds` times after one that does not count, so that what else the machine does hits all. */
void contest(struct measure *measures, int count, int rounds);
double median(const struct measure *measure);
double best(const struct measure *measure);
#endif
