/* Every function of the library where it succeeds, in one thread. Waiting, threads and processes: concurrency.c. */
#include "check.h"
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stddef.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void version_and_home(void) {
    CHECK(ps_version()[0] >= '0' && ps_version()[0] <= '9' && strchr(ps_version(), '.') != NULL);
    CHECK(strcmp(ps_home(), getenv("PUBSUB_HOME")) == 0);
    CHECK(ps_home() == ps_home());
}

static void publish_and_fetch(void) {
    ANSWERS(0, ps_publish("nobody.listens", "x", 1, NULL));
    ps_channel *channel = open_channel("basics.=");
    CHECK(strcmp(ps_channel_topic(channel), "basics.=") == 0);
    CHECK(strncmp(ps_channel_path(channel), ps_home(), strlen(ps_home())) == 0);
    CHECK(access(ps_channel_path(channel), F_OK) == 0);
    expect_nothing(channel);

    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t before = now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
    ANSWERS(1, ps_publish("basics.one", "hello", 5, NULL));
    ANSWERS(1, ps_publish("basics.two", "until the NUL\0not this", PS_NUL_TERMINATED, NULL));
    ANSWERS(1, ps_publish("basics.three", NULL, 0, NULL));
    ANSWERS(0, ps_publish("basics.no.match", "x", 1, NULL));
    ANSWERS(0, ps_last_rejected());
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t after = now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;

    ps_message *first, *second, *third;
    ANSWERS(1, ps_fetch(channel, &first));
    ANSWERS(1, ps_fetch_wait(channel, PS_FOREVER, &second));
    ANSWERS(1, ps_fetch_wait(channel, 0, &third));
    expect_nothing(channel);
    ps_message *none = first;
    ANSWERS(0, ps_fetch_wait(channel, 0, &none));
    CHECK(none == NULL);
    none = first;
    ANSWERS(0, ps_fetch_wait(channel, 5, &none));
    CHECK(none == NULL);
    ANSWERS(0, ps_channel_close(channel));

    /* They outlive their channel. */
    CHECK(strcmp(first->topic, "basics.one") == 0 && first->topic_len == 10);
    CHECK(first->data_len == 5 && memcmp(first->data, "hello", 5) == 0 && (uintptr_t)first->data % 8 == 0);
    CHECK(strcmp(first->headers_json, "{}") == 0 && first->headers_json_len == 2);
    CHECK(first->kind == PS_MESSAGE_DATA && first->flags == 0 && first->dropped_before == 0);
    CHECK(first->epoch == 0 && first->offset == 0);
    CHECK(first->id != 0 && first->id < second->id && second->id < third->id);
    CHECK(first->timestamp_us >= before && first->timestamp_us <= after);
    CHECK(second->data_len == 13 && memcmp(second->data, "until the NUL", 13) == 0);
    CHECK(third->data_len == 0 && third->data != NULL);
    ps_headers *headers;
    ANSWERS(0, ps_message_headers(first, &headers));
    ANSWERS(0, ps_headers_count(headers));
    ps_headers_free(headers);
    ps_message_free(first);
    ps_message_free(second);
    ps_message_free(third);
}

static void expect_string(const ps_headers *headers, const char *key, int32_t type, const char *text, size_t len) {
    ps_header_value value;
    ANSWERS(1, ps_headers_get(headers, key, &value));
    CHECK(value.type == type && value.string_len == len);
    CHECK(memcmp(value.string, text, len) == 0 && value.string[len] == '\0');
}

