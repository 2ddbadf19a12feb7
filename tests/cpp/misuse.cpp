// What must not be done: an error or nothing follows, never a crash, a leak or a hang.
#include "check.hpp"

#include <sys/wait.h>
#include <unistd.h>

using namespace pubsub;
using namespace std::chrono_literals;

/// Every member of a channel that has none behind it.
static void refuses_all(Channel &channel) {
    Packed packed;
    CHECK(!channel.is_open() && channel.topic().empty() && channel.path().empty() && channel.get() == nullptr);
    FAILS(PS_ERR_CLOSED, "closed", channel.fetch());
    FAILS(PS_ERR_CLOSED, "closed", channel.fetch(1s));
    FAILS(PS_ERR_CLOSED, "closed", channel.fetch_batch(3));
    FAILS(PS_ERR_CLOSED, "closed", channel.fetch_packed(packed));
    FAILS(PS_ERR_CLOSED, "closed", channel.begin());
    FAILS(PS_ERR_CLOSED, "closed", channel.messages(1s).begin());
    FAILS(PS_ERR_CLOSED, "closed", channel.subscribe([](MessageView) {}));
    FAILS(PS_ERR_CLOSED, "closed", channel.fd());
    FAILS(PS_ERR_CLOSED, "closed", channel.feed("x"));
    FAILS(PS_ERR_CLOSED, "closed", channel.stats());
    channel.interrupt();
    channel.close();
    channel.close();
    CHECK(packed.empty());
}

static void refuses_all(Publisher &publisher) {
    CHECK(!publisher.is_open() && publisher.get() == nullptr);
    FAILS(PS_ERR_CLOSED, "closed", publisher.publish("x"));
    FAILS(PS_ERR_CLOSED, "closed", publisher.publish_batch({"x"}));
    FAILS(PS_ERR_CLOSED, "closed", publisher.publish_packed("x", {1}));
    publisher.close();
}

static void closed_and_moved_from_handles_refuse() {
    Channel closed("a");
    closed.close();
    refuses_all(closed);
    Publisher quiet("a");
    quiet.close();
    refuses_all(quiet);

    Channel first("a");
    Channel second(std::move(first));
    refuses_all(first); // NOLINT: it is what is tested
    CHECK(publish("a", "1") == 1 && next(second) == "1");
    Channel &same = second;
    second = std::move(same);
    CHECK(second.is_open());
    second = Channel("b"); // closes what it was
    CHECK(publish("a", "2") == 0 && publish("b", "3") == 1 && next(second) == "3");
    first = std::move(second);
    CHECK(first.topic() == "b" && list().size() == 1);

    Publisher sender("b");
    Publisher taker(std::move(sender));
    refuses_all(sender); // NOLINT
    CHECK(taker.publish("4") == 1 && next(first) == "4");
}

static void a_message_moved_from_is_empty() {
    Channel channel("m");
    publish("m", "1", {{"n", 1}});
    publish("m", "2");
    Message first = *channel.fetch();
    Message second(std::move(first));
    CHECK(first.get() == nullptr && first.id() == 0 && first.topic().empty() && first.content().empty()); // NOLINT
    CHECK(first.data() != nullptr && first.headers_json() == "{}" && first.headers().empty());
    CHECK(first.timestamp() == Timestamp() && first.kind() == Kind::data && first.dropped_before() == 0);
    CHECK(second.content() == "1");
    Message &same = second;
    second = std::move(same);
    CHECK(second.content() == "1");
    second = std::move(*channel.fetch()); // frees what it was
    CHECK(second.content() == "2" && second.headers().empty());
}

struct Own {
    int value;
};

static void what_a_callback_throws_passes_by_the_library() {
    Channel channel("throws");
    Publisher publisher("throws");
    publisher.publish_batch({"1", "2", "3", "4"});
    int destroyed = 0;
    struct Count {
        int &count;
        ~Count() { ++count; }
    };
    try {
        channel.subscribe([&](MessageView message) {
            const Count count{destroyed};
            if (message.content() == "2")
                throw Own{42};
        });
        CHECK(false);
    } catch (const Own &own) { // of any type
        CHECK(own.value == 42);
    }
    CHECK(destroyed == 2 && next(channel) == "3"); // the second was handled, and the channel receives on
    FAILS(PS_ERR_INVALID_TOPIC, "no topic",
          channel.subscribe([](MessageView) -> Flow { return publish("no topic", "") ? Flow::stop : Flow::more; }));

    // Inside, the channel is busy, and what it says about that comes out.
    publisher.publish_batch({"5", "6", "7"});
    FAILS(PS_ERR_INVALID_ARGUMENT, "", channel.subscribe([&](MessageView) { channel.fetch(); }));
    FAILS(PS_ERR_INVALID_ARGUMENT, "", channel.subscribe([&](MessageView) { channel.close(); }));
    CHECK(channel.is_open() && next(channel) == "7");
    // Moved while it calls back: it is the same channel elsewhere.
    std::optional<Channel> elsewhere;
    publisher.publish("8");
    CHECK(channel.subscribe([&](MessageView) { elsewhere.emplace(std::move(channel)); }, 0s) == 1);
    refuses_all(channel);
    publisher.publish("9");
    CHECK(next(*elsewhere) == "9");
}

