/* Bad arguments of every kind to every function: each is the error that the header documents, its sentence names the
 * argument or value at fault, and no output is written. */
#include "check.h"
#include <stddef.h>

#define INVALID PS_ERR_INVALID_ARGUMENT

static const char not_utf8[] = "a\xff\xfe";

/* Outputs that a failing function must leave alone. */
#define UNTOUCHED(type) ((type)(uintptr_t)0x5a5a5a58)

static const char *const bad_topics[] = {"", "a b", "a/b", "a_b", "a\n", "\xc3\xa4", "\xff", "a#", "..\\.."};
static const char *const bad_patterns[] = {"=+", "a.=+.b", "++", "=="};

static void topics(void) {
    char longest[202];
    memset(longest, 'x', sizeof longest);
    longest[201] = '\0';
    for (size_t i = 0; i < sizeof bad_topics / sizeof *bad_topics; i++) {
        ps_channel *channel = UNTOUCHED(ps_channel *);
        ps_publisher *publisher = UNTOUCHED(ps_publisher *);
        FAILS(PS_ERR_INVALID_TOPIC, "", ps_channel_open(bad_topics[i], NULL, &channel));
        FAILS(PS_ERR_INVALID_TOPIC, "", ps_publisher_open(bad_topics[i], NULL, &publisher));
        FAILS(PS_ERR_INVALID_TOPIC, "", ps_publish(bad_topics[i], "x", 1, NULL));
        CHECK(channel == UNTOUCHED(ps_channel *) && publisher == UNTOUCHED(ps_publisher *));
    }
    ps_channel *channel = UNTOUCHED(ps_channel *);
    ps_publisher *publisher = UNTOUCHED(ps_publisher *);
    for (size_t i = 0; i < sizeof bad_patterns / sizeof *bad_patterns; i++) {
        FAILS(PS_ERR_INVALID_TOPIC, bad_patterns[i], ps_channel_open(bad_patterns[i], NULL, &channel));
    }
    FAILS(PS_ERR_INVALID_TOPIC, "'a b'", ps_channel_open("a b", NULL, &channel));
    FAILS(PS_ERR_INVALID_TOPIC, "\\xff", ps_channel_open("bad\xff", NULL, &channel));
    FAILS(PS_ERR_INVALID_TOPIC, "201", ps_channel_open(longest, NULL, &channel));
    FAILS(PS_ERR_INVALID_TOPIC, "201", ps_publish(longest, "x", 1, NULL));
    FAILS(PS_ERR_INVALID_TOPIC, "a.+", ps_publish("a.+", "x", 1, NULL));
    FAILS(PS_ERR_INVALID_TOPIC, "a.=", ps_publisher_open("a.=", NULL, &publisher));
    FAILS(INVALID, "topic", ps_channel_open(NULL, NULL, &channel));
    FAILS(INVALID, "topic", ps_publisher_open(NULL, NULL, &publisher));
    FAILS(INVALID, "topic", ps_publish(NULL, "x", 1, NULL));
    FAILS(INVALID, "'channel' is NULL", ps_channel_open("a", NULL, NULL));
    FAILS(INVALID, "'publisher' is NULL", ps_publisher_open("a", NULL, NULL));
    CHECK(channel == UNTOUCHED(ps_channel *) && publisher == UNTOUCHED(ps_publisher *));
}

/* Each struct with a tail that no version of the library knows. */
struct long_store { ps_store_options options; char tail[16]; };
struct long_channel { ps_channel_options options; char tail[16]; };
struct long_publisher { ps_publisher_options options; char tail[16]; };

