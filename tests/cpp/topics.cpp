// Managed topics: histories, replay, resuming, deletion.
#include "check.hpp"

#include <atomic>
#include <filesystem>
#include <map>
#include <set>
#include <thread>

using namespace pubsub;
using namespace std::chrono_literals;

static void feed(std::string_view topic, int from, int to) {
    Publisher publisher(topic);
    for (int n = from; n < to; n++)
        publisher.publish(std::to_string(n));
}

/// Offsets and contents.
template <class Messages> static std::string told(const Messages &messages) {
    std::string text;
    for (const auto &message : messages)
        text += std::to_string(message.offset()) + '=' + std::string(message.content()) + ' ';
    return text;
}

static ChannelOptions replaying(std::uint32_t last, Transport transport) {
    ChannelOptions options;
    options.replay_last = last;
    options.transport = transport;
    return options;
}

static ChannelOptions resuming(std::uint64_t epoch, std::uint64_t offset) {
    ChannelOptions options;
    options.resume = Resume{epoch, offset};
    return options;
}

static void topics_are_created_listed_and_deleted() {
    CHECK(topics().empty());
    TopicOptions options;
    options.history_messages = 3;
    options.history_bytes = 1 << 20;
    options.history_ttl = 1h;
    create_topic("b.default");
    create_topic(std::string_view("a.three and more", 7), options);
    Channel channel("a.=");
    feed("a.three", 0, 5);
    const auto list = topics();
    CHECK(list.size() == 2 && list[0].topic == "a.three" && list[1].topic == "b.default");
    CHECK(list[0].subscribers == 1 && list[0].messages_published == 5 && list[0].messages_in_history == 3);
    CHECK(list[0].next_offset == 6 && list[0].bytes_in_history > 0 && list[0].epoch != list[1].epoch);
    CHECK(list[1].subscribers == 0 && list[1].messages_in_history == 0 && list[1].next_offset == 1);
    const auto age = std::chrono::system_clock::now() - list[0].created;
    CHECK(age < 1h && age > -1h);
    delete_topic("a.three");
    delete_topic("b.default");
    CHECK(topics().empty());
}

static void a_history_has_what_was_published() {
    create_topic("a");
    CHECK(topic_history("a").empty());
    publish("a", std::string_view("\0one", 4), {{"unit", "celsius"}});
    publish("a", Bytes());
    auto messages = topic_history("a");
    CHECK(messages.size() == 2 && messages[0].content() == std::string_view("\0one", 4));
    CHECK(messages[0].topic() == "a" && messages[0].headers()["unit"].string() == "celsius");
    CHECK(messages[0].offset() == 1 && messages[1].offset() == 2 && messages[0].epoch() == topics()[0].epoch);
    CHECK(messages[1].content().empty() && messages[1].kind() == Kind::data);
    const Message kept = std::move(messages[1]);
    messages.clear();
    CHECK(kept.offset() == 2);
    CHECK(told(topic_history("a", 1)) == "2= " && topic_history("a", 0).empty());
    delete_topic("a");
}

static void another_store_has_topics_of_its_own() {
    const std::string home = std::string(pubsub::home()) + "-topics";
    CHECK(topics(home).empty());
    TopicOptions there;
    there.home = home;
    create_topic("a", there);
    CHECK(topics(home).size() == 1 && topics().empty() && topic_history("a", 9, home).empty());
    FAILS(PS_ERR_NOT_FOUND, "'a' is not managed", topic_history("a"));
    delete_topic("a", home);
    std::filesystem::remove_all(home);
}

static void errors_say_what_is_wrong() {
    FAILS(PS_ERR_NOT_FOUND, "'a' is not managed", (delete_topic("a"), 0));
    FAILS(PS_ERR_NOT_FOUND, "'a'", Channel("a", resuming(1, 1)));
    create_topic("a");
    FAILS(PS_ERR_EXISTS, "'a' is managed already", (create_topic("a"), 0));
    FAILS(PS_ERR_INVALID_ARGUMENT, "'='", Channel("=", resuming(1, 1)));
    FAILS(PS_ERR_INVALID_TOPIC, "wildcard", (create_topic("a.="), 0));
    FAILS(PS_ERR_INVALID_TOPIC, "NUL", (delete_topic(std::string_view("a\0b", 3)), 0));
    FAILS(PS_ERR_INVALID_TOPIC, "", topic_history("a b"));
    TopicOptions options;
    options.history_ttl = -1ms;
    FAILS(PS_ERR_INVALID_ARGUMENT, "history_ttl_ms", (create_topic("b", options), 0));
    options = {};
    options.home = std::string("a\0b", 3);
    FAILS(PS_ERR_INVALID_ARGUMENT, "NUL", (create_topic("b", options), 0));
    delete_topic("a");
}

