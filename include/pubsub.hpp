/** libpubsub for C++17: pubsub.h with RAII, exceptions and the standard library's types. Header only.
 *
 * - What can fail throws `pubsub::Error`, whose code() is one of PS_ERR_*. What is noexcept says so.
 * - Channel, Publisher, Message and Headers own what they stand for; they are moved, not copied. A channel or publisher
 *   that was closed or moved from answers PS_ERR_CLOSED; a message that was moved from is empty, headers are too.
 * - Texts out are views: valid as long as the object they come from is neither changed nor destroyed. Texts in may be
 *   views without a NUL behind them; a topic, name or path with a NUL in it is refused.
 * - Timeouts are durations of std::chrono; parts of a millisecond count as one, negative ones as zero.
 * - Threads: as pubsub.h says. A channel's receiving functions (fetch..., messages, subscribe, fd, feed, close) are for
 *   one thread at a time; interrupt and stats for any; a publisher for many.
 */
#ifndef PUBSUB_HPP
#define PUBSUB_HPP

#include "pubsub.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace pubsub {

/** What failed: code() is one of PS_ERR_*, what() the sentence that names the topic, path or value at fault. */
class Error : public std::runtime_error {
public:
    Error(int code, const std::string &what) : std::runtime_error(what), code_(code) {}
    int code() const noexcept { return code_; }
    /** Of the code: "PS_ERR_QUEUE_FULL". */
    const char *name() const noexcept { return ps_error_name(code_); }

private:
    int code_;
};

namespace detail {

template <class Answer> Answer checked(Answer answer) {
    if (answer < 0)
        throw Error(static_cast<int>(answer), ps_last_error());
    return answer;
}

/** A copy that ends in NUL. One with a NUL inside would silently mean another: it is refused. */
inline std::string terminated(std::string_view text, const char *noun, int code = PS_ERR_INVALID_ARGUMENT) {
    if (text.find('\0') != std::string_view::npos)
        throw Error(code, std::string(noun) + " '" + std::string(text.substr(0, text.find('\0'))) +
                              "...' holds a NUL; leave it out");
    return std::string(text);
}

inline std::string topic(std::string_view text) { return terminated(text, "the topic", PS_ERR_INVALID_TOPIC); }

/** A store's directory; empty is NULL: the default one. */
class Home {
public:
    explicit Home(std::string_view path) : path_(terminated(path, "the store's path")) {}
    const char *get() const noexcept { return path_.empty() ? nullptr : path_.c_str(); }

private:
    std::string path_;
};

struct Release {
    void operator()(ps_channel *channel) const noexcept { ps_channel_close(channel); }
    void operator()(ps_publisher *publisher) const noexcept { ps_publisher_close(publisher); }
    void operator()(ps_headers *headers) const noexcept { ps_headers_free(headers); }
};
template <class Handle> using Owned = std::unique_ptr<Handle, Release>;

template <class T, class... Those> constexpr bool is_one_of = (std::is_same_v<T, Those> || ...);
template <class T> using Bare = std::remove_cv_t<std::remove_reference_t<T>>;
template <class T> constexpr bool is_byte = is_one_of<T, char, signed char, unsigned char, std::byte>;
/** Numbers, as opposed to truths and letters. */
template <class T>
constexpr bool is_integer = std::is_integral_v<T> && !is_one_of<T, bool, char, wchar_t, char16_t, char32_t>;
template <class T> constexpr bool fits_int64 = sizeof(T) < 8 || (sizeof(T) == 8 && std::is_signed_v<T>);

} // namespace detail

/** How long to wait: any duration of std::chrono, or `pubsub::forever`. */
class Timeout {
public:
    template <class Rep, class Period>
    constexpr Timeout(std::chrono::duration<Rep, Period> duration) noexcept : milliseconds_(rounded_up(duration)) {}
    static constexpr Timeout without_end() noexcept { return Timeout(); }
    /** As pubsub.h counts: PS_FOREVER, 0 or more. */
    constexpr std::int64_t milliseconds() const noexcept { return milliseconds_; }

private:
    constexpr Timeout() noexcept : milliseconds_(PS_FOREVER) {}
    constexpr static std::int64_t rounded_up(std::chrono::duration<double, std::milli> duration) noexcept {
        const double exact = duration.count();
        if (!(exact > 0)) // NaN too
            return 0;
        if (exact >= 1e15) // 30000 years; hours::max() and the like
            return PS_FOREVER;
        const auto whole = static_cast<std::int64_t>(exact);
        return static_cast<double>(whole) < exact ? whole + 1 : whole;
    }
    std::int64_t milliseconds_;
};