static void sizes_of_options(void) {
    ps_channel *channel = UNTOUCHED(ps_channel *);
    ps_publisher *publisher = UNTOUCHED(ps_publisher *);
    const uint32_t short_sizes[] = {0, 1, 4, 12, 15};
    for (size_t i = 0; i < sizeof short_sizes / sizeof *short_sizes; i++) {
        struct long_store store = {PS_STORE_OPTIONS_INIT, {0}};
        struct long_channel receiving = {PS_CHANNEL_OPTIONS_INIT, {0}};
        struct long_publisher sending = {PS_PUBLISHER_OPTIONS_INIT, {0}};
        store.options.size = receiving.options.size = sending.options.size = short_sizes[i];
        FAILS(INVALID, "ps_store_options.size is", ps_store_create("/nonexistent/store", &store.options));
        FAILS(INVALID, "ps_channel_options.size is", ps_channel_open("a", &receiving.options, &channel));
        FAILS(INVALID, "ps_publisher_options.size is", ps_publisher_open("a", &sending.options, &publisher));
    }

    struct long_store store = {PS_STORE_OPTIONS_INIT, {0}};
    struct long_channel receiving = {PS_CHANNEL_OPTIONS_INIT, {0}};
    struct long_publisher sending = {PS_PUBLISHER_OPTIONS_INIT, {0}};
    receiving.options.size = offsetof(ps_channel_options, home) + sizeof(char *) - 1;
    FAILS(INVALID, "is 39", ps_channel_open("a", &receiving.options, &channel));
    store.options.size = sizeof store;
    receiving.options.size = sizeof receiving;
    sending.options.size = sizeof sending;
    store.tail[15] = receiving.tail[0] = sending.tail[8] = 1;
    FAILS(PS_ERR_UNSUPPORTED, "ps_store_options", ps_store_create("/nonexistent/store", &store.options));
    FAILS(PS_ERR_UNSUPPORTED, "byte 64", ps_channel_open("a", &receiving.options, &channel));
    FAILS(PS_ERR_UNSUPPORTED, "byte 24", ps_publisher_open("a", &sending.options, &publisher));
    CHECK(channel == UNTOUCHED(ps_channel *) && publisher == UNTOUCHED(ps_publisher *));
}

static void values_of_options(void) {
    ps_channel *channel = UNTOUCHED(ps_channel *);
    ps_channel_options good = PS_CHANNEL_OPTIONS_INIT, options = good;
#define FIELD(field, value, code, text)                                                                                \
    do {                                                                                                               \
        options = good;                                                                                                \
        options.field = value;                                                                                         \
        FAILS(code, text, ps_channel_open("a", &options, &channel));                                                   \
    } while (0)
    FIELD(full_policy, 2, INVALID, "full_policy is 2");
    FIELD(full_policy, UINT32_MAX, INVALID, "full_policy is 4294967295");
    FIELD(transport, 3, INVALID, "transport is 3");
    FIELD(reserved, 1, INVALID, "reserved is 1");
    FIELD(home, "", INVALID, "home");
    FIELD(home, not_utf8, INVALID, "a\\xff\\xfe");
    options = good;
    options.resume = 1;
    FAILS(INVALID, "'a.=' cannot resume", ps_channel_open("a.=", &options, &channel));
    FAILS(PS_ERR_NOT_FOUND, "'a' keeps no history", ps_channel_open("a", &options, &channel));

    ps_publisher *publisher = UNTOUCHED(ps_publisher *);
    ps_publisher_options sending = PS_PUBLISHER_OPTIONS_INIT;
    sending.home = "";
    FAILS(INVALID, "home", ps_publisher_open("a", &sending, &publisher));
    sending.home = not_utf8;
    FAILS(INVALID, "home", ps_publisher_open("a", &sending, &publisher));
    CHECK(channel == UNTOUCHED(ps_channel *) && publisher == UNTOUCHED(ps_publisher *));

    ps_store_options store = PS_STORE_OPTIONS_INIT;
    store.mode = 0644;
    FAILS(INVALID, "644", ps_store_create("/nonexistent/store", &store));
    store.mode = 0;
    store.group = "no-such-group-anywhere";
    FAILS(PS_ERR_NOT_FOUND, "no-such-group-anywhere", ps_store_create("/nonexistent/store", &store));
    store.group = not_utf8;
    FAILS(INVALID, "group", ps_store_create("/nonexistent/store", &store));
    FAILS(INVALID, "home", ps_store_create("", NULL));
    FAILS(INVALID, "home", ps_store_create(not_utf8, NULL));
    FAILS(PS_ERR_IO, "/proc/nonexistent", ps_store_create("/proc/nonexistent/store", NULL));
}

