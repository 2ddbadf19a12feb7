#define _GNU_SOURCE /* F_DUPFD_CLOEXEC */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static psgo_result result(int64_t value, uint64_t more) {
    psgo_result result = {value, more, NULL};
    if (value < 0) {
        result.text = strdup(ps_last_error());
    }
    return result;
}

static psgo_result published(int64_t value) {
    return result(value, ps_last_rejected());
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
static void mask(bool waits, sigset_t *before) {
    if (waits) {
        /* A fault is this thread's own: blocked, it would end the process without a word. */
        static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
        sigset_t others;
        sigfillset(&others);
        for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
            sigdelset(&others, faults[i]);
        }
        pthread_sigmask(SIG_BLOCK, &others, before);
    }
}

static void unmask(bool waits, const sigset_t *before) {
    if (waits) {
        pthread_sigmask(SIG_SETMASK, before, NULL);
    }
}

psgo_result psgo_publish(const char *topic, const uint8_t *data, size_t len, const char *json, size_t json_len) {
    ps_headers *headers = NULL;
    int code = json_len == 0 ? 0 : ps_headers_parse(json, json_len, &headers);
    if (code < 0) {
        return result(code, 0);
    }
    psgo_result answer = published(ps_publish(topic, data, len, headers));
    ps_headers_free(headers);
    return answer;
}

psgo_result psgo_publisher_open(const char *topic, const char *home, uint32_t full_timeout_ms) {
    ps_publisher_options options = PS_PUBLISHER_OPTIONS_INIT;
    options.full_timeout_ms = full_timeout_ms;
    options.home = home;
    ps_publisher *publisher = NULL;
    int code = ps_publisher_open(topic, &options, &publisher);
    return result(code, (psgo_publisher)publisher);
}

void psgo_publisher_close(psgo_publisher publisher) {
    ps_publisher_close((ps_publisher *)publisher);
}

psgo_result psgo_publisher_publish(psgo_publisher publisher, const uint8_t *data, size_t len, const char *json,
                                   size_t json_len, bool waits, bool alone) {
    ps_headers *headers = NULL;
    int code = json_len == 0 ? 0 : ps_headers_parse(json, json_len, &headers);
    if (code < 0) {
        return result(code, 0);
    }
    /* Masking takes two system calls, three times as long as publishing. With one channel it can wait until a signal has
     * come: nobody has the message then, so it is published anew, with all of its time. With several, some would have it,
     * and the others' wait is over. (Of a second channel that has come since the last message and is full already, that
     * becomes true if a signal comes during just this wait: it counts as having refused.) */
    code = waits && alone ? ps_publisher_publish((ps_publisher *)publisher, data, len, headers) : PS_ERR_INTERRUPTED;
    if (code == PS_ERR_INTERRUPTED) {
        sigset_t before;
        mask(waits, &before);
        code = ps_publisher_publish((ps_publisher *)publisher, data, len, headers);
        unmask(waits, &before);
    }
    psgo_result answer = published(code);
    ps_headers_free(headers);
    return answer;
}

psgo_result psgo_publisher_packed(psgo_publisher publisher, const uint8_t *data, const uint32_t *lengths, size_t count,
                                  const char *json, size_t json_len, bool waits) {
    ps_headers *headers = NULL;
    int code = json_len == 0 ? 0 : ps_headers_parse(json, json_len, &headers);
    if (code < 0) {
        return result(code, 0);
    }
    sigset_t before;
    mask(waits, &before);
    psgo_result answer = published(ps_publisher_publish_packed((ps_publisher *)publisher, data, lengths, count, headers));
    unmask(waits, &before);
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