inline constexpr Timeout forever = Timeout::without_end();

/** The content of a message to be published: a view of text, or of a container or array of bytes. */
class Bytes {
public:
    constexpr Bytes() noexcept = default;
    constexpr Bytes(const void *data, std::size_t size) noexcept : data_(data), size_(size) {}
    /** Up to its NUL, arrays of char too; nullptr is empty. */
    Bytes(const char *text) noexcept : data_(text), size_(text == nullptr ? 0 : std::strlen(text)) {}
    template <class Container,
              std::enable_if_t<
                  detail::is_byte<detail::Bare<decltype(*std::data(std::declval<const Container &>()))>>, int> = 0>
    constexpr Bytes(const Container &container) noexcept : data_(std::data(container)), size_(std::size(container)) {}
    constexpr const void *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }

private:
    const void *data_ = nullptr;
    std::size_t size_ = 0;
};

enum class HeaderType : std::int32_t {
    null = PS_HEADER_NULL,
    boolean = PS_HEADER_BOOL,
    integer = PS_HEADER_INT,
    number = PS_HEADER_DOUBLE,
    string = PS_HEADER_STRING,
    other = PS_HEADER_OTHER, // JSON that is none of these: nested, or an integer beyond 64 bits
};

/** A header's value: a view, as std::string_view is one. Reading it as something that it is not gives nothing. */
class HeaderValue {
public:
    HeaderValue(std::nullptr_t = nullptr) noexcept {}
    /** nullptr is null. */
    HeaderValue(const char *text) noexcept {
        if (text != nullptr)
            *this = HeaderValue(std::string_view(text));
    }
    HeaderValue(std::string_view text) noexcept {
        raw_.type = PS_HEADER_STRING;
        raw_.string = text.data();
        raw_.string_len = text.size();
    }
    HeaderValue(const std::string &text) noexcept : HeaderValue(std::string_view(text)) {}
    template <class T, std::enable_if_t<std::is_same_v<T, bool>, int> = 0> HeaderValue(T value) noexcept {
        raw_.type = PS_HEADER_BOOL;
        raw_.boolean = value;
    }
    /** Throws PS_ERR_INVALID_ARGUMENT for what is beyond 64 bits with a sign. */
    template <class T, std::enable_if_t<detail::is_integer<T>, int> = 0>
    HeaderValue(T value) noexcept(detail::fits_int64<T>) {
        if constexpr (!detail::fits_int64<T>) {
            if (value > static_cast<T>(std::numeric_limits<std::int64_t>::max()))
                throw Error(PS_ERR_INVALID_ARGUMENT, "a header's integer is beyond 64 bits with a sign");
        }
        raw_.type = PS_HEADER_INT;
        raw_.integer = static_cast<std::int64_t>(value);
        raw_.number = static_cast<double>(value);
    }
    template <class T, std::enable_if_t<std::is_floating_point_v<T>, int> = 0> HeaderValue(T value) noexcept {
        raw_.type = PS_HEADER_DOUBLE;
        raw_.number = static_cast<double>(value);
    }
    explicit HeaderValue(const ps_header_value &raw) noexcept : raw_(raw) {}

    HeaderType type() const noexcept { return static_cast<HeaderType>(raw_.type); }
    bool is_null() const noexcept { return raw_.type == PS_HEADER_NULL; }
    std::optional<bool> boolean() const noexcept { return when(raw_.type == PS_HEADER_BOOL, raw_.boolean); }
    std::optional<std::int64_t> integer() const noexcept { return when(raw_.type == PS_HEADER_INT, raw_.integer); }
    /** Integers too, rounded if need be. */
    std::optional<double> number() const noexcept {
        return when(raw_.type == PS_HEADER_DOUBLE || raw_.type == PS_HEADER_INT, raw_.number);
    }
    std::optional<std::string_view> string() const noexcept { return when(raw_.type == PS_HEADER_STRING, text()); }
    /** The JSON of HeaderType::other. */
    std::optional<std::string_view> json() const noexcept { return when(raw_.type == PS_HEADER_OTHER, text()); }

private:
    template <class T> static std::optional<T> when(bool so, T value) noexcept {
        return so ? std::optional<T>(value) : std::nullopt;
    }
    std::string_view text() const noexcept { return {raw_.string, raw_.string_len}; }
    ps_header_value raw_{PS_HEADER_NULL, false, 0, 0, nullptr, 0};
};