static void managed_topics(void) {
    struct {
        ps_topic_options options;
        unsigned char tail[16];
    } later;
    memset(&later, 0, sizeof later);
    later.options.size = 31;
    FAILS(INVALID, "is 31", ps_topic_create("a", &later.options));
    later.options.size = sizeof later;
    later.tail[3] = 1;
    FAILS(PS_ERR_UNSUPPORTED, "byte 35", ps_topic_create("a", &later.options));
    ps_topic_options options = PS_TOPIC_OPTIONS_INIT;
    options.history_ttl_ms = -1;
    FAILS(INVALID, "history_ttl_ms is -1", ps_topic_create("a", &options));
    options.history_ttl_ms = 0;
    options.history_messages = UINT32_MAX;
    FAILS(INVALID, "4294967295 messages", ps_topic_create("a", &options));
    options.history_messages = 0;
    options.history_bytes = UINT64_MAX;
    FAILS(INVALID, "64 GiB", ps_topic_create("a", &options));
    options.history_bytes = 0;
    options.home = not_utf8;
    FAILS(INVALID, "home", ps_topic_create("a", &options));
    FAILS(PS_ERR_INVALID_TOPIC, "a.=", ps_topic_create("a.=", NULL));
    FAILS(INVALID, "'topic' is NULL", ps_topic_create(NULL, NULL));

    ps_topic_stats **list = UNTOUCHED(ps_topic_stats **);
    ps_message **messages = UNTOUCHED(ps_message **);
    FAILS(INVALID, "'topic' is NULL", ps_topic_delete(NULL, NULL));
    FAILS(PS_ERR_INVALID_TOPIC, "a+", ps_topic_delete("a+", NULL));
    FAILS(INVALID, "home", ps_topic_delete("a", ""));
    FAILS(PS_ERR_NOT_FOUND, "'a' is not managed", ps_topic_delete("a", NULL));
    FAILS(INVALID, "home", ps_topic_list("", &list));
    FAILS(INVALID, "'list' is NULL", ps_topic_list(NULL, NULL));
    FAILS(INVALID, "'topic' is NULL", ps_topic_history(NULL, NULL, 1, &messages));
    FAILS(PS_ERR_INVALID_TOPIC, "'='", ps_topic_history("=", NULL, 1, &messages));
    FAILS(INVALID, "home", ps_topic_history("a", not_utf8, 1, &messages));
    FAILS(INVALID, "'messages' is NULL", ps_topic_history("a", NULL, 1, NULL));
    FAILS(PS_ERR_NOT_FOUND, "'a' is not managed", ps_topic_history("a", NULL, 1, &messages));
    CHECK(list == UNTOUCHED(ps_topic_stats **) && messages == UNTOUCHED(ps_message **));
    ps_topic_list_free(NULL, 3);
    ps_message_list_free(NULL, 3);
}

static void lists(void) {
    ps_channel_stats **list = UNTOUCHED(ps_channel_stats **);
    FAILS(INVALID, "home", ps_cleanup(""));
    FAILS(INVALID, "a\\xff", ps_cleanup(not_utf8));
    FAILS(INVALID, "home", ps_channel_list("", &list));
    FAILS(INVALID, "home", ps_channel_list(not_utf8, &list));
    FAILS(INVALID, "'list' is NULL", ps_channel_list(NULL, NULL));
    CHECK(list == UNTOUCHED(ps_channel_stats **));
    ps_channel_list_free(NULL, 0);
    ps_channel_list_free(NULL, 3);
}

