// Answers each request with its text in capitals: COUNT of them, or until Ctrl-C.
//
//   reply PATTERN [COUNT]
#include <algorithm>
#include <cctype>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <pubsub.hpp>

static std::optional<pubsub::Channel> channel; // where the signal handler finds it

extern "C" void on_signal(int) { channel->interrupt(); } // one of the few functions that a signal handler may call

static void answer(long wanted) {
    const auto capital = [](unsigned char letter) { return static_cast<char>(std::toupper(letter)); };
    for (const pubsub::Message &request : *channel) {
        std::string text(request.content());
        std::transform(text.begin(), text.end(), text.begin(), capital);
        try {
            const bool in_time = request.reply(text) > 0;
            std::cout << request.topic() << ": " << (in_time ? "answered" : "too late") << std::endl;
        } catch (const pubsub::Error &error) { // PS_ERR_INVALID_ARGUMENT: it asks for no reply
            std::cerr << error.what() << '\n';
            continue;
        }
        if (--wanted == 0) // from 0 it goes without end
            break;
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
        try {
            answer(argc == 3 ? std::strtol(argv[2], nullptr, 10) : 0);
        } catch (const pubsub::Error &error) {
            if (error.code() != PS_ERR_INTERRUPTED)
                throw;
        }
        std::signal(SIGINT, SIG_IGN); // the handler must not meet a closed channel
        std::signal(SIGTERM, SIG_IGN);
        channel->close();
    } catch (const pubsub::Error &error) {
        std::cerr << error.name() << ": " << error.what() << '\n';
        return 1;
    }
}
