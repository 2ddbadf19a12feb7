// What one program can show of publishing and receiving, in each form that the header offers.
#include "check.hpp"

#include <poll.h>
#include <thread>

using namespace pubsub;
using namespace std::chrono_literals;

static void a_message_arrives_as_it_was_sent() {
    const auto before = std::chrono::system_clock::now();
    Channel channel("lab.=");
    CHECK(channel.is_open() && channel.topic() == "lab.=" && !channel.path().empty());
    CHECK(publish("lab.one", std::string_view("a\0b", 3), {{"unit", "celsius"}, {"sensor", 7}}) == 1);
    CHECK(publish("other.one", "nobody") == 0 && last_rejected() == 0);
    CHECK(publish(std::string_view("lab.two and more", 7), Bytes()) == 1); // a view without a NUL behind it

    const auto message = channel.fetch();
    CHECK(message && message->topic() == "lab.one" && message->content() == std::string_view("a\0b", 3));
    CHECK(message->size() == 3 && message->data()[2] == 'b' && reinterpret_cast<std::uintptr_t>(message->data()) % 8 == 0);
    CHECK(message->headers_json() == R"({"unit": "celsius", "sensor": 7})");
    CHECK(message->headers()["unit"].string() == "celsius" && message->headers()["sensor"].integer() == 7);
    CHECK(message->kind() == Kind::data && message->dropped_before() == 0 && message->id() != 0);
    CHECK(message->timestamp() > before - 10s && message->timestamp() < before + 60s);

    const auto second = channel.fetch(0s);
    CHECK(second && second->topic() == "lab.two" && second->content().empty() && second->data() != nullptr);
    CHECK(second->headers().empty() && second->id() != message->id());
    CHECK(!channel.fetch() && !channel.fetch(1ms));
    channel.close();
    CHECK(message->content().size() == 3); // valid without its channel
}

static void loops_range_over_messages() {
    Channel channel("loop.+");
    Publisher publisher("loop.a");
    CHECK(publisher.publish_batch({"1", "2", "3", "4", "5"}) == 5);
    std::string seen;
    for (const Message &message : channel) { // without end
        seen += message.content();
        if (message.content() == "2")
            break;
    }
    std::vector<Message> kept;
    for (auto &message : channel.messages(1ms))
        kept.push_back(std::move(message));
    CHECK(seen == "12" && kept.size() == 3 && kept[0].content() == "3" && kept[2].content() == "5");
    for (const auto &message : channel.messages(0s))
        CHECK(message.size() > 9999); // there is none
}

static void batches_and_packed() {
    Channel channel("many");
    Publisher publisher("many");
    const Headers headers{{"n", 1}};
    const std::string large(100000, 'x');
    const std::vector<std::string> texts{"a", "", "c"};
    CHECK(publisher.publish_batch(texts) == 3);
    CHECK(publisher.publish_batch({Payload("with", headers), Payload(large), Payload("without")}) == 3);
    CHECK(publisher.publish_packed("onetwothree", {3, 3, 5, 0}, headers) == 4);
    CHECK(publisher.publish_batch(std::vector<std::string>()) == 0 && publisher.publish_packed({}, {}) == 0);
    FAILS(PS_ERR_INVALID_ARGUMENT, "add up to 12", publisher.publish_packed("onetwothree", {3, 4, 5}));
    FAILS(PS_ERR_INVALID_ARGUMENT, "add up to 3", publisher.publish_packed("onetwothree", {3}));

    const auto first = channel.fetch_batch(2);
    CHECK(first.size() == 2 && first[0].content() == "a" && first[1].content().empty());
    CHECK(channel.fetch_batch(0).empty() && channel.fetch_batch(1).size() == 1);

    Packed packed(0);
    std::string seen;
    for (std::size_t count = 0; count < 7;) {
        const std::size_t got = channel.fetch_packed(packed, 10s);
        CHECK(got > 0 && got == packed.size() && !packed.empty());
        count += got;
        for (const PackedMessage &message : packed) {
            CHECK(message.topic() == "many" && message.id() != 0 && message.kind() == Kind::data);
            CHECK(reinterpret_cast<std::uintptr_t>(message.data()) % 8 == 0 && message.dropped_before() == 0);
            CHECK(message.timestamp() > Timestamp(1000h));
            seen += message.content() == large ? std::string("large") : std::string(message.content());
            seen += message.headers()["n"].integer() == 1 ? "+" : message.headers_json() == "{}" ? " " : "?";
        }
    }
    CHECK(seen == "with+large without one+two+three++");
    CHECK(channel.fetch_packed(packed, 0s) == 0 && packed.empty() && packed.begin() == packed.end());
    CHECK(channel.fetch_batch(5, 1ms).empty());
}