static void expect_all_headers(const ps_headers *headers) {
    ANSWERS(7, ps_headers_count(headers));
    expect_string(headers, "text", PS_HEADER_STRING, "gr\xc3\xbc\xc3\x9f", 6);
    expect_string(headers, "nul", PS_HEADER_STRING, "a\0b", 3);
    expect_string(headers, "", PS_HEADER_STRING, "", 0);
    ps_header_value value;
    ANSWERS(1, ps_headers_get(headers, "int", &value));
    CHECK(value.type == PS_HEADER_INT && value.integer == INT64_MIN && value.string == NULL && value.string_len == 0);
    ANSWERS(1, ps_headers_get(headers, "double", &value));
    CHECK(value.type == PS_HEADER_DOUBLE && value.number == 1.5);
    ANSWERS(1, ps_headers_get(headers, "bool", &value));
    CHECK(value.type == PS_HEADER_BOOL && value.boolean);
    ANSWERS(1, ps_headers_get(headers, "null", &value));
    CHECK(value.type == PS_HEADER_NULL && !value.boolean && value.integer == 0);
    ANSWERS(0, ps_headers_get(headers, "other", &value));

    const char *const names[] = {"text", "nul", "", "int", "double", "bool", "null"};
    for (size_t i = 0; i < 7; i++) {
        const char *key;
        size_t key_len;
        ANSWERS(1, ps_headers_at(headers, i, &key, &key_len, &value));
        CHECK(strcmp(key, names[i]) == 0 && key_len == strlen(names[i]));
    }
}

static void headers(void) {
    ps_headers *headers = ps_headers_new();
    CHECK(headers != NULL && strcmp(ps_headers_json(headers), "{}") == 0);
    ANSWERS(0, ps_headers_set_string(headers, "text", "old", 3)); /* replaced below, in its place */
    expect_string(headers, "text", PS_HEADER_STRING, "old", 3);
    ANSWERS(0, ps_headers_set_string(headers, "nul", "a\0b", 3));
    ANSWERS(0, ps_headers_set_string(headers, "", NULL, 0));
    ANSWERS(0, ps_headers_set_int(headers, "int", INT64_MIN));
    ANSWERS(0, ps_headers_set_double(headers, "double", 1.5));
    ANSWERS(0, ps_headers_set_bool(headers, "bool", true));
    ANSWERS(0, ps_headers_set_null(headers, "null"));
    CHECK(strstr(ps_headers_json(headers), "\"text\": \"old\"") != NULL);
    ANSWERS(0, ps_headers_set_string(headers, "text", "gr\xc3\xbc\xc3\x9f", PS_NUL_TERMINATED));
    expect_all_headers(headers);

    /* They arrive as they were sent, and the text does. */
    ps_channel *channel = open_channel("basics.headers");
    ANSWERS(1, ps_publish("basics.headers", "x", 1, headers));
    ps_message *message;
    ANSWERS(1, ps_fetch(channel, &message));
    CHECK(strcmp(message->headers_json, ps_headers_json(headers)) == 0);
    CHECK(message->headers_json_len == strlen(message->headers_json));
    ps_headers_free(headers);
    ANSWERS(0, ps_message_headers(message, &headers));
    ps_message_free(message);
    expect_all_headers(headers);
    ps_headers_free(headers);
    ANSWERS(0, ps_channel_close(channel));

    const char *json = " {\"nested\": {\"a\": [1]}, \"huge\": 123456789012345678901, \"nan\": NaN, \"twice\": 1, \"twice\": 2} ";
    ANSWERS(0, ps_headers_parse(json, PS_NUL_TERMINATED, &headers));
    ps_header_value value;
    ANSWERS(1, ps_headers_get(headers, "nested", &value));
    CHECK(value.type == PS_HEADER_OTHER && value.string[0] == '{' && value.string_len == strlen(value.string));
    expect_string(headers, "huge", PS_HEADER_OTHER, "123456789012345678901", 21);
    ANSWERS(1, ps_headers_get(headers, "nan", &value));
    CHECK(value.type == PS_HEADER_DOUBLE && isnan(value.number));
    ANSWERS(1, ps_headers_get(headers, "twice", &value));
    CHECK(value.type == PS_HEADER_INT && value.integer == 2 && value.number == 2.0);
    ps_headers_free(headers);
    ANSWERS(0, ps_headers_parse("{}trailing", 2, &headers));
    ANSWERS(0, ps_headers_count(headers));
    ps_headers_free(headers);
}

