// A channel in an event loop: publishes each line of the standard input, and prints what others (and it itself)
// publish. Ends with its input.
//
//   event_loop PATTERN TOPIC
#include <array>
#include <cerrno>
#include <iostream>
#include <poll.h>
#include <pubsub.hpp>
#include <system_error>
#include <unistd.h>

// The descriptor stays readable as long as a message waits, so take them until there is none.
static void print_all(pubsub::Channel &channel) {
    while (const auto message = channel.fetch())
        std::cout << message->topic() << ": " << message->content() << std::endl;
}

// Publishes the lines that are complete; the start of the next one stays.
static void publish_lines(const std::string &topic, std::string &read) {
    std::size_t start = 0;
    for (std::size_t end; (end = read.find('\n', start)) != std::string::npos; start = end + 1)
        pubsub::publish(topic, std::string_view(read).substr(start, end - start));
    read.erase(0, start);
}

static void run(pubsub::Channel &channel, const std::string &topic) {
    std::array<pollfd, 2> polled{{{channel.fd(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}}};
    std::array<char, 4096> buffer;
    std::string lines;
    for (;;) {
        if (poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR)
            throw std::system_error(errno, std::generic_category(), "poll");
        print_all(channel);
        if (polled[1].revents == 0)
            continue;
        const ssize_t length = read(STDIN_FILENO, buffer.data(), buffer.size());
        if (length <= 0)
            break;
        lines.append(buffer.data(), static_cast<std::size_t>(length));
        publish_lines(topic, lines);
    }
    print_all(channel);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        std::cerr << "usage: " << argv[0] << " PATTERN TOPIC\n";
        return 2;
    }
    try {
        pubsub::Channel channel(argv[1]);
        std::cout << "listening on " << channel.topic() << std::endl;
        run(channel, argv[2]);
    } catch (const std::exception &error) { // pubsub::Error is one
        std::cerr << error.what() << '\n';
        return 1;
    }
}
