// What the C++ tests share.
#ifndef CHECK_HPP
#define CHECK_HPP
#include <pubsub.hpp>

#include <cstdio>
#include <cstdlib>
#include <iostream>

/// Ends the program with the place when it does not hold.
#define CHECK(...)                                                                                                     \
    do {                                                                                                               \
        if (!(__VA_ARGS__)) {                                                                                          \
            std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #__VA_ARGS__);                      \
            std::exit(1);                                                                                              \
        }                                                                                                              \
    } while (0)

/// It throws a pubsub::Error with this code, whose sentence holds this text.
#define FAILS(error, text, ...)                                                                                        \
    do {                                                                                                               \
        int code_ = 0;                                                                                                 \
        std::string what_ = "(nothing thrown)";                                                                        \
        try {                                                                                                          \
            static_cast<void>(__VA_ARGS__);                                                                            \
        } catch (const pubsub::Error &thrown_) {                                                                       \
            code_ = thrown_.code();                                                                                    \
            what_ = thrown_.what();                                                                                    \
        }                                                                                                              \
        if (code_ != (error) || what_.find(text) == std::string::npos) {                                               \
            std::fprintf(stderr, "%s:%d: %s\n  throws %d '%s', not %s with '%s'\n", __FILE__, __LINE__, #__VA_ARGS__,  \
                         code_, what_.c_str(), #error, std::string(text).c_str());                                                          \
            std::exit(1);                                                                                              \
        }                                                                                                              \
    } while (0)

/// The content of the next message; it must be there.
inline std::string next(pubsub::Channel &channel) {
    const auto message = channel.fetch();
    CHECK(message.has_value());
    return std::string(message->content());
}
#endif