static void batches(void) {
    ps_channel *channel = open_channel("basics.batch");
    ps_publisher *publisher = open_publisher("basics.batch");
    ps_headers *headers = ps_headers_new();
    ANSWERS(0, ps_headers_set_int(headers, "n", 1));
    ps_payload payloads[4] = {{"one", 3, headers}, {"two", PS_NUL_TERMINATED, NULL}, {NULL, 0, NULL}, {"four", 4, headers}};
    ANSWERS(4, ps_publisher_publish_batch(publisher, payloads, 4));
    const uint32_t lengths[3] = {1, 0, 2};
    ANSWERS(3, ps_publisher_publish_packed(publisher, "abc", lengths, 3, headers));
    ANSWERS(1, ps_publisher_publish(publisher, "last", 4, NULL));

    ps_message *messages[16];
    memset(messages, 0x5a, sizeof messages);
    ANSWERS(3, ps_fetch_batch(channel, messages, 3, PS_FOREVER));
    CHECK(messages[0]->data_len == 3 && strcmp(messages[0]->headers_json, "{\"n\": 1}") == 0);
    CHECK(messages[1]->data_len == 3 && strcmp(messages[1]->headers_json, "{}") == 0);
    ps_message_free_batch(messages, 3);
    CHECK(messages[0] == NULL && messages[2] == NULL && messages[3] != NULL);
    ANSWERS(5, ps_fetch_batch(channel, messages, 16, 0));
    const char *const texts[] = {"four", "a", "", "bc", "last"};
    for (int i = 0; i < 5; i++) {
        CHECK(messages[i]->data_len == strlen(texts[i]));
        CHECK(memcmp(messages[i]->data, texts[i], strlen(texts[i])) == 0);
    }
    ps_message_free(messages[0]);
    messages[0] = NULL; /* freed already: skipped below */
    ps_message_free_batch(messages, 5);
    ANSWERS(0, ps_fetch_batch(channel, messages, 16, 0));
    ps_headers_free(headers);
    ps_publisher_close(publisher);
    ANSWERS(0, ps_channel_close(channel));
}

static void packed(void) {
    ps_channel *channel = open_channel("basics.+");
    ps_headers *headers = ps_headers_new();
    ANSWERS(0, ps_headers_set_int(headers, "n", 1));
    ANSWERS(1, ps_publish("basics.packed.a", "hello", 5, headers));
    ANSWERS(1, ps_publish("basics.packed.bc", NULL, 0, NULL));
    char large[300];
    memset(large, 'x', sizeof large);
    ANSWERS(1, ps_publish("basics.packed", large, sizeof large, NULL));
    ps_headers_free(headers);

    uint64_t buffer[64];
    size_t used = 0;
    FAILS(PS_ERR_TOO_LARGE, "buffer", ps_fetch_packed(channel, buffer, 16, 0, &used));
    size_t needed = used;
    CHECK(needed > sizeof(ps_packed_record) && needed % 8 == 0);
    FAILS(PS_ERR_TOO_LARGE, "buffer", ps_fetch_packed(channel, buffer, needed - 1, 0, &used));
    CHECK(used == needed);
    ps_channel_stats stats; /* what did not fit still waits */
    stats.size = sizeof stats;
    ANSWERS(0, ps_channel_stats_get(channel, &stats));
    CHECK(stats.unread_messages == 3);

    ANSWERS(2, ps_fetch_packed(channel, buffer, 300, PS_FOREVER, &used));
    const ps_packed_record *record = (const ps_packed_record *)buffer;
    const char *text = (const char *)(record + 1);
    CHECK(record->size == needed && record->size % 8 == 0 && record->kind == PS_MESSAGE_DATA && record->flags == 0);
    CHECK(record->topic_len == 15 && record->headers_json_len == 8 && record->data_len == 5);
    CHECK(memcmp(text, "basics.packed.a{\"n\": 1}", 23) == 0);
    CHECK(memcmp(text + 24, "hello", 5) == 0 && (uintptr_t)(text + 24) % 8 == 0);
    uint64_t id = record->id;
    record = (const ps_packed_record *)((const char *)record + record->size);
    CHECK(record->id > id && record->data_len == 0 && record->topic_len == 16 && record->timestamp_us > 0);
    CHECK((const char *)record + record->size == (const char *)buffer + used);

    ANSWERS(1, ps_fetch_packed(channel, buffer, sizeof buffer, 0, &used));
    record = (const ps_packed_record *)buffer;
    CHECK(record->data_len == sizeof large && record->size == used);
    used = 99;
    ANSWERS(0, ps_fetch_packed(channel, buffer, sizeof buffer, 0, &used));
    CHECK(used == 0);
    ANSWERS(0, ps_channel_close(channel));
}

