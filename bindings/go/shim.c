#define _GNU_SOURCE /* F_DUPFD_CLOEXEC */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static psgo_result result(int64_t value, uint64_t more) {
    psgo_result result = {value, more, NULL};
    if (value < 0) {
        result.text = strdup(ps_last_error());
    }
    return result;
}

static psgo_published published(int code) {
    psgo_published answer = {code, ps_last_rejected(), NULL};
    if (code < 0) {
        answer.text = strdup(ps_last_error());
    }
    return answer;
}

/* Headers are refused: nothing was published, nobody rejected. */
static psgo_published unpublished(int code) {
    psgo_published answer = {code, 0, strdup(ps_last_error())};
    return answer;
}

/* What a psgo_publisher is the address of. */
struct publisher {
    ps_publisher *publisher;
    bool waits; /* it has a full_timeout */
    /* Whether, as far as is known, at most one channel matches. Seldom written, so that threads that publish side by side do
     * not wait for its cache line. */
    atomic_bool alone;
    /* A thread publishes by it, or it is shut for good. */
    atomic_bool taken;
    /* So many others publish by it. */
    atomic_uint beside;
    /* It is closed, or about to be. */
    atomic_bool closed;
    bool shut; /* whoever closes it has taken it */
};

/* How a thread has it. */
enum access { CLOSED, FIRST, BESIDE };

static __attribute__((noinline)) enum access enter_beside(struct publisher *publisher) {
    /* Sequentially consistent, as what psgo_publisher_close does: of the two, one sees the other. */
    atomic_fetch_add(&publisher->beside, 1);
    if (!atomic_load(&publisher->closed)) {
        return BESIDE;
    }
    atomic_fetch_sub(&publisher->beside, 1);
    return CLOSED;
}

/* Keeps it from being closed until the thread leaves it: half of what Go's RWMutex would take, since to leave is a plain
 * store. */
static inline enum access enter(struct publisher *publisher) {
    if (publisher == NULL) {
        return CLOSED; /* Go's zero value */
    }
    if (atomic_exchange_explicit(&publisher->taken, true, memory_order_acquire)) {
        return enter_beside(publisher);
    }
    /* Else whoever closes it might find it taken again and again. */
    if (atomic_load_explicit(&publisher->closed, memory_order_relaxed)) {
        atomic_store_explicit(&publisher->taken, false, memory_order_release);
        return CLOSED;
    }
    return FIRST;
}

static inline void leave(struct publisher *publisher, enum access access) {
    if (access == FIRST) {
        atomic_store_explicit(&publisher->taken, false, memory_order_release);
    } else {
        atomic_fetch_sub_explicit(&publisher->beside, 1, memory_order_release);
    }
}

psgo_result psgo_store_create(const char *home, uint32_t mode, const char *group) {
    ps_store_options options = PS_STORE_OPTIONS_INIT;
    options.mode = mode;
    options.group = group;
    return result(ps_store_create(home, &options), 0);
}

psgo_result psgo_cleanup(const char *home) {
    return result(ps_cleanup(home), 0);
}

psgo_result psgo_list(const char *home, ps_channel_stats ***list) {
    return result(ps_channel_list(home, list), 0);
}

psgo_result psgo_channel_open(const char *pattern, const char *home, uint32_t policy, uint32_t transport,
                              uint64_t capacity_bytes, uint64_t capacity_messages, uint32_t replay_last, bool resume,
                              uint64_t resume_epoch, uint64_t resume_offset) {
    ps_channel_options options = PS_CHANNEL_OPTIONS_INIT;
    options.full_policy = policy;
    options.transport = transport;
    options.capacity_bytes = capacity_bytes;
    options.capacity_messages = capacity_messages;
    options.home = home;
    options.replay_last = replay_last;
    options.resume = resume;
    options.resume_epoch = resume_epoch;
    options.resume_offset = resume_offset;
    ps_channel *channel = NULL;
    int code = ps_channel_open(pattern, &options, &channel);
    return result(code, (psgo_channel)channel);
}

const char *psgo_channel_path(psgo_channel channel) {
    return ps_channel_path((ps_channel *)channel);
}