static void constructors_that_throw_leave_nothing() {
    FAILS(PS_ERR_INVALID_TOPIC, "a b", Channel("a b"));
    FAILS(PS_ERR_INVALID_TOPIC, "NUL", Channel(std::string_view("a\0b", 3)));
    FAILS(PS_ERR_INVALID_TOPIC, "NUL", Publisher(std::string_view("a\0b", 3)));
    FAILS(PS_ERR_INVALID_TOPIC, "NUL", publish(std::string_view("a\0b", 3), ""));
    FAILS(PS_ERR_INVALID_TOPIC, "a.=", Publisher("a.="));
    ChannelOptions options;
    options.home = std::string("/tmp\0/x", 7);
    FAILS(PS_ERR_INVALID_ARGUMENT, "'/tmp...' holds a NUL", Channel("a", options));
    options.home = "/proc/none/such";
    FAILS(PS_ERR_IO, "/proc/none", [&] {
        try {
            Channel("a", options);
        } catch (const Error &error) { // which of them is the system's choice
            throw Error(PS_ERR_IO, error.what());
        }
    }());
    options.home.clear();
    options.full = static_cast<Full>(7);
    FAILS(PS_ERR_INVALID_ARGUMENT, "7", Channel("a", options));
    StoreOptions store;
    store.mode = 0123;
    FAILS(PS_ERR_INVALID_ARGUMENT, "", create_store(std::string(home()) + "-never", store));
    store = {};
    store.group = "no-such-group";
    FAILS(PS_ERR_NOT_FOUND, "no-such-group", create_store(std::string(home()) + "-never", store));
    CHECK(list().empty());
}

static void a_batch_that_cannot_begin_throws() {
    ChannelOptions options;
    options.capacity_messages = 2;
    Channel channel("small", options);
    Publisher publisher("small");
    CHECK(publisher.publish_batch({"1", "2", "3"}) == 2); // it stopped before the third
    FAILS(PS_ERR_QUEUE_FULL, "small", publisher.publish_batch({"3"}));
    CHECK(channel.fetch_batch(9).size() == 2);
    bool thrown = false;
    try {
        channel.fetch_batch(static_cast<std::size_t>(-1) / 2);
    } catch (const std::exception &) { // no memory for so many
        thrown = true;
    }
    CHECK(thrown && channel.is_open());
}

static void a_forked_child_is_told() {
    Channel channel("forked");
    Publisher publisher("forked");
    const pid_t child = fork();
    if (child == 0) {
        FAILS(PS_ERR_CLOSED, "fork", channel.fetch());
        FAILS(PS_ERR_CLOSED, "fork", publisher.publish("x"));
        channel.close();
        _exit(0);
    }
    int status = 1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    CHECK(publisher.publish("still here") == 1 && next(channel) == "still here");
}

/// What static objects do while the program ends: publish, receive, ask, close. The store is empty afterwards (cpp.sh looks).
struct Late {
    std::optional<Channel> channel;
    std::optional<Publisher> publisher;
    ~Late() {
        if (!publisher) // a check failed before
            return;
        bool works = false;
        try {
            works = publisher->publish("by a publisher") == 1 && publish("late", "by itself") == 1 &&
                    channel->fetch_batch(9).size() == 2 && !request("late", "nobody is left to answer", 1ms);
        } catch (const Error &error) {
            std::fprintf(stderr, "%s: %s\n", error.name(), error.what());
        }
        if (!works)
            _exit(1);
    }
};
static Late late;

int main() {
    closed_and_moved_from_handles_refuse();
    a_message_moved_from_is_empty();
    what_a_callback_throws_passes_by_the_library();
    constructors_that_throw_leave_nothing();
    a_batch_that_cannot_begin_throws();
    a_forked_child_is_told();
    late.channel.emplace("late");
    late.publisher.emplace("late");
}