struct seen {
    ps_channel *channel;
    int count, end_after;
};

static int callback(const ps_message *message, void *context) {
    struct seen *seen = context;
    seen->count++;
    CHECK(strcmp(message->topic, "basics.subscribe") == 0 && message->data_len == 1);

    /* Allowed here: to publish, to look, to open channels. */
    if (message->data[0] == 'a') {
        ANSWERS(1, ps_publish("basics.subscribe", "z", 1, NULL));
    }
    ps_headers *headers;
    ANSWERS(0, ps_message_headers(message, &headers));
    ps_headers_free(headers);
    CHECK(strcmp(ps_channel_topic(seen->channel), "basics.subscribe") == 0);
    CHECK(ps_channel_path(seen->channel) != NULL);
    ANSWERS(0, ps_channel_close(open_channel("basics.within")));
    ps_channel_stats stats;
    stats.size = sizeof stats;
    ANSWERS(0, ps_channel_stats_get(seen->channel, &stats));
    CHECK(stats.received == (uint64_t)seen->count);

    /* Not allowed: to receive from this channel, or to close it. */
    ps_message *other = NULL;
    uint64_t buffer[64];
    size_t used;
    FAILS(PS_ERR_INVALID_ARGUMENT, "basics.subscribe", ps_fetch(seen->channel, &other));
    FAILS(PS_ERR_INVALID_ARGUMENT, "in use", ps_fetch_wait(seen->channel, 0, &other));
    FAILS(PS_ERR_INVALID_ARGUMENT, "in use", ps_fetch_batch(seen->channel, &other, 1, 0));
    FAILS(PS_ERR_INVALID_ARGUMENT, "in use", ps_fetch_packed(seen->channel, buffer, sizeof buffer, 0, &used));
    FAILS(PS_ERR_INVALID_ARGUMENT, "in use", ps_subscribe(seen->channel, callback, context, 0));
    FAILS(PS_ERR_INVALID_ARGUMENT, "in use", ps_channel_fd(seen->channel));
    FAILS(PS_ERR_INVALID_ARGUMENT, "in use", ps_channel_feed(seen->channel, NULL, 0));
    FAILS(PS_ERR_INVALID_ARGUMENT, "in use", ps_channel_close(seen->channel));
    return seen->count == seen->end_after;
}

static void subscribe(void) {
    struct seen seen = {open_channel("basics.subscribe"), 0, 2};
    ANSWERS(1, ps_publish("basics.subscribe", "a", 1, NULL));
    ANSWERS(1, ps_publish("basics.subscribe", "b", 1, NULL));
    ANSWERS(2, ps_subscribe(seen.channel, callback, &seen, PS_FOREVER));
    CHECK(seen.count == 2);
    seen.end_after = 0;
    ANSWERS(1, ps_subscribe(seen.channel, callback, &seen, 0));
    CHECK(seen.count == 3);
    ANSWERS(0, ps_subscribe(seen.channel, callback, &seen, 5));
    ANSWERS(0, ps_channel_close(seen.channel));
}

static bool readable(int fd) {
    struct pollfd poll_fd = {fd, POLLIN, 0};
    int count = poll(&poll_fd, 1, 0);
    CHECK(count >= 0 && (poll_fd.revents & ~POLLIN) == 0);
    return count == 1;
}

static void descriptor(void) {
    ps_channel *channel = open_channel("basics.fd");
    int fd = ps_channel_fd(channel);
    CHECK(fd >= 0 && fd == ps_channel_fd(channel));
    expect_nothing(channel);
    CHECK(!readable(fd));
    ANSWERS(1, ps_publish("basics.fd", "one", 3, NULL));
    ANSWERS(1, ps_publish("basics.fd", "two", 3, NULL));
    CHECK(readable(fd));
    expect_text(channel, "one");
    CHECK(readable(fd));
    expect_text(channel, "two");
    expect_nothing(channel);
    CHECK(!readable(fd));

    /* A runtime that can only wait by reading hands back what it read. */
    ANSWERS(1, ps_publish("basics.fd", "three", 5, NULL));
    ANSWERS(1, ps_publish("basics.fd", "four", 4, NULL));
    char taken[4096];
    ssize_t count = read(fd, taken, sizeof taken);
    CHECK(count > 0);
    ANSWERS(0, ps_channel_feed(channel, taken, (size_t)count));
    expect_text(channel, "three");
    expect_text(channel, "four");
    expect_nothing(channel);
    CHECK(read(fd, taken, sizeof taken) == -1 && errno == EAGAIN);
    ANSWERS(0, ps_channel_close(channel));
}

