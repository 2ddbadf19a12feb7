/* libpubsub: serverless publish/subscribe for the programs of one machine.
 *
 * Generated from the doc comments in src/ffi; do not edit. To make it anew: PUBSUB_WRITE_HEADER=1 cargo build --lib
 *
 * Conventions:
 * - A function that can fail returns a signed integer: negative is a PS_ERR_*, zero or positive is the answer (a count,
 *   or 1/0 for "one"/"none"). Outputs are written only on success. ps_last_error() is the calling thread's last failure
 *   as a sentence that names the topic, path or value at fault.
 * - Handles come from _open, _new or _parse and end in _close or _free, which ignore NULL. NULL where an object is needed
 *   is PS_ERR_INVALID_ARGUMENT. What the library allocates, the library frees, on any thread.
 * - Strings in are NUL-terminated UTF-8; where a length stands beside one it counts bytes, or is PS_NUL_TERMINATED.
 *   Strings out are NUL-terminated. Bytes in are a pointer and a length; NULL with 0 is fine.
 * - Option structs begin with their size. Smaller than the first version is PS_ERR_INVALID_ARGUMENT; in a larger one than
 *   the library knows the unknown bytes must be 0, else PS_ERR_UNSUPPORTED. NULL means the defaults. Begin with the
 *   PS_*_OPTIONS_INIT at the end of this file.
 * - Timeouts are in milliseconds: PS_FOREVER waits without end, 0 does not wait, other negatives are invalid. A wait also
 *   ends, with PS_ERR_INTERRUPTED, when a signal was handled in the waiting thread.
 * - Publishing: any thread, not from a signal handler. A channel's receiving functions: one thread at a time.
 *   ps_channel_interrupt: any thread, and from a signal handler. The rest: any thread, as long as none changes or frees
 *   what another uses.
 * - The library starts no thread, installs no signal handler, raises no SIGPIPE, and writes nothing to stdout or stderr.
 */

#ifndef PUBSUB_H
#define PUBSUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** As the length of a string or payload: up to its NUL. */
#define PS_NUL_TERMINATED ((size_t)-1)

/** An argument is NULL, out of range, not UTF-8, or used at the wrong time. */
#define PS_ERR_INVALID_ARGUMENT (-1)

/** A topic or pattern holds what topics cannot hold. */
#define PS_ERR_INVALID_TOPIC (-2)

/** Headers are not a JSON object. */
#define PS_ERR_INVALID_HEADERS (-3)

/** A message, or a buffer for one, is larger than what can be handled. */
#define PS_ERR_TOO_LARGE (-4)

/** The channel or publisher is closed, or was inherited through fork. */
#define PS_ERR_CLOSED (-5)

/** There is no such thing: nobody listens, no such topic. */
#define PS_ERR_NOT_FOUND (-6)

/** It is there already. */
#define PS_ERR_EXISTS (-7)

/** Every matching channel is full and rejects. */
#define PS_ERR_QUEUE_FULL (-8)

/** The file system that holds the store is full. */
#define PS_ERR_STORE_FULL (-9)

/** The store, or something in it, may not be used by this user. */
#define PS_ERR_PERMISSION (-10)

/** Something in the store is not what it should be. */
#define PS_ERR_CORRUPT (-11)

/** A wait ended because of a signal or `ps_channel_interrupt`. */
#define PS_ERR_INTERRUPTED (-12)

/** Not available on this system, or in this version. */
#define PS_ERR_UNSUPPORTED (-13)

/** The operating system refused; `ps_last_error` says what and why. */
#define PS_ERR_IO (-14)

/** A defect of the library. */
#define PS_ERR_INTERNAL (-15)

/** As `timeout_ms`: wait without end. */
#define PS_FOREVER (-1)

/** `null`. */
#define PS_HEADER_NULL 0

/** `true` or `false`, in `boolean`. */
#define PS_HEADER_BOOL 1

/** An integer of 64 bits, in `integer`. */
#define PS_HEADER_INT 2

/** Any other number, NaN and the infinities included, in `number`. */
#define PS_HEADER_DOUBLE 3

/** Text, in `string` and `string_len`. */
#define PS_HEADER_STRING 4

/** JSON that is none of these (nested, or an integer beyond 64 bits): its text, in `string` and `string_len`. */
#define PS_HEADER_OTHER 5

/** Somebody published it. */
#define PS_MESSAGE_DATA 0

/** The managed topic that the channel is on was deleted. */
#define PS_MESSAGE_TOPIC_DELETED 1

/** A full channel refuses the next message: the publisher is told, the channel counts it. */
#define PS_FULL_REJECT 0

/** A full channel drops the oldest to make room; the receiver sees how many went (`dropped_before`). */
#define PS_FULL_DROP_OLDEST 1

/** What the environment's PUBSUB_TRANSPORT says ("ring" or "files"), else the ring. */
#define PS_TRANSPORT_DEFAULT 0

/** Shared memory. */
#define PS_TRANSPORT_RING 1

/** A file for each message and a FIFO, as formix-pubsub does it. */
#define PS_TRANSPORT_FILES 2

/**
 * The receiving end: one subscription with a queue of its own.
 *
 * Its receiving functions (fetch, subscribe, fd, feed, close) are for one thread at a time, which need not be always
 * the same; a call while another is under way, be it from another thread or from a callback of `ps_subscribe`, is
 * `PS_ERR_INVALID_ARGUMENT`. After fork, the child's inherited channels answer `PS_ERR_CLOSED`; closing them frees
 * memory, and the parent notices nothing.
 */
typedef struct ps_channel ps_channel;

/**
 * Names and values that travel with a message, in the order in which they were set: a JSON object.
 *
 * Functions that take it as `const` may run on several threads at once; one that changes or frees it must be alone.
 */
typedef struct ps_headers ps_headers;

/**
 * The sending end of one topic; faster than `ps_publish` for many messages. Any thread, several at once.
 *
 * After fork, the child's inherited publishers answer `PS_ERR_CLOSED`; closing them frees memory.
 */
