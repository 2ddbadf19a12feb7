package pubsub

// #include "shim.h"
import "C"

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Channel is the receiving end: one subscription with a queue of its own. Any goroutine may use it, several at once; each
// message goes to one of them. Close it; one that is forgotten is closed when the garbage collector finds it, which it
// does not while a goroutine of Messages runs.
//
// Behind the first message, more are taken from the queue in the same crossing into the library, up to 64 KiB: what a
// program that ends has not received of these is gone, as it would be from the queue.
type Channel struct {
	topic, path string
	// Closed by Close.
	done chan struct{}
	// Held by the one goroutine that waits for messages; the others wait for it. It owns nap.
	turn chan struct{}
	nap  time.Duration

	// Guards what follows, and makes the library's calls on the handle one at a time. Nobody waits for messages in it.
	mu     sync.Mutex
	handle C.psgo_channel // 0: closed
	bell   *bell          // nil until somebody waits
	queue  queue
	// Those that run, and those that left messages: earlier ones than the queue's.
	streams []*stream
	failed  error // what ended a stream of Messages
}

// bell is the channel's descriptor, known to the runtime's poller.
type bell struct {
	file *os.File
	raw  syscall.RawConn
}

// How often a waiting receiver looks although nothing woke it. Messages wake it; a channel whose directory was deleted by
// somebody does not.
const relook = time.Second

// For how long a receiver looks again and again before it waits on the poller, where messages came just before: a publisher
// that is at work is worth waiting for, since waking a sleeper costs it a system call and the sleeper some twenty
// microseconds.
const lingering = 30 * time.Microsecond

// Between two looks, of which each asks publishers to wake us when it finds nothing: the longer, the more messages one brings.
const (
	shortNap = time.Microsecond
	longNap  = 4 * time.Microsecond
)

var past = time.Unix(1, 0)

// Open opens a channel on a topic or pattern: it receives what is published to matching topics from now on, whoever
// publishes, formix-pubsub included.
//
// pattern is words of [a-zA-Z0-9-] between dots, at most 200 bytes; `=` stands for one word or a part of it, `+` for one
// or more words (logs.=.error, logs.+).
//
// Errors: ErrInvalidTopic; ErrUnsupported for a ring where memory cannot be shared (a network file system, say);
// ErrPermission, ErrStoreFull or ErrIO for the store; with WithResume ErrNotFound when the topic is not managed,
// ErrInvalidArgument for wildcards.
func Open(pattern string, options ...Option) (*Channel, error) {
	var chosen channelOptions
	for _, option := range options {
		if option != nil {
			option.toChannel(&chosen)
		}
	}
	topic, err := terminated(ErrInvalidTopic, "pattern", pattern)
	if err != nil {
		return nil, err
	}
	if chosen.home, err = absolute(chosen.home); err != nil {
		return nil, err
	}
	home, err := optional("store's path", chosen.home)
	if err != nil {
		return nil, err
	}
	result := C.psgo_channel_open(chars(topic), chars(home), C.uint32_t(chosen.policy), C.uint32_t(chosen.transport),
		C.uint64_t(chosen.capacityBytes), C.uint64_t(chosen.capacityMessages), C.uint32_t(chosen.replayLast),
		C.bool(chosen.resume), C.uint64_t(chosen.resumeEpoch), C.uint64_t(chosen.resumeOffset))
	if err := failure(result); err != nil {
		return nil, err
	}
	handle := C.psgo_channel(result.more)
	c := &Channel{
		topic:  pattern,
		path:   C.GoString(C.psgo_channel_path(handle)),
		done:   make(chan struct{}),
		turn:   make(chan struct{}, 1),
		nap:    shortNap,
		handle: handle,
		queue:  queue{home: chosen.home},
	}
	// A net: removing a channel's files takes a while, and finalizers share one goroutine.
	runtime.SetFinalizer(c, func(c *Channel) { go c.Close() })
	return c, nil
}

