/* Prints every message whose topic matches the pattern: COUNT of them, or until Ctrl-C.
 *
 *   subscribe PATTERN [COUNT] */
#define _POSIX_C_SOURCE 200809L
#include <pubsub.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static ps_channel *channel;

static void on_signal(int signal)
{
    (void)signal;
    ps_channel_interrupt(channel); /* one of the few functions that a signal handler may call */
}

struct progress {
    long received, wanted; /* wanted 0: without end */
};

static int print(const ps_message *message, void *context)
{
    struct progress *progress = context;
    printf("%s %s %.*s\n", message->topic, message->headers_json, (int)message->data_len, (const char *)message->data);
    return ++progress->received == progress->wanted; /* non-zero ends ps_subscribe */
}

int main(int argc, char **argv)
{
    struct progress progress = {0, argc == 3 ? strtol(argv[2], NULL, 10) : 0};
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s PATTERN [COUNT]\n", argv[0]);
        return 2;
    }
    if (ps_channel_open(argv[1], NULL, &channel) < 0) {
        fprintf(stderr, "%s\n", ps_last_error());
        return 1;
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("listening on %s\n", argv[1]);

    int64_t answer = ps_subscribe(channel, print, &progress, PS_FOREVER);
    if (answer < 0 && answer != PS_ERR_INTERRUPTED)
        fprintf(stderr, "%s\n", ps_last_error());

    signal(SIGINT, SIG_IGN); /* the handler must not meet a closed channel */
    signal(SIGTERM, SIG_IGN);
    ps_channel_close(channel);
    return answer < 0 && answer != PS_ERR_INTERRUPTED;
}