psgo_result psgo_channel_close(psgo_channel channel) {
    return result(ps_channel_close((ps_channel *)channel), 0);
}

psgo_result psgo_channel_wait_fd(psgo_channel channel) {
    int fd = ps_channel_fd((ps_channel *)channel);
    if (fd < 0) {
        return result(fd, 0);
    }
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own >= 0) {
        return result(own, 0);
    }
    char text[512];
    snprintf(text, sizeof text, "duplicating the descriptor of the channel on '%s': %s%s",
             ps_channel_topic((ps_channel *)channel), strerror(errno), errno == EMFILE ? "; close something or raise the limit (ulimit -n)" : "");
    psgo_result failed = {PS_ERR_IO, 0, strdup(text)};
    return failed;
}

psgo_result psgo_channel_stats(psgo_channel channel, ps_channel_stats *stats) {
    stats->size = sizeof *stats;
    return result(ps_channel_stats_get((ps_channel *)channel, stats), 0);
}

psgo_result psgo_fetch(psgo_channel channel, uint64_t *buffer, size_t size) {
    size_t used = 0;
    int count = ps_fetch_packed((ps_channel *)channel, buffer, size, 0, &used);
    return result(count, used);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void psgo_nap(uint64_t ns) {
    uint64_t end = now_ns() + ns;
    do {
        sched_yield();
    } while (now_ns() < end);
}

psgo_result psgo_headers_parse(const char *json, size_t len, ps_headers **headers) {
    int code = ps_headers_parse(json, len, headers);
    return result(code < 0 ? code : (int64_t)ps_headers_count(*headers), 0);
}

void psgo_headers_fill(const ps_headers *headers, psgo_header *items, size_t count) {
    for (size_t i = 0; i < count; i++) {
        ps_headers_at(headers, i, &items[i].key, &items[i].key_len, &items[i].value);
    }
}

/* A publisher that waits for room gives up when its thread handles a signal, and Go's runtime sends its threads signals of
 * its own (preemption, profiling). They go to other threads, or come later. */
static void mask(sigset_t *before) {
    /* A fault is this thread's own: blocked, it would end the process without a word. */
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    sigset_t others;
    sigfillset(&others);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        sigdelset(&others, faults[i]);
    }
    pthread_sigmask(SIG_BLOCK, &others, before);
}