static void subscribe_takes_any_callable() {
    Channel channel("call");
    Publisher publisher("call");
    publisher.publish_batch({"1", "2", "3", "4"});
    int sum = 0;
    const auto until_two = [&sum](MessageView message) {
        sum += message.data()[0] - '0';
        return message.content() == "2" ? Flow::stop : Flow::more;
    };
    CHECK(channel.subscribe(until_two) == 2 && sum == 3);
    CHECK(channel.subscribe([&](const MessageView &message) { sum += static_cast<int>(message.size()); }, 0s) == 2);
    CHECK(sum == 5 && channel.subscribe(until_two, 1ms) == 0);

    // A callback may publish, open channels, and ask for figures.
    publisher.publish("again");
    Channel other("other");
    CHECK(channel.subscribe([&](MessageView message) {
        CHECK(publish("other", message.content()) == 1 && Channel("third").is_open());
        CHECK(channel.stats().received == 5);
        return Flow::stop;
    }) == 1);
    CHECK(next(other) == "again");
}

static void the_descriptor_says_when_to_fetch() {
    Channel channel("ready");
    pollfd ready{channel.fd(), POLLIN, 0};
    CHECK(poll(&ready, 1, 0) == 0 && channel.fd() == ready.fd);
    publish("ready", "now");
    CHECK(poll(&ready, 1, 10000) == 1 && next(channel) == "now");
    channel.feed({});
    CHECK(!channel.fetch() && poll(&ready, 1, 0) == 0);
}

static void a_wait_is_interrupted() {
    Channel channel("quiet");
    channel.interrupt(); // before the wait: it ends the next one
    FAILS(PS_ERR_INTERRUPTED, "quiet", channel.fetch(forever));
    std::thread other([&channel] {
        std::this_thread::sleep_for(20ms); // rather during the wait; before it is as good
        channel.interrupt();
    });
    FAILS(PS_ERR_INTERRUPTED, "quiet", channel.subscribe([](MessageView) {}));
    other.join();
    channel.interrupt();
    FAILS(PS_ERR_INTERRUPTED, "quiet", channel.begin());
    publish("quiet", "on");
    CHECK(next(channel) == "on");
}

static void full_channels_reject_or_drop() {
    ChannelOptions options;
    options.capacity_messages = 2;
    options.transport = Transport::files;
    Channel rejecting("full", options);
    options.full = Full::drop_oldest;
    Channel dropping("full", options);
    Publisher publisher("full");
    for (int i = 0; i < 2; ++i)
        CHECK(publisher.publish(std::to_string(i)) == 2 && last_rejected() == 0);
    CHECK(publisher.publish("2") == 1 && last_rejected() == 1);
    const auto kept = dropping.fetch();
    CHECK(kept && kept->content() == "1" && kept->dropped_before() == 1);
    CHECK(dropping.stats().dropped == 1 && dropping.stats().transport == Transport::files);
    CHECK(rejecting.stats().rejected == 1 && rejecting.stats().unread_messages == 2);
    dropping.close();
    FAILS(PS_ERR_QUEUE_FULL, "full", publisher.publish("3"));

    // With a timeout the publisher waits for room; an endless one is as long as there is.
    PublisherOptions patient;
    patient.full_timeout = forever;
    Publisher waiting("full", patient);
    std::thread receiver([&rejecting] { CHECK(rejecting.fetch(forever)->content() == "0"); });
    CHECK(waiting.publish("4") == 1);
    receiver.join();
    CHECK(next(rejecting) == "1" && next(rejecting) == "4");
}