struct Header {
    std::string_view name;
    HeaderValue value;
};

/** Names and values that travel with a message, in the order in which they were set. */
class Headers {
public:
    Headers() noexcept = default;
    Headers(std::initializer_list<std::pair<std::string_view, HeaderValue>> headers) {
        for (const auto &[name, value] : headers)
            set(name, value);
    }
    /** From a JSON object; anything else is PS_ERR_INVALID_HEADERS. */
    static Headers parse(std::string_view json) {
        ps_headers *parsed = nullptr;
        detail::checked(ps_headers_parse(json.empty() ? "" : json.data(), json.size(), &parsed));
        return Headers(parsed);
    }
    /** Takes over what pubsub.h made. */
    explicit Headers(ps_headers *owned) noexcept : handle_(owned) {}

    /** A name that is there keeps its place. HeaderType::other cannot be set, only parsed. */
    Headers &set(std::string_view name, const HeaderValue &value) {
        const std::string key = detail::terminated(name, "the header's name");
        ps_headers *headers = made();
        switch (value.type()) {
        case HeaderType::null: detail::checked(ps_headers_set_null(headers, key.c_str())); break;
        case HeaderType::boolean: detail::checked(ps_headers_set_bool(headers, key.c_str(), *value.boolean())); break;
        case HeaderType::integer: detail::checked(ps_headers_set_int(headers, key.c_str(), *value.integer())); break;
        case HeaderType::number: detail::checked(ps_headers_set_double(headers, key.c_str(), *value.number())); break;
        case HeaderType::string: {
            const std::string_view text = *value.string();
            detail::checked(ps_headers_set_string(headers, key.c_str(), text.data(), text.size()));
            break;
        }
        case HeaderType::other:
        default:
            throw Error(PS_ERR_INVALID_ARGUMENT, "the header '" + key + "' cannot be set to JSON; use Headers::parse");
        }
        return *this;
    }
    std::optional<HeaderValue> get(std::string_view name) const {
        const std::string key = detail::terminated(name, "the header's name");
        ps_header_value value;
        if (!handle_ || detail::checked(ps_headers_get(handle_.get(), key.c_str(), &value)) == 0)
            return std::nullopt;
        return HeaderValue(value);
    }
    /** Null also where there is none: `headers["sensor"].integer().value_or(0)`. */
    HeaderValue operator[](std::string_view name) const { return get(name).value_or(HeaderValue()); }
    std::size_t size() const noexcept { return ps_headers_count(handle_.get()); }
    bool empty() const noexcept { return size() == 0; }
    /** All of them as they travel. */
    std::string_view json() const noexcept { return ps_headers_json(handle_.get()); }
    /** For the functions of pubsub.h; still owned here. nullptr when nothing was ever set. */
    const ps_headers *get() const noexcept { return handle_.get(); }

    /** `for (auto [name, value] : headers)`. */
    class Iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = Header;
        using difference_type = std::ptrdiff_t;
        using pointer = const Header *;
        using reference = Header;
        Iterator(const ps_headers *headers, std::size_t index) noexcept : headers_(headers), index_(index) {}
        Header operator*() const {
            const char *name = nullptr;
            std::size_t length = 0;
            ps_header_value value;
            if (detail::checked(ps_headers_at(headers_, index_, &name, &length, &value)) == 0)
                throw Error(PS_ERR_INVALID_ARGUMENT, "there is no header at this position");
            return {{name, length}, HeaderValue(value)};
        }
        Iterator &operator++() noexcept {
            ++index_;
            return *this;
        }
        Iterator operator++(int) noexcept { return {headers_, index_++}; }
        bool operator==(const Iterator &other) const noexcept { return index_ == other.index_; }
        bool operator!=(const Iterator &other) const noexcept { return index_ != other.index_; }

