// Headers, their values, contents, timeouts, errors: what travels, and what the types promise when compiled.
#include "check.hpp"

#include <array>
#include <cmath>
#include <map>

using namespace pubsub;
using namespace std::chrono_literals;

// ---- promises that the compiler checks ----

template <class T>
constexpr bool is_handle = std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
                           std::is_nothrow_destructible_v<T> && !std::is_copy_constructible_v<T> &&
                           !std::is_copy_assignable_v<T>;
static_assert(is_handle<Channel> && is_handle<Publisher> && is_handle<Message> && is_handle<Headers>);
static_assert(std::is_nothrow_default_constructible_v<Headers>);
static_assert(!std::is_default_constructible_v<Channel> && !std::is_default_constructible_v<Publisher>);
static_assert(noexcept(std::declval<Channel &>().interrupt()));
static_assert(!noexcept(std::declval<Channel &>().fd()) && !noexcept(std::declval<Channel &>().fetch()));
static_assert(noexcept(std::declval<const Message &>().topic()) && noexcept(std::declval<Publisher &>().close()));
static_assert(std::is_nothrow_constructible_v<HeaderValue, int> && !noexcept(HeaderValue(1ull)));
static_assert(std::is_base_of_v<std::runtime_error, Error> && std::is_nothrow_copy_constructible_v<Error>);
// What would silently become something else is refused.
static_assert(!std::is_constructible_v<HeaderValue, char> && !std::is_constructible_v<HeaderValue, void *>);
static_assert(!std::is_convertible_v<std::vector<int>, Bytes> && !std::is_convertible_v<int, Bytes>);
static_assert(!std::is_convertible_v<int, Timeout>);

static void timeouts_round_up_and_have_an_end() {
    static_assert(forever.milliseconds() == PS_FOREVER);
    static_assert(Timeout(2s).milliseconds() == 2000 && Timeout(0s).milliseconds() == 0);
    static_assert(Timeout(1us).milliseconds() == 1 && Timeout(1001us).milliseconds() == 2);
    static_assert(Timeout(3'000'000ns).milliseconds() == 3);
    static_assert(Timeout(-1ms).milliseconds() == 0); // not "without end"
    static_assert(Timeout(std::chrono::hours::max()).milliseconds() == PS_FOREVER);
    CHECK(Timeout(std::chrono::duration<double>(0.25)).milliseconds() == 250);
    CHECK(Timeout(std::chrono::duration<double>(std::nan(""))).milliseconds() == 0);
}

static std::string text(Bytes bytes) { return std::string(static_cast<const char *>(bytes.data()), bytes.size()); }

static void contents_are_views_of_texts_and_bytes() {
    const std::array<std::byte, 2> bytes{std::byte{'a'}, std::byte{0}};
    const unsigned char array[] = {'x', 'y'};
    const char *none = nullptr;
    CHECK(text("literal") == "literal" && text(std::string("s\0t", 3)) == std::string("s\0t", 3));
    CHECK(text(std::string_view("view")) == "view" && text(std::vector<std::uint8_t>{'v'}) == "v");
    char buffer[16] = "written"; // as snprintf leaves it; not what lies behind its NUL
    char full[2] = {'n', 'o'};   // its end is an end, too
    CHECK(text(buffer) == "written" && text(full) == "no" && text(u8"\u00fc") == "\xc3\xbc");
    CHECK(text(bytes) == std::string("a\0", 2) && text(array) == "xy" && text({array, 1}) == "x");
    CHECK(Bytes().size() == 0 && Bytes(none).size() == 0);
}

