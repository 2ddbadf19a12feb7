package pubsub

import "time"

// Message is what was published. It is the receiver's alone: nothing else changes or reuses its Data.
type Message struct {
	// ID is unique in its store, rising along each publisher's messages.
	ID uint64
	// TimestampUS is when it was published: microseconds since the Unix epoch.
	TimestampUS int64
	// Topic is what it was published to.
	Topic string
	// Data is the content. Small messages that were fetched together share memory of 4 KiB, which all of them together
	// keep alive; appending to one copies.
	Data []byte
	// HeadersJSON is the headers' text as received, byte for byte; "{}" when there are none.
	HeadersJSON string
	// DroppedBefore is how many messages the channel lost (WithDropOldest) just before this one.
	DroppedBefore uint64

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