static void stores_are_made_listed_and_cleaned() {
    const std::string shared = std::string(home()) + "-shared";
    StoreOptions options;
    options.mode = 0770;
    create_store(shared, options);
    FAILS(PS_ERR_EXISTS, shared, create_store(shared));
    CHECK(list(shared).empty() && cleanup(shared) == 0);

    ChannelOptions there;
    there.home = shared;
    there.capacity_messages = 9;
    Channel channel("there.+", there);
    PublisherOptions to;
    to.home = shared;
    Publisher publisher("there.a", to);
    CHECK(publisher.publish("hello") == 1 && publish("there.a", "elsewhere") == 0);
    const auto channels = list(shared);
    CHECK(channels.size() == 1 && channels[0].topic == "there.+" && channels[0].path == channel.path());
    CHECK(channels[0].alive && !channels[0].foreign && channels[0].unread_messages == 1 && channels[0].pid != 0);
    CHECK(channels[0].capacity_messages == 9);
    const ChannelStats stats = channel.stats();
    CHECK(stats.unread_bytes == channels[0].unread_bytes && stats.received == 0 && stats.topic == "there.+");
    CHECK(cleanup(shared) == 0 && next(channel) == "hello");
    channel.close();
    CHECK(list(shared).empty() && list().empty() && cleanup() == 0);
}

static void works_with_the_functions_of_pubsub_h() {
    Channel channel("mixed");
    const Headers headers{{"n", 1}};
    CHECK(ps_publish("mixed", "c", 1, headers.get()) == 1);
    ps_message *raw = nullptr;
    CHECK(ps_fetch(channel.get(), &raw) == 1);
    const Message message(raw); // frees it
    CHECK(message.content() == "c" && message.headers()["n"].integer() == 1 && message.get() == raw);
}

static void a_request_is_answered() {
    FAILS(PS_ERR_NOT_FOUND, "'ask.me'", request("ask.me", "x", forever));
    Channel channel("ask.=");
    Publisher publisher("ask.me");
    CHECK(!request("ask.me", "late", 1ms) && !publisher.request("late", 0s));
    const auto late = channel.fetch();
    CHECK(late && channel.fetch());
    std::thread server([&channel, &late] {
        for (int i = 0; i < 2; i++) {
            const auto message = channel.fetch(forever);
            CHECK(message->headers()["n"].integer() == 5);
            CHECK(late->reply("late") == 1); // and answers nothing
            CHECK(message->reply(std::string("re ") + std::string(message->content()), {{"ok", true}}) == 1);
        }
    });
    const auto answered = [](const std::optional<Message> &reply) {
        return reply && reply->content() == "re one" && reply->headers()["ok"].boolean() == true;
    };
    CHECK(answered(request("ask.me", "one", 30s, {{"n", 5}})));
    CHECK(answered(publisher.request("one", forever, {{"n", 5}})));
    server.join();
    FAILS(PS_ERR_INVALID_ARGUMENT, "response-topic", [&] {
        publish("ask.me", "no request");
        channel.fetch()->reply("x");
    }());
}

std::size_t other_unit(); // in the other file: the header may be in many

int main() {
    a_message_arrives_as_it_was_sent();
    loops_range_over_messages();
    batches_and_packed();
    subscribe_takes_any_callable();
    the_descriptor_says_when_to_fetch();
    a_wait_is_interrupted();
    full_channels_reject_or_drop();
    stores_are_made_listed_and_cleaned();
    works_with_the_functions_of_pubsub_h();
    CHECK(other_unit() == 0);
    a_request_is_answered();
}
