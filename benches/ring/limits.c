/* What the machine allows: a bare ring with one producer and one consumer, and a unix datagram. */
#define _GNU_SOURCE
#include "limits.h"
#include "harness.h"
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#if defined(__x86_64__)
#define RELAX() __builtin_ia32_pause()
#else
#define RELAX() ((void)0)
#endif

/* Slots of a payload and its length; a commit for each `step` messages. No lookup, no ids, no time, no clean-up: what is
   left is moving bytes from one processor to another. */
struct spsc {
    _Alignas(128) _Atomic uint64_t tail;
    _Alignas(128) _Atomic uint64_t head;
    _Alignas(128) _Atomic uint64_t elapsed;
    struct bare_arguments arguments;
    _Alignas(128) unsigned char slots[];
};

enum { BYTES = 1 << 20 };

static size_t slot_size(const struct bare_arguments *a) { return (a->size + 16 + 15) / 16 * 16; }

static void produce(void *context)
{
    struct spsc *ring = context;
    struct bare_arguments a = ring->arguments;
    uint64_t size = slot_size(&a), slots = BYTES / size, head = 0;
    uint64_t payload[512];
    memset(payload, 0x5a, sizeof payload);
    for (uint64_t i = 0; i < a.messages; i++) {
        while (i - head >= slots) {
            head = atomic_load_explicit(&ring->head, memory_order_acquire);
            if (i - head >= slots)
                RELAX();
        }
        unsigned char *slot = ring->slots + i % slots * size;
        payload[0] = i;
        memcpy(slot, &a.size, 8);
        memcpy(slot + 16, payload, a.size);
        __builtin_prefetch(slot + 512, 1);
        if ((i + 1) % a.step == 0)
            atomic_store_explicit(&ring->tail, i + 1, memory_order_release);
    }
}

static void consume(void *context)
{
    struct spsc *ring = context;
    struct bare_arguments a = ring->arguments;
    uint64_t size = slot_size(&a), slots = BYTES / size, begin = 0, sum = 0, at = 0;
    uint64_t copy[512];
    while (at < a.messages) {
        uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (tail == at) {
            for (int i = 0; i < 8; i++)
                RELAX();
            continue;
        }
        if (begin == 0)
            begin = now_ns();
        for (; at < tail; at++) {
            const unsigned char *slot = ring->slots + at % slots * size;
            memcpy(copy, slot + 16, a.size);
            sum += sum_of(copy, a.size);
        }
        atomic_store_explicit(&ring->head, at, memory_order_release);
    }
    atomic_store(&ring->elapsed, now_ns() - begin + (sum == 0));
}

double bare_ring(const void *arguments)
{
    const struct bare_arguments *a = arguments;
    size_t bytes = sizeof(struct spsc) + BYTES + 4096;
    struct spsc *ring = shared_memory(bytes);
    ring->arguments = *a;
    pid_t consumer = start(RECEIVER_CPU, consume, ring);
    pid_t producer = start(SENDER_CPU, produce, ring);
    finish(producer);
    finish(consumer);
    double answer = (double)atomic_load(&ring->elapsed) / (double)a->messages;
    free_shared(ring, bytes);
    return answer;
}

/* One cache line thrown back and forth. */
struct line {
    _Alignas(128) _Atomic uint64_t there;
    _Alignas(128) _Atomic uint64_t back;
    uint64_t trips;
};

static void return_line(void *context)
{
    struct line *line = context;
    for (uint64_t i = 1; i <= line->trips; i++) {
        while (atomic_load_explicit(&line->there, memory_order_acquire) != i) {
        }
        atomic_store_explicit(&line->back, i, memory_order_release);
    }
}

static void throw_line(void *context)
{
    struct line *line = context;
    uint64_t begin = 0;
    for (uint64_t i = 1; i <= line->trips; i++) {
        if (i == line->trips / 4)
            begin = now_ns();
        atomic_store_explicit(&line->there, i, memory_order_release);
        while (atomic_load_explicit(&line->back, memory_order_acquire) != i) {
        }
    }
    atomic_store(&line->there, now_ns() - begin);
}

double bare_line(const void *arguments)
{
    (void)arguments;
    struct line *line = shared_memory(sizeof *line);
    line->trips = 200000;
    pid_t other = start(RECEIVER_CPU, return_line, line);
    pid_t one = start(SENDER_CPU, throw_line, line);
    finish(one);
    finish(other);
    double answer = (double)atomic_load(&line->there) / (double)(line->trips - line->trips / 4) / 2;
    free_shared(line, sizeof *line);
    return answer;
}

/* A unix datagram there and one back; each side sleeps in recv. */
struct mail {
    int ends[2];
    uint64_t trips;
    _Atomic uint64_t elapsed;
};

static void return_mail(void *context)
{
    struct mail *mail = context;
    char buffer[64];
    for (uint64_t i = 0; i < mail->trips; i++) {
        if (recv(mail->ends[1], buffer, sizeof buffer, 0) != 64 || send(mail->ends[1], buffer, 64, 0) != 64)
            die("a datagram was lost");
    }
}

static void send_mail(void *context)
{
    struct mail *mail = context;
    char buffer[64] = {0};
    uint64_t begin = 0;
    for (uint64_t i = 0; i < mail->trips; i++) {
        if (i == mail->trips / 4)
            begin = now_ns();
        if (send(mail->ends[0], buffer, 64, 0) != 64 || recv(mail->ends[0], buffer, sizeof buffer, 0) != 64)
            die("a datagram was lost");
    }
    atomic_store(&mail->elapsed, now_ns() - begin);
}

double bare_datagram(const void *arguments)
{
    const struct pair_arguments *a = arguments;
    struct mail *mail = shared_memory(sizeof *mail);
    mail->trips = a->trips;
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, mail->ends) != 0)
        die("no socket pair");
    pid_t other = start(a->same_cpu ? SENDER_CPU : RECEIVER_CPU, return_mail, mail);
    pid_t one = start(SENDER_CPU, send_mail, mail);
    finish(one);
    finish(other);
    close(mail->ends[0]);
    close(mail->ends[1]);
    double answer = (double)atomic_load(&mail->elapsed) / (double)(mail->trips - mail->trips / 4) / 2;
    free_shared(mail, sizeof *mail);
    return answer;
}
