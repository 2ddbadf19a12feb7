// Prints what came to a topic since it ran last, whether or not it ran when that was published: the topic keeps a history, and
// the file keeps the place in it. The first time, the last ten messages.
//
//   history TOPIC FILE
#include <fstream>
#include <iostream>
#include <pubsub.hpp>

static void create(const char *topic) {
    try {
        pubsub::TopicOptions kept;
        kept.history_messages = 1000;
        pubsub::create_topic(topic, kept);
    } catch (const pubsub::Error &error) {
        if (error.code() != PS_ERR_EXISTS)
            throw;
    }
}

static void print_news(const char *topic, const char *path) {
    pubsub::Resume place{0, 0};
    pubsub::ChannelOptions options;
    if (std::ifstream file{path}; file >> place.epoch >> place.offset)
        options.resume = place;
    else
        options.replay_last = 10;

    pubsub::Channel channel(topic, options);
    while (const auto message = channel.fetch()) {
        if (message->kind() != pubsub::Kind::data)
            continue; // the topic has just been deleted
        if (place.epoch != 0 && message->epoch() != place.epoch)
            std::cout << "(the topic was created anew)\n";
        if (message->dropped_before() > 0)
            std::cout << '(' << message->dropped_before() << " before this are not kept any more)\n";
        std::cout << message->offset() << ' ' << message->content() << '\n';
        place = {message->epoch(), message->offset()};
    }
    if (place.offset > 0 && !(std::ofstream{path} << place.epoch << ' ' << place.offset << std::endl))
        std::cerr << path << " cannot be written\n";
}

int main(int argc, char **argv) {
    if (argc != 3) {
        std::cerr << "usage: " << argv[0] << " TOPIC FILE\n";
        return 2;
    }
    try {
        create(argv[1]);
        print_news(argv[1], argv[2]);
    } catch (const pubsub::Error &error) {
        std::cerr << error.name() << ": " << error.what() << '\n';
        return 1;
    }
}
