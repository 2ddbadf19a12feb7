package pubsub

// #include "shim.h"
import "C"

import (
	"sync"
	"unsafe"
)

const (
	// Words of the buffer that messages are fetched into: 64 KiB, some 400 messages of 64 bytes. Larger messages get
	// one of their own.
	fetchWords = 64 << 10 / 8
	// Small contents are cut from pieces of this many bytes: an allocation for many. One kept message keeps its piece,
	// so pieces are small. In a flood, which has the garbage collector at work all the time, fewer are less to collect.
	pieceBytes = 4 << 10
	floodBytes = 16 << 10
	pieceShare = pieceBytes / 4
	recordHead = int(unsafe.Sizeof(C.ps_packed_record{}))
)

// Idle channels hold no buffer.
var buffers = sync.Pool{New: func() any { return new([fetchWords]uint64) }}

// queue holds the messages that are here already. Its owner locks.
type queue struct {
	// Packed records, `left` of them, in bytes[at:used]; nil when there are none.
	pooled *[fetchWords]uint64 // where they are, unless they are in a buffer of their own
	bytes  []byte
	at     int
	left   int
	// Most messages of a channel share these.
	topic, headers string
	// The store, "" for the default one.
	home string
	// What is left of the current piece.
	piece []byte
	// Messages came since somebody last waited for them in vain.
	flows bool
}

func (q *queue) ready() bool { return q.left > 0 }

// fetch takes from the library what is there; false when there is nothing.
func (q *queue) fetch(handle C.psgo_channel) (bool, error) {
	pooled := buffers.Get().(*[fetchWords]uint64)
	words := pooled[:]
	for {
		result := C.psgo_fetch(handle, (*C.uint64_t)(&words[0]), C.size_t(len(words)*8))
		if result.value > 0 {
			q.pooled, q.left, q.at, q.flows = pooled, int(result.value), 0, true
			q.bytes = unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)[:int(result.more)]
			return true, nil
		}
		if pooled != nil {
			buffers.Put(pooled)
			pooled = nil
		}
		needed := int(result.more)
		if err := failure(result); err == nil || result.value != C.PS_ERR_TOO_LARGE || needed <= len(words)*8 {
			return false, err
		}
		words = make([]uint64, (needed+7)/8)
	}
}

func (q *queue) record() *C.ps_packed_record {
	return (*C.ps_packed_record)(unsafe.Pointer(&q.bytes[q.at]))
}

// known is whether the first message, when the queue is ready, is of a kind that is for users.
func (q *queue) known() bool {
	return Kind(q.record().kind).known()
}

// next takes the first message, when the queue is ready, into a place of the caller's: it is too large to be copied often.
func (q *queue) next(message *Message) {
	record := q.record()
	text := q.bytes[q.at+recordHead:]
	topic := text[:int(record.topic_len)]
	headers := text[len(topic):][:int(record.headers_json_len)]
	data := text[(len(topic)+len(headers)+7)&^7:][:int(record.data_len)]
	// A comparison of converted bytes allocates nothing.
	if string(topic) != q.topic {
		q.topic = string(topic)
	}
	if string(headers) != q.headers {
		q.headers = string(headers)
	}
	message.ID = uint64(record.id)
	message.TimestampUS = int64(record.timestamp_us)
	// Who receives into the same places again and again has these there: to write a pointer costs more while the garbage
	// collector runs, which it does most of the time in a flood.
	if message.Topic != q.topic {
		message.Topic = q.topic
	}
	if message.HeadersJSON != q.headers {
		message.HeadersJSON = q.headers
	}
	if message.home != q.home {
		message.home = q.home
	}
	message.DroppedBefore = uint64(record.dropped_before)
	message.Epoch = uint64(record.epoch)
	message.Offset = uint64(record.offset)
	message.Kind = Kind(record.kind)
	if q.pooled == nil {
		// Alone in a buffer that nobody else will use.
		message.Data = data[:len(data):len(data)]
	} else {
		message.Data = q.copied(data)
	}
	q.at += int(record.size)
	if q.left--; q.left == 0 {
		if q.pooled != nil {
			buffers.Put(q.pooled)
		}
		q.pooled, q.bytes = nil, nil
	}
}

func (q *queue) copied(data []byte) []byte {
	if len(data) == 0 {
		return []byte{} // not nil
	}
	if len(data) > pieceShare {
		return append(make([]byte, 0, len(data)), data...)
	}
	if len(q.piece) < len(data) {
		size := pieceBytes
		if q.left*len(data) >= floodBytes {
			size = floodBytes
		}
		q.piece = make([]byte, size)
	}
	mine := q.piece[:len(data):len(data)]
	q.piece = q.piece[len(data):]
	copy(mine, data)
	return mine
}