typedef struct ps_publisher ps_publisher;

/** A store of a given mode and group. Begin with `PS_STORE_OPTIONS_INIT`. */
typedef struct ps_store_options {
    /** `sizeof(ps_store_options)`. */
    uint32_t size;
    /**
     * Permission bits of the directory: 0 (0770 with a group, else 0700), 0700, 0770 or 0777. A mode that others share
     * gets the set-group-ID and sticky bits too.
     */
    uint32_t mode;
    /** The group that owns it, by name or number; NULL: the caller's. */
    const char *group;
} ps_store_options;

/** The value of a header. This struct never changes. */
typedef struct ps_header_value {
    /** One of `PS_HEADER_*`; it says which of the other fields holds the value. The others are 0. */
    int32_t type;
    /** For `PS_HEADER_BOOL`. */
    bool boolean;
    /** For `PS_HEADER_INT`. */
    int64_t integer;
    /** For `PS_HEADER_DOUBLE`; for `PS_HEADER_INT` the same number, rounded if need be. */
    double number;
    /**
     * For `PS_HEADER_STRING` and `PS_HEADER_OTHER`: UTF-8 that ends in NUL; else NULL. It belongs to the headers and is
     * valid until they are changed or freed.
     */
    const char *string;
    /** Bytes of `string` before that NUL: a string may hold NULs of its own. */
    size_t string_len;
} ps_header_value;

/**
 * A received message. The library allocates it, `ps_message_free` frees it; it stays valid after later fetches and
 * after its channel is closed. Fields are only ever appended. To be read, not written; by any thread.
 */
typedef struct ps_message {
    /** Unique in its store, rising along each publisher's messages. */
    uint64_t id;
    /** When it was published: microseconds since the Unix epoch. */
    int64_t timestamp_us;
    /** The topic it was published to; ends in NUL. */
    const char *topic;
    /** Bytes of `topic` before the NUL. */
    size_t topic_len;
    /** The content, 8-byte aligned; not NULL, even when it is empty. */
    const uint8_t *data;
    /** Bytes of `data`. */
    size_t data_len;
    /** The headers' text as received, byte for byte; "{}" when there are none; ends in NUL. */
    const char *headers_json;
    /** Bytes of `headers_json` before the NUL. */
    size_t headers_json_len;
    /** One of `PS_MESSAGE_*`. Ignore a message of a kind you do not know. */
    uint32_t kind;
    /** 0. */
    uint32_t flags;
    /** Messages that the channel lost (`PS_FULL_DROP_OLDEST`) just before this one. */
    uint64_t dropped_before;
    /** Managed topics: which history it is in; else 0. */
    uint64_t epoch;
    /** Managed topics: its position in the history; else 0. */
    uint64_t offset;
} ps_message;

/** How to open a channel. Begin with `PS_CHANNEL_OPTIONS_INIT`. */
typedef struct ps_channel_options {
    /** `sizeof(ps_channel_options)`. */
    uint32_t size;
    /** What happens when the queue is full: one of `PS_FULL_*`. */
    uint32_t full_policy;
    /** How messages travel: one of `PS_TRANSPORT_*`. */
    uint32_t transport;
    /** 0. */
    uint32_t reserved;
    /** Bound of the unread bytes; 0: 64 MiB. A larger message is taken only into an empty queue. */
    uint64_t capacity_bytes;
    /** Bound of the unread messages; 0: 16384. */
    uint64_t capacity_messages;
    /** The store's directory; NULL: `ps_home()`. */
    const char *home;
    /** Begin with the last so many messages of each managed topic that matches, oldest first, before what is new; 0: none. */
    uint32_t replay_last;
    /**
     * Not 0: begin behind the message that `resume_epoch` and `resume_offset` name (exact topics only): everything newer, or
     * what is still there of it, which `dropped_before` or another `epoch` tell. Instead of `replay_last`.
     */
    uint32_t resume;
    /** The `epoch` of the last message had. */
    uint64_t resume_epoch;
    /** The `offset` of the last message had; 0: before the first. */
    uint64_t resume_offset;
} ps_channel_options;

/** A channel as its receiver or a monitor sees it. Fields are only ever appended. */
typedef struct ps_channel_stats {
    /** `sizeof(ps_channel_stats)`. */
    uint32_t size;
    /** How messages travel to it: `PS_TRANSPORT_RING` or `PS_TRANSPORT_FILES`. */
    uint32_t transport;
    /** Whether its receiver lives. */
    bool alive;
    /** Whether it is a formix-pubsub channel. Then only topic, path, pid, alive and the unread figures mean anything. */
    bool foreign;
    /** The receiver's process id, as the receiver's own namespace knows it. */
    int64_t pid;
    /** Messages waiting. */
    uint64_t unread_messages;
    /** Bytes waiting. */
    uint64_t unread_bytes;
    /** The bound of messages. */
    uint64_t capacity_messages;
    /** The bound of bytes. */
    uint64_t capacity_bytes;
    /** Messages fetched so far. */
    uint64_t received;
    /** Messages refused because it was full. */
    uint64_t rejected;
    /** Messages dropped to make room. */
    uint64_t dropped;
    /** Entries that could not be parsed. */
    uint64_t malformed;
    /**
     * The topic or pattern it was opened with. Owned by the stats (`ps_channel_list`) or by the channel
     * (`ps_channel_stats_get`).
     */
    const char *topic;
    /** Its directory; owned as `topic` is. */
    const char *path;
} ps_channel_stats;

/**
 * What `ps_subscribe` calls with each message: it is lent until the callback returns. `context`: as given to
 * `ps_subscribe`. A non-zero return ends the subscription. It must return: neither longjmp nor an exception may leave
 * it.
 */
typedef int (*ps_callback)(const struct ps_message *message, void *context);

