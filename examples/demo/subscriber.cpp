// A subscriber of the demo, in C++: a thread for each channel, each in one range-for over its messages.
//
//   subscriber LEDGER PATTERN...
//
// Prints "READY" when its channels are open. Its standard input closes when all has been published: then the waits are
// interrupted, and each thread takes what is still there and ends. The ledger gets a line a message: pattern, topic, seq,
// checksum, when it was sent and when received (microseconds since the epoch).
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <fstream>
#include <iostream>
#include <limits>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <pubsub.hpp>

static constexpr std::size_t samples = 2; // messages shown of each channel

static std::mutex output; // one line at a time

static std::int64_t now_us() {
    const auto since = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::microseconds>(since).count();
}

// Adler-32 (RFC 1950), so that the ledgers show whether contents arrived unchanged.
static std::uint32_t checksum(std::string_view data) {
    std::uint32_t a = 1, b = 0;
    for (const char c : data) {
        a = (a + static_cast<unsigned char>(c)) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

static void say(const std::string &line) {
    const std::lock_guard<std::mutex> lock(output);
    std::cout << line << std::endl;
}

class Subscription {
public:
    explicit Subscription(const std::string &pattern) : channel_(pattern), pattern_(pattern) {}

    // Receives until interrupted, then takes what is still there.
    void run() {
        try {
            receive();
        } catch (...) {
            failure_ = std::current_exception();
        }
    }
    void interrupt() noexcept { channel_.interrupt(); }
    // After run: throws what went wrong in it.
    std::string ledger() const {
        if (failure_)
            std::rethrow_exception(failure_);
        return ledger_.str();
    }

private:
    void receive() {
        try {
            for (const pubsub::Message &message : channel_)
                add(message);
        } catch (const pubsub::Error &error) {
            if (error.code() != PS_ERR_INTERRUPTED)
                throw;
        }
        while (const auto message = channel_.fetch())
            add(*message);
        channel_.close();
        say(pattern_ + ": " + summary());
    }

    void add(const pubsub::Message &message) {
        const std::int64_t now = now_us();
        const pubsub::Headers headers = message.headers();
        const std::int64_t seq = headers["seq"].integer().value_or(-1), sent = headers["sent_us"].integer().value_or(-1);
        if (latencies_.size() < samples)
            say(std::string(message.topic()) + " " + std::string(message.content()));
        if (latencies_.empty())
            first_us_ = now;
        last_us_ = now;
        latencies_.push_back(now - sent);
        ledger_ << pattern_ << '\t' << message.topic() << '\t' << seq << '\t' << checksum(message.content()) << '\t'
                << sent << '\t' << now << '\n';
    }

    std::string summary() {
        if (latencies_.empty())
            return "nothing received";
        std::sort(latencies_.begin(), latencies_.end());
        const std::size_t count = latencies_.size();
        const double seconds = static_cast<double>(std::max<std::int64_t>(last_us_ - first_us_, 1)) / 1e6;
        std::ostringstream text;
        text << "received " << count << ", " << static_cast<std::int64_t>(static_cast<double>(count) / seconds)
             << "/s, latency p50 " << latencies_[count / 2] << " us, p99 " << latencies_[count * 99 / 100] << " us";
        return text.str();
    }

    pubsub::Channel channel_;
    std::string pattern_;
    std::ostringstream ledger_;
    std::vector<std::int64_t> latencies_;
    std::int64_t first_us_ = 0, last_us_ = 0;
    std::exception_ptr failure_;
};

int main(int argc, char **argv) {
    if (argc < 3) {
        std::cerr << "usage: subscriber LEDGER PATTERN...\n";
        return 2;
    }
    try {
        std::deque<Subscription> subscriptions; // threads use them: they must stay where they are
        for (int i = 2; i < argc; ++i)
            subscriptions.emplace_back(argv[i]);
        say("READY");
        std::vector<std::thread> threads;
        for (Subscription &subscription : subscriptions)
            threads.emplace_back(&Subscription::run, &subscription);
        // The parent closes it when everything has been published.
        std::cin.ignore(std::numeric_limits<std::streamsize>::max());
        for (Subscription &subscription : subscriptions)
            subscription.interrupt();
        for (std::thread &thread : threads)
            thread.join();

        std::ofstream ledger(argv[1]);
        for (const Subscription &subscription : subscriptions)
            ledger << subscription.ledger();
        ledger.close();
        if (!ledger) {
            std::cerr << argv[1] << ": cannot be written\n";
            return 1;
        }
    } catch (const std::exception &error) {
        std::cerr << "subscriber: " << error.what() << '\n';
        return 1;
    }
}
