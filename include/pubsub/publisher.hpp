/** Part of pubsub.hpp: the sending end. */
#ifndef PUBSUB_PUBLISHER_HPP
#define PUBSUB_PUBLISHER_HPP

#include "headers.hpp"
#include "message.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace pubsub {

/** One message of a batch. Its headers must outlive it. */
class Payload {
public:
    template <class Content, std::enable_if_t<std::is_convertible_v<const Content &, Bytes>, int> = 0>
    Payload(const Content &content) noexcept : content_(content) {}
    Payload(Bytes content, const Headers &headers) noexcept : content_(content), headers_(headers.get()) {}
    ps_payload raw() const noexcept { return {content_.data(), content_.size(), headers_}; }

private:
    Bytes content_;
    const ps_headers *headers_ = nullptr;
};

struct PublisherOptions {
    Timeout full_timeout = std::chrono::milliseconds(0); // how long a publish waits for room; 49 days at most
    std::string home{};                                  // the store's directory; empty: pubsub::home()
};

/** The sending end of one topic; faster than pubsub::publish for many messages. Any thread, several at once. */
class Publisher {
public:
    explicit Publisher(std::string_view topic, const PublisherOptions &options = {}) {
        constexpr std::uint32_t longest = std::numeric_limits<std::uint32_t>::max();
        const detail::Home home(options.home);
        const std::int64_t wait = options.full_timeout.milliseconds();
        ps_publisher_options raw = PS_PUBLISHER_OPTIONS_INIT;
        raw.full_timeout_ms = wait == PS_FOREVER || wait > longest ? longest : static_cast<std::uint32_t>(wait);
        raw.home = home.get();
        ps_publisher *opened = nullptr;
        detail::checked(ps_publisher_open(detail::topic(topic).c_str(), &raw, &opened));
        handle_.reset(opened);
    }
    /** Again: nothing. The destructor does it too. */
    void close() noexcept { handle_.reset(); }
    bool is_open() const noexcept { return handle_ != nullptr; }

    /** Publishes one message. Answers how many channels took it; last_rejected() says how many did not. */
    int publish(Bytes content, const Headers &headers = {}) {
        return detail::checked(ps_publisher_publish(open(), content.data(), content.size(), headers.get()));
    }
    /** Publishes a request and waits for its reply, as pubsub::request does; waiting for room (full_timeout) comes on top. */
    std::optional<Message> request(Bytes content, Timeout timeout, const Headers &headers = {}) {
        ps_message *reply = nullptr;
        const int answer = detail::checked(ps_publisher_request(open(), content.data(), content.size(), headers.get(),
                                                                timeout.milliseconds(), &reply));
        return answer == 0 ? std::nullopt : std::optional<Message>(std::in_place, reply);
    }
    /** Many at once, in order: a container of payloads, or of texts or anything else that is Bytes. Answers how many
     * were handled: it stops before the first that would fail, and throws only when that is the first. */
    template <class Container> std::size_t publish_batch(const Container &messages) {
        std::vector<ps_payload> payloads;
        payloads.reserve(std::size(messages));
        for (const auto &message : messages)
            payloads.push_back(Payload(message).raw());
        return static_cast<std::size_t>(
            detail::checked(ps_publisher_publish_batch(open(), payloads.data(), payloads.size())));
    }
    std::size_t publish_batch(std::initializer_list<Payload> messages) {
        return publish_batch<std::initializer_list<Payload>>(messages);
    }
    /** Many that lie end to end in `contents`, with their lengths, all with the same headers. As publish_batch. */
    std::size_t publish_packed(Bytes contents, const std::uint32_t *lengths, std::size_t count,
                               const Headers &headers = {}) {
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < count; ++i)
            sum += lengths[i];
        if (sum != contents.size())
            throw Error(PS_ERR_INVALID_ARGUMENT, "the lengths add up to " + std::to_string(sum) +
                                                     " bytes, the contents have " + std::to_string(contents.size()));
        return static_cast<std::size_t>(
            detail::checked(ps_publisher_publish_packed(open(), contents.data(), lengths, count, headers.get())));
    }
    std::size_t publish_packed(Bytes contents, const std::vector<std::uint32_t> &lengths, const Headers &headers = {}) {
        return publish_packed(contents, lengths.data(), lengths.size(), headers);
    }

    /** For the functions of pubsub.h; still owned here. nullptr when closed. */
    ps_publisher *get() const noexcept { return handle_.get(); }

private:
    ps_publisher *open() const {
        if (!handle_)
            throw Error(PS_ERR_CLOSED, "the publisher was closed or moved from");
        return handle_.get();
    }
    detail::Owned<ps_publisher> handle_;
};

/** Publishes one message to a topic of the default store. Answers how many channels took it; none listening is 0. */
inline int publish(std::string_view topic, Bytes content, const Headers &headers = {}) {
    return detail::checked(ps_publish(detail::topic(topic).c_str(), content.data(), content.size(), headers.get()));
}

/** Publishes a request to a topic of the default store and waits for its reply, which message.reply() sends, or a
 * formix-pubsub program; nothing when none comes in time. PS_ERR_NOT_FOUND at once when nobody listens;
 * PS_ERR_INTERRUPTED when a signal was handled in this thread. Each thread keeps a channel for its replies. */
inline std::optional<Message> request(std::string_view topic, Bytes content, Timeout timeout,
                                      const Headers &headers = {}) {
    ps_message *reply = nullptr;
    const int answer = detail::checked(ps_request(detail::topic(topic).c_str(), content.data(), content.size(),
                                                  headers.get(), timeout.milliseconds(), &reply));
    return answer == 0 ? std::nullopt : std::optional<Message>(std::in_place, reply);
}

} // namespace pubsub

#endif // PUBSUB_PUBLISHER_HPP