static void bounds_and_stats(void) {
    ps_channel_options options = PS_CHANNEL_OPTIONS_INIT;
    options.capacity_messages = 2;
    options.capacity_bytes = 1000;
    options.size = offsetof(ps_channel_options, replay_last); /* a program of the first version */
    options.resume = 7;                                       /* which it does not have */
    ps_channel *small, *dropping, *large = open_channel("basics.full");
    ANSWERS(0, ps_channel_open("basics.full", &options, &small));
    for (int i = 0; i < 2; i++) {
        ANSWERS(2, ps_publish("basics.full", "x", 1, NULL));
        ANSWERS(0, ps_last_rejected());
    }
    ANSWERS(1, ps_publish("basics.full", "x", 1, NULL));
    ANSWERS(1, ps_last_rejected());
    ANSWERS(0, ps_channel_close(large));
    FAILS(PS_ERR_QUEUE_FULL, "basics.full", ps_publish("basics.full", "x", 1, NULL));
    ANSWERS(1, ps_last_rejected());

    ps_channel_stats stats;
    memset(&stats, 0x5a, sizeof stats);
    stats.size = sizeof stats;
    ANSWERS(0, ps_channel_stats_get(small, &stats));
    CHECK(stats.size == sizeof stats && stats.transport != PS_TRANSPORT_DEFAULT && stats.alive && !stats.foreign);
    CHECK(stats.pid == getpid() && stats.unread_messages == 2 && stats.unread_bytes >= 2);
    CHECK(stats.capacity_messages == 2 && stats.capacity_bytes == 1000);
    CHECK(stats.received == 0 && stats.rejected == 2 && stats.dropped == 0 && stats.malformed == 0);
    CHECK(stats.topic == ps_channel_topic(small) && stats.path == ps_channel_path(small));
    expect_text(small, "x");
    struct { ps_channel_stats stats; char tail[16]; } longer; /* of a later version: what we know is filled */
    memset(&longer, 0x5a, sizeof longer);
    longer.stats.size = sizeof longer;
    ANSWERS(0, ps_channel_stats_get(small, &longer.stats));
    CHECK(longer.stats.size == sizeof stats && longer.stats.received == 1 && longer.stats.unread_messages == 1);
    CHECK(longer.tail[0] == 0x5a && longer.tail[15] == 0x5a);
    ANSWERS(0, ps_channel_close(small));

    options = (ps_channel_options)PS_CHANNEL_OPTIONS_INIT;
    options.full_policy = PS_FULL_DROP_OLDEST;
    options.capacity_messages = 32;
    ANSWERS(0, ps_channel_open("basics.drop", &options, &dropping));
    for (int i = 0; i < 50; i++) {
        ANSWERS(1, ps_publish("basics.drop", &i, sizeof i, NULL));
    }
    ps_message *message;
    uint64_t expected = 0;
    while (ps_fetch(dropping, &message) == 1) {
        expected += message->dropped_before;
        CHECK(message->data_len == sizeof(int) && memcmp(message->data, &(int){(int)expected}, sizeof(int)) == 0);
        expected++;
        ps_message_free(message);
    }
    CHECK(expected == 50);
    stats.size = sizeof stats;
    ANSWERS(0, ps_channel_stats_get(dropping, &stats));
    CHECK(stats.dropped + stats.received == 50 && stats.dropped >= 18 && stats.unread_messages == 0);
    ANSWERS(0, ps_channel_close(dropping));

    /* A publisher that waits for room, in vain. */
    options = (ps_channel_options)PS_CHANNEL_OPTIONS_INIT;
    options.capacity_messages = 1;
    ANSWERS(0, ps_channel_open("basics.room", &options, &small));
    ps_publisher_options sending = PS_PUBLISHER_OPTIONS_INIT;
    sending.full_timeout_ms = 30;
    ps_publisher *publisher;
    ANSWERS(0, ps_publisher_open("basics.room", &sending, &publisher));
    ANSWERS(1, ps_publisher_publish(publisher, "x", 1, NULL));
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    FAILS(PS_ERR_QUEUE_FULL, "basics.room", ps_publisher_publish(publisher, "x", 1, NULL));
    clock_gettime(CLOCK_MONOTONIC, &end);
    CHECK((end.tv_sec - start.tv_sec) * 1000.0 + (double)(end.tv_nsec - start.tv_nsec) / 1e6 >= 30);
    ps_publisher_close(publisher);
    ANSWERS(0, ps_channel_close(small));
}

