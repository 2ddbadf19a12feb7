/** Part of pubsub.hpp: the names and values that travel with a message. */
#ifndef PUBSUB_HEADERS_HPP
#define PUBSUB_HEADERS_HPP

#include "values.hpp"

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

namespace pubsub {

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
#ifdef __cpp_char8_t
    HeaderValue(const char8_t *text) noexcept : HeaderValue(reinterpret_cast<const char *>(text)) {}
    HeaderValue(std::u8string_view text) noexcept
        : HeaderValue(std::string_view(reinterpret_cast<const char *>(text.data()), text.size())) {}
    HeaderValue(const std::u8string &text) noexcept : HeaderValue(std::u8string_view(text)) {}
#endif
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

} // namespace pubsub

#endif // PUBSUB_HEADERS_HPP