static void headers(void) {
    const char *const no_objects[] = {"", " ", "null", "[]", "7", "\"a\"", "{", "{\"a\"}", "{\"a\":1}x", "{a:1}", "{'a':1}", "nul"};
    ps_headers *parsed = UNTOUCHED(ps_headers *);
    for (size_t i = 0; i < sizeof no_objects / sizeof *no_objects; i++) {
        FAILS(PS_ERR_INVALID_HEADERS, "", ps_headers_parse(no_objects[i], PS_NUL_TERMINATED, &parsed));
    }
    FAILS(PS_ERR_INVALID_HEADERS, "", ps_headers_parse("{}", 1, &parsed));
    FAILS(PS_ERR_INVALID_HEADERS, "", ps_headers_parse(NULL, 0, &parsed));
    FAILS(PS_ERR_INVALID_HEADERS, "UTF-8", ps_headers_parse("{\"a\": \"\xff\"}", PS_NUL_TERMINATED, &parsed));
    FAILS(INVALID, "'json' is NULL", ps_headers_parse(NULL, 2, &parsed));
    FAILS(INVALID, "'json' is NULL", ps_headers_parse(NULL, PS_NUL_TERMINATED, &parsed));
    FAILS(PS_ERR_TOO_LARGE, "json", ps_headers_parse("{}", PTRDIFF_MAX + (size_t)1, &parsed));
    FAILS(INVALID, "'headers' is NULL", ps_headers_parse("{}", 2, NULL));
    CHECK(parsed == UNTOUCHED(ps_headers *));

    ps_headers *headers = ps_headers_new();
    FAILS(INVALID, "'headers' is NULL", ps_headers_set_string(NULL, "k", "v", 1));
    FAILS(INVALID, "'headers' is NULL", ps_headers_set_int(NULL, "k", 1));
    FAILS(INVALID, "'headers' is NULL", ps_headers_set_double(NULL, "k", 1));
    FAILS(INVALID, "'headers' is NULL", ps_headers_set_bool(NULL, "k", true));
    FAILS(INVALID, "'headers' is NULL", ps_headers_set_null(NULL, "k"));
    const char *const keys[] = {NULL, not_utf8};
    for (int i = 0; i < 2; i++) {
        FAILS(INVALID, "key", ps_headers_set_string(headers, keys[i], "v", 1));
        FAILS(INVALID, "key", ps_headers_set_int(headers, keys[i], 1));
        FAILS(INVALID, "key", ps_headers_set_double(headers, keys[i], 1));
        FAILS(INVALID, "key", ps_headers_set_bool(headers, keys[i], true));
        FAILS(INVALID, "key", ps_headers_set_null(headers, keys[i]));
    }
    FAILS(INVALID, "'value' is NULL", ps_headers_set_string(headers, "k", NULL, 1));
    FAILS(INVALID, "'value' is NULL", ps_headers_set_string(headers, "k", NULL, PS_NUL_TERMINATED));
    FAILS(INVALID, "a\\xff\\xfe", ps_headers_set_string(headers, "k", not_utf8, PS_NUL_TERMINATED));
    FAILS(PS_ERR_TOO_LARGE, "value", ps_headers_set_string(headers, "k", "v", PTRDIFF_MAX + (size_t)1));
    ANSWERS(0, ps_headers_count(headers));

    ANSWERS(0, ps_headers_set_int(headers, "k", 1));
    ps_header_value value;
    memset(&value, 0x5a, sizeof value);
    ps_header_value before = value;
    const char *key = UNTOUCHED(const char *);
    size_t key_len = 99;
    FAILS(INVALID, "'headers' is NULL", ps_headers_get(NULL, "k", &value));
    FAILS(INVALID, "'key' is NULL", ps_headers_get(headers, NULL, &value));
    FAILS(INVALID, "key", ps_headers_get(headers, not_utf8, &value));
    FAILS(INVALID, "'value' is NULL", ps_headers_get(headers, "k", NULL));
    FAILS(INVALID, "'headers' is NULL", ps_headers_at(NULL, 0, &key, &key_len, &value));
    FAILS(INVALID, "'key' is NULL", ps_headers_at(headers, 0, NULL, &key_len, &value));
    FAILS(INVALID, "'key_len' is NULL", ps_headers_at(headers, 0, &key, NULL, &value));
    FAILS(INVALID, "'value' is NULL", ps_headers_at(headers, 0, &key, &key_len, NULL));
    ANSWERS(0, ps_headers_get(headers, "other", &value));
    ANSWERS(0, ps_headers_at(headers, 1, &key, &key_len, &value));
    ANSWERS(0, ps_headers_at(headers, SIZE_MAX, &key, &key_len, &value));
    CHECK(memcmp(&value, &before, sizeof value) == 0 && key == UNTOUCHED(const char *) && key_len == 99);
    ps_headers_free(headers);

    ANSWERS(0, ps_headers_count(NULL));
    CHECK(strcmp(ps_headers_json(NULL), "{}") == 0);
    ps_headers_free(NULL);
}

