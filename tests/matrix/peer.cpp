// The matrix's program in C++: see README.md.
#include <chrono>
#include <cstdio>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <pubsub.hpp>

static std::vector<pubsub::Channel> channels;

static std::vector<std::string> split(const std::string &text, char mark) {
    std::vector<std::string> fields(1);
    for (const char c : text) {
        if (c == mark)
            fields.emplace_back();
        else
            fields.back() += c;
    }
    return fields;
}

static std::string hex(std::string_view text) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string out;
    for (const char c : text) {
        out += digits[static_cast<unsigned char>(c) >> 4];
        out += digits[static_cast<unsigned char>(c) & 15];
    }
    return out;
}

static std::string unhex(const std::string &text) {
    std::string out;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2)
        out += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
    return out;
}

static pubsub::Headers read_headers(const std::string &list) {
    pubsub::Headers headers;
    if (list == "-")
        return headers;
    for (const std::string &item : split(list, ',')) {
        const std::vector<std::string> fields = split(item, ':');
        const std::string name = unhex(fields.at(0)), &value = fields.at(2);
        switch (fields[1].at(0)) {
        case 'n': headers.set(name, nullptr); break;
        case 'b': headers.set(name, value == "1"); break;
        case 'i': headers.set(name, std::stoll(value)); break;
        case 'd': {
            const std::uint64_t bits = std::stoull(value, nullptr, 16);
            double number = 0;
            std::memcpy(&number, &bits, sizeof number);
            headers.set(name, number);
            break;
        }
        case 's': headers.set(name, unhex(value)); break;
        case 'j':
            if (!headers.empty())
                throw std::runtime_error("other JSON must be the first header");
            headers = pubsub::Headers::parse("{\"" + name + "\":" + unhex(value) + "}");
            break;
        default: throw std::runtime_error("unknown type of a header: " + item);
        }
    }
    return headers;
}

static std::string written(const pubsub::HeaderValue &value) {
    switch (value.type()) {
    case pubsub::HeaderType::null: return "n:";
    case pubsub::HeaderType::boolean: return value.boolean().value() ? "b:1" : "b:0";
    case pubsub::HeaderType::integer: return "i:" + std::to_string(value.integer().value());
    case pubsub::HeaderType::number: {
        const double number = value.number().value();
        std::uint64_t bits = 0;
        std::memcpy(&bits, &number, sizeof bits);
        char text[17];
        std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(bits));
        return std::string("d:") + text;
    }
    case pubsub::HeaderType::string: return "s:" + hex(value.string().value());
    case pubsub::HeaderType::other: break;
    }
    return "j:" + hex(value.json().value());
}

static std::string written(const pubsub::Headers &headers) {
    std::string out;
    for (const auto &[name, value] : headers)
        out += (out.empty() ? "" : ",") + hex(name) + ":" + written(value);
    return out.empty() ? "-" : out;
}

static void fetch(const std::vector<std::string> &words, pubsub::Timeout timeout) {
    const auto message = channels.at(std::stoul(words.at(1))).fetch(timeout);
    if (!message) {
        std::cout << "nothing" << std::endl;
        return;
    }
    std::ofstream file(words.at(2), std::ios::binary);
    file << message->content();
    file.close();
    if (!file)
        throw std::runtime_error("cannot write " + words[2]);
    std::cout << "message " << message->topic() << ' ' << written(message->headers()) << std::endl;
}

static void publish(const std::vector<std::string> &words) {
    std::ifstream file(words.at(2), std::ios::binary);
    if (!file)
        throw std::runtime_error("cannot read " + words[2]);
    const std::string content{std::istreambuf_iterator<char>(file), {}};
    std::cout << "published " << pubsub::publish(words[1], content, read_headers(words.at(3))) << std::endl;
}

static void obey(const std::string &line) {
    const std::vector<std::string> words = split(line, ' ');
    if (words[0] == "open") {
        channels.emplace_back(words.at(1));
        std::cout << "opened" << std::endl;
    } else if (words[0] == "fetch") {
        fetch(words, std::chrono::seconds(20));
    } else if (words[0] == "try") {
        fetch(words, std::chrono::seconds(0));
    } else if (words[0] == "publish") {
        publish(words);
    } else if (words[0] == "close") {
        for (pubsub::Channel &channel : channels)
            channel.close();
        std::cout << "closed" << std::endl;
    } else {
        throw std::runtime_error("unknown command: " + line);
    }
}

int main() {
    try {
        for (std::string line; std::getline(std::cin, line);)
            obey(line);
    } catch (const std::exception &error) {
        std::cerr << "peer.cpp: " << error.what() << '\n';
        return 1;
    }
}
