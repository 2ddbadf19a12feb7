/* Prints what came to a topic since it ran last, whether or not it ran when that was published: the topic keeps a history, and
 * the file keeps the place in it. The first time, the last ten messages.
 *
 *   history TOPIC FILE */
#include <inttypes.h>
#include <pubsub.h>
#include <stdio.h>

/* `epoch`: of the message before; 0: there was none. */
static void print(const ps_message *message, uint64_t epoch)
{
    if (epoch != 0 && message->epoch != epoch)
        printf("(the topic was created anew)\n");
    if (message->dropped_before > 0)
        printf("(%" PRIu64 " before this are not kept any more)\n", message->dropped_before);
    printf("%" PRIu64 " %.*s\n", message->offset, (int)message->data_len, (const char *)message->data);
}

static int fail(void)
{
    fprintf(stderr, "%s\n", ps_last_error());
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s TOPIC FILE\n", argv[0]);
        return 2;
    }
    const char *topic = argv[1], *path = argv[2];
    ps_topic_options kept = PS_TOPIC_OPTIONS_INIT;
    kept.history_messages = 1000;
    int code = ps_topic_create(topic, &kept);
    if (code < 0 && code != PS_ERR_EXISTS)
        return fail();

    ps_channel_options options = PS_CHANNEL_OPTIONS_INIT;
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        options.replay_last = 10;
    } else {
        if (fscanf(file, "%" SCNu64 " %" SCNu64, &options.resume_epoch, &options.resume_offset) != 2) {
            fprintf(stderr, "%s holds no place\n", path);
            return 1;
        }
        options.resume = 1;
        fclose(file);
    }
    ps_channel *channel;
    if (ps_channel_open(topic, &options, &channel) < 0)
        return fail();

    uint64_t epoch = options.resume_epoch, offset = 0;
    ps_message *message;
    while ((code = ps_fetch(channel, &message)) == 1) {
        if (message->kind == PS_MESSAGE_DATA) { /* or the topic has just been deleted */
            print(message, epoch);
            epoch = message->epoch;
            offset = message->offset;
        }
        ps_message_free(message);
    }
    ps_channel_close(channel);
    if (code < 0)
        return fail();
    if (offset > 0) {
        file = fopen(path, "w");
        if (file == NULL || fprintf(file, "%" PRIu64 " %" PRIu64 "\n", epoch, offset) < 0 || fclose(file) != 0) {
            perror(path);
            return 1;
        }
    }
    return 0;
}