static void headers_keep_types_and_order() {
    Headers headers{{"text", "celsius"}, {"small", 7}, {"half", 0.5}, {"yes", true}, {"none", nullptr}};
    headers.set("long", std::int64_t{-4} * 1000000000000000000).set("owned", std::string("a\0b", 3)).set("size", std::size_t{5});
    CHECK(headers.size() == 8 && !headers.empty());
    CHECK(headers["text"].string() == "celsius" && headers["text"].type() == HeaderType::string);
    CHECK(headers["small"].integer() == 7 && headers["small"].number() == 7.0);
    CHECK(headers["half"].number() == 0.5 && !headers["half"].integer());
    CHECK(headers["yes"].boolean() == true && !headers["yes"].integer() && !headers["yes"].string());
    CHECK(headers["none"].is_null() && headers.get("none").has_value());
    CHECK(headers["long"].integer() == std::int64_t{-4} * 1000000000000000000 && headers["size"].integer() == 5);
    CHECK(headers["owned"].string() == std::string_view("a\0b", 3));
    CHECK(!headers.get("missing") && headers["missing"].is_null());

    headers.set("text", 1.5f);
    std::string names;
    for (const auto [name, value] : headers)
        names += std::string(name) + (value.is_null() ? "! " : " ");
    CHECK(names == "text small half yes none! long owned size ");
    CHECK(headers["text"].number() == 1.5);

    const char *none = nullptr;
    CHECK(HeaderValue(none).is_null() && Headers().set("empty", std::string_view())["empty"].string() == "");
    FAILS(PS_ERR_INVALID_ARGUMENT, "beyond 64 bits", headers.set("big", ~0ull));
    FAILS(PS_ERR_INVALID_ARGUMENT, "'a...' holds a NUL", headers.set(std::string_view("a\0b", 3), 1));
    FAILS(PS_ERR_INVALID_ARGUMENT, "'a...' holds a NUL", headers.get(std::string_view("a\0b", 3)));
    FAILS(PS_ERR_INVALID_ARGUMENT, "UTF-8", headers.set("bytes", "\xff"));
    CHECK(headers.size() == 8);
}

static void headers_are_json() {
    const std::string_view longer = R"({"deep": {"a": [1]}, "huge": 123456789012345678901, "nan": NaN} and more)";
    Headers headers = Headers::parse(longer.substr(0, longer.size() - 9)); // by its length, not up to a NUL
    CHECK(headers.size() == 3 && headers["deep"].type() == HeaderType::other);
    CHECK(headers["huge"].json() == "123456789012345678901" && !headers["huge"].string());
    CHECK(std::isnan(headers["nan"].number().value()));
    CHECK(Headers::parse(headers.json())["huge"].json() == headers["huge"].json());
    FAILS(PS_ERR_INVALID_ARGUMENT, "Headers::parse", Headers().set("copy", headers["deep"]));
    FAILS(PS_ERR_INVALID_HEADERS, "", Headers::parse("[1]"));
    FAILS(PS_ERR_INVALID_HEADERS, "", Headers::parse(""));
    FAILS(PS_ERR_INVALID_HEADERS, "", Headers::parse(std::string_view()));
}

static void headers_moved_from_are_empty() {
    Headers first{{"a", 1}};
    Headers second(std::move(first));
    CHECK(first.empty() && first.json() == "{}" && !first.get("a") && first.begin() == first.end()); // NOLINT
    CHECK(first.set("b", 2).size() == 1 && second["a"].integer() == 1);
    second = std::move(first);
    CHECK(second.size() == 1 && second["b"].integer() == 2);
    CHECK(Headers().empty() && Headers().get() == nullptr && Headers().get("a") == std::nullopt);
    FAILS(PS_ERR_INVALID_ARGUMENT, "position", *second.end());
}

static void errors_have_a_code_a_name_and_a_sentence() {
    try {
        publish("no topic", "");
        CHECK(false);
    } catch (const std::exception &error) { // as everybody catches it
        CHECK(std::string(error.what()).find("no topic") != std::string::npos);
        const auto &own = dynamic_cast<const Error &>(error);
        CHECK(own.code() == PS_ERR_INVALID_TOPIC && std::string_view(own.name()) == "PS_ERR_INVALID_TOPIC");
    }
}

int main() {
    timeouts_round_up_and_have_an_end();
    contents_are_views_of_texts_and_bytes();
    headers_keep_types_and_order();
    headers_are_json();
    headers_moved_from_are_empty();
    errors_have_a_code_a_name_and_a_sentence();
    CHECK(!version().empty() && home() == std::getenv("PUBSUB_HOME"));
}
