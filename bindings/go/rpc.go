package pubsub

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"os"
	"strconv"
	"sync"
)

// The headers of a request, formix-pubsub's: where its reply is to go, and how it is to be marked.
const (
	responseTopic = "response-topic"
	correlationID = "correlation-id"
)

// Request publishes a request to a topic of the default store, and waits for its reply until the context is done. The request
// carries the headers response-topic and correlation-id, in place of any by these names; whoever receives it answers with
// Message.Reply, or as formix-pubsub's documentation shows. When several do, the first reply is it. What comes when
// nobody waits any more is dropped.
//
// All requests that are under way share one channel. It closes with the last of them: a Publisher keeps it, and is faster.
//
// Errors: the context's, as it is (a deadline that passes is context.DeadlineExceeded); ErrNotFound, at once, when nobody
// listens on the topic; those of Publish and Open. Any goroutine; waiting costs no OS thread.
func Request(ctx context.Context, topic string, data []byte, headers ...Header) (Message, error) {
	if err := ctx.Err(); err != nil {
		return Message{}, err
	}
	in, err := enter("")
	if err != nil {
		return Message{}, err
	}
	defer in.leave()
	return in.ask(ctx, topic, headers, func(marked []Header) (Receipt, error) {
		return Publish(topic, data, marked...)
	})
}

// Request publishes a request to the publisher's topic, in its store, and waits for its reply, as the function Request does.
// The channel for replies stays open until the publisher is closed. ErrClosed after Close, which ends no request that is
// under way.
func (p *Publisher) Request(ctx context.Context, data []byte, headers ...Header) (Message, error) {
	if err := ctx.Err(); err != nil {
		return Message{}, err
	}
	in, err := p.enter()
	if err != nil {
		return Message{}, err
	}
	defer in.leave()
	return in.ask(ctx, p.topic, headers, func(marked []Header) (Receipt, error) {
		return p.Publish(data, marked...)
	})
}

// enter is the inbox for a request, which the publisher keeps besides.
func (p *Publisher) enter() (*inbox, error) {
	in, err := enter(p.home)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isClosed {
		in.leave()
		return nil, p.closed()
	}
	if p.inbox != in {
		p.leave()
		in.stay()
		p.inbox = in
	}
	return in, nil
}

// leave gives up the inbox that the publisher keeps. For those who hold the lock.
func (p *Publisher) leave() {
	if p.inbox != nil {
		p.inbox.leave()
		p.inbox = nil
	}
}

// Reply answers a request: it publishes to its response-topic, in the store that it came from, with its correlation-id in
// place of any in headers. The Receipt says how many channels took it: none when whoever asked waits no more.
//
// Errors: ErrInvalidArgument when the message asks for no reply; ErrInvalidTopic when it asks for one on what is no topic;
// those of Publish. Any goroutine, any time.
func (m *Message) Reply(data []byte, headers ...Header) (Receipt, error) {
	asked := m.Headers()
	value, there := asked.Get(responseTopic)
	topic, text := value.(string)
	if !text {
		what := "has no header"
		if there {
			what = "has no text in its header"
		}
		return Receipt{}, errorf(ErrInvalidArgument, "the message on '%s' asks for no reply: it %s '%s'", m.Topic, what,
			responseTopic)
	}
	// Of two headers of a name, the later counts. The caller's slice stays as it is.
	marked := headers[:len(headers):len(headers)]
	if id, ok := asked.Get(correlationID); ok {
		marked = append(marked, Header{correlationID, id})
	}
	if m.home == "" {
		return Publish(topic, data, marked...)
	}
	p, err := NewPublisher(topic, WithHome(m.home))
	if err != nil {
		return Receipt{}, err
	}
	defer p.Close()
	return p.Publish(data, marked...)
}

