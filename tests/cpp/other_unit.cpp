// A second unit with the header: linked with the first, nothing is defined twice.
#include <pubsub.hpp>
#include <pubsub.hpp>

std::size_t other_unit();
std::size_t other_unit() { return pubsub::list().size() + pubsub::Headers().size(); }