static void messages(ps_channel *channel) {
    ps_headers *headers = UNTOUCHED(ps_headers *);
    FAILS(INVALID, "'message' is NULL", ps_message_headers(NULL, &headers));
    CHECK(headers == UNTOUCHED(ps_headers *));
    ps_message *message;
    ANSWERS(1, ps_publish("bad.arguments", "x", 1, NULL));
    ANSWERS(1, ps_fetch(channel, &message));
    FAILS(INVALID, "'headers' is NULL", ps_message_headers(message, NULL));
    ps_message_free(message);
    ps_message_free(NULL);
    ps_message_free_batch(NULL, 0);
    ps_message_free_batch(NULL, 3);
    ps_message *none[2] = {NULL, NULL};
    ps_message_free_batch(none, 2);
}

static int never(const ps_message *message, void *context) {
    (void)message, (void)context;
    CHECK(!"called");
    return 1;
}

static void receiving(ps_channel *channel) {
    static uint64_t buffer[64];
    ps_message *message = UNTOUCHED(ps_message *);
    size_t used = 99;
    FAILS(INVALID, "'channel' is NULL", ps_fetch(NULL, &message));
    FAILS(INVALID, "'message' is NULL", ps_fetch(channel, NULL));
    FAILS(INVALID, "'channel' is NULL", ps_fetch_wait(NULL, 0, &message));
    FAILS(INVALID, "'message' is NULL", ps_fetch_wait(channel, 0, NULL));
    FAILS(INVALID, "'channel' is NULL", ps_fetch_batch(NULL, &message, 1, 0));
    FAILS(INVALID, "'messages' is NULL", ps_fetch_batch(channel, NULL, 1, 0));
    FAILS(INVALID, "'channel' is NULL", ps_fetch_packed(NULL, buffer, sizeof buffer, 0, &used));
    FAILS(INVALID, "'buffer' is NULL", ps_fetch_packed(channel, NULL, sizeof buffer, 0, &used));
    FAILS(INVALID, "'buffer' is NULL", ps_fetch_packed(channel, NULL, 0, 0, &used));
    FAILS(INVALID, "'used' is NULL", ps_fetch_packed(channel, buffer, sizeof buffer, 0, NULL));
    FAILS(INVALID, "size is", ps_fetch_packed(channel, buffer, SIZE_MAX, 0, &used));
    for (int i = 1; i < 8; i++) {
        FAILS(INVALID, "aligned", ps_fetch_packed(channel, (char *)buffer + i, 128, 0, &used));
    }
    FAILS(INVALID, "'channel' is NULL", ps_subscribe(NULL, never, NULL, 0));
    FAILS(INVALID, "'callback' is NULL", ps_subscribe(channel, NULL, NULL, 0));
    const int64_t timeouts[] = {-2, -1000, INT64_MIN};
    for (int i = 0; i < 3; i++) {
        char text[40];
        snprintf(text, sizeof text, "timeout_ms is %lld", (long long)timeouts[i]);
        FAILS(INVALID, text, ps_fetch_wait(channel, timeouts[i], &message));
        FAILS(INVALID, text, ps_fetch_batch(channel, &message, 1, timeouts[i]));
        FAILS(INVALID, text, ps_fetch_packed(channel, buffer, sizeof buffer, timeouts[i], &used));
        FAILS(INVALID, text, ps_subscribe(channel, never, NULL, timeouts[i]));
    }
    CHECK(message == UNTOUCHED(ps_message *) && used == 99);
    ANSWERS(0, ps_fetch_batch(channel, NULL, 0, PS_FOREVER));

    FAILS(INVALID, "'channel' is NULL", ps_channel_fd(NULL));
    FAILS(INVALID, "'channel' is NULL", ps_channel_feed(NULL, "x", 1));
    FAILS(INVALID, "'bytes' is NULL", ps_channel_feed(channel, NULL, 1));
    FAILS(INVALID, "len is", ps_channel_feed(channel, "x", SIZE_MAX));
    ANSWERS(0, ps_channel_feed(channel, NULL, 0));

    ps_channel_stats stats;
    memset(&stats, 0x5a, sizeof stats);
    stats.size = sizeof stats;
    FAILS(INVALID, "'channel' is NULL", ps_channel_stats_get(NULL, &stats));
    FAILS(INVALID, "'stats' is NULL", ps_channel_stats_get(channel, NULL));
    for (uint32_t size = 0; size < sizeof stats; size += 8) {
        stats.size = size;
        FAILS(INVALID, "ps_channel_stats.size is", ps_channel_stats_get(channel, &stats));
    }
    CHECK(stats.pid == 0x5a5a5a5a5a5a5a5a);

    CHECK(ps_channel_topic(NULL) == NULL && ps_channel_path(NULL) == NULL);
    ANSWERS(0, ps_channel_close(NULL));
    leave_another_error();
    ANSWERS(INVALID, ps_channel_interrupt(NULL));
    CHECK(strstr(ps_last_error(), another_error) != NULL); /* it may run in a signal handler */
}

