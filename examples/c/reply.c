/* Answers each request with its text in capitals: COUNT of them, or until Ctrl-C.
 *
 *   reply PATTERN [COUNT] */
#define _POSIX_C_SOURCE 200809L
#include <ctype.h>
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
    long answered, wanted; /* wanted 0: without end */
};

static int answer(const ps_message *request, void *context)
{
    struct progress *progress = context;
    char *text = malloc(request->data_len + 1);
    if (text == NULL)
        return 0; /* the requester's time will be up */
    for (size_t i = 0; i < request->data_len; i++)
        text[i] = (char)toupper(request->data[i]);
    int channels = ps_reply(request, text, request->data_len, NULL);
    free(text);
    if (channels < 0) { /* PS_ERR_INVALID_ARGUMENT: it asks for no reply */
        fprintf(stderr, "%s\n", ps_last_error());
        return 0;
    }
    printf("%s: %s\n", request->topic, channels > 0 ? "answered" : "too late");
    return ++progress->answered == progress->wanted; /* non-zero ends ps_subscribe */
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

    int64_t handled = ps_subscribe(channel, answer, &progress, PS_FOREVER);
    if (handled < 0 && handled != PS_ERR_INTERRUPTED)
        fprintf(stderr, "%s\n", ps_last_error());

    signal(SIGINT, SIG_IGN); /* the handler must not meet a closed channel */
    signal(SIGTERM, SIG_IGN);
    ps_channel_close(channel);
    return handled < 0 && handled != PS_ERR_INTERRUPTED;
}
