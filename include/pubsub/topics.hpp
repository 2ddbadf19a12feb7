/** Part of pubsub.hpp: managed topics, which keep a history. */
#ifndef PUBSUB_TOPICS_HPP
#define PUBSUB_TOPICS_HPP

#include "message.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pubsub {

/** What a managed topic keeps. */
struct TopicOptions {
    std::uint32_t history_messages = 0;       // 0: 100
    std::uint64_t history_bytes = 0;          // 0: 64 MiB; a message larger than that is kept alone
    std::chrono::milliseconds history_ttl{0}; // what is older is never returned; 0: no limit of age
    std::string home{};                       // the store's directory; empty: pubsub::home()
};

/** A managed topic at one moment; see ps_topic_stats. */
struct TopicStats {
    std::string topic;
    std::uint64_t subscribers = 0, messages_published = 0, messages_in_history = 0, bytes_in_history = 0;
    std::uint64_t epoch = 0, next_offset = 0;
    Timestamp created{};

    TopicStats() = default;
    explicit TopicStats(const ps_topic_stats &raw)
        : topic(raw.topic), subscribers(raw.subscribers), messages_published(raw.messages_published),
          messages_in_history(raw.messages_in_history), bytes_in_history(raw.bytes_in_history), epoch(raw.epoch),
          next_offset(raw.next_offset), created(std::chrono::microseconds(raw.created_us)) {}
};

/** Makes a topic that keeps a history: of what is published to it from now on, by every libpubsub program. Channels begin with it
 * by ChannelOptions::replay_last or resume. PS_ERR_EXISTS when it is managed already. */
inline void create_topic(std::string_view topic, const TopicOptions &options = {}) {
    const detail::Home home(options.home);
    ps_topic_options raw = PS_TOPIC_OPTIONS_INIT;
    raw.history_messages = options.history_messages;
    raw.history_bytes = options.history_bytes;
    raw.history_ttl_ms = options.history_ttl.count();
    raw.home = home.get();
    detail::checked(ps_topic_create(detail::topic(topic).c_str(), &raw));
}

/** Deletes a managed topic and its history. Channels on exactly that topic (not those whose wildcards match) get a message of
 * Kind::topic_deleted. PS_ERR_NOT_FOUND when it is not managed. `home` empty: the default store. */
inline void delete_topic(std::string_view topic, std::string_view home = {}) {
    detail::checked(ps_topic_delete(detail::topic(topic).c_str(), detail::Home(home).get()));
}

/** The managed topics of a store, sorted by name. `home` empty: the default one. */
inline std::vector<TopicStats> topics(std::string_view home = {}) {
    ps_topic_stats **raw = nullptr;
    const auto count = static_cast<std::size_t>(detail::checked(ps_topic_list(detail::Home(home).get(), &raw)));
    const auto release = [count](ps_topic_stats **owned) noexcept { ps_topic_list_free(owned, count); };
    const std::unique_ptr<ps_topic_stats *, decltype(release)> guard(raw, release);
    std::vector<TopicStats> found;
    found.reserve(count);
    for (std::size_t i = 0; i < count; ++i)
        found.emplace_back(*raw[i]);
    return found;
}

/** The last messages of a managed topic, oldest first; as given, all of them. Nobody's queue is touched. PS_ERR_NOT_FOUND when it
 * is not managed. `home` empty: the default store. */
inline std::vector<Message> topic_history(std::string_view topic,
                                          std::uint32_t last = std::numeric_limits<std::uint32_t>::max(),
                                          std::string_view home = {}) {
    ps_message **raw = nullptr;
    const auto count = static_cast<std::size_t>(
        detail::checked(ps_topic_history(detail::topic(topic).c_str(), detail::Home(home).get(), last, &raw)));
    const auto release = [count](ps_message **owned) noexcept { ps_message_list_free(owned, count); };
    const std::unique_ptr<ps_message *, decltype(release)> guard(raw, release);
    std::vector<Message> messages;
    messages.reserve(count);
    for (std::size_t i = 0; i < count; ++i)
        messages.emplace_back(std::exchange(raw[i], nullptr));
    return messages;
}

} // namespace pubsub

#endif // PUBSUB_TOPICS_HPP