/** How to open a publisher. Begin with `PS_PUBLISHER_OPTIONS_INIT`. */
typedef struct ps_publisher_options {
    /** `sizeof(ps_publisher_options)`. */
    uint32_t size;
    /** How long a publish waits for room in channels that reject, in milliseconds; 0: not at all. */
    uint32_t full_timeout_ms;
    /** The store's directory; NULL: `ps_home()`. */
    const char *home;
} ps_publisher_options;

/** One message of a batch. This struct never changes. */
typedef struct ps_payload {
    /** The content; NULL with 0 is empty. */
    const void *data;
    /** Bytes of `data`, or `PS_NUL_TERMINATED`. */
    size_t len;
    /** Its headers, or NULL. */
    const struct ps_headers *headers;
} ps_payload;

/** What a managed topic keeps. Begin with `PS_TOPIC_OPTIONS_INIT`. */
typedef struct ps_topic_options {
    /** `sizeof(ps_topic_options)`. */
    uint32_t size;
    /** The most messages kept; 0: 100. */
    uint32_t history_messages;
    /** The most bytes kept; 0: 64 MiB. A message larger than that is kept alone. */
    uint64_t history_bytes;
    /** What is older than this is never returned; 0: no limit of age. */
    int64_t history_ttl_ms;
    /** The store's directory; NULL: `ps_home()`. */
    const char *home;
} ps_topic_options;

/** A managed topic at one moment. Fields are only ever appended. */
typedef struct ps_topic_stats {
    /** `sizeof(ps_topic_stats)`. */
    uint32_t size;
    /** 0. */
    uint32_t reserved;
    /** Its name; owned by the list. */
    const char *topic;
    /** Live channels that match it, wildcards included; a gateway's channel counts for as many as it serves. */
    uint64_t subscribers;
    /** Messages that entered its history since it was created. */
    uint64_t messages_published;
    /** Messages in its history now. */
    uint64_t messages_in_history;
    /** Bytes in its history now, as they are stored: headers and contents and 32 for each message. */
    uint64_t bytes_in_history;
    /** Tells this history from those of topics of the same name that were deleted before. */
    uint64_t epoch;
    /** The offset that the next message gets. Offsets begin at 1. */
    uint64_t next_offset;
    /** When it was created: microseconds since the Unix epoch. */
    int64_t created_us;
} ps_topic_stats;

/**
 * What `ps_fetch_packed` writes. Behind it lie the topic, the headers, padding to 8, the data, padding to 8; neither
 * text ends in NUL. This struct never changes.
 */
typedef struct ps_packed_record {
    /** Bytes of the whole record, a multiple of 8: the next one begins there. */
    uint64_t size;
    /** As in `ps_message`. */
    uint64_t id;
    /** As in `ps_message`. */
    int64_t timestamp_us;
    /** As in `ps_message`. */
    uint64_t dropped_before;
    /** As in `ps_message`. */
    uint64_t epoch;
    /** As in `ps_message`. */
    uint64_t offset;
    /** Bytes of the data. */
    uint64_t data_len;
    /** Bytes of the topic. */
    uint32_t topic_len;
    /** Bytes of the headers' text. */
    uint32_t headers_json_len;
    /** As in `ps_message`. */
    uint32_t kind;
    /** As in `ps_message`. */
    uint32_t flags;
} ps_packed_record;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The library's version, such as "0.1.0": the one that is loaded, which may differ from the one compiled against.
 *
 * Never NULL; never freed. Any thread.
 */
const char *ps_version(void);

/**
 * The name of an error: "PS_ERR_QUEUE_FULL" for -8.
 *
 * `code`: what a function of this library answered. Zero and positive numbers are no errors, "success"; a negative
 * number that is no `PS_ERR_*` is "unknown". Never NULL; never freed. Any thread.
 */
const char *ps_error_name(int code);

/**
 * What the calling thread's last failure was: a sentence that names the topic, path or value at fault.
 *
 * Never NULL; "" when nothing failed yet. Valid until this thread's next failure: copy it to keep it. Success leaves
 * it, so ask only after a negative answer. Any thread; each has its own.
 *
 * ```c
 * ps_channel *channel;
 * int code = ps_channel_open("news.+", NULL, &channel);
 * if (code < 0) {
 *     fprintf(stderr, "%s: %s\n", ps_error_name(code), ps_last_error());
 * } else {
 *     ps_channel_close(channel);
 * }
 * ```
 */
const char *ps_last_error(void);

/**
 * How many matching channels refused the calling thread's last publish: they were full or could not be written.
 *
 * 0 after a publish that reached all, and before the first. After a batch: those that refused its last message. Any
 * thread; each has its own.
 */
uint32_t ps_last_rejected(void);

/**
 * The default store's directory: the environment's PUBSUB_HOME (empty counts as unset), else /dev/shm/pubsub, else
 * `pubsub` in the system's temporary directory. Decided at first use and kept.
 *
 * Never NULL; never freed. Any thread.
 */
const char *ps_home(void);

/**
 * Makes a store, for instance one that a group shares. Others are made on first use, private to their user.
 *
 * `home`: the directory; NULL: the default store's. `options`: NULL: private.
 *
 * Answers 0. Errors: `PS_ERR_EXISTS` when it is there; `PS_ERR_INVALID_ARGUMENT` for another mode; `PS_ERR_NOT_FOUND` for
 * a group that is not known; `PS_ERR_UNSUPPORTED` for options of a later version; `PS_ERR_PERMISSION`;
 * `PS_ERR_STORE_FULL`; `PS_ERR_IO`. Any thread.
 *
 * ```c
 * ps_store_options options = PS_STORE_OPTIONS_INIT;
 * options.group = "sensors";
 * if (ps_store_create("/dev/shm/sensors", &options) < 0) {
 *     fprintf(stderr, "%s\n", ps_last_error());
 * }
 * ```
 */
int ps_store_create(const char *home,
                    const struct ps_store_options *options);

