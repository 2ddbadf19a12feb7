/* sender TOPIC MESSAGE: publishes once. */
#include <pubsub.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int taken = ps_publish(argv[1], argv[2], strlen(argv[2]), NULL);
    if (taken < 0)
        fprintf(stderr, "%s\n", ps_last_error());
    return taken < 0;
}
