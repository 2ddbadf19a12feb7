// Asks each question on a topic, one after the other, and prints the replies.
//
//   request TOPIC TEXT...
#include <iostream>
#include <pubsub.hpp>

int main(int argc, char **argv) {
    using namespace std::chrono_literals;
    if (argc < 3) {
        std::cerr << "usage: " << argv[0] << " TOPIC TEXT...\n";
        return 2;
    }
    try {
        bool all = true;
        pubsub::Publisher publisher(argv[1]);
        for (int i = 2; i < argc; ++i) {
            const auto reply = publisher.request(argv[i], 5s);
            std::cout << argv[i] << ": " << (reply ? reply->content() : "no reply in time") << '\n';
            all = all && reply;
        }
        return all ? 0 : 1;
    } catch (const pubsub::Error &error) { // PS_ERR_NOT_FOUND: nobody listens
        std::cerr << error.name() << ": " << error.what() << '\n';
        return 1;
    }
}
