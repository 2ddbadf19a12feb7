package pubsub

import (
	"context"
	"errors"
)

// How many messages a stream may be ahead of its reader.
const streamed = 64

// stream is what Messages makes.
type stream struct {
	ctx context.Context
	// On their way to the reader, who may go away when the context is done: what is in it then goes to whoever comes first,
	// so that nobody gets a later message before them.
	messages chan Message
	// Then the one for which there was no room. Guarded by the channel's lock, as the list of streams is.
	behind *Message
	// Closed when no more come.
	over chan struct{}
}

// Messages is a stream of the channel's messages, for range and select. It ends when the context is done, the channel is
// closed, or receiving fails: then Err says why. Before its end come those that it had ready, up to 64.
//
// Its goroutine runs until then: a program that stops reading cancels the context. Whoever receives from the channel
// next gets what the stream had ready, and then what is new: nothing is lost, and the order stays.
func (c *Channel) Messages(ctx context.Context) <-chan Message {
	s := &stream{ctx: ctx, messages: make(chan Message, streamed), over: make(chan struct{})}
	c.mu.Lock()
	c.forget()
	if c.handle != 0 {
		c.streams = append(c.streams, s)
	}
	c.mu.Unlock()
	go c.stream(s)
	return s.messages
}

// Err is the error that ended a stream of Messages; nil when that was its context or Close.
func (c *Channel) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

func (c *Channel) stream(s *stream) {
	err := c.pass(s)
	c.mu.Lock()
	defer c.mu.Unlock()
	close(s.messages)
	close(s.over)
	if err != nil && !errors.Is(err, ErrClosed) {
		c.failed = err
	}
	c.forget()
	if c.bell != nil {
		_ = c.bell.file.SetReadDeadline(past) // wakes who waits on it: there may be messages that the reader left
	}
}

// pass passes messages on until the stream is over; nil when that is by its context.
func (c *Channel) pass(s *stream) error {
	for {
		var message Message
		if err := c.receiveOne(s.ctx, s, &message); err != nil {
			if s.ctx.Err() != nil {
				err = nil
			}
			return err
		}
		select {
		case s.messages <- message: // mostly there is room, and to look at three channels costs more
			continue
		default:
		}
		select {
		case s.messages <- message:
		case <-s.ctx.Done():
			left := message // not itself: every message would be allocated
			c.mu.Lock()
			s.behind = &left
			c.mu.Unlock()
			return nil
		case <-c.done:
			return nil
		}
	}
}

// isOver is whether no more messages come.
func (s *stream) isOver() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// len is how many messages it holds. For those who hold the lock.
func (s *stream) len() int {
	if s.behind != nil {
		return len(s.messages) + 1
	}
	return len(s.messages)
}

// forget forgets the streams that are over and hold nothing, or what is their reader's alone. For those who hold the lock.
func (c *Channel) forget() {
	kept := c.streams[:0]
	for _, s := range c.streams {
		if !s.isOver() || s.ctx.Err() != nil && s.len() > 0 {
			kept = append(kept, s)
		}
	}
	for i := len(kept); i < len(c.streams); i++ {
		c.streams[i] = nil
	}
	c.streams = kept
}

// takeLeft takes the next of the messages that streams left, if there is one. A stream whose context is done is about to
// leave what it holds: that it is over is waited for, a moment, without the lock. For those who hold it; `own` is the stream
// whose goroutine this is, if any.
func (c *Channel) takeLeft(ctx context.Context, own *stream, message *Message) (bool, error) {
	// The youngest first: what it holds it may have taken of what those before it left.
	for i := len(c.streams) - 1; i >= 0; {
		s := c.streams[i]
		switch {
		case s == own || s.ctx.Err() == nil:
			i--
		case s.isOver():
			if left, ok := <-s.messages; ok {
				*message = left
				return true, nil
			}
			if s.behind != nil {
				*message, s.behind = *s.behind, nil
				return true, nil
			}
			c.forget()
			i = len(c.streams) - 1
		default:
			c.mu.Unlock()
			select {
			case <-s.over:
			case <-ctx.Done(): // of another stream that is over, too: neither waits for the other
			}
			c.mu.Lock()
			if err := ctx.Err(); err != nil {
				return false, err
			}
			i = len(c.streams) - 1
		}
	}
	return false, nil
}

// anything is whether there is a message, which another may take before us. For those who hold the lock.
func (c *Channel) anything() (bool, error) {
	for _, s := range c.streams {
		if s.isOver() && s.len() > 0 {
			return true, nil
		}
	}
	return c.fill()
}
