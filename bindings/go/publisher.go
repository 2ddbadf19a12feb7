package pubsub

// #include "shim.h"
import "C"

import (
	"runtime"
	"sync"
	"time"
	"unsafe"
)

// Receipt is who took a message.
type Receipt struct {
	// Delivered is how many channels took it; 0, without an error, when none matches.
	Delivered int
	// Rejected is how many matching channels refused it: they were full, or could not be written. When they are the
	// only ones, that is an error as well.
	Rejected int
}

// What C gets the address of where there is nothing.
var nothing [1]byte

// scratches holds the buffers in which texts and batches are put together for C.
var scratches = sync.Pool{New: func() any { return new(scratch) }}

type scratch struct {
	text    []byte
	data    []byte
	lengths []uint32
}

// Kept by the pool: a batch's buffer or the largest headers that are usual.
const scratchKept = 1 << 20

func (s *scratch) free() {
	if cap(s.text) <= scratchKept && cap(s.data) <= scratchKept {
		scratches.Put(s)
	}
}

// Publish publishes one message to a topic of the default store. When it returns, the message is in the store and
// survives this program.
//
// topic is 1 to 200 of [a-zA-Z0-9.-]; data at most 4 GiB - 1, and may be reused afterwards.
//
// Errors: ErrInvalidTopic, ErrInvalidHeaders, ErrTooLarge; and when no channel took it and at least one refused it,
// ErrStoreFull, ErrPermission or ErrIO, else ErrQueueFull. Any goroutine. For many messages to one topic, a Publisher is
// faster, and it can wait for room.
func Publish(topic string, data []byte, headers ...Header) (Receipt, error) {
	s := scratches.Get().(*scratch)
	defer s.free()
	if err := whole(ErrInvalidTopic, "topic", topic); err != nil {
		return Receipt{}, err
	}
	// The topic and its NUL, then the headers.
	s.text = append(append(s.text[:0], topic...), 0)
	start := len(s.text)
	text, err := appendHeaders(s.text, headers)
	if err != nil {
		return Receipt{}, err
	}
	s.text = append(text, 0)
	size := len(data)
	if size == 0 {
		data = nothing[:]
	}
	return receipt(C.psgo_publish((*C.char)(unsafe.Pointer(&s.text[0])), (*C.uint8_t)(&data[0]), C.size_t(size),
		(*C.char)(unsafe.Pointer(&s.text[start])), C.size_t(len(text)-start)))
}

func receipt(published C.psgo_published) (Receipt, error) {
	if published.delivered < 0 {
		return Receipt{Rejected: int(published.rejected)}, failed(ErrorCode(published.delivered), published.text)
	}
	return Receipt{Delivered: int(published.delivered), Rejected: int(published.rejected)}, nil
}

// Publisher is the sending end of one topic. Any goroutine may use it, several at once. Close it; one that is forgotten is
// closed when the garbage collector finds it.
type Publisher struct {
	topic  string
	home   string           // "": the default store
	handle C.psgo_publisher // told of Close; freed when nothing refers to this any more

	mu       sync.Mutex // guards what follows
	isClosed bool
	inbox    *inbox // kept since the first request
}

// NewPublisher opens a publisher for one topic, without wildcards.
//
// Errors: ErrInvalidTopic; ErrInvalidArgument for a WithFullTimeout below 0; ErrPermission, ErrStoreFull or ErrIO for the
// store.
func NewPublisher(topic string, options ...PublisherOption) (*Publisher, error) {
	var chosen publisherOptions
	for _, option := range options {
		if option != nil {
			option.toPublisher(&chosen)
		}
	}
	name, err := terminated(ErrInvalidTopic, "topic", topic)
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
	fullTimeout, err := chosen.milliseconds()
	if err != nil {
		return nil, err
	}
	result := C.psgo_publisher_open(chars(name), chars(home), C.uint32_t(fullTimeout))
	if err := failure(result); err != nil {
		return nil, err
	}
	p := &Publisher{topic: topic, home: chosen.home, handle: C.psgo_publisher(result.more)}
	runtime.SetFinalizer(p, func(p *Publisher) {
		p.Close()
		C.psgo_publisher_free(p.handle)
	})
	return p, nil
}

// Topic is what it publishes to.
func (p *Publisher) Topic() string { return p.topic }

// Close closes it, once publishes that are under way have returned. Closing twice does nothing. It returns nil.
func (p *Publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isClosed {
		return nil
	}
	for pause := time.Microsecond; !C.psgo_publisher_close(p.handle); pause *= 2 {
		if pause > time.Millisecond {
			pause = time.Millisecond
		}
		time.Sleep(pause)
	}
	p.isClosed = true
	p.leave()
	return nil
}

func (p *Publisher) closed() error {
	return errorf(ErrClosed, "the publisher of '%s' is closed", p.topic)
}

// failed is the error of who publishes nothing.
func (p *Publisher) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isClosed {
		return p.closed()
	}
	return nil
}

