/* Request and reply. The program exits with inboxes open: nothing of them may be left in the store. */
#include "check.h"
#include <pthread.h>

/* Answers with the content in brackets and the header "from"; nothing asked ends it. */
static int answer(const ps_message *request, void *context) {
    char text[64];
    int len = snprintf(text, sizeof text, "<%.*s>", (int)request->data_len, (const char *)request->data);
    ps_headers *headers = ps_headers_new();
    ANSWERS(0, ps_headers_set_string(headers, "from", "the server", PS_NUL_TERMINATED));
    ANSWERS(1, ps_reply(request, text, (size_t)len, headers));
    ps_headers_free(headers);
    (void)context;
    return request->data_len == 0;
}

static void *serve(void *channel) {
    CHECK(ps_subscribe(channel, answer, NULL, PS_FOREVER) > 0);
    return NULL;
}

static void expect_reply(const ps_message *reply, const char *text) {
    CHECK(reply->data_len == strlen(text) && memcmp(reply->data, text, strlen(text)) == 0);
    ps_headers *headers;
    ANSWERS(0, ps_message_headers(reply, &headers));
    ps_header_value value;
    ANSWERS(1, ps_headers_get(headers, "from", &value));
    CHECK(value.type == PS_HEADER_STRING && strcmp(value.string, "the server") == 0);
    ANSWERS(1, ps_headers_get(headers, "correlation-id", &value));
    ps_headers_free(headers);
    /* A reply asks for none. */
    FAILS(PS_ERR_INVALID_ARGUMENT, "response-topic", ps_reply(reply, "x", 1, NULL));
}

static void requests_are_answered(void) {
    ps_channel *channel = open_channel("request.a");
    pthread_t server;
    CHECK(pthread_create(&server, NULL, serve, channel) == 0);
    ps_publisher *publisher = open_publisher("request.a");
    ps_message *reply;
    ANSWERS(1, ps_request("request.a", "one", PS_NUL_TERMINATED, NULL, PS_FOREVER, &reply));
    expect_reply(reply, "<one>");
    ps_message_free(reply);
    ANSWERS(1, ps_publisher_request(publisher, "two", 3, NULL, 30000, &reply));
    expect_reply(reply, "<two>");
    ps_message_free(reply);
    ANSWERS(1, ps_request("request.a", NULL, 0, NULL, 30000, &reply));
    expect_reply(reply, "<>");
    ps_message_free(reply);
    ps_publisher_close(publisher);
    CHECK(pthread_join(server, NULL) == 0);
    ANSWERS(0, ps_channel_close(channel));
}

static char untouched;

static void nobody_and_nothing_in_time(void) {
    ps_message *reply = (ps_message *)&untouched;
    FAILS(PS_ERR_NOT_FOUND, "nobody.listens", ps_request("nobody.listens", "x", 1, NULL, PS_FOREVER, &reply));
    CHECK(reply == (ps_message *)&untouched);

    ps_channel *channel = open_channel("request.slow");
    ANSWERS(0, ps_request("request.slow", "x", 1, NULL, 5, &reply));
    CHECK(reply == NULL);
    ps_message *request;
    ANSWERS(1, ps_fetch(channel, &request));
    ANSWERS(0, ps_request("request.slow", "y", 1, NULL, 0, &reply));
    /* The first one's, late, and answered once its channel is closed. */
    ANSWERS(0, ps_channel_close(channel));
    ANSWERS(1, ps_reply(request, "late", 4, NULL));
    ps_message_free(request);
}

static void *ask_for_ever(void *argument) {
    ps_message *reply;
    ps_request("request.never", "x", 1, NULL, PS_FOREVER, &reply);
    return argument;
}

int main(void) {
    requests_are_answered();
    nobody_and_nothing_in_time();
    ps_channel *channel = open_channel("request.never");
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, ask_for_ever, NULL) == 0);
    ps_message *request;
    ANSWERS(1, ps_fetch_wait(channel, PS_FOREVER, &request));
    ps_message_free(request);
    ANSWERS(0, ps_channel_close(channel));
    printf("request passed\n");
    return 0;
}