/**
 * Removes what dead processes left in a store; the living notice nothing. Opening channels does it step by step, so
 * this is for those who want it done at once.
 *
 * `home`: the store; NULL: the default one.
 *
 * Answers how many channels were removed. Errors: `PS_ERR_INVALID_ARGUMENT`, `PS_ERR_PERMISSION`, `PS_ERR_IO`. Any
 * thread.
 */
int64_t ps_cleanup(const char *home);

/**
 * Empty headers, to be filled with `ps_headers_set_*` and freed with `ps_headers_free`.
 *
 * Never NULL, but for a defect of the library. Any thread.
 *
 * ```c
 * ps_headers *headers = ps_headers_new();
 * ps_headers_set_string(headers, "unit", "celsius", PS_NUL_TERMINATED);
 * ps_headers_set_int(headers, "sensor", 7);
 * ps_publish("lab.temperature", "21.5", PS_NUL_TERMINATED, headers);
 * ps_headers_free(headers);
 * ```
 */
struct ps_headers *ps_headers_new(void);

/**
 * Reads headers from JSON text: an object, with NaN, Infinity and integers of any size as Python writes them. Of
 * duplicate names the last counts.
 *
 * `json`, `len`: UTF-8, `len` bytes or `PS_NUL_TERMINATED`. `headers`: to be freed with `ps_headers_free`.
 *
 * Answers 0. Errors: `PS_ERR_INVALID_HEADERS` for anything that is not an object; `PS_ERR_INVALID_ARGUMENT`. Any
 * thread.
 */
int ps_headers_parse(const char *json, size_t len, struct ps_headers **headers);

/**
 * Sets a header to text. A name that is there keeps its place.
 *
 * `key`: NUL-terminated UTF-8. `value`, `len`: UTF-8, `len` bytes or `PS_NUL_TERMINATED`; NULL with 0 is "".
 *
 * Answers 0. Errors: `PS_ERR_INVALID_ARGUMENT`. Any thread, one at a time.
 */
int ps_headers_set_string(struct ps_headers *headers, const char *key, const char *value, size_t len);

/**
 * Sets a header to an integer. A name that is there keeps its place.
 *
 * `key`: NUL-terminated UTF-8. Answers 0. Errors: `PS_ERR_INVALID_ARGUMENT`. Any thread, one at a time.
 */
int ps_headers_set_int(struct ps_headers *headers, const char *key, int64_t value);

/**
 * Sets a header to a number; NaN and the infinities travel as Python's `json` writes them. A name that is there keeps
 * its place.
 *
 * `key`: NUL-terminated UTF-8. Answers 0. Errors: `PS_ERR_INVALID_ARGUMENT`. Any thread, one at a time.
 */
int ps_headers_set_double(struct ps_headers *headers, const char *key, double value);

/**
 * Sets a header to true or false. A name that is there keeps its place.
 *
 * `key`: NUL-terminated UTF-8. Answers 0. Errors: `PS_ERR_INVALID_ARGUMENT`. Any thread, one at a time.
 */
int ps_headers_set_bool(struct ps_headers *headers, const char *key, bool value);

/**
 * Sets a header to null. A name that is there keeps its place.
 *
 * `key`: NUL-terminated UTF-8. Answers 0. Errors: `PS_ERR_INVALID_ARGUMENT`. Any thread, one at a time.
 */
int ps_headers_set_null(struct ps_headers *headers, const char *key);

/** How many headers there are; 0 for NULL. Any thread. */
size_t ps_headers_count(const struct ps_headers *headers);

/**
 * Looks a header up by its name.
 *
 * `key`: NUL-terminated UTF-8. `value`: written when there is one.
 *
 * Answers 1 when there is one, 0 when there is none. Errors: `PS_ERR_INVALID_ARGUMENT`. Any thread.
 *
 * ```c
 * ps_headers *headers;
 * if (ps_headers_parse("{\"sensor\": 7}", PS_NUL_TERMINATED, &headers) == 0) {
 *     ps_header_value value;
 *     if (ps_headers_get(headers, "sensor", &value) == 1 && value.type == PS_HEADER_INT) {
 *         printf("sensor %lld\n", (long long)value.integer);
 *     }
 *     ps_headers_free(headers);
 * }
 * ```
 */
int ps_headers_get(const struct ps_headers *headers, const char *key, struct ps_header_value *value);

/**
 * The header at a position, 0 to `ps_headers_count` - 1, in the order in which they were set.
 *
 * `key`, `key_len`: its name, which ends in NUL, and the bytes before that; valid until the headers are changed or
 * freed. `value`: its value.
 *
 * Answers 1, or 0 when the position is behind the last. Errors: `PS_ERR_INVALID_ARGUMENT`. Any thread.
 */
int ps_headers_at(const struct ps_headers *headers,
                  size_t index,
                  const char **key,
                  size_t *key_len,
                  struct ps_header_value *value);

/**
 * All of them as JSON text, as it travels; "{}" when there are none, and for NULL.
 *
 * Never NULL; ends in NUL; valid until the headers are changed or freed. Any thread.
 */
const char *ps_headers_json(const struct ps_headers *headers);

/** Frees headers. NULL is ignored. Any thread, one at a time. */
void ps_headers_free(struct ps_headers *headers);

/**
 * The headers of a message, parsed; empty when it has none or they are no JSON object.
 *
 * `headers`: to be freed with `ps_headers_free`; they are valid longer than the message.
 *
 * Answers 0. Errors: `PS_ERR_INVALID_ARGUMENT`. Any thread.
 */
int ps_message_headers(const struct ps_message *message, struct ps_headers **headers);

/** Frees a message. NULL is ignored. Not for a message that a callback was lent. Any thread. */
void ps_message_free(struct ps_message *message);

/**
 * Frees the messages of an array that `ps_fetch_batch` filled, and makes its entries NULL; the array itself stays the
 * caller's. NULL, for the array or in it, is ignored. Any thread.
 */
void ps_message_free_batch(struct ps_message **messages, size_t count);

