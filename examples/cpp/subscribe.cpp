// Prints every message whose topic matches the pattern: COUNT of them, or until Ctrl-C.
//
//   subscribe PATTERN [COUNT]
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <pubsub.hpp>

static std::optional<pubsub::Channel> channel; // where the signal handler finds it

extern "C" void on_signal(int) { channel->interrupt(); } // one of the few functions that a signal handler may call

static void print_messages(long wanted) {
    try {
        for (const pubsub::Message &message : *channel) {
            std::cout << message.topic() << ' ' << message.headers_json() << ' ' << message.content() << std::endl;
            if (--wanted == 0) // from 0 it goes without end
                break;
        }
    } catch (const pubsub::Error &error) {
        if (error.code() != PS_ERR_INTERRUPTED)
            throw;
    }
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) {
        std::cerr << "usage: " << argv[0] << " PATTERN [COUNT]\n";
        return 2;
    }
    try {
        channel.emplace(argv[1]);
        std::signal(SIGINT, on_signal);
        std::signal(SIGTERM, on_signal);
        std::cout << "listening on " << channel->topic() << std::endl;
        print_messages(argc == 3 ? std::strtol(argv[2], nullptr, 10) : 0);

        std::signal(SIGINT, SIG_IGN); // the handler must not meet a closed channel
        std::signal(SIGTERM, SIG_IGN);
        channel->close();
    } catch (const pubsub::Error &error) {
        std::cerr << error.name() << ": " << error.what() << '\n';
        return 1;
    }
}
