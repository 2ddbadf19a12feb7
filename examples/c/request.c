/* Asks each question on a topic, one after the other, and prints the replies.
 *
 *   request TOPIC TEXT... */
#include <pubsub.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    int unanswered = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: %s TOPIC TEXT...\n", argv[0]);
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        ps_message *reply;
        int answer = ps_request(argv[1], argv[i], strlen(argv[i]), NULL, 5000, &reply);
        if (answer < 0) { /* PS_ERR_NOT_FOUND: nobody listens */
            fprintf(stderr, "%s: %s\n", ps_error_name(answer), ps_last_error());
            return 1;
        }
        if (answer == 0) {
            printf("%s: no reply in time\n", argv[i]);
            unanswered++;
            continue;
        }
        printf("%s: %.*s\n", argv[i], (int)reply->data_len, (const char *)reply->data);
        ps_message_free(reply);
    }
    return unanswered > 0;
}
