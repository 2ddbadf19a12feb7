package pubsub

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestABatchIsThatManyMessages(t *testing.T) {
	c := open(t, "batches", WithCapacity(0, 1<<30))
	p := publisher(t, "batches")
	var payloads [][]byte
	for i := 0; i < 3*packMessages; i++ {
		payloads = append(payloads, []byte(fmt.Sprint(i)))
	}
	// Empty, and too large to be packed with others, at the ends and between.
	payloads = append(payloads, nil, make([]byte, packPayload), make([]byte, packPayload+1), make([]byte, 1<<20), []byte{})
	for i := 0; i < 2*packBytes/packPayload; i++ {
		payloads = append(payloads, bytes.Repeat([]byte{byte(i)}, packPayload))
	}
	if n, err := p.PublishBatch(payloads); n != len(payloads) || err != nil {
		t.Fatal(n, err)
	}
	for i, payload := range payloads {
		if m := receive(t, c); !bytes.Equal(m.Data, payload) {
			t.Fatalf("%d: %d bytes, not %d", i, len(m.Data), len(payload))
		}
	}
	if n, err := p.PublishBatch(nil); n != 0 || err != nil {
		t.Error(n, err)
	}
	if n, err := p.PublishPacked([]byte("onethree"), []uint32{3, 0, 5}); n != 3 || err != nil {
		t.Error(n, err)
	}
	for _, expected := range []string{"one", "", "three"} {
		if m := receive(t, c); string(m.Data) != expected {
			t.Errorf("%q", m.Data)
		}
	}
	_, err := p.PublishPacked([]byte("one"), []uint32{4})
	expect(t, err, ErrInvalidArgument)
	_, err = p.PublishPacked([]byte("one"), nil)
	expect(t, err, ErrInvalidArgument)
}

func TestABatchStopsAtTheFirstThatFails(t *testing.T) {
	c := open(t, "stops", WithCapacity(5, 0))
	p := publisher(t, "stops")
	n, err := p.PublishBatch(make([][]byte, 8))
	expect(t, err, ErrQueueFull)
	if n != 5 {
		t.Error(n)
	}
	n, err = p.PublishPacked(nil, make([]uint32, 8))
	expect(t, err, ErrQueueFull)
	if n != 0 {
		t.Error(n)
	}
	if messages, err := c.ReceiveBatch(soon(t), make([]Message, 9)); messages != 5 || err != nil {
		t.Error(messages, err)
	}
}

func TestAPublisherWaitsForRoom(t *testing.T) {
	c := open(t, "room", WithCapacity(1, 0))
	_, err := NewPublisher("room", WithFullTimeout(-1))
	expect(t, err, ErrInvalidArgument) // elsewhere -1 is without end
	p := publisher(t, "room", WithFullTimeout(60*time.Second))
	impatient := publisher(t, "room", WithFullTimeout(20*time.Millisecond))
	if _, err := p.Publish([]byte("first")); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err = impatient.Publish(nil)
	expect(t, err, ErrQueueFull)
	if time.Since(start) < 20*time.Millisecond {
		t.Error(time.Since(start))
	}
	// Signals, which Go's runtime sends to its own threads, do not end the wait.
	signals(t)
	time.AfterFunc(100*time.Millisecond, func() { c.TryReceive() })
	if receipt, err := p.Publish([]byte("second")); err != nil || receipt.Delivered != 1 {
		t.Fatal(receipt, err)
	}
	if m := receive(t, c); string(m.Data) != "second" {
		t.Errorf("%q", m.Data)
	}
}

func TestSignalsDoNotEndTheWaitForOneOfSeveral(t *testing.T) {
	small, large := open(t, "several", WithCapacity(1, 0)), open(t, "several")
	p := publisher(t, "several", WithFullTimeout(60*time.Second))
	if receipt, err := p.Publish([]byte("first")); err != nil || receipt.Delivered != 2 {
		t.Fatal(receipt, err)
	}
	signals(t)
	time.AfterFunc(100*time.Millisecond, func() { small.TryReceive() })
	if receipt, err := p.Publish([]byte("second")); err != nil || receipt != (Receipt{Delivered: 2}) {
		t.Fatal(receipt, err)
	}
	if m := receive(t, small); string(m.Data) != "second" {
		t.Errorf("%q", m.Data)
	}
	if m := receive(t, large); string(m.Data) != "first" {
		t.Errorf("%q", m.Data)
	}
}

// signals sends a signal to each thread, every millisecond until the test ends.
func signals(t *testing.T) {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			threads, _ := os.ReadDir("/proc/self/task")
			for _, thread := range threads {
				if id, err := strconv.Atoi(thread.Name()); err == nil {
					syscall.Syscall(syscall.SYS_TGKILL, uintptr(os.Getpid()), uintptr(id), uintptr(syscall.SIGURG))
				}
			}
		}
	}()
}

func TestContentsInsideOtherThingsArePublished(t *testing.T) {
	// cgo refuses pointers to memory that holds pointers; a content may lie beside some.
	type record struct {
		pointer *int
		content [8]byte
		lengths [1]uint32
		more    *int
	}
	r := &record{new(int), [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, [1]uint32{8}, new(int)}
	c := open(t, "inside")
	p := publisher(t, "inside")
	if _, err := Publish("inside", r.content[:]); err != nil {
		t.Error(err)
	}
	if _, err := p.Publish(r.content[:]); err != nil {
		t.Error(err)
	}
	if _, err := p.PublishPacked(r.content[:], r.lengths[:]); err != nil {
		t.Error(err)
	}
	for i := 0; i < 3; i++ {
		if m := receive(t, c); !bytes.Equal(m.Data, r.content[:]) {
			t.Error(m.Data)
		}
	}
}

func TestInvalidTopics(t *testing.T) {
	for _, topic := range []string{"", "a b", "a\x00b", "ä", "a.=", strings.Repeat("a", 201), "a\xff"} {
		_, err := Publish(topic, nil)
		expect(t, err, ErrInvalidTopic)
		_, err = NewPublisher(topic)
		expect(t, err, ErrInvalidTopic)
	}
	for _, pattern := range []string{"", "a b", "a\x00b", "a.==", strings.Repeat("a", 201)} {
		_, err := Open(pattern)
		expect(t, err, ErrInvalidTopic)
	}
	_, err := Open("a", WithTransport(99))
	expect(t, err, ErrInvalidArgument)
	_, err = Open("a", WithHome("/proc/nowhere"))
	if err == nil || !strings.Contains(err.Error(), "/proc/nowhere") {
		t.Error(err)
	}
	_, err = NewPublisher("a", WithHome("a\x00b"))
	expect(t, err, ErrInvalidArgument)
}

func TestAnotherProcessAnswers(t *testing.T) {
	answers := open(t, "echo.answer")
	t.Cleanup(func() { Cleanup("") }) // after the child's end, for the last comes first
	child(t, "echo", Home())
	for i := 0; i < 50; i++ {
		publish(t, "echo.question", fmt.Sprint(i), Int("i", int64(i)))
		m := receive(t, answers)
		if value, _ := m.Headers().Int("i"); string(m.Data) != fmt.Sprint(i) || value != int64(i) {
			t.Fatal(i, m)
		}
	}
}

func TestVersionAndNames(t *testing.T) {
	if Version() == "" || Home() == "" || ErrQueueFull.Error() != "PS_ERR_QUEUE_FULL" {
		t.Error(Version(), Home(), ErrQueueFull.Error())
	}
}
