/* What the C tests share. */
#ifndef CHECK_H
#define CHECK_H
#include <pubsub.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the program with the place and the library's last error when it does not hold. */
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: does not hold: %s\n  last error: %s\n", __FILE__, __LINE__, #condition,            \
                    ps_last_error());                                                                                  \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* The call answers this number. */
#define ANSWERS(expected, call)                                                                                        \
    do {                                                                                                               \
        long long answer_ = (long long)(call);                                                                         \
        if (answer_ != (long long)(expected)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n  answers %lld, not %lld; last error: %s\n", __FILE__, __LINE__, #call,        \
                    answer_, (long long)(expected), ps_last_error());                                                  \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* The call fails with this error, and the sentence that it leaves is its own and holds this text. */
#define FAILS(code, text, call)                                                                                        \
    do {                                                                                                               \
        leave_another_error();                                                                                         \
        ANSWERS(code, call);                                                                                           \
        if (strstr(ps_last_error(), text) == NULL || strstr(ps_last_error(), another_error) != NULL) {                 \
            fprintf(stderr, "%s:%d: %s\n  says: %s\n  without: %s\n", __FILE__, __LINE__, #call, ps_last_error(),      \
                    text);                                                                                             \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static const char another_error[] = "an error of before";

/* So that a call that fails without a sentence of its own is seen. */
static inline void leave_another_error(void) {
    int answer = ps_publish(another_error, NULL, 0, NULL);
    if (answer != PS_ERR_INVALID_TOPIC || strstr(ps_last_error(), another_error) == NULL) {
        fprintf(stderr, "the error of the topic '%s' is %d: %s\n", another_error, answer, ps_last_error());
        exit(1);
    }
}

static inline ps_channel *open_channel(const char *topic) {
    ps_channel *channel = NULL;
    ANSWERS(0, ps_channel_open(topic, NULL, &channel));
    CHECK(channel != NULL);
    return channel;
}

static inline ps_publisher *open_publisher(const char *topic) {
    ps_publisher *publisher = NULL;
    ANSWERS(0, ps_publisher_open(topic, NULL, &publisher));
    CHECK(publisher != NULL);
    return publisher;
}

/* The next message is there and has this text; it is freed. */
static inline void expect_text(ps_channel *channel, const char *text) {
    ps_message *message = NULL;
    ANSWERS(1, ps_fetch(channel, &message));
    CHECK(message->data_len == strlen(text) && memcmp(message->data, text, strlen(text)) == 0);
    ps_message_free(message);
}

static inline void expect_nothing(ps_channel *channel) {
    ps_message *message = (ps_message *)channel;
    ANSWERS(0, ps_fetch(channel, &message));
    CHECK(message == NULL);
}
#endif