    private:
        const ps_headers *headers_;
        std::size_t index_;
    };
    Iterator begin() const noexcept { return {handle_.get(), 0}; }
    Iterator end() const noexcept { return {handle_.get(), size()}; }

private:
    ps_headers *made() {
        if (!handle_)
            handle_.reset(ps_headers_new());
        if (!handle_)
            throw Error(PS_ERR_INTERNAL, ps_last_error());
        return handle_.get();
    }
    detail::Owned<ps_headers> handle_; // none until the first is set: publishing without headers costs nothing
};

using Timestamp = std::chrono::time_point<std::chrono::system_clock, std::chrono::microseconds>;

/** Ignore a message of a kind that is not listed. */
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
    /** Messages that the channel lost just before this one, since it drops the oldest when it is full. */
    std::uint64_t dropped_before() const noexcept { return raw().dropped_before; }
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

enum class Transport : std::uint32_t {
    standard = PS_TRANSPORT_DEFAULT, // what PUBSUB_TRANSPORT says, else the ring
    ring = PS_TRANSPORT_RING,
    files = PS_TRANSPORT_FILES,
};

/** What a full channel does: refuse the next message, or drop the oldest. */
enum class Full : std::uint32_t { reject = PS_FULL_REJECT, drop_oldest = PS_FULL_DROP_OLDEST };

struct ChannelOptions {
    Full full = Full::reject;
    Transport transport = Transport::standard;
    std::uint64_t capacity_bytes = 0;    // 0: 64 MiB
    std::uint64_t capacity_messages = 0; // 0: 16384
    std::string home{};                  // the store's directory; empty: pubsub::home()
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
    /** From now on it receives what is published to topics that match: `news.sports`, `news.=`, `news.+`. */
    explicit Channel(std::string_view topic, const ChannelOptions &options = {}) {
        const detail::Home home(options.home);
        ps_channel_options raw = PS_CHANNEL_OPTIONS_INIT;
        raw.full_policy = static_cast<std::uint32_t>(options.full);
        raw.transport = static_cast<std::uint32_t>(options.transport);
        raw.capacity_bytes = options.capacity_bytes;
        raw.capacity_messages = options.capacity_messages;
        raw.home = home.get();
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

/** How many matching channels refused this thread's last publish. */
inline std::uint32_t last_rejected() noexcept { return ps_last_rejected(); }

/** The version that is loaded, which may differ from the one compiled against. */
inline std::string_view version() noexcept { return ps_version(); }

/** The default store's directory. */
inline std::string_view home() noexcept { return ps_home(); }

struct StoreOptions {
    std::uint32_t mode = 0; // 0 (0770 with a group, else 0700), 0700, 0770 or 0777
    std::string group{};    // by name or number; empty: the caller's
};

/** Makes a store, for instance one that a group shares; others are made on first use. `home` empty: the default one. */
inline void create_store(std::string_view home = {}, const StoreOptions &options = {}) {
    const std::string group = detail::terminated(options.group, "the group");
    ps_store_options raw = PS_STORE_OPTIONS_INIT;
    raw.mode = options.mode;
    raw.group = group.empty() ? nullptr : group.c_str();
    detail::checked(ps_store_create(detail::Home(home).get(), &raw));
}

/** Removes what dead processes left in a store. Answers how many channels that were. `home` empty: the default one. */
inline std::size_t cleanup(std::string_view home = {}) {
    return static_cast<std::size_t>(detail::checked(ps_cleanup(detail::Home(home).get())));
}

/** The channels of a store, formix-pubsub's included, dead ones marked. `home` empty: the default one. */
inline std::vector<ChannelStats> list(std::string_view home = {}) {
    ps_channel_stats **raw = nullptr;
    const auto count = static_cast<std::size_t>(detail::checked(ps_channel_list(detail::Home(home).get(), &raw)));
    const auto release = [count](ps_channel_stats **owned) noexcept { ps_channel_list_free(owned, count); };
    const std::unique_ptr<ps_channel_stats *, decltype(release)> guard(raw, release);
    std::vector<ChannelStats> channels;
    channels.reserve(count);
    for (std::size_t i = 0; i < count; ++i)
        channels.emplace_back(*raw[i]);
    return channels;
}

} // namespace pubsub

#endif // PUBSUB_HPP