// Topic is the topic or pattern that it was opened with.
func (c *Channel) Topic() string { return c.topic }

// Path is its directory.
func (c *Channel) Path() string { return c.path }

// Close closes the channel: what is unread is gone, and goroutines that wait for messages get ErrClosed. Closing twice does
// nothing.
//
// Errors: ErrPermission or ErrIO when its directory cannot be removed; it is closed all the same.
func (c *Channel) Close() error {
	c.mu.Lock()
	handle, bell := c.handle, c.bell
	c.handle, c.bell, c.queue, c.streams = 0, nil, queue{}, nil
	c.mu.Unlock()
	if handle == 0 {
		return nil
	}
	runtime.SetFinalizer(c, nil)
	close(c.done)
	if bell != nil {
		// Wakes who waits on it, and waits until it has gone: it needs the lock for that.
		bell.file.Close()
	}
	return failure(C.psgo_channel_close(handle))
}

func (c *Channel) closed() error {
	return errorf(ErrClosed, "the channel on '%s' is closed", c.topic)
}

// Stats is the channel's counters and bounds, now.
func (c *Channel) Stats() (Stats, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handle == 0 {
		return Stats{}, c.closed()
	}
	var found C.ps_channel_stats
	if err := failure(C.psgo_channel_stats(c.handle, &found)); err != nil {
		return Stats{}, err
	}
	stats := newStats(&found)
	stats.Prefetched = c.queue.left
	for _, s := range c.streams {
		stats.Prefetched += s.len()
	}
	return stats, nil
}

// Receive returns the next message; waits for one until the context is done. Waiting costs no OS thread.
//
// Errors: the context's, as it is; ErrClosed, also when the channel is closed meanwhile; ErrCorrupt when somebody deleted
// its directory; ErrTooLarge when memory for the message cannot be had; ErrIO.
func (c *Channel) Receive(ctx context.Context) (message Message, err error) {
	err = c.receiveOne(ctx, nil, &message)
	return
}

// receiveOne is Receive, for the reader of `own` if there is one.
func (c *Channel) receiveOne(ctx context.Context, own *stream, message *Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for {
		if ok, err := c.takeOne(ctx, own, message); ok || err != nil {
			return err
		}
		if err := c.wait(ctx); err != nil {
			return err
		}
	}
}

// TryReceive returns the next message, and whether there was one. It never waits.
func (c *Channel) TryReceive() (message Message, ok bool, err error) {
	ok, err = c.takeOne(context.Background(), nil, &message)
	return
}

// takeOne takes the next message, if there is one. The context is for the moment that a stream may take to end.
func (c *Channel) takeOne(ctx context.Context, own *stream, message *Message) (ok bool, err error) {
	c.mu.Lock()
	if len(c.streams) > 0 {
		ok, err = c.takeLeft(ctx, own, message)
	}
	if !ok && err == nil {
		if ok, err = c.fill(); ok {
			c.queue.next(message)
		}
	}
	c.mu.Unlock() // no defer: nothing here panics, and most messages come this way
	return ok, err
}

// ReceiveBatch fills messages with what is there, and answers how many: it waits for the first as Receive does, not for
// the rest. An error comes with none.
func (c *Channel) ReceiveBatch(ctx context.Context, messages []Message) (int, error) {
	if len(messages) == 0 {
		return 0, nil
	}
	return c.receive(ctx, messages)
}

func (c *Channel) receive(ctx context.Context, messages []Message) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	for {
		if count, err := c.take(ctx, messages); count > 0 || err != nil {
			return count, err
		}
		if err := c.wait(ctx); err != nil {
			return 0, err
		}
	}
}

// take fills messages with what is there. An error comes with none.
func (c *Channel) take(ctx context.Context, messages []Message) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for count := range messages {
		var ok bool
		var err error
		if len(c.streams) > 0 {
			if ok, err = c.takeLeft(ctx, nil, &messages[count]); ok {
				continue
			}
		}
		if err == nil {
			ok, err = c.fill()
		}
		if !ok {
			if count > 0 {
				err = nil // left to the next call
			}
			return count, err
		}
		c.queue.next(&messages[count])
	}
	return len(messages), nil
}

