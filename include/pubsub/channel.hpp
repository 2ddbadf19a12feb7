/** Part of pubsub.hpp: the receiving end. */
#ifndef PUBSUB_CHANNEL_HPP
#define PUBSUB_CHANNEL_HPP

#include "message.hpp"

#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace pubsub {

enum class Transport : std::uint32_t {
    standard = PS_TRANSPORT_DEFAULT, // what PUBSUB_TRANSPORT says, else the ring
    ring = PS_TRANSPORT_RING,
    files = PS_TRANSPORT_FILES,
};

/** What a full channel does: refuse the next message, or drop the oldest. */
enum class Full : std::uint32_t { reject = PS_FULL_REJECT, drop_oldest = PS_FULL_DROP_OLDEST };

/** A place in the history of a managed topic: behind the message that has this epoch and offset. Offset 0: before the first. */
struct Resume {
    std::uint64_t epoch, offset;
};

struct ChannelOptions {
    Full full = Full::reject;
    Transport transport = Transport::standard;
    std::uint64_t capacity_bytes = 0;    // 0: 64 MiB
    std::uint64_t capacity_messages = 0; // 0: 16384
    std::string home{};                  // the store's directory; empty: pubsub::home()
    /** Begin with the last so many messages of each managed topic that matches, then everything newer: no gap, none twice. */
    std::uint32_t replay_last = 0;
    /** Begin behind this message of a managed topic, without wildcards (Resume{message.epoch(), message.offset()}), instead of
     * replay_last. What the history does not have any more is told by dropped_before() or another epoch(). */
    std::optional<Resume> resume{};
};

/** A channel as its receiver or a monitor sees it; see ps_channel_stats. */
struct ChannelStats {
    std::string topic, path;
    Transport transport = Transport::standard;
    bool alive = false, foreign = false;
    std::int64_t pid = 0;
    std::uint64_t unread_messages = 0, unread_bytes = 0, capacity_messages = 0, capacity_bytes = 0;
    std::uint64_t received = 0, rejected = 0, dropped = 0, malformed = 0;

    ChannelStats() = default;
    explicit ChannelStats(const ps_channel_stats &raw)
        : topic(raw.topic), path(raw.path), transport(static_cast<Transport>(raw.transport)), alive(raw.alive),
          foreign(raw.foreign), pid(raw.pid), unread_messages(raw.unread_messages), unread_bytes(raw.unread_bytes),
          capacity_messages(raw.capacity_messages), capacity_bytes(raw.capacity_bytes), received(raw.received),
          rejected(raw.rejected), dropped(raw.dropped), malformed(raw.malformed) {}
};

/** What the callback of Channel::subscribe answers. */
enum class Flow { more, stop };

/** The receiving end: one subscription with a queue of its own. */
class Channel {
public:
    /** From now on it receives what is published to topics that match: `news.sports`, `news.=`, `news.+`. With `resume`
     * PS_ERR_NOT_FOUND when the topic is not managed, PS_ERR_INVALID_ARGUMENT for wildcards. */
    explicit Channel(std::string_view topic, const ChannelOptions &options = {}) {
        const detail::Home home(options.home);
        ps_channel_options raw = PS_CHANNEL_OPTIONS_INIT;
        raw.full_policy = static_cast<std::uint32_t>(options.full);
        raw.transport = static_cast<std::uint32_t>(options.transport);
        raw.capacity_bytes = options.capacity_bytes;
        raw.capacity_messages = options.capacity_messages;
        raw.home = home.get();
        raw.replay_last = options.replay_last;
        if (options.resume) {
            raw.resume = 1;
            raw.resume_epoch = options.resume->epoch;
            raw.resume_offset = options.resume->offset;
        }
        ps_channel *opened = nullptr;
        detail::checked(ps_channel_open(detail::topic(topic).c_str(), &raw, &opened));
        handle_.reset(opened);
    }

    /** What is unread is gone. Again: nothing. The destructor does it too, and keeps quiet about what fails. */
    void close() {
        const int answer = ps_channel_close(handle_.get());
        if (answer != PS_ERR_INVALID_ARGUMENT) // while it receives it stays open; else the handle is gone
            static_cast<void>(handle_.release());
        detail::checked(answer);
    }
    bool is_open() const noexcept { return handle_ != nullptr; }
    /** As it was opened with; empty when closed. */
    std::string_view topic() const noexcept { return text(ps_channel_topic(handle_.get())); }
    /** Its directory; empty when closed. */
    std::string_view path() const noexcept { return text(ps_channel_path(handle_.get())); }
    /** Readable as long as a message waits: then fetch until there is none. Never read, write or close it. */
    int fd() { return detail::checked(ps_channel_fd(open())); }
    /** Takes back what a runtime that can only wait by reading has read from fd(). */
    void feed(Bytes bytes) { detail::checked(ps_channel_feed(open(), bytes.data(), bytes.size())); }
    /** Ends the current wait, or else the next one, with PS_ERR_INTERRUPTED. Any thread, and from a signal handler. */
    void interrupt() noexcept { ps_channel_interrupt(handle_.get()); }
    ChannelStats stats() const {
        ps_channel_stats raw{};
        raw.size = sizeof raw;
        detail::checked(ps_channel_stats_get(open(), &raw));
        return ChannelStats(raw);
    }