static void a_replay_goes_on_live(Transport transport) {
    create_topic("a.b");
    feed("a.b", 0, 10);
    Channel channel("a.=", replaying(3, transport)), packing("a.=", replaying(3, transport));
    feed("a.b", 10, 12);
    CHECK(next(channel) == "7");
    const auto messages = channel.fetch_batch(9, 0s);
    CHECK(told(messages) == "9=8 10=9 11=10 12=11 " && messages[0].epoch() == messages[3].epoch());
    CHECK(messages[0].epoch() == topics()[0].epoch && messages[0].dropped_before() == 0 && !channel.fetch());
    Packed packed;
    CHECK(packing.fetch_packed(packed, 0s) == 5 && told(packed) == "8=7 9=8 10=9 11=10 12=11 ");
    CHECK((*packed.begin()).epoch() == messages[0].epoch());
    delete_topic("a.b");
}

/// While two threads publish all the time.
static void a_replay_has_no_gap_and_no_duplicate(Transport transport) {
    TopicOptions much; // more than this falls behind on a busy machine
    much.history_messages = 1'000'000;
    create_topic("fed", much);
    std::atomic<bool> end{false};
    const auto publish_numbers = [&end](char name) {
        Publisher publisher("fed");
        for (int n = 0; !end; n++) {
            publisher.publish(name + std::to_string(n));
            if (n % 8 == 0)
                std::this_thread::sleep_for(1ms);
        }
    };
    std::thread one(publish_numbers, 'x'), two(publish_numbers, 'y');
    while (topic_history("fed").size() < 100)
        std::this_thread::sleep_for(1ms);
    for (int round = 0; round < 10; round++) {
        auto options = replaying(50, transport);
        options.capacity_messages = 1'000'000;
        Channel channel("fed", options);
        const std::uint64_t began = topics()[0].next_offset;
        std::set<std::uint64_t> seen;
        std::set<char> live;
        std::map<char, int> last; // each one's order is its own
        while (live.size() < 2) {
            const auto message = channel.fetch(30s);
            CHECK(message.has_value());
            const char name = message->content().front();
            const int number = std::stoi(std::string(message->content().substr(1)));
            CHECK(!seen.empty() || message->offset() < began);
            CHECK(seen.insert(message->offset()).second);
            if (const auto before = last.find(name); before != last.end())
                CHECK(number == before->second + 1);
            last[name] = number;
            if (message->offset() > began + 50)
                live.insert(name);
        }
    }
    end = true;
    one.join();
    two.join();
    delete_topic("fed");
}

static void resuming_gives_what_was_missed_or_says_what_is_gone(Transport transport) {
    TopicOptions few;
    few.history_messages = 5;
    create_topic("a", few);
    Channel channel("a", replaying(0, transport));
    feed("a", 0, 3);
    auto last = std::move(channel.fetch_batch(9, 0s)[2]);
    channel.close();

    feed("a", 3, 6);
    channel = Channel("a", resuming(last.epoch(), last.offset()));
    feed("a", 6, 7);
    auto missed = channel.fetch_batch(9, 0s);
    CHECK(told(missed) == "4=3 5=4 6=5 7=6 " && missed[0].dropped_before() == 0);
    channel.close();

    feed("a", 7, 20);
    channel = Channel("a", resuming(missed[3].epoch(), missed[3].offset()));
    missed = channel.fetch_batch(9, 0s);
    CHECK(told(missed) == "16=15 17=16 18=17 19=18 20=19 " && missed[0].dropped_before() == 8);
    channel.close();

    delete_topic("a");
    create_topic("a");
    feed("a", 20, 22);
    channel = Channel("a", resuming(missed[4].epoch(), missed[4].offset()));
    const auto anew = channel.fetch_batch(9, 0s);
    CHECK(told(anew) == "1=20 2=21 " && anew[0].epoch() != last.epoch() && anew[0].epoch() == topics()[0].epoch);
    delete_topic("a");
}

static void a_deletion_is_told_on_exactly_that_topic(Transport transport) {
    create_topic("a.b");
    Channel exact("a.b", replaying(0, transport)), wild("a.=", replaying(0, transport));
    feed("a.b", 0, 1);
    delete_topic("a.b");
    feed("a.b", 1, 2);
    const auto messages = exact.fetch_batch(9, 0s);
    CHECK(messages.size() == 3 && messages[0].kind() == Kind::data && messages[2].kind() == Kind::data);
    CHECK(messages[1].kind() == Kind::topic_deleted && messages[1].topic() == "a.b" && messages[1].content().empty());
    CHECK(messages[1].epoch() == messages[0].epoch() && messages[2].epoch() == 0 && messages[2].offset() == 0);
    CHECK(told(wild.fetch_batch(9, 0s)) == "1=0 0=1 ");
}

int main() {
    topics_are_created_listed_and_deleted();
    a_history_has_what_was_published();
    another_store_has_topics_of_its_own();
    errors_say_what_is_wrong();
    for (const Transport transport : {Transport::ring, Transport::files}) {
        a_replay_goes_on_live(transport);
        a_replay_has_no_gap_and_no_duplicate(transport);
        resuming_gives_what_was_missed_or_says_what_is_gone(transport);
        a_deletion_is_told_on_exactly_that_topic(transport);
    }
}
