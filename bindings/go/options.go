package pubsub

// #include "shim.h"
import "C"

import (
	"math"
	"path/filepath"
	"time"
)

// Transport is how messages travel to a channel.
type Transport uint32

const (
	// TransportDefault is what the environment's PUBSUB_TRANSPORT says ("ring" or "files"), else the ring.
	TransportDefault Transport = C.PS_TRANSPORT_DEFAULT
	// TransportRing is shared memory.
	TransportRing Transport = C.PS_TRANSPORT_RING
	// TransportFiles is a file for each message and a FIFO, as formix-pubsub does it.
	TransportFiles Transport = C.PS_TRANSPORT_FILES
)

// String is the transport's name.
func (t Transport) String() string {
	switch t {
	case TransportDefault:
		return "default"
	case TransportRing:
		return "ring"
	case TransportFiles:
		return "files"
	}
	return "unknown"
}

// Option changes how Open opens a channel.
type Option interface {
	toChannel(*channelOptions)
}

// PublisherOption changes how NewPublisher opens a publisher.
type PublisherOption interface {
	toPublisher(*publisherOptions)
}

type channelOptions struct {
	home                            string
	policy                          uint32
	transport                       Transport
	capacityBytes, capacityMessages uint64
	replayLast                      uint32
	resume                          bool
	resumeEpoch, resumeOffset       uint64
}

type publisherOptions struct {
	home        string
	fullTimeout time.Duration
}

type channelOption func(*channelOptions)

func (o channelOption) toChannel(options *channelOptions) { o(options) }

type publisherOption func(*publisherOptions)

func (o publisherOption) toPublisher(options *publisherOptions) { o(options) }

// HomeOption is an option of channels and of publishers: see WithHome.
type HomeOption string

func (o HomeOption) toChannel(options *channelOptions) { options.home = string(o) }

func (o HomeOption) toPublisher(options *publisherOptions) { options.home = string(o) }

// WithHome uses the store in this directory instead of the default one.
func WithHome(directory string) HomeOption { return HomeOption(directory) }

// absolute is a store's path whatever the working directory will be; "" stays the default one.
func absolute(home string) (string, error) {
	if home == "" {
		return "", nil
	}
	path, err := filepath.Abs(home)
	if err != nil {
		return "", errorf(ErrIO, "finding the store %q: %v", home, err)
	}
	return path, nil
}

// WithTransport chooses how messages travel to the channel.
func WithTransport(transport Transport) Option {
	return channelOption(func(o *channelOptions) { o.transport = transport })
}

// WithCapacity bounds the unread messages and their bytes; 0 is the default, 16384 messages and 64 MiB. A message larger
// than the bound of bytes is taken only into an empty queue. Some messages (64 KiB of them, or a single larger one) leave
// the queue before Receive returns them.
func WithCapacity(messages, bytes uint64) Option {
	return channelOption(func(o *channelOptions) { o.capacityMessages, o.capacityBytes = messages, bytes })
}

// WithDropOldest makes a full channel drop its oldest messages to make room, rather than refuse new ones:
// Message.DroppedBefore tells how many.
func WithDropOldest() Option {
	return channelOption(func(o *channelOptions) { o.policy = C.PS_FULL_DROP_OLDEST })
}

// WithReplayLast begins with the last n messages of each managed topic that matches, oldest first; then everything newer,
// without a gap and none twice.
func WithReplayLast(n uint32) Option {
	return channelOption(func(o *channelOptions) { o.replayLast = n })
}

// WithResume begins behind the message that has this Epoch and Offset, on a managed topic without wildcards, with everything
// that its history has from there on, then what is new. What it does not have any more is told by DroppedBefore of the first
// message, or by another Epoch: the topic was deleted and created again, and this begins with all that it has. Offset 0 is
// before the first.
func WithResume(epoch, offset uint64) Option {
	return channelOption(func(o *channelOptions) { o.resume, o.resumeEpoch, o.resumeOffset = true, epoch, offset })
}

// WithFullTimeout makes a publish wait this long for room in channels that are full and reject; rounded up to
// milliseconds, 49 days at most. Meanwhile it holds an OS thread. Without it, and for 0, a publish never waits; less is
// ErrInvalidArgument.
func WithFullTimeout(timeout time.Duration) PublisherOption {
	return publisherOption(func(o *publisherOptions) { o.fullTimeout = timeout })
}

// milliseconds is how long to wait for room, as the library counts.
func (o *publisherOptions) milliseconds() (uint32, error) {
	switch {
	case o.fullTimeout < 0:
		return 0, errorf(ErrInvalidArgument, "a publisher cannot wait %v for room; WithFullTimeout is 0 (not at all) or more",
			o.fullTimeout)
	case o.fullTimeout > math.MaxUint32*time.Millisecond:
		return math.MaxUint32, nil
	}
	return uint32((o.fullTimeout + time.Millisecond - 1) / time.Millisecond), nil
}