/**
 * Opens a channel on a topic or pattern: it receives what is published to matching topics from now on, whoever
 * publishes, formix-pubsub included.
 *
 * `topic`: words of `[a-zA-Z0-9-]` between dots, at most 200 bytes; `=` stands for one word or a part of it, `+` for
 * one or more words (`logs.=.error`, `logs.+`). `options`: NULL: the defaults. `channel`: to be closed with
 * `ps_channel_close`.
 *
 * Answers 0. Errors: `PS_ERR_INVALID_TOPIC`; `PS_ERR_INVALID_ARGUMENT`; `PS_ERR_UNSUPPORTED` for options of a later
 * version, or for a ring where memory cannot be shared (a network file system, a processor without 16-byte
 * compare-and-swap); `PS_ERR_NOT_FOUND` when there is no history to resume from, `PS_ERR_CORRUPT` when it is damaged;
 * `PS_ERR_PERMISSION`, `PS_ERR_STORE_FULL` or `PS_ERR_IO` for the store. Any thread.
 *
 * ```c
 * ps_channel_options options = PS_CHANNEL_OPTIONS_INIT;
 * options.full_policy = PS_FULL_DROP_OLDEST;
 * ps_channel *channel;
 * if (ps_channel_open("lab.+", &options, &channel) == 0) {
 *     ps_message *message;
 *     while (ps_fetch_wait(channel, 1000, &message) == 1) {
 *         printf("%s: %zu bytes\n", message->topic, message->data_len);
 *         ps_message_free(message);
 *     }
 *     ps_channel_close(channel);
 * }
 * ```
 */
int ps_channel_open(const char *topic, const struct ps_channel_options *options, struct ps_channel **channel);

/**
 * Closes a channel: what is unread is gone, and the handle is, whatever the answer, unless that is
 * `PS_ERR_INVALID_ARGUMENT`. NULL is ignored.
 *
 * Answers 0. Errors: `PS_ERR_INVALID_ARGUMENT` while a receiving function is under way (then it stays open);
 * `PS_ERR_PERMISSION` or `PS_ERR_IO` when its directory cannot be removed. Any thread, once no other uses it.
 */
int ps_channel_close(struct ps_channel *channel);

/** The topic or pattern that the channel was opened with; NULL for NULL. Valid until it is closed. Any thread. */
const char *ps_channel_topic(const struct ps_channel *channel);

/** The channel's directory; NULL for NULL. Valid until it is closed. Any thread. */
const char *ps_channel_path(const struct ps_channel *channel);

/**
 * A descriptor that is readable as long as a message waits, for poll, epoll and event loops. When it is readable,
 * `ps_fetch` until that answers 0. Never read, write or close it; a runtime that can only wait by reading hands what
 * it read back with `ps_channel_feed`.
 *
 * Answers the descriptor, 0 or more, the same each time; it belongs to the channel. Errors: `PS_ERR_CLOSED`;
 * `PS_ERR_INVALID_ARGUMENT`; `PS_ERR_IO`. A receiving function: one thread at a time.
 *
 * ```c
 * #include <poll.h>
 * void drain_when_ready(ps_channel *channel) {
 *     struct pollfd ready = {ps_channel_fd(channel), POLLIN, 0};
 *     while (poll(&ready, 1, -1) == 1) {
 *         ps_message *message;
 *         while (ps_fetch(channel, &message) == 1) {
 *             ps_message_free(message);
 *         }
 *     }
 * }
 * ```
 */
int ps_channel_fd(struct ps_channel *channel);

/**
 * Takes back what a runtime that can only wait by reading has read from the descriptor. Call it before the next fetch.
 *
 * `bytes`, `len`: all that was read, in order; NULL with 0 is nothing.
 *
 * Answers 0. Errors: `PS_ERR_CLOSED`; `PS_ERR_INVALID_ARGUMENT`. A receiving function: one thread at a time.
 */
int ps_channel_feed(struct ps_channel *channel, const void *bytes, size_t len);

/**
 * Ends the channel's current wait with `PS_ERR_INTERRUPTED`, or if there is none the next one, once. `ps_fetch` neither
 * notices nor clears it.
 *
 * Answers 0, or `PS_ERR_INVALID_ARGUMENT` for NULL. Any thread, and from a signal handler: it leaves errno and the last
 * error alone. Not during or after `ps_channel_close`.
 */
int ps_channel_interrupt(struct ps_channel *channel);

/**
 * Counters and bounds, now.
 *
 * `stats`: set its `size` to `sizeof(ps_channel_stats)` first; that many bytes are written, or as many as the library
 * knows, and `size` says how many. Its `topic` and `path` belong to the channel.
 *
 * Answers 0. Errors: `PS_ERR_INVALID_ARGUMENT`; `PS_ERR_CLOSED`; `PS_ERR_IO`. Any thread, also while another receives, and
 * in a callback of `ps_subscribe`.
 *
 * ```c
 * void show(const ps_channel *channel) {
 *     ps_channel_stats stats;
 *     stats.size = sizeof stats;
 *     if (ps_channel_stats_get(channel, &stats) == 0) {
 *         printf("%s: %llu unread\n", stats.topic, (unsigned long long)stats.unread_messages);
 *     }
 * }
 * ```
 */
int ps_channel_stats_get(const struct ps_channel *channel,
                         struct ps_channel_stats *stats);

/**
 * Takes the next message. Never waits.
 *
 * `message`: the message, to be freed with `ps_message_free`; NULL when there is none.
 *
 * Answers 1, or 0 when there is none. Errors: `PS_ERR_CLOSED`; `PS_ERR_INVALID_ARGUMENT`; `PS_ERR_TOO_LARGE` when memory
 * for it cannot be had; `PS_ERR_CORRUPT` when the channel's directory was deleted; `PS_ERR_IO`. A receiving function: one
 * thread at a time.
 */
int ps_fetch(struct ps_channel *channel,
             struct ps_message **message);

