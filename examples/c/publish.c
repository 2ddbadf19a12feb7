/* Publishes each argument after the topic as a message.
 *
 *   publish TOPIC TEXT... */
#include <pubsub.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: %s TOPIC TEXT...\n", argv[0]);
        return 2;
    }
    ps_headers *headers = ps_headers_new();
    for (int i = 2; i < argc; i++) {
        ps_headers_set_int(headers, "number", i - 1);
        int channels = ps_publish(argv[1], argv[i], strlen(argv[i]), headers);
        if (channels < 0) {
            fprintf(stderr, "%s: %s\n", ps_error_name(channels), ps_last_error());
            ps_headers_free(headers);
            return 1;
        }
        printf("%d channels took '%s'\n", channels, argv[i]);
    }
    ps_headers_free(headers);
    return 0;
}