    /** The next message, if there is one. Never waits. */
    std::optional<Message> fetch() {
        ps_message *message = nullptr;
        detail::checked(ps_fetch(open(), &message));
        return taken(message);
    }
    /** The next message; nothing when the time is up. PS_ERR_INTERRUPTED after interrupt() or a handled signal. */
    std::optional<Message> fetch(Timeout timeout) {
        ps_message *message = nullptr;
        detail::checked(ps_fetch_wait(open(), timeout.milliseconds(), &message));
        return taken(message);
    }
    /** Waits for the first, then takes what is there, `max` at most; empty when the time is up. */
    std::vector<Message> fetch_batch(std::size_t max, Timeout timeout = forever) {
        std::vector<ps_message *> raw(max);
        std::vector<Message> messages;
        messages.reserve(max); // now: what is fetched must not get lost for want of memory
        const int count = detail::checked(ps_fetch_batch(open(), raw.data(), max, timeout.milliseconds()));
        for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
            messages.emplace_back(raw[i]);
        return messages;
    }
    /** Fills the buffer: waits for the first, then takes what is there and fits. How many; 0 when the time is up. */
    std::size_t fetch_packed(Packed &packed, Timeout timeout = forever) {
        packed.count_ = 0;
        for (;;) {
            std::size_t used = 0;
            const std::size_t size = packed.words_.size() * sizeof(std::uint64_t);
            const int answer = ps_fetch_packed(open(), packed.words_.data(), size, timeout.milliseconds(), &used);
            if (answer != PS_ERR_TOO_LARGE || used <= size)
                return packed.count_ = static_cast<std::size_t>(detail::checked(answer));
            packed.words_.resize((used + 7) / 8);
        }
    }

    /** Messages one by one. As long as it is at a message, that one is in the iterator: move it out to keep it. */
    class Iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = Message;
        using difference_type = std::ptrdiff_t;
        using pointer = Message *;
        using reference = Message &;
        Iterator() noexcept = default;
        Iterator(Channel &channel, Timeout timeout) : channel_(&channel), timeout_(timeout) { ++*this; }
        Message &operator*() noexcept { return *message_; }
        Message *operator->() noexcept { return &*message_; }
        Iterator &operator++() {
            message_ = channel_->fetch(timeout_);
            return *this;
        }
        void operator++(int) { ++*this; }
        bool operator==(const Iterator &other) const noexcept { return !message_ && !other.message_; }
        bool operator!=(const Iterator &other) const noexcept { return !(*this == other); }

    private:
        Channel *channel_ = nullptr;
        Timeout timeout_ = forever;
        std::optional<Message> message_;
    };
    class Messages {
    public:
        Messages(Channel &channel, Timeout timeout) noexcept : channel_(channel), timeout_(timeout) {}
        Iterator begin() const { return {channel_, timeout_}; }
        Iterator end() const noexcept { return {}; }

    private:
        Channel &channel_;
        Timeout timeout_;
    };
    /** `for (auto &message : channel.messages(1s))`: until none came for that long. The channel must stay where it is.
     * Nothing is fetched ahead: leaving the loop loses nothing. Interrupts throw, as everywhere. */
    Messages messages(Timeout timeout = forever) noexcept { return {*this, timeout}; }
    /** `for (auto &message : channel)`: without end. */
    Iterator begin() { return messages().begin(); }
    Iterator end() noexcept { return {}; }

    /** Calls back with each message (a MessageView) until it answers Flow::stop, or the time is up in all; a callback
     * that answers nothing never stops. It may publish and open channels, not fetch from or close this one. What it
     * throws ends the subscription and is thrown here. Answers how many messages were handled. */
    template <class Callback> std::int64_t subscribe(Callback &&callback, Timeout timeout = forever) {
        using Answer = std::invoke_result_t<Callback &, MessageView>;
        static_assert(std::is_void_v<Answer> || std::is_same_v<Answer, Flow>,
                      "a callback of subscribe answers nothing, or a pubsub::Flow");
        struct Call {
            std::remove_reference_t<Callback> *callback;
            std::exception_ptr thrown;
        } call{std::addressof(callback), nullptr};
        // No exception may pass through the library, which is not C++: it is carried past.
        const ps_callback pass_on = [](const ps_message *message, void *context) noexcept -> int {
            Call &to = *static_cast<Call *>(context);
            try {
                if constexpr (std::is_void_v<Answer>) {
                    (*to.callback)(MessageView(message));
                    return 0;
                } else {
                    return (*to.callback)(MessageView(message)) == Flow::stop ? 1 : 0;
                }
            } catch (...) {
                to.thrown = std::current_exception();
                return 1;
            }
        };
        const std::int64_t answer = ps_subscribe(open(), pass_on, &call, timeout.milliseconds());
        if (call.thrown)
            std::rethrow_exception(call.thrown);
        return detail::checked(answer);
    }

    /** For the functions of pubsub.h; still owned here. nullptr when closed. */
    ps_channel *get() const noexcept { return handle_.get(); }

private:
    static std::string_view text(const char *text) noexcept { return text == nullptr ? "" : text; }
    static std::optional<Message> taken(ps_message *message) noexcept {
        return message == nullptr ? std::nullopt : std::optional<Message>(std::in_place, message);
    }
    ps_channel *open() const {
        if (!handle_)
            throw Error(PS_ERR_CLOSED, "the channel was closed or moved from");
        return handle_.get();
    }
    detail::Owned<ps_channel> handle_;
};

} // namespace pubsub

#endif // PUBSUB_CHANNEL_HPP