/**
 * Takes the next message; waits for one.
 *
 * `timeout_ms`: how long in milliseconds; `PS_FOREVER`, 0 or more. `message`: the message, to be freed with
 * `ps_message_free`; NULL when there is none.
 *
 * Answers 1, or 0 when the time is up. Errors: `PS_ERR_INTERRUPTED` after a signal that this thread handled, or
 * `ps_channel_interrupt`; `PS_ERR_CLOSED`; `PS_ERR_INVALID_ARGUMENT`; `PS_ERR_TOO_LARGE`; `PS_ERR_CORRUPT`; `PS_ERR_IO`.
 * A receiving function: one thread at a time.
 */
int ps_fetch_wait(struct ps_channel *channel,
                  int64_t timeout_ms,
                  struct ps_message **message);

/**
 * Takes many messages: waits for the first, then takes what is there.
 *
 * `messages`, `max`: an array, of which the first `max` entries may be written. Free each with `ps_message_free`, or all
 * with `ps_message_free_batch`. `timeout_ms`: how long to wait for the first, in milliseconds; `PS_FOREVER`, 0 or more.
 *
 * Answers how many; 0 when the time is up, and at once when `max` is 0. Errors: as `ps_fetch_wait`. A receiving
 * function: one thread at a time.
 *
 * ```c
 * void drain(ps_channel *channel) {
 *     ps_message *messages[64];
 *     int count;
 *     while ((count = ps_fetch_batch(channel, messages, 64, 0)) > 0) {
 *         for (int i = 0; i < count; i++) {
 *             printf("%s\n", messages[i]->topic);
 *         }
 *         ps_message_free_batch(messages, (size_t)count);
 *     }
 * }
 * ```
 */
int ps_fetch_batch(struct ps_channel *channel,
                   struct ps_message **messages,
                   size_t max,
                   int64_t timeout_ms);

/**
 * `ps_fetch_batch` without allocation, for interpreters: waits for the first message, then writes what is there into
 * a buffer, as many as fit.
 *
 * `buffer`, `size`: 8-byte aligned; a `ps_packed_record` for each message goes there, with its texts and data behind it.
 * `timeout_ms`: how long to wait for the first, in milliseconds; `PS_FOREVER`, 0 or more. `used`: how many bytes were
 * written.
 *
 * Answers how many messages; 0 when the time is up. Errors: `PS_ERR_TOO_LARGE` when the first does not fit: it stays
 * in the queue, and `*used` says how many bytes it needs; else as `ps_fetch_wait`. A receiving function: one thread at
 * a time.
 *
 * ```c
 * int first_id(ps_channel *channel, uint64_t *id) {
 *     uint64_t buffer[512];
 *     size_t used;
 *     int count = ps_fetch_packed(channel, buffer, sizeof buffer, 0, &used);
 *     if (count > 0) {
 *         *id = ((const ps_packed_record *)buffer)->id;
 *     }
 *     return count;
 * }
 * ```
 */
int ps_fetch_packed(struct ps_channel *channel,
                    void *buffer,
                    size_t size,
                    int64_t timeout_ms,
                    size_t *used);

/**
 * Calls back with each message, on the calling thread only, until the callback returns non-zero (that message counts) or
 * the time is up.
 *
 * `callback`: may publish and open channels, not fetch from or close this one. `context`: handed to it. `timeout_ms`:
 * how long in all, in milliseconds; `PS_FOREVER`, 0 (what is there) or more.
 *
 * Answers how many messages were handled. Errors: as `ps_fetch_wait`. A receiving function: one thread at a time.
 *
 * ```c
 * int print_topic(const ps_message *message, void *context) {
 *     (void)context;
 *     printf("%s\n", message->topic);
 *     return 0;
 * }
 * int64_t print_for_a_second(ps_channel *channel) {
 *     return ps_subscribe(channel, print_topic, NULL, 1000);
 * }
 * ```
 */
int64_t ps_subscribe(struct ps_channel *channel,
                     ps_callback callback,
                     void *context,
                     int64_t timeout_ms);

/**
 * The channels of a store, formix-pubsub's included, dead ones marked.
 *
 * `home`: the store; NULL: the default one. `list`: an array of pointers, to be freed with `ps_channel_list_free`; NULL
 * when there are none.
 *
 * Answers how many. Errors: `PS_ERR_INVALID_ARGUMENT`, `PS_ERR_PERMISSION`, `PS_ERR_IO`. Any thread.
 *
 * ```c
 * ps_channel_stats **list;
 * int64_t count = ps_channel_list(NULL, &list);
 * if (count >= 0) {
 *     for (int64_t i = 0; i < count; i++) {
 *         printf("%s %s\n", list[i]->topic, list[i]->alive ? "alive" : "dead");
 *     }
 *     ps_channel_list_free(list, (size_t)count);
 * }
 * ```
 */
int64_t ps_channel_list(const char *home, struct ps_channel_stats ***list);

/**
 * Frees a list of `ps_channel_list`, its entries and their texts.
 *
 * `list`: NULL is ignored. `count`: what `ps_channel_list` answered. Any thread.
 */
void ps_channel_list_free(struct ps_channel_stats **list, size_t count);

/**
 * Publishes one message to a topic of the default store. When this returns, the message is in the store and survives
 * the publisher's death.
 *
 * `topic`: 1 to 200 of `[a-zA-Z0-9.-]`. `data`, `len`: the content, `len` bytes or `PS_NUL_TERMINATED`, at most
 * 4 GiB - 1; NULL with 0 is empty. `headers`: or NULL.
 *
 * Answers how many channels took it; no matching channel is 0. When some took it and others refused, the answer is
 * those that did, and `ps_last_rejected()` those that did not. Errors: `PS_ERR_INVALID_TOPIC`;
 * `PS_ERR_INVALID_ARGUMENT`; `PS_ERR_TOO_LARGE`; and when none took it `PS_ERR_STORE_FULL`, `PS_ERR_PERMISSION` or
 * `PS_ERR_IO`, else `PS_ERR_QUEUE_FULL`. Any thread; not from a signal handler.
 *
 * ```c
 * if (ps_publish("news.sport", "one nil", PS_NUL_TERMINATED, NULL) < 0) {
 *     fprintf(stderr, "%s\n", ps_last_error());
 * }
 * ```
 */
