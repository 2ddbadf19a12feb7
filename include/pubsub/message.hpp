/** Part of pubsub.hpp: messages as they are received. */
#ifndef PUBSUB_MESSAGE_HPP
#define PUBSUB_MESSAGE_HPP

#include "headers.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

namespace pubsub {

using Timestamp = std::chrono::time_point<std::chrono::system_clock, std::chrono::microseconds>;

/** Ignore a message of a kind that is not listed. topic_deleted: the managed topic topic(), with the history epoch(), was deleted. */
enum class Kind : std::uint32_t { data = PS_MESSAGE_DATA, topic_deleted = PS_MESSAGE_TOPIC_DELETED };

/** A received message that somebody else owns: what the callback of Channel::subscribe is lent. */
class MessageView {
public:
    explicit MessageView(const ps_message *message) noexcept : message_(message) {}
    std::uint64_t id() const noexcept { return raw().id; }
    Timestamp timestamp() const noexcept { return Timestamp(std::chrono::microseconds(raw().timestamp_us)); }
    std::string_view topic() const noexcept { return {raw().topic, raw().topic_len}; }
    std::string_view content() const noexcept { return {reinterpret_cast<const char *>(data()), size()}; }
    /** 8-byte aligned; never nullptr. */
    const std::uint8_t *data() const noexcept { return raw().data; }
    std::size_t size() const noexcept { return raw().data_len; }
    /** As received, byte for byte; "{}" when there are none. */
    std::string_view headers_json() const noexcept { return {raw().headers_json, raw().headers_json_len}; }
    /** Parsed anew with each call; empty when what was received is no JSON object. They outlive the message. */
    Headers headers() const {
        ps_headers *parsed = nullptr;
        detail::checked(ps_message_headers(&raw(), &parsed));
        return Headers(parsed);
    }
    Kind kind() const noexcept { return static_cast<Kind>(raw().kind); }
    /** Messages that the channel lost just before this one, since it drops the oldest when it is full, or that a history did not
     * have any more. */
    std::uint64_t dropped_before() const noexcept { return raw().dropped_before; }
    /** Of a managed topic: which history it is in, and its place there, from 1 on; else both are 0. */
    std::uint64_t epoch() const noexcept { return raw().epoch; }
    std::uint64_t offset() const noexcept { return raw().offset; }
    /** Answers a request: publishes to its response-topic, in the store that it came from, with its correlation-id in place of
     * any in `headers`. Answers how many channels took it, 0 when whoever asked waits no more; PS_ERR_INVALID_ARGUMENT
     * when the message asks for no reply. */
    int reply(Bytes content, const Headers &headers = {}) const {
        return detail::checked(ps_reply(message_, content.data(), content.size(), headers.get()));
    }
    /** For the functions of pubsub.h; nullptr when moved from. */
    const ps_message *get() const noexcept { return message_; }

protected:
    const ps_message *message_;

private:
    const ps_message &raw() const noexcept {
        alignas(8) static constexpr std::uint8_t no_data[8] = {};
        static constexpr ps_message nothing{0, 0, "", 0, no_data, 0, "{}", 2, PS_MESSAGE_DATA, 0, 0, 0, 0};
        return message_ == nullptr ? nothing : *message_;
    }
};

/** A received message. It stays valid after later fetches and after its channel is closed. */
class Message : public MessageView {
public:
    /** Takes over what pubsub.h answered. */
    explicit Message(ps_message *owned) noexcept : MessageView(owned) {}
    Message(Message &&other) noexcept : MessageView(std::exchange(other.message_, nullptr)) {}
    Message &operator=(Message &&other) noexcept {
        Message taken(std::move(other));
        std::swap(message_, taken.message_);
        return *this;
    }
    Message(const Message &) = delete;
    Message &operator=(const Message &) = delete;
    // The library made it as something that can be changed, or freed.
    ~Message() { ps_message_free(const_cast<ps_message *>(message_)); }
};

/** A message in Packed. */
class PackedMessage {
public:
    explicit PackedMessage(const unsigned char *record) noexcept : texts_(record + sizeof(ps_packed_record)) {
        std::memcpy(&record_, record, sizeof record_);
    }
    std::uint64_t id() const noexcept { return record_.id; }
    Timestamp timestamp() const noexcept { return Timestamp(std::chrono::microseconds(record_.timestamp_us)); }
    std::string_view topic() const noexcept { return {text(0), record_.topic_len}; }
    std::string_view headers_json() const noexcept { return {text(record_.topic_len), record_.headers_json_len}; }
    /** As Message::headers. */
    Headers headers() const {
        ps_headers *parsed = nullptr;
        const std::string_view json = headers_json();
        return Headers(ps_headers_parse(json.data(), json.size(), &parsed) < 0 ? nullptr : parsed);
    }
    std::string_view content() const noexcept { return {reinterpret_cast<const char *>(data()), size()}; }
    /** 8-byte aligned. */
    const std::uint8_t *data() const noexcept {
        const std::size_t texts = std::size_t{record_.topic_len} + record_.headers_json_len;
        return texts_ + (texts + 7) / 8 * 8;
    }
    std::size_t size() const noexcept { return static_cast<std::size_t>(record_.data_len); }
    Kind kind() const noexcept { return static_cast<Kind>(record_.kind); }
    std::uint64_t dropped_before() const noexcept { return record_.dropped_before; }
    std::uint64_t epoch() const noexcept { return record_.epoch; }
    std::uint64_t offset() const noexcept { return record_.offset; }
    /** Of the whole record: the next begins so many bytes behind it. */
    std::size_t record_size() const noexcept { return static_cast<std::size_t>(record_.size); }

private:
    const char *text(std::size_t offset) const noexcept { return reinterpret_cast<const char *>(texts_) + offset; }
    ps_packed_record record_;
    const unsigned char *texts_;
};

/** A buffer that Channel::fetch_packed fills: many messages without an allocation for each. To be used again. */
class Packed {
public:
    /** It grows when a single message is larger. */
    explicit Packed(std::size_t bytes = 256 * 1024)
        : words_((bytes < sizeof(ps_packed_record) ? sizeof(ps_packed_record) : bytes + 7) / 8) {}
    std::size_t size() const noexcept { return count_; }
    bool empty() const noexcept { return count_ == 0; }

    class Iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = PackedMessage;
        using difference_type = std::ptrdiff_t;
        using pointer = const PackedMessage *;
        using reference = PackedMessage;
        Iterator(const unsigned char *at, std::size_t left) noexcept : at_(at), left_(left) {}
        PackedMessage operator*() const noexcept { return PackedMessage(at_); }
        Iterator &operator++() noexcept {
            at_ += PackedMessage(at_).record_size();
            --left_;
            return *this;
        }
        Iterator operator++(int) noexcept {
            const Iterator before = *this;
            ++*this;
            return before;
        }
        bool operator==(const Iterator &other) const noexcept { return left_ == other.left_; }
        bool operator!=(const Iterator &other) const noexcept { return left_ != other.left_; }

    private:
        const unsigned char *at_;
        std::size_t left_;
    };
    /** Valid until the next fetch into it. */
    Iterator begin() const noexcept { return {reinterpret_cast<const unsigned char *>(words_.data()), count_}; }
    Iterator end() const noexcept { return {nullptr, 0}; }

private:
    friend class Channel;
    std::vector<std::uint64_t> words_; // 8-byte aligned
    std::size_t count_ = 0;
};

} // namespace pubsub

#endif // PUBSUB_MESSAGE_HPP
