/** libpubsub for C++17: pubsub.h with RAII, exceptions and the standard library's types. Header only: this file and those in pubsub/.
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
#include "pubsub/channel.hpp"
#include "pubsub/headers.hpp"
#include "pubsub/message.hpp"
#include "pubsub/publisher.hpp"
#include "pubsub/topics.hpp"
#include "pubsub/values.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace pubsub {

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