// Publish publishes one message, as the function Publish does; with WithFullTimeout it waits that long for room in channels
// that reject. ErrClosed after Close.
func (p *Publisher) Publish(data []byte, headers ...Header) (Receipt, error) {
	if len(headers) > 0 {
		return p.publishWith(data, headers)
	}
	size := C.size_t(len(data))
	if size == 0 {
		data = nothing[:]
	}
	published := C.psgo_publisher_publish(p.handle, (*C.uint8_t)(&data[0]), size)
	runtime.KeepAlive(p)
	if published.delivered < 0 {
		return p.receipt(published)
	}
	return Receipt{Delivered: int(published.delivered), Rejected: int(published.rejected)}, nil
}

func (p *Publisher) publishWith(data []byte, headers []Header) (Receipt, error) {
	s := scratches.Get().(*scratch)
	defer s.free()
	text, err := appendHeaders(s.text[:0], headers)
	if err != nil {
		return Receipt{}, err
	}
	s.text = text
	return p.publish(data, text)
}

// publish is for headers that are JSON text.
func (p *Publisher) publish(data, headers []byte) (Receipt, error) {
	defer runtime.KeepAlive(p)
	size := C.size_t(len(data))
	if size == 0 {
		data = nothing[:]
	}
	if len(headers) == 0 {
		return p.receipt(C.psgo_publisher_publish(p.handle, (*C.uint8_t)(&data[0]), size))
	}
	return p.receipt(C.psgo_publisher_publish_with(p.handle, (*C.uint8_t)(&data[0]), size, chars(headers),
		C.size_t(len(headers))))
}

func (p *Publisher) receipt(published C.psgo_published) (Receipt, error) {
	if published.delivered == C.PS_ERR_CLOSED && published.text == nil {
		return Receipt{}, p.closed()
	}
	return receipt(published)
}

const (
	// A crossing's share of the cost is small beyond this many bytes or messages of a batch.
	packBytes    = 256 << 10
	packMessages = 1024
	// A larger payload is published from where it is: copying it would cost more than a crossing.
	packPayload = 16 << 10
)

// PublishBatch publishes many messages in order, each with the same headers: exactly as that many calls of Publish, but
// faster. It answers how many were handled, from the first; fewer than all come with the error of the first that was not.
func (p *Publisher) PublishBatch(payloads [][]byte, headers ...Header) (int, error) {
	s := scratches.Get().(*scratch)
	defer s.free()
	text, err := appendHeaders(s.text[:0], headers)
	if err != nil {
		return 0, err
	}
	s.text = text
	if len(payloads) == 0 {
		return 0, p.failed()
	}
	handled := 0
	for handled < len(payloads) {
		s.data, s.lengths = s.data[:0], s.lengths[:0]
		for _, payload := range payloads[handled:] {
			if len(payload) > packPayload || len(s.data)+len(payload) > packBytes || len(s.lengths) == packMessages {
				break
			}
			s.data = append(s.data, payload...)
			s.lengths = append(s.lengths, uint32(len(payload)))
		}
		if len(s.lengths) == 0 {
			if _, err := p.publish(payloads[handled], text); err != nil {
				return handled, err
			}
			handled++
			continue
		}
		n, err := p.packed(s.data, s.lengths, text)
		handled += n
		if err != nil {
			return handled, err
		}
	}
	return handled, nil
}

// PublishPacked is PublishBatch for contents that lie end to end in one buffer: lengths says how many bytes of data each
// message has. ErrInvalidArgument when they do not add up.
func (p *Publisher) PublishPacked(data []byte, lengths []uint32, headers ...Header) (int, error) {
	s := scratches.Get().(*scratch)
	defer s.free()
	text, err := appendHeaders(s.text[:0], headers)
	if err != nil {
		return 0, err
	}
	s.text = text
	var total uint64
	for _, length := range lengths {
		total += uint64(length)
	}
	if total != uint64(len(data)) {
		return 0, errorf(ErrInvalidArgument, "the lengths of the payloads sum up to %d bytes, but there are %d", total,
			len(data))
	}
	if len(lengths) == 0 {
		return 0, p.failed()
	}
	return p.packed(data, lengths, text)
}

// packed publishes all or up to the first that fails.
func (p *Publisher) packed(data []byte, lengths []uint32, headers []byte) (int, error) {
	defer runtime.KeepAlive(p)
	handled := 0
	for len(lengths) > 0 {
		content := data
		if len(content) == 0 {
			content = nothing[:]
		}
		// The library adds the lengths up: it reads no more of the content than they say.
		result := C.psgo_publisher_packed(p.handle, (*C.uint8_t)(&content[0]), (*C.uint32_t)(&lengths[0]),
			C.size_t(len(lengths)), chars(headers), C.size_t(len(headers)))
		// It stops short without a reason, and gives it when that message comes first.
		if result.value == C.PS_ERR_CLOSED && result.text == nil {
			return handled, p.closed()
		}
		if err := failure(result); err != nil {
			return handled, err
		}
		if result.value == 0 {
			return handled, errorf(ErrInternal, "publishing to '%s' neither succeeded nor failed", p.topic)
		}
		for _, length := range lengths[:int(result.value)] {
			data = data[length:]
		}
		lengths = lengths[int(result.value):]
		handled += int(result.value)
	}
	return handled, nil
}
