/* Managed topics from C. */
#include "check.h"

static void publish(const char *topic, int from, int to) {
    for (int n = from; n < to; n++) {
        char text[16];
        snprintf(text, sizeof text, "%d", n);
        CHECK(ps_publish(topic, text, PS_NUL_TERMINATED, NULL) >= 0);
    }
}

static void expect_number(const ps_message *message, int number, uint64_t dropped_before) {
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    CHECK(message->data_len == strlen(text) && memcmp(message->data, text, message->data_len) == 0);
    CHECK(message->kind == PS_MESSAGE_DATA && message->dropped_before == dropped_before);
}

static void expect(ps_channel *channel, int from, int to) {
    for (int n = from; n < to; n++) {
        ps_message *message;
        ANSWERS(1, ps_fetch(channel, &message));
        expect_number(message, n, 0);
        ps_message_free(message);
    }
}

static void create_and_list(void) {
    ps_topic_stats **list = NULL;
    ANSWERS(0, ps_topic_list(NULL, &list));
    CHECK(list == NULL);
    ANSWERS(0, ps_topic_create("b.default", NULL));
    ps_topic_options options = PS_TOPIC_OPTIONS_INIT;
    options.history_messages = 5;
    options.history_ttl_ms = 3600 * 1000;
    ANSWERS(0, ps_topic_create("a.five", &options));
    FAILS(PS_ERR_EXISTS, "'a.five' is managed already", ps_topic_create("a.five", NULL));
    publish("a.five", 0, 8);
    ps_channel *channel;
    ANSWERS(0, ps_channel_open("a.=", NULL, &channel));
    ANSWERS(2, ps_topic_list(NULL, &list));
    CHECK(strcmp(list[0]->topic, "a.five") == 0 && strcmp(list[1]->topic, "b.default") == 0);
    const ps_topic_stats *stats = list[0];
    CHECK(stats->size == sizeof *stats && stats->reserved == 0 && stats->subscribers == 1 && stats->created_us > 0);
    CHECK(stats->messages_published == 8 && stats->messages_in_history == 5 && stats->next_offset == 9);
    CHECK(stats->bytes_in_history == 5 * 33 && stats->epoch != 0 && stats->epoch != list[1]->epoch);
    ps_topic_list_free(list, 2);
    ANSWERS(0, ps_channel_close(channel));
}

static void history(void) {
    ps_message **messages;
    ANSWERS(5, ps_topic_history("a.five", NULL, 100, &messages));
    for (int i = 0; i < 5; i++) {
        expect_number(messages[i], 3 + i, 0);
        CHECK(messages[i]->offset == (uint64_t)i + 4 && messages[i]->epoch == messages[0]->epoch);
    }
    ps_message *kept = messages[2];
    messages[2] = NULL;
    ps_message_list_free(messages, 5);
    expect_number(kept, 5, 0);
    ps_message_free(kept);
    ANSWERS(0, ps_topic_history("b.default", NULL, 100, &messages));
    CHECK(messages == NULL);
    ps_message_list_free(messages, 0);
}

static void replay_and_resume(void) {
    ps_channel_options options = PS_CHANNEL_OPTIONS_INIT;
    options.replay_last = 2;
    ps_channel *channel;
    ANSWERS(0, ps_channel_open("a.=", &options, &channel));
    publish("a.five", 8, 10);
    expect(channel, 6, 9);
    ps_message *last, *message;
    ANSWERS(1, ps_fetch(channel, &last));
    expect_number(last, 9, 0);
    ANSWERS(0, ps_fetch(channel, &message));
    ANSWERS(0, ps_channel_close(channel));

    options = (ps_channel_options)PS_CHANNEL_OPTIONS_INIT;
    options.resume = 1;
    options.resume_epoch = last->epoch;
    options.resume_offset = last->offset;
    publish("a.five", 10, 13);
    ANSWERS(0, ps_channel_open("a.five", &options, &channel));
    expect(channel, 10, 13);
    ANSWERS(0, ps_channel_close(channel));
    publish("a.five", 13, 20);
    ANSWERS(0, ps_channel_open("a.five", &options, &channel));
    ANSWERS(1, ps_fetch(channel, &message));
    expect_number(message, 15, 5);
    ps_message_free(message);
    ps_message_free(last);
    expect(channel, 16, 20);
    ANSWERS(0, ps_channel_close(channel));
}

static void deletion(void) {
    ps_channel *exact = open_channel("a.five"), *wild = open_channel("a.=");
    ANSWERS(0, ps_topic_delete("a.five", NULL));
    FAILS(PS_ERR_NOT_FOUND, "'a.five' is not managed", ps_topic_delete("a.five", NULL));
    ps_message *message;
    ANSWERS(1, ps_fetch(exact, &message));
    CHECK(message->kind == PS_MESSAGE_TOPIC_DELETED && strcmp(message->topic, "a.five") == 0);
    CHECK(message->data_len == 0 && message->epoch != 0);
    ps_message_free(message);
    ANSWERS(0, ps_fetch(exact, &message));
    ANSWERS(0, ps_fetch(wild, &message));
    ANSWERS(2, ps_publish("a.five", "x", 1, NULL));
    ANSWERS(1, ps_fetch(exact, &message));
    CHECK(message->epoch == 0 && message->offset == 0);
    ps_message_free(message);
    ANSWERS(0, ps_channel_close(exact));
    ANSWERS(0, ps_channel_close(wild));
    ANSWERS(0, ps_topic_delete("b.default", NULL));
}

int main(void) {
    create_and_list();
    history();
    replay_and_resume();
    deletion();
    printf("topics passed\n");
    return 0;
}