int ps_publish(const char *topic, const void *data, size_t len, const struct ps_headers *headers);

/**
 * Opens a publisher for one topic.
 *
 * `topic`: 1 to 200 of `[a-zA-Z0-9.-]`, no wildcards. `options`: NULL: the defaults. `publisher`: to be closed with
 * `ps_publisher_close`.
 *
 * Answers 0. Errors: `PS_ERR_INVALID_TOPIC`; `PS_ERR_INVALID_ARGUMENT`; `PS_ERR_UNSUPPORTED` for options of a later
 * version; `PS_ERR_PERMISSION`, `PS_ERR_STORE_FULL` or `PS_ERR_IO` for the store. Any thread.
 *
 * ```c
 * ps_publisher *publisher;
 * if (ps_publisher_open("lab.temperature", NULL, &publisher) == 0) {
 *     for (int i = 0; i < 1000; i++) {
 *         ps_publisher_publish(publisher, &i, sizeof i, NULL);
 *     }
 *     ps_publisher_close(publisher);
 * }
 * ```
 */
int ps_publisher_open(const char *topic, const struct ps_publisher_options *options, struct ps_publisher **publisher);

/**
 * Publishes one message, as `ps_publish` does; with `full_timeout_ms` it waits that long for room in channels that
 * reject.
 *
 * Answers how many channels took it. Errors: as `ps_publish`; `PS_ERR_CLOSED` in a forked child;
 * `PS_ERR_INTERRUPTED` when a signal ended the wait. Any thread; not from a signal handler.
 */
int ps_publisher_publish(struct ps_publisher *publisher,
                         const void *data,
                         size_t len,
                         const struct ps_headers *headers);

/**
 * Publishes many messages in order, exactly as that many calls of `ps_publisher_publish`, but faster.
 *
 * `payloads`, `count`: the messages; NULL with 0 is none.
 *
 * Answers how many were handled, from the first: it stops before the first that would fail, and answers an error only
 * when that is the first. Errors: as `ps_publisher_publish`. Any thread; not from a signal handler.
 *
 * ```c
 * int publish_two(ps_publisher *publisher) {
 *     ps_payload payloads[2] = {{"one", PS_NUL_TERMINATED, NULL}, {"two", 3, NULL}};
 *     return ps_publisher_publish_batch(publisher, payloads, 2) == 2;
 * }
 * ```
 */
int64_t ps_publisher_publish_batch(struct ps_publisher *publisher, const struct ps_payload *payloads, size_t count);

/**
 * Publishes many messages that lie end to end in one buffer, all with the same headers: `ps_publisher_publish_batch`
 * for interpreters.
 *
 * `data`: the contents. `lengths`, `count`: how many bytes of it each message has. `headers`: or NULL.
 *
 * Answers how many were handled, as `ps_publisher_publish_batch` does. Errors: as there. Any thread; not from a signal
 * handler.
 */
int64_t ps_publisher_publish_packed(struct ps_publisher *publisher,
                                    const void *data,
                                    const uint32_t *lengths,
                                    size_t count,
                                    const struct ps_headers *headers);

/** Closes a publisher. NULL is ignored. Any thread, once no other uses it. */
void ps_publisher_close(struct ps_publisher *publisher);

/**
 * Makes a topic that keeps a history: of what is published to it from now on, by every program that uses this library.
 * Messages of formix-pubsub programs enter it through the topic's recorder (`pubsub topics keep`).
 *
 * `topic`: no wildcards. `options`: NULL: the last 100 messages, in the default store.
 *
 * Answers 0. Errors: `PS_ERR_EXISTS` when it is managed already; `PS_ERR_INVALID_TOPIC`; `PS_ERR_INVALID_ARGUMENT` for bounds
 * that no history can have; `PS_ERR_UNSUPPORTED` for options of a later version, or where the processor has no 16-byte
 * compare-and-swap; `PS_ERR_STORE_FULL`; `PS_ERR_PERMISSION`; `PS_ERR_IO`. Any thread.
 *
 * ```c
 * ps_topic_options options = PS_TOPIC_OPTIONS_INIT;
 * options.history_messages = 1000;
 * if (ps_topic_create("news.sports", &options) < 0) {
 *     fprintf(stderr, "%s\n", ps_last_error());
 * }
 * ```
 */
int ps_topic_create(const char *topic,
                    const struct ps_topic_options *options);

/**
 * Deletes a managed topic and its history, and gives the channels on exactly that topic (not those whose wildcards match) a
 * message of kind `PS_MESSAGE_TOPIC_DELETED`; a channel that stays full for 100 ms does without. Publishing to the topic goes
 * on as to any other.
 *
 * `home`: the store; NULL: the default one.
 *
 * Answers 0. Errors: `PS_ERR_NOT_FOUND` when it is not managed; `PS_ERR_INVALID_TOPIC`; `PS_ERR_INVALID_ARGUMENT`;
 * `PS_ERR_PERMISSION`; `PS_ERR_IO`. Any thread.
 */
int ps_topic_delete(const char *topic,
                    const char *home);

/**
 * The managed topics of a store, sorted by name. A topic whose history is damaged, or not for this user to read,
 * is left out.
 *
 * `home`: the store; NULL: the default one. `list`: an array of pointers, to be freed with `ps_topic_list_free`; NULL when
 * there are none.
 *
 * Answers how many. Errors: `PS_ERR_INVALID_ARGUMENT`, `PS_ERR_PERMISSION`, `PS_ERR_IO`. Any thread.
 *
 * ```c
 * ps_topic_stats **list;
 * int64_t count = ps_topic_list(NULL, &list);
 * if (count >= 0) {
 *     for (int64_t i = 0; i < count; i++) {
 *         printf("%s %llu\n", list[i]->topic, (unsigned long long)list[i]->messages_in_history);
 *     }
 *     ps_topic_list_free(list, (size_t)count);
 * }
 * ```
 */
