/** Part of pubsub.hpp: errors, timeouts, contents. */
#ifndef PUBSUB_VALUES_HPP
#define PUBSUB_VALUES_HPP

#include "../pubsub.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

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
#ifdef __cpp_char8_t
template <class T> constexpr bool is_char8 = std::is_same_v<T, char8_t>; // what u8"..." is made of from C++20 on
#else
template <class> constexpr bool is_char8 = false;
#endif
/** char, and char8_t where there is one: in an array, text that ends at its NUL. */
template <class T> constexpr bool is_letter = std::is_same_v<T, char> || is_char8<T>;
template <class T> constexpr bool is_byte = is_one_of<T, char, signed char, unsigned char, std::byte> || is_char8<T>;
/** Numbers, as opposed to truths and letters. */
template <class T>
constexpr bool is_integer =
    std::is_integral_v<T> && !is_one_of<T, bool, char, wchar_t, char16_t, char32_t> && !is_char8<T>;
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
    /** Up to its NUL; nullptr is empty. */
    Bytes(const char *text) noexcept : data_(text), size_(text == nullptr ? 0 : std::strlen(text)) {}
#ifdef __cpp_char8_t
    Bytes(const char8_t *text) noexcept : Bytes(reinterpret_cast<const char *>(text)) {}
#endif
    /** A buffer of text: up to its NUL, or its end. */
    template <class Letter, std::size_t N, std::enable_if_t<detail::is_letter<Letter>, int> = 0>
    Bytes(Letter (&text)[N]) noexcept : data_(text) {
        const void *const nul = std::memchr(text, 0, N);
        size_ = nul == nullptr ? N : static_cast<std::size_t>(static_cast<const Letter *>(nul) - text);
    }
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

} // namespace pubsub

#endif // PUBSUB_VALUES_HPP
