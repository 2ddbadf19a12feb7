// How many messages a second go from one process to another.
//
//   throughput [COUNT [SIZE]]      (100000 messages of 64 bytes)
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <pubsub.hpp>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

static double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

// The child: receives `count` messages. A byte through `ready` says that the channel is open.
static int receive(const std::string &topic, long count, int ready) {
    pubsub::Channel channel(topic);
    pubsub::Packed messages; // a buffer for many messages: none is allocated by itself
    if (write(ready, "", 1) != 1)
        return 1;
    for (long received = 0; received < count;) {
        if (channel.fetch_packed(messages, 30s) == 0) {
            std::fprintf(stderr, "%ld of %ld messages, then none for 30 s\n", received, count);
            return 1;
        }
        received += static_cast<long>(messages.size());
    }
    return 0;
}

static int measure(long count, std::size_t size) {
    const std::string topic = "throughput." + std::to_string(getpid());
    int ready[2], status = 0;
    char byte;
    if (pipe(ready) != 0) {
        std::perror("pipe");
        return 1;
    }
    const pid_t child = fork();
    if (child == 0)
        return receive(topic, count, ready[1]);
    close(ready[1]);
    if (child < 0 || read(ready[0], &byte, 1) != 1) {
        std::fputs("the receiver did not start\n", stderr);
        return 1;
    }

    pubsub::PublisherOptions options;
    options.full_timeout = 30s; // wait for the receiver instead of being refused
    pubsub::Publisher publisher(topic, options);
    const std::string content(size, '\0');
    const auto start = Clock::now();
    for (long i = 0; i < count; ++i)
        publisher.publish(content);
    const double published = seconds_since(start);
    waitpid(child, &status, 0);
    const double received = seconds_since(start);
    if (status != 0)
        return 1;
    std::printf("%ld messages of %zu bytes: published %.0f/s, all received %.0f/s\n", count, size,
                static_cast<double>(count) / published, static_cast<double>(count) / received);
    return 0;
}

int main(int argc, char **argv) {
    const long count = argc > 1 ? std::strtol(argv[1], nullptr, 10) : 100000;
    const long size = argc > 2 ? std::strtol(argv[2], nullptr, 10) : 64;
    if (argc > 3 || count <= 0 || size < 0) {
        std::fprintf(stderr, "usage: %s [COUNT [SIZE]]\n", argv[0]);
        return 2;
    }
    try {
        return measure(count, static_cast<std::size_t>(size));
    } catch (const pubsub::Error &error) {
        std::fprintf(stderr, "%s: %s\n", error.name(), error.what());
        return 1;
    }
}