static void publishing(ps_channel *channel) {
    const size_t four_gib = (size_t)UINT32_MAX + 1;
    ps_publisher *publisher = open_publisher("bad.arguments");
    FAILS(INVALID, "'data' is NULL, with a length of 5", ps_publish("a", NULL, 5, NULL));
    FAILS(INVALID, "'data' is NULL", ps_publish("a", NULL, PS_NUL_TERMINATED, NULL));
    FAILS(PS_ERR_TOO_LARGE, "4294967296", ps_publish("a", "x", four_gib, NULL));
    FAILS(PS_ERR_TOO_LARGE, "data", ps_publish("a", "x", SIZE_MAX - 1, NULL));
    FAILS(INVALID, "'publisher' is NULL", ps_publisher_publish(NULL, "x", 1, NULL));
    FAILS(INVALID, "'data' is NULL", ps_publisher_publish(publisher, NULL, 1, NULL));
    FAILS(PS_ERR_TOO_LARGE, "4294967296", ps_publisher_publish(publisher, "x", four_gib, NULL));

    ps_payload payloads[3] = {{"one", 3, NULL}, {NULL, 3, NULL}, {"three", 5, NULL}};
    FAILS(INVALID, "'publisher' is NULL", ps_publisher_publish_batch(NULL, payloads, 1));
    FAILS(INVALID, "'payloads' is NULL", ps_publisher_publish_batch(publisher, NULL, 1));
    FAILS(INVALID, "payloads", ps_publisher_publish_batch(publisher, payloads, SIZE_MAX));
    FAILS(INVALID, "payloads", ps_publisher_publish_batch(publisher, payloads, PTRDIFF_MAX));
    FAILS(INVALID, "'data' is NULL", ps_publisher_publish_batch(publisher, payloads + 1, 2));
    expect_nothing(channel);
    ANSWERS(1, ps_publisher_publish_batch(publisher, payloads, 3));
    expect_text(channel, "one");
    payloads[0].len = four_gib;
    FAILS(PS_ERR_TOO_LARGE, "4294967296", ps_publisher_publish_batch(publisher, payloads, 3));
    ANSWERS(0, ps_publisher_publish_batch(publisher, NULL, 0));

    const uint32_t lengths[2] = {1, 2};
    FAILS(INVALID, "'publisher' is NULL", ps_publisher_publish_packed(NULL, "abc", lengths, 2, NULL));
    FAILS(INVALID, "'data' is NULL", ps_publisher_publish_packed(publisher, NULL, lengths, 2, NULL));
    FAILS(INVALID, "'lengths' is NULL", ps_publisher_publish_packed(publisher, "abc", NULL, 2, NULL));
    FAILS(INVALID, "lengths", ps_publisher_publish_packed(publisher, "abc", lengths, SIZE_MAX, NULL));
    ANSWERS(0, ps_publisher_publish_packed(publisher, NULL, NULL, 0, NULL));
    expect_nothing(channel);
    ps_publisher_close(publisher);
    ps_publisher_close(NULL);
}

