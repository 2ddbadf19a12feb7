/* A channel in an event loop: publishes each line of the standard input, and prints what others (and it itself) publish.
 * Ends with its input.
 *
 *   event_loop PATTERN TOPIC */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <poll.h>
#include <pubsub.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The descriptor stays readable as long as a message waits, so take them until there is none. */
static int print_all(ps_channel *channel)
{
    ps_message *message;
    int answer;
    while ((answer = ps_fetch(channel, &message)) == 1) {
        printf("%s: %.*s\n", message->topic, (int)message->data_len, (const char *)message->data);
        ps_message_free(message);
    }
    return answer;
}

/* Publishes the lines of what was just read; a line may come in several pieces, its start is kept in `line`. */
static int publish_lines(const char *topic, const char *text, size_t len, char *line, size_t size, size_t *used)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '\n') {
            if (*used < size) /* longer lines are cut */
                line[(*used)++] = text[i];
            continue;
        }
        int channels = ps_publish(topic, line, *used, NULL);
        if (channels < 0)
            return channels;
        *used = 0;
    }
    return 0;
}

static int run(ps_channel *channel, const char *topic)
{
    char text[4096], line[4096];
    size_t used = 0;
    struct pollfd polled[2] = {{.fd = ps_channel_fd(channel), .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    if (polled[0].fd < 0)
        return polled[0].fd;
    for (;;) {
        if (poll(polled, 2, -1) < 0 && errno != EINTR) {
            perror("poll");
            return 0;
        }
        int failed = print_all(channel);
        if (failed < 0)
            return failed;
        if (polled[1].revents != 0) {
            ssize_t len = read(STDIN_FILENO, text, sizeof text);
            if (len <= 0)
                return print_all(channel);
            failed = publish_lines(topic, text, (size_t)len, line, sizeof line, &used);
            if (failed < 0)
                return failed;
        }
    }
}

int main(int argc, char **argv)
{
    ps_channel *channel;
    if (argc != 3) {
        fprintf(stderr, "usage: %s PATTERN TOPIC\n", argv[0]);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    int answer = ps_channel_open(argv[1], NULL, &channel);
    if (answer == 0) {
        printf("listening on %s\n", argv[1]);
        answer = run(channel, argv[2]);
    }
    if (answer < 0) {
        fprintf(stderr, "%s: %s\n", ps_error_name(answer), ps_last_error());
        return 1;
    }
    ps_channel_close(channel);
    return 0;
}