// fill makes sure that the queue holds a message; false when there is none. For those who hold the lock.
func (c *Channel) fill() (bool, error) {
	if c.handle == 0 {
		return false, c.closed()
	}
	for {
		for c.queue.ready() {
			if c.queue.known() {
				return true, nil
			}
			c.queue.next(new(Message))
		}
		if ok, err := c.queue.fetch(c.handle); !ok {
			return false, err
		}
	}
}

// wait returns when there may be a message.
func (c *Channel) wait(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return ctx.Err()
	case <-c.done:
		return c.closed()
	}
	if ready, err := c.linger(); ready || err != nil {
		return err
	}
	bell, err := c.ring()
	if err != nil {
		return err
	}
	if ctx.Done() != nil {
		over := make(chan struct{})
		defer close(over)
		go func() {
			select {
			case <-ctx.Done():
				// Should this wait be over just now, the next one looks once more than it must.
				_ = bell.file.SetReadDeadline(past)
			case <-over:
			}
		}()
	}
	for {
		// The deadline before the checks: who sets it to the past after them wakes us, and who did before them is seen.
		_ = bell.file.SetReadDeadline(time.Now().Add(relook))
		if err := ctx.Err(); err != nil {
			return err
		}
		var ready bool
		var failed error
		// The poller tells of changes, so look after it began to watch and before waiting. The descriptor itself is
		// never read.
		err := bell.raw.Read(func(uintptr) bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			ready, failed = c.anything()
			return ready || failed != nil
		})
		switch {
		case ready || failed != nil:
			return failed
		case errors.Is(err, os.ErrDeadlineExceeded):
			// The loop finds out why. A stream that left messages wakes us as well.
			if ready, failed := c.look(); ready || failed != nil {
				return failed
			}
		case err != nil:
			if _, failed := c.look(); failed != nil {
				return failed // closed: what the poller says then is not for users
			}
			return errorf(ErrIO, "waiting on the channel on '%s': %v", c.topic, err)
		}
	}
}

// linger waits a moment for a message where some came just before; whether there is one. For who has the turn.
func (c *Channel) linger() (bool, error) {
	c.mu.Lock()
	flows := c.queue.flows
	c.mu.Unlock()
	if !flows {
		return false, nil
	}
	began := time.Now()
	for time.Since(began) < lingering {
		// Not runtime.Gosched: with nothing else to run, that has the runtime look for work on every other processor, and
		// the publisher needs one.
		C.psgo_nap(C.uint64_t(c.nap))
		c.mu.Lock()
		ready, err := c.anything()
		several := c.queue.left > 1
		c.queue.flows = ready
		c.mu.Unlock()
		if several && c.nap < longNap {
			c.nap *= 2
		} else if !several && c.nap > shortNap {
			c.nap /= 2
		}
		if ready || err != nil {
			return ready, err
		}
	}
	return false, nil
}

func (c *Channel) look() (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.anything()
}

// ring is the descriptor to wait on. Made when somebody first waits: from then on publishers pay for wake-ups.
func (c *Channel) ring() (*bell, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handle == 0 {
		return nil, c.closed()
	}
	if c.bell != nil {
		return c.bell, nil
	}
	// A duplicate, for the file closes its descriptor. It does not block, so the poller takes it.
	result := C.psgo_channel_wait_fd(c.handle)
	if err := failure(result); err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(result.value), c.path)
	raw, err := file.SyscallConn()
	if err == nil {
		// Without the poller there are no deadlines: better an error now than a wait that nothing ends.
		err = file.SetReadDeadline(time.Time{})
	}
	if err != nil {
		file.Close()
		return nil, errorf(ErrIO, "the runtime's poller does not take the descriptor of the channel on '%s': %v", c.topic,
			err)
	}
	c.bell = &bell{file, raw}
	return c.bell, nil
}