static void stores(void) {
    char home[4096];
    snprintf(home, sizeof home, "%s-shared", ps_home());
    char group[24];
    snprintf(group, sizeof group, "%u", (unsigned)getgid());
    ps_store_options options = PS_STORE_OPTIONS_INIT;
    /* To chown(2) it says that the group stays as it is. */
    options.group = "4294967295";
    FAILS(PS_ERR_NOT_FOUND, "4294967295", ps_store_create(home, &options));
    /* Nor is anybody's name so long, which the system's own lookup does not survive. */
    static char endless[8 << 20];
    memset(endless, 'g', sizeof endless - 1);
    options.group = endless;
    FAILS(PS_ERR_NOT_FOUND, "group", ps_store_create(home, &options));
    options.group = group;
    ANSWERS(0, ps_store_create(home, &options));
    struct stat status;
    CHECK(stat(home, &status) == 0 && (status.st_mode & 07777) == 03770 && status.st_gid == getgid());
    FAILS(PS_ERR_EXISTS, home, ps_store_create(home, &options));
    FAILS(PS_ERR_EXISTS, home, ps_store_create(home, NULL));

    ps_channel_stats **list = (ps_channel_stats **)home;
    ANSWERS(0, ps_channel_list(home, &list));
    ps_channel_list_free(list, 0);
    ps_channel_options receiving = PS_CHANNEL_OPTIONS_INIT;
    receiving.home = home;
    receiving.transport = PS_TRANSPORT_FILES;
    ps_channel *one, *two;
    ANSWERS(0, ps_channel_open("basics.one", &receiving, &one));
    ANSWERS(0, ps_channel_open("basics.+", &receiving, &two));
    CHECK(strncmp(ps_channel_path(one), home, strlen(home)) == 0);
    ANSWERS(0, ps_publish("basics.one", "x", 1, NULL)); /* another store */
    ps_publisher_options sending = PS_PUBLISHER_OPTIONS_INIT;
    sending.home = home;
    ps_publisher *publisher;
    ANSWERS(0, ps_publisher_open("basics.one", &sending, &publisher));
    ANSWERS(2, ps_publisher_publish(publisher, "x", 1, NULL));
    ps_publisher_close(publisher);

    ANSWERS(2, ps_channel_list(home, &list));
    bool first = strcmp(list[0]->topic, "basics.one") == 0;
    const ps_channel_stats *stats = list[first ? 0 : 1];
    CHECK(strcmp(stats->topic, "basics.one") == 0 && strcmp(list[first ? 1 : 0]->topic, "basics.+") == 0);
    CHECK(strcmp(stats->path, ps_channel_path(one)) == 0 && stats->topic != ps_channel_topic(one));
    CHECK(stats->size == sizeof *stats && stats->alive && !stats->foreign && stats->pid == getpid());
    CHECK(stats->transport == PS_TRANSPORT_FILES && stats->unread_messages == 1);
    CHECK(stats->capacity_messages == 16384 && stats->capacity_bytes == 64 << 20);
    ANSWERS(0, ps_channel_close(one));
    ANSWERS(0, ps_channel_close(two));
    CHECK(strcmp(stats->topic, "basics.one") == 0); /* the list's own */
    ps_channel_list_free(list, 2);
    ANSWERS(0, ps_cleanup(home));
    ANSWERS(0, ps_cleanup(NULL));
}

int main(void) {
    version_and_home();
    publish_and_fetch();
    headers();
    batches();
    packed();
    subscribe();
    descriptor();
    bounds_and_stats();
    stores();
    printf("basics passed\n");
    return 0;
}