static void unmask(const sigset_t *before) {
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

psgo_published psgo_publish(const char *topic, const uint8_t *data, size_t len, const char *json, size_t json_len) {
    ps_headers *headers = NULL;
    int code = json_len == 0 ? 0 : ps_headers_parse(json, json_len, &headers);
    if (code < 0) {
        return unpublished(code);
    }
    psgo_published answer = published(ps_publish(topic, data, len, headers));
    ps_headers_free(headers);
    return answer;
}

psgo_result psgo_publisher_open(const char *topic, const char *home, uint32_t full_timeout_ms) {
    struct publisher *opened = calloc(1, sizeof *opened);
    if (opened == NULL) {
        psgo_result failed = {PS_ERR_INTERNAL, 0, strdup("no memory for a publisher")};
        return failed;
    }
    ps_publisher_options options = PS_PUBLISHER_OPTIONS_INIT;
    options.full_timeout_ms = full_timeout_ms;
    options.home = home;
    opened->waits = full_timeout_ms > 0;
    int code = ps_publisher_open(topic, &options, &opened->publisher);
    if (code < 0) {
        free(opened);
        opened = NULL;
    }
    return result(code, (psgo_publisher)opened);
}

bool psgo_publisher_close(psgo_publisher handle) {
    struct publisher *publisher = (struct publisher *)handle;
    if (publisher == NULL) {
        return true;
    }
    atomic_store(&publisher->closed, true);
    publisher->shut = publisher->shut || !atomic_exchange(&publisher->taken, true);
    if (!publisher->shut || atomic_load(&publisher->beside) != 0) {
        return false;
    }
    ps_publisher_close(publisher->publisher);
    return true;
}

void psgo_publisher_free(psgo_publisher publisher) {
    free((struct publisher *)publisher);
}

static __attribute__((noinline)) int publish_masked(struct publisher *publisher, const uint8_t *data, size_t len,
                                                    const ps_headers *headers) {
    sigset_t before;
    mask(&before);
    int code = ps_publisher_publish(publisher->publisher, data, len, headers);
    unmask(&before);
    return code;
}

static inline psgo_published publish(struct publisher *publisher, const uint8_t *data, size_t len, const ps_headers *headers) {
    enum access access = enter(publisher);
    if (access == CLOSED) {
        return (psgo_published){PS_ERR_CLOSED, 0, NULL};
    }
    /* Masking takes two system calls, three times as long as publishing. With one channel it can wait until a signal has
     * come: nobody has the message then, so it is published anew, with all of its time. With several, some would have it,
     * and the others' wait is over. (Of a second channel that has come since the last message and is full already, that
     * becomes true if a signal comes during just this wait: it counts as having refused.) */
    bool alone = atomic_load_explicit(&publisher->alone, memory_order_relaxed);
    int code = PS_ERR_INTERRUPTED;
    if (alone || !publisher->waits) {
        code = ps_publisher_publish(publisher->publisher, data, len, headers);
    }
    if (code == PS_ERR_INTERRUPTED) {
        code = publish_masked(publisher, data, len, headers);
    }
    psgo_published answer = published(code);
    bool still = code >= 0 && (uint64_t)code + answer.rejected <= 1;
    if (still != alone) {
        atomic_store_explicit(&publisher->alone, still, memory_order_relaxed);
    }
    leave(publisher, access);
    return answer;
}

psgo_published psgo_publisher_publish(psgo_publisher publisher, const uint8_t *data, size_t len) {
    return publish((struct publisher *)publisher, data, len, NULL);
}

psgo_published psgo_publisher_publish_with(psgo_publisher publisher, const uint8_t *data, size_t len, const char *json,
                                        size_t json_len) {
    ps_headers *headers = NULL;
    int code = ps_headers_parse(json, json_len, &headers);
    if (code < 0) {
        return unpublished(code);
    }
    psgo_published answer = publish((struct publisher *)publisher, data, len, headers);
    ps_headers_free(headers);
    return answer;
}

psgo_result psgo_publisher_packed(psgo_publisher handle, const uint8_t *data, const uint32_t *lengths, size_t count,
                                  const char *json, size_t json_len) {
    struct publisher *publisher = (struct publisher *)handle;
    ps_headers *headers = NULL;
    int code = json_len == 0 ? 0 : ps_headers_parse(json, json_len, &headers);
    if (code < 0) {
        return result(code, 0);
    }
    enum access access = enter(publisher);
    if (access == CLOSED) {
        ps_headers_free(headers);
        return (psgo_result){PS_ERR_CLOSED, 0, NULL};
    }
    sigset_t before;
    if (publisher->waits) {
        mask(&before);
    }
    int64_t handled = ps_publisher_publish_packed(publisher->publisher, data, lengths, count, headers);
    if (publisher->waits) {
        unmask(&before);
    }
    psgo_result answer = result(handled, 0);
    leave(publisher, access);
    ps_headers_free(headers);
    return answer;
}

psgo_result psgo_topic_create(const char *topic, uint32_t messages, uint64_t bytes, int64_t ttl_ms, const char *home) {
    ps_topic_options options = PS_TOPIC_OPTIONS_INIT;
    options.history_messages = messages;
    options.history_bytes = bytes;
    options.history_ttl_ms = ttl_ms;
    options.home = home;
    return result(ps_topic_create(topic, &options), 0);
}

psgo_result psgo_topic_delete(const char *topic, const char *home) {
    return result(ps_topic_delete(topic, home), 0);
}

psgo_result psgo_topic_list(const char *home, ps_topic_stats ***list) {
    return result(ps_topic_list(home, list), 0);
}

psgo_result psgo_topic_history(const char *topic, const char *home, uint32_t last, ps_message ***messages) {
    return result(ps_topic_history(topic, home, last, messages), 0);
}
