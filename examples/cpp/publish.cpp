// Publishes each argument after the topic as a message.
//
//   publish TOPIC TEXT...
#include <iostream>
#include <pubsub.hpp>

int main(int argc, char **argv) {
    if (argc < 3) {
        std::cerr << "usage: " << argv[0] << " TOPIC TEXT...\n";
        return 2;
    }
    try {
        for (int i = 2; i < argc; ++i) {
            const int channels = pubsub::publish(argv[1], argv[i], {{"number", i - 1}});
            std::cout << channels << " channels took '" << argv[i] << "'\n";
        }
    } catch (const pubsub::Error &error) {
        std::cerr << error.name() << ": " << error.what() << '\n';
        return 1;
    }
}
