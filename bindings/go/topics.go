package pubsub

// #include "shim.h"
import "C"

import (
	"math"
	"time"
	"unsafe"
)

// TopicOptions says what a managed topic keeps. The zero value keeps the last 100 messages.
type TopicOptions struct {
	// HistoryMessages is the most messages kept; 0: 100.
	HistoryMessages uint32
	// HistoryBytes is the most bytes kept; 0: 64 MiB. A message larger than that is kept alone.
	HistoryBytes uint64
	// HistoryTTL is the age from which on a message is never returned, rounded up to milliseconds; 0: no limit.
	HistoryTTL time.Duration
	// Home is the store's directory; "" is the default store.
	Home string
}

// TopicStats is a managed topic at one moment.
type TopicStats struct {
	// Topic is its name.
	Topic string
	// Subscribers is how many live channels match it, wildcards included.
	Subscribers uint64
	// MessagesPublished is how many messages entered its history since it was created.
	MessagesPublished uint64
	// MessagesInHistory and BytesInHistory are in its history now.
	MessagesInHistory, BytesInHistory uint64
	// Epoch tells this history from those of topics of the same name that were deleted before.
	Epoch uint64
	// NextOffset is the offset that the next message gets; the first one is 1.
	NextOffset uint64
	// Created is when it was created.
	Created time.Time
}

// CreateTopic makes a topic that keeps a history: of what is published to it from now on, by every libpubsub program.
// Messages of formix-pubsub programs enter it while the command `pubsub topics keep` runs. Channels begin with what it has
// kept by WithReplayLast, or where another one stopped by WithResume.
//
// Errors: ErrExists when it is managed already; ErrInvalidTopic; ErrInvalidArgument for bounds that no history can have;
// ErrUnsupported where the processor cannot do it; ErrStoreFull, ErrPermission, ErrIO.
func CreateTopic(topic string, options TopicOptions) error {
	name, home, err := topicAndHome(topic, options.Home)
	if err != nil {
		return err
	}
	if options.HistoryTTL < 0 {
		return errorf(ErrInvalidArgument, "the topic '%s' cannot keep messages for %v; HistoryTTL is 0 (no limit of age) or more",
			topic, options.HistoryTTL)
	}
	ttl := options.HistoryTTL / time.Millisecond
	if options.HistoryTTL%time.Millisecond > 0 {
		ttl++
	}
	return failure(C.psgo_topic_create(chars(name), C.uint32_t(options.HistoryMessages), C.uint64_t(options.HistoryBytes),
		C.int64_t(ttl), chars(home)))
}

// DeleteTopic deletes a managed topic and its history. Channels on exactly that topic (not those whose wildcards match)
// receive a message of KindTopicDeleted. Publishing to the topic goes on as to any other. home "" is the default store.
//
// Errors: ErrNotFound when it is not managed; ErrInvalidTopic; ErrPermission, ErrIO.
func DeleteTopic(topic, home string) error {
	name, directory, err := topicAndHome(topic, home)
	if err != nil {
		return err
	}
	return failure(C.psgo_topic_delete(chars(name), chars(directory)))
}

// Topics describes the managed topics of a store, sorted by name; those whose histories are damaged are left out. home ""
// is the default store.
func Topics(home string) ([]TopicStats, error) {
	directory, err := optional("store's path", home)
	if err != nil {
		return nil, err
	}
	var list **C.ps_topic_stats
	result := C.psgo_topic_list(chars(directory), &list)
	if err := failure(result); err != nil || list == nil {
		return nil, err
	}
	defer C.ps_topic_list_free(list, C.size_t(result.value))
	topics := make([]TopicStats, 0, int(result.value))
	for _, from := range unsafe.Slice(list, int(result.value)) {
		topics = append(topics, TopicStats{
			Topic:             C.GoString(from.topic),
			Subscribers:       uint64(from.subscribers),
			MessagesPublished: uint64(from.messages_published),
			MessagesInHistory: uint64(from.messages_in_history),
			BytesInHistory:    uint64(from.bytes_in_history),
			Epoch:             uint64(from.epoch),
			NextOffset:        uint64(from.next_offset),
			Created:           time.UnixMicro(int64(from.created_us)),
		})
	}
	return topics, nil
}

// WholeHistory is for TopicHistory: all that there is.
const WholeHistory = math.MaxUint32

// TopicHistory is the last messages of a managed topic, at most `last`, oldest first. Nobody's queue is touched. home "" is
// the default store.
//
// Errors: ErrNotFound when it is not managed; ErrCorrupt when its history is damaged; ErrTooLarge when memory is short;
// ErrInvalidTopic; ErrPermission, ErrIO.
func TopicHistory(topic, home string, last uint32) ([]Message, error) {
	name, directory, err := topicAndHome(topic, home)
	if err != nil {
		return nil, err
	}
	if home, err = absolute(home); err != nil {
		return nil, err
	}
	var list **C.ps_message
	result := C.psgo_topic_history(chars(name), chars(directory), C.uint32_t(last), &list)
	if err := failure(result); err != nil || list == nil {
		return nil, err
	}
	defer C.ps_message_list_free(list, C.size_t(result.value))
	messages := make([]Message, 0, int(result.value))
	for _, from := range unsafe.Slice(list, int(result.value)) {
		if kind := Kind(from.kind); kind.known() {
			messages = append(messages, Message{
				ID:            uint64(from.id),
				TimestampUS:   int64(from.timestamp_us),
				Topic:         text(from.topic, from.topic_len),
				Data:          append([]byte{}, unsafe.Slice((*byte)(unsafe.Pointer(from.data)), int(from.data_len))...),
				HeadersJSON:   text(from.headers_json, from.headers_json_len),
				DroppedBefore: uint64(from.dropped_before),
				Epoch:         uint64(from.epoch),
				Offset:        uint64(from.offset),
				Kind:          kind,
				home:          home,
			})
		}
	}
	return messages, nil
}

// text is a string of C's of a known length, which may be more than GoStringN takes.
func text(from *C.char, length C.size_t) string {
	return string(unsafe.Slice((*byte)(unsafe.Pointer(from)), int(length)))
}

func topicAndHome(topic, home string) (name, directory []byte, err error) {
	if name, err = terminated(ErrInvalidTopic, "topic", topic); err != nil {
		return nil, nil, err
	}
	if directory, err = optional("store's path", home); err != nil {
		return nil, nil, err
	}
	return name, directory, nil
}