// inbox is a channel for replies, shared by all requests of a store. It closes when nobody is in it: a Go program gets no
// chance to when it exits.
type inbox struct {
	home string
	// Of the channel, random; the correlation ids begin with it.
	name    string
	channel *Channel

	mu      sync.Mutex
	users   int
	retired bool // nobody enters any more
	asked   uint64
	waiting map[string]chan<- answer
}

type answer struct {
	message Message
	err     error
}

// The inboxes that can be entered, by store. Its lock is taken before an inbox's.
var inboxes = struct {
	sync.Mutex
	of map[string]*inbox
}{of: map[string]*inbox{}}

// enter is the inbox of a store, open until the caller leaves it.
func enter(home string) (*inbox, error) {
	inboxes.Lock()
	defer inboxes.Unlock()
	if in := inboxes.of[home]; in != nil {
		// Somebody may have deleted it, alone or with the store. Its goroutine notices that, too, but only within a second.
		if _, err := os.Lstat(in.channel.path); err == nil && in.stay() {
			return in, nil
		}
		delete(inboxes.of, home)
	}
	var random [12]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, errorf(ErrIO, "no random name for a channel: %v", err)
	}
	name := hex.EncodeToString(random[:])
	// It rejects when it is full, as it may be with large replies for a moment: dropping the oldest would lose replies
	// that are waited for, and whoever replies is told. Those that nobody waits for do not stay in it.
	channel, err := Open("reply."+name, WithHome(home))
	if err != nil {
		return nil, err
	}
	in := &inbox{home: home, name: name, channel: channel, users: 1, waiting: map[string]chan<- answer{}}
	inboxes.of[home] = in
	go in.dispatch()
	return in, nil
}

// stay enters an inbox once more; false when it is closed.
func (in *inbox) stay() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.retired {
		return false
	}
	in.users++
	return true
}

func (in *inbox) leave() {
	inboxes.Lock()
	in.mu.Lock()
	in.users--
	last := in.users == 0
	if last {
		in.retired = true
		if inboxes.of[in.home] == in {
			delete(inboxes.of, in.home)
		}
	}
	in.mu.Unlock()
	inboxes.Unlock()
	if last {
		// An error means that its directory is not removed; there is nobody whom it would help to know.
		_ = in.channel.Close()
	}
}

// dispatch hands out replies, until the channel is closed or fails.
func (in *inbox) dispatch() {
	for {
		message, err := in.channel.Receive(context.Background())
		in.mu.Lock()
		if err != nil {
			in.retired = true
			for id, waiting := range in.waiting {
				delete(in.waiting, id)
				waiting <- answer{err: err}
			}
			in.mu.Unlock()
			return
		}
		id, _ := message.Headers().String(correlationID)
		if waiting, ok := in.waiting[id]; ok {
			delete(in.waiting, id)
			waiting <- answer{message: message}
		}
		in.mu.Unlock()
	}
}

// ask publishes a request by send, and waits for its reply.
func (in *inbox) ask(ctx context.Context, topic string, headers []Header,
	send func(marked []Header) (Receipt, error)) (Message, error) {
	// One answer at most, so that who brings it never waits.
	reply := make(chan answer, 1)
	in.mu.Lock()
	in.asked++
	id := in.name + "-" + strconv.FormatUint(in.asked, 10)
	in.waiting[id] = reply
	in.mu.Unlock()
	defer func() {
		in.mu.Lock()
		delete(in.waiting, id)
		in.mu.Unlock()
	}()
	marked := append(headers[:len(headers):len(headers)], String(responseTopic, in.channel.topic), String(correlationID, id))
	receipt, err := send(marked)
	if err != nil {
		return Message{}, err
	}
	if receipt.Delivered == 0 {
		return Message{}, errorf(ErrNotFound, "nobody listens on '%s': no channel matches it; start who answers first", topic)
	}
	select {
	case answer := <-reply:
		return answer.message, answer.err
	case <-ctx.Done():
		return Message{}, ctx.Err()
	}
}