static void requesting(ps_channel *channel) {
    const size_t four_gib = (size_t)UINT32_MAX + 1;
    ps_publisher *publisher = open_publisher("bad.arguments");
    ps_message *reply = UNTOUCHED(ps_message *);
    for (size_t i = 0; i < sizeof bad_topics / sizeof *bad_topics; i++) {
        FAILS(PS_ERR_INVALID_TOPIC, "", ps_request(bad_topics[i], "x", 1, NULL, 0, &reply));
    }
    FAILS(PS_ERR_INVALID_TOPIC, "a.+", ps_request("a.+", "x", 1, NULL, 0, &reply));
    FAILS(INVALID, "topic", ps_request(NULL, "x", 1, NULL, 0, &reply));
    FAILS(INVALID, "'data' is NULL, with a length of 5", ps_request("bad.arguments", NULL, 5, NULL, 0, &reply));
    FAILS(PS_ERR_TOO_LARGE, "4294967296", ps_request("bad.arguments", "x", four_gib, NULL, 0, &reply));
    FAILS(INVALID, "timeout_ms is -2", ps_request("bad.arguments", "x", 1, NULL, -2, &reply));
    FAILS(INVALID, "'reply' is NULL", ps_request("bad.arguments", "x", 1, NULL, 0, NULL));
    FAILS(INVALID, "'publisher' is NULL", ps_publisher_request(NULL, "x", 1, NULL, 0, &reply));
    FAILS(INVALID, "'data' is NULL", ps_publisher_request(publisher, NULL, 1, NULL, 0, &reply));
    FAILS(PS_ERR_TOO_LARGE, "4294967296", ps_publisher_request(publisher, "x", four_gib, NULL, 0, &reply));
    FAILS(INVALID, "timeout_ms is -9", ps_publisher_request(publisher, "x", 1, NULL, -9, &reply));
    FAILS(INVALID, "'reply' is NULL", ps_publisher_request(publisher, "x", 1, NULL, 0, NULL));
    CHECK(reply == UNTOUCHED(ps_message *));
    expect_nothing(channel);

    ANSWERS(1, ps_publisher_publish(publisher, "asks for no reply", 17, NULL));
    ps_message *message;
    ANSWERS(1, ps_fetch(channel, &message));
    FAILS(INVALID, "bad.arguments", ps_reply(message, "x", 1, NULL));
    FAILS(INVALID, "'request' is NULL", ps_reply(NULL, "x", 1, NULL));
    FAILS(INVALID, "'data' is NULL", ps_reply(message, NULL, 1, NULL));
    FAILS(PS_ERR_TOO_LARGE, "4294967296", ps_reply(message, "x", four_gib, NULL));
    ps_message_free(message);
    ps_headers *headers = ps_headers_new();
    ANSWERS(0, ps_headers_set_string(headers, "response-topic", "no topic", PS_NUL_TERMINATED));
    ANSWERS(1, ps_publisher_publish(publisher, "x", 1, headers));
    ps_headers_free(headers);
    ANSWERS(1, ps_fetch(channel, &message));
    FAILS(PS_ERR_INVALID_TOPIC, "'no topic'", ps_reply(message, "x", 1, NULL));
    ps_message_free(message);
    ps_publisher_close(publisher);
}

static void codes(void) {
    CHECK(strcmp(ps_error_name(0), "success") == 0 && strcmp(ps_error_name(3), "success") == 0);
    CHECK(strcmp(ps_error_name(-16), "unknown") == 0 && strcmp(ps_error_name(INT32_MIN), "unknown") == 0);
    CHECK(strcmp(ps_error_name(PS_ERR_INTERNAL), "PS_ERR_INTERNAL") == 0);
}

int main(void) {
    CHECK(strcmp(ps_last_error(), "") == 0);
    codes();
    topics();
    sizes_of_options();
    values_of_options();
    managed_topics();
    lists();
    headers();
    ps_channel *channel = open_channel("bad.arguments");
    messages(channel);
    receiving(channel);
    publishing(channel);
    requesting(channel);
    ANSWERS(0, ps_channel_close(channel));
    printf("bad_arguments passed\n");
    return 0;
}
