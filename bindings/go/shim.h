/* The C side of the Go package: one function for each crossing. */
#ifndef PUBSUB_GO_SHIM_H
#define PUBSUB_GO_SHIM_H

#include <pubsub.h>

/* An answer whole: a goroutine may change threads between two C calls, and the library keeps errors by thread. By value,
 * so that no call needs Go memory for it. */
typedef struct psgo_result {
    int64_t value; /* as the library answered */
    uint64_t more; /* bytes used or needed (fetch), a handle (open) */
    char *text;    /* for a negative value: the library's sentence, to be freed; NULL when memory is short */
} psgo_result;

/* An answer to one publish. It fits into two registers: what a larger one takes through memory is a tenth of the crossing. */
typedef struct psgo_published {
    int32_t delivered; /* how many channels took it, or an error */
    uint32_t rejected; /* how many refused it */
    char *text;        /* as in psgo_result */
} psgo_published;

/* Handles as numbers: cgo allocates, at each call, for a pointer to a type that the header does not define. */
typedef uintptr_t psgo_channel;
typedef uintptr_t psgo_publisher;

/* Where Go's memory is handed over, pointers are typed: for a `void *`, cgo looks through all of the object that it points
 * into, refuses contents that lie beside Go pointers, and allocates. */

typedef struct psgo_header {
    const char *key;
    size_t key_len;
    ps_header_value value;
} psgo_header;

psgo_result psgo_store_create(const char *home, uint32_t mode, const char *group);
psgo_result psgo_cleanup(const char *home);
psgo_result psgo_list(const char *home, ps_channel_stats ***list);

/* `more`: the handle. */
psgo_result psgo_channel_open(const char *pattern, const char *home, uint32_t policy, uint32_t transport,
                              uint64_t capacity_bytes, uint64_t capacity_messages, uint32_t replay_last, bool resume,
                              uint64_t resume_epoch, uint64_t resume_offset);
const char *psgo_channel_path(psgo_channel channel);
psgo_result psgo_channel_close(psgo_channel channel);
/* A duplicate of the channel's descriptor, closed on exec; the caller's. */
psgo_result psgo_channel_wait_fd(psgo_channel channel);
psgo_result psgo_channel_stats(psgo_channel channel, ps_channel_stats *stats);
/* Never waits. `more`: the bytes used, or for PS_ERR_TOO_LARGE those needed, 0 if that is unknown. */
psgo_result psgo_fetch(psgo_channel channel, uint64_t *buffer, size_t size);
/* Leaves the processor to other processes for that long. */
void psgo_nap(uint64_t ns);

/* `value`: how many headers. */
psgo_result psgo_headers_parse(const char *json, size_t len, ps_headers **headers);
void psgo_headers_fill(const ps_headers *headers, psgo_header *items, size_t count);

psgo_published psgo_publish(const char *topic, const uint8_t *data, size_t len, const char *json, size_t json_len);
/* `more`: the handle, good until it is freed. Closed, it answers PS_ERR_CLOSED without a text. */
psgo_result psgo_publisher_open(const char *topic, const char *home, uint32_t full_timeout_ms);
psgo_published psgo_publisher_publish(psgo_publisher publisher, const uint8_t *data, size_t len);
/* The same with headers: each argument costs those that have none. */
psgo_published psgo_publisher_publish_with(psgo_publisher publisher, const uint8_t *data, size_t len, const char *json,
                                        size_t json_len);
psgo_result psgo_publisher_packed(psgo_publisher publisher, const uint8_t *data, const uint32_t *lengths, size_t count,
                                  const char *json, size_t json_len);
/* Whether it is closed now: while threads publish by it, it is not, but no other begins to. One thread at a time. */
bool psgo_publisher_close(psgo_publisher publisher);
/* Once it is closed, and nobody has it any more. */
void psgo_publisher_free(psgo_publisher publisher);

psgo_result psgo_topic_create(const char *topic, uint32_t messages, uint64_t bytes, int64_t ttl_ms, const char *home);
psgo_result psgo_topic_delete(const char *topic, const char *home);
psgo_result psgo_topic_list(const char *home, ps_topic_stats ***list);
psgo_result psgo_topic_history(const char *topic, const char *home, uint32_t last, ps_message ***messages);

#endif