int64_t ps_topic_list(const char *home,
                      struct ps_topic_stats ***list);

/**
 * Frees a list of `ps_topic_list`, its entries and their texts.
 *
 * `list`: NULL is ignored. `count`: what `ps_topic_list` answered. Any thread.
 */
void ps_topic_list_free(struct ps_topic_stats **list, size_t count);

/**
 * The last messages of a managed topic, at most `last`, oldest first. Nobody's queue is touched.
 *
 * `home`: the store; NULL: the default one. `messages`: an array of pointers, to be freed with `ps_message_list_free`; NULL
 * when there are none.
 *
 * Answers how many. Errors: `PS_ERR_NOT_FOUND` when it is not managed; `PS_ERR_CORRUPT` for a damaged history;
 * `PS_ERR_INVALID_TOPIC`; `PS_ERR_INVALID_ARGUMENT`; `PS_ERR_TOO_LARGE` when memory is short; `PS_ERR_PERMISSION`;
 * `PS_ERR_IO`. Any thread.
 */
int64_t ps_topic_history(const char *topic,
                         const char *home,
                         uint32_t last,
                         struct ps_message ***messages);

/**
 * Frees an array that `ps_topic_history` made, and its messages.
 *
 * `messages`: NULL is ignored; an entry that is NULL (a message that was kept), too. `count`: what `ps_topic_history`
 * answered. Any thread.
 */
void ps_message_list_free(struct ps_message **messages, size_t count);

/**
 * Publishes a request to a topic of the default store and waits for its reply. It carries the headers `response-topic`
 * and `correlation-id`, in place of any by these names in `headers`; whoever receives it answers with `ps_reply`, or as
 * formix-pubsub programs do. When several answer, the first reply is it. A late one is dropped.
 *
 * `topic`: 1 to 200 of `[a-zA-Z0-9.-]`. `data`, `len`, `headers`: as for `ps_publish`. `timeout_ms`: `PS_FOREVER`, 0 or
 * more. `reply`: to be freed with `ps_message_free`; NULL on 0.
 *
 * Answers 1: a reply; 0: timed out. Errors: `PS_ERR_NOT_FOUND` at once when nobody listens on the topic;
 * `PS_ERR_INTERRUPTED` when a signal was handled in this thread; those of `ps_publish` and `ps_channel_open`. Any
 * thread; not from a signal handler. Each thread keeps a channel for its replies until it ends: two descriptors.
 *
 * ```c
 * ps_message *reply;
 * int answer = ps_request("math.double", "21", PS_NUL_TERMINATED, NULL, 1000, &reply);
 * if (answer == 1) {
 *     printf("%.*s\n", (int)reply->data_len, (const char *)reply->data);
 *     ps_message_free(reply);
 * } else {
 *     fprintf(stderr, "%s\n", answer == 0 ? "no reply within a second" : ps_last_error());
 * }
 * ```
 */
int ps_request(const char *topic,
               const void *data,
               size_t len,
               const struct ps_headers *headers,
               int64_t timeout_ms,
               struct ps_message **reply);

/**
 * Publishes a request to the publisher's topic, in its store, and waits for its reply, as `ps_request` does. With
 * `full_timeout_ms` it may last that much longer.
 *
 * Answers 1: a reply; 0: timed out. Errors: as `ps_request`; `PS_ERR_CLOSED` in a forked child. Any thread; not from a
 * signal handler.
 */
int ps_publisher_request(struct ps_publisher *publisher,
                         const void *data,
                         size_t len,
                         const struct ps_headers *headers,
                         int64_t timeout_ms,
                         struct ps_message **reply);

/**
 * Answers a request: publishes to its `response-topic`, in the store that it came from, with its `correlation-id` in place
 * of any in `headers`. The channel that it came from may be closed already.
 *
 * `request`: a message that the library gave or lent, not a copy of its struct. `data`, `len`, `headers`: as for
 * `ps_publish`.
 *
 * Answers how many channels took it; 0 when whoever asked waits no more. Errors: `PS_ERR_INVALID_ARGUMENT`, also when
 * the message asks for no reply; `PS_ERR_INVALID_TOPIC` when it asks for one on what is no topic; those of `ps_publish`.
 * Any thread; not from a signal handler.
 *
 * ```c
 * int measure(const ps_message *request, void *context) {
 *     char text[32];
 *     snprintf(text, sizeof text, "%zu bytes", request->data_len);
 *     (void)context;
 *     return ps_reply(request, text, PS_NUL_TERMINATED, NULL) < 0; // ends the subscription when it fails
 * }
 * ```
 */
int ps_reply(const struct ps_message *request,
             const void *data,
             size_t len,
             const struct ps_headers *headers);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PUBSUB_H */

/** For `ps_store_options options = PS_STORE_OPTIONS_INIT;`: the defaults. */
#define PS_STORE_OPTIONS_INIT {sizeof(ps_store_options), 0, NULL}
/** For `ps_channel_options options = PS_CHANNEL_OPTIONS_INIT;`: the defaults. */
#define PS_CHANNEL_OPTIONS_INIT {sizeof(ps_channel_options), 0, 0, 0, 0, 0, NULL, 0, 0, 0, 0}
/** For `ps_publisher_options options = PS_PUBLISHER_OPTIONS_INIT;`: the defaults. */
#define PS_PUBLISHER_OPTIONS_INIT {sizeof(ps_publisher_options), 0, NULL}
/** For `ps_topic_options options = PS_TOPIC_OPTIONS_INIT;`: the defaults. */
#define PS_TOPIC_OPTIONS_INIT {sizeof(ps_topic_options), 0, 0, 0, NULL}
