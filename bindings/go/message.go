package pubsub

// #include "shim.h"
import "C"

import "time"

// Kind is what a Message is.
type Kind uint32

const (
	// KindData is a message that somebody published.
	KindData Kind = C.PS_MESSAGE_DATA
	// KindTopicDeleted tells that the managed topic that the channel is on was deleted: Topic and Epoch say which.
	KindTopicDeleted Kind = C.PS_MESSAGE_TOPIC_DELETED
)

// known is whether it is for users. Later versions of the library may bring others, which are to be ignored.
func (k Kind) known() bool { return k <= KindTopicDeleted }

// String is the kind's name.
func (k Kind) String() string {
	switch k {
	case KindData:
		return "data"
	case KindTopicDeleted:
		return "topic deleted"
	}
	return "unknown"
}

// Message is what was published. It is the receiver's alone: nothing else changes or reuses its Data.
type Message struct {
	// ID is unique in its store, rising along each publisher's messages.
	ID uint64
	// TimestampUS is when it was published: microseconds since the Unix epoch.
	TimestampUS int64
	// Topic is what it was published to.
	Topic string
	// Data is the content. Small messages that were fetched together share memory of 4 KiB, in a flood 16 KiB, which all of
	// them together keep alive; appending to one copies.
	Data []byte
	// HeadersJSON is the headers' text as received, byte for byte; "{}" when there are none.
	HeadersJSON string
	// DroppedBefore is how many messages the channel lost (WithDropOldest) just before this one, or a history did not have
	// any more.
	DroppedBefore uint64
	// Epoch and Offset are the message's place in the history of its managed topic: which history, and where in it, from 1
	// on. Both are 0 for a topic that is not managed.
	Epoch, Offset uint64
	// Kind is KindData, unless the channel is on exactly one managed topic, which was deleted.
	Kind Kind

	home string // the store that it came from, "" for the default one
}

// Time is when it was published.
func (m *Message) Time() time.Time {
	return time.UnixMicro(m.TimestampUS)
}

// Headers parses the headers: keep the answer rather than ask again. None when the message has none, or what it has is no
// JSON object.
func (m *Message) Headers() Headers {
	if m.HeadersJSON == "{}" || m.HeadersJSON == "" {
		return nil
	}
	// By the library's rule, what is no object reads as {}.
	headers, err := ParseHeaders(m.HeadersJSON)
	if err != nil {
		return nil
	}
	return headers
}
