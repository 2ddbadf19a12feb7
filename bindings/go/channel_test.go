package pubsub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAMessageArrivesWhole(t *testing.T) {
	c := open(t, "whole.=")
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	contents := [][]byte{{}, []byte("text"), {}, {0, 255, 10, 0}, big, []byte("after a large one"), big[:pieceShare+1]}
	before := time.Now().Add(-time.Second)
	for i, content := range contents {
		if receipt, err := Publish(fmt.Sprint("whole.", i), content); err != nil || receipt != (Receipt{Delivered: 1}) {
			t.Fatal(receipt, err)
		}
	}
	var last uint64
	for i, content := range contents {
		m := receive(t, c)
		if m.Topic != fmt.Sprint("whole.", i) || !bytes.Equal(m.Data, content) || m.Data == nil {
			t.Errorf("%d: %s with %d bytes", i, m.Topic, len(m.Data))
		}
		if m.ID <= last || m.HeadersJSON != "{}" || m.Headers() != nil || m.DroppedBefore != 0 {
			t.Errorf("%d: %+v", i, m)
		}
		if m.Time().Before(before) || m.Time().After(time.Now().Add(time.Second)) {
			t.Errorf("published at %v", m.Time())
		}
		last = m.ID
	}
	if _, ok, err := c.TryReceive(); ok || err != nil {
		t.Error(ok, err)
	}
}

func TestDataIsTheReceiversOwn(t *testing.T) {
	c := open(t, "own")
	for i := 0; i < 200; i++ {
		publish(t, "own", fmt.Sprintf("message %03d", i))
	}
	var kept []Message
	for i := 0; i < 200; i++ {
		kept = append(kept, receive(t, c))
	}
	for i := 0; i < 200; i += 2 {
		_ = append(kept[i].Data, "overwrites the next"...)
	}
	for i, m := range kept {
		if string(m.Data) != fmt.Sprintf("message %03d", i) {
			t.Fatalf("%d: %q", i, m.Data)
		}
	}
}

func TestWildcards(t *testing.T) {
	one, more, exact := open(t, "wild.=.error"), open(t, "wild.+"), open(t, "wild.app.error")
	for topic, matches := range map[string]int{"wild.app.error": 3, "wild.error": 1, "wild.app.more.error": 1, "wild": 0} {
		if receipt, err := Publish(topic, nil); err != nil || receipt.Delivered != matches {
			t.Error(topic, receipt, err)
		}
	}
	for c, count := range map[*Channel]uint64{one: 1, more: 3, exact: 1} {
		if stats, err := c.Stats(); err != nil || stats.UnreadMessages != count {
			t.Error(c.Topic(), stats, err)
		}
	}
}

func TestAWaitEndsByAMessage(t *testing.T) {
	c := open(t, "wait")
	for i := 0; i < 300; i++ {
		got := make(chan error, 1)
		go func() {
			m, err := c.Receive(soon(t))
			if err == nil && string(m.Data) != fmt.Sprint(i) {
				err = fmt.Errorf("%q", m.Data)
			}
			got <- err
		}()
		if i%3 == 0 {
			// Most of the time it waits by then.
			time.Sleep(time.Millisecond)
		}
		publish(t, "wait", fmt.Sprint(i))
		if err := <-got; err != nil {
			t.Fatal(i, err)
		}
	}
}

// A lost wake-up would show as a pause until the next look.
func TestNoWakeUpIsLost(t *testing.T) {
	ping, pong := open(t, "ping"), open(t, "pong")
	ctx := soon(t)
	const rounds = 2000
	go func() {
		for i := 0; i < rounds; i++ {
			if _, err := ping.Receive(ctx); err != nil {
				return
			}
			Publish("pong", nil)
		}
	}()
	var slow int
	for i := 0; i < rounds; i++ {
		start := time.Now()
		publish(t, "ping", "")
		if _, err := pong.Receive(ctx); err != nil {
			t.Fatal(i, err)
		}
		if time.Since(start) > relook*9/10 {
			slow++
		}
	}
	// A machine that stands still now and then is no lost wake-up, of which there would be many.
	if slow > 5 {
		t.Errorf("%d of %d rounds took as long as the time between two looks", slow, rounds)
	}
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	c := open(t, "context")
	quick := 0
	for i := 0; i < 5; i++ {
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		if _, err := c.Receive(ctx); err != context.DeadlineExceeded {
			t.Error(err)
		}
		ctx, cancel = context.WithCancel(context.Background())
		time.AfterFunc(20*time.Millisecond, cancel)
		if _, err := c.Receive(ctx); err != context.Canceled {
			t.Error(err)
		}
		if time.Since(start) < relook {
			quick++
		}
	}
	if quick < 3 {
		t.Error("waits end only when they look again")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	// Neither what is there nor the next wait suffers.
	publish(t, "context", "kept")
	if _, err := c.ReceiveBatch(ctx, make([]Message, 3)); err != context.Canceled {
		t.Error(err)
	}
	if m := receive(t, c); string(m.Data) != "kept" {
		t.Errorf("%q", m.Data)
	}
	time.AfterFunc(10*time.Millisecond, func() { Publish("context", []byte("next")) })
	if m, err := c.Receive(context.Background()); err != nil || string(m.Data) != "next" {
		t.Error(m, err)
	}
}

func TestCancellationsAndMessagesInAnyOrderLoseNothing(t *testing.T) {
	c := open(t, "race")
	const count = 500
	go func() {
		for i := 0; i < count; i++ {
			Publish("race", []byte(fmt.Sprint(i)))
			if i%7 == 0 {
				time.Sleep(200 * time.Microsecond)
			}
		}
	}()
	for i := 0; i < count; {
		ctx, cancel := context.WithTimeout(context.Background(), 150*time.Microsecond)
		m, err := c.Receive(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			continue
		}
		if err != nil || string(m.Data) != fmt.Sprint(i) {
			t.Fatal(i, m, err)
		}
		i++
	}
}

func TestABatchTakesWhatIsThere(t *testing.T) {
	c := open(t, "batch")
	p := publisher(t, "batch")
	for i := 0; i < 1000; i++ {
		if _, err := p.Publish([]byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	messages := make([]Message, 700)
	for _, expected := range []int{700, 300} {
		if n, err := c.ReceiveBatch(soon(t), messages); n != expected || err != nil {
			t.Fatal(n, err)
		}
	}
	if string(messages[299].Data) != "999" {
		t.Errorf("%q", messages[299].Data)
	}
	if n, err := c.ReceiveBatch(context.Background(), nil); n != 0 || err != nil {
		t.Error(n, err)
	}
	time.AfterFunc(10*time.Millisecond, func() { p.Publish(nil) })
	if n, err := c.ReceiveBatch(soon(t), messages); n != 1 || err != nil {
		t.Error(n, err)
	}
}

// However a program leaves a stream, what it receives next is the next message.
func TestAStreamThatIsLeftLosesNothingAndKeepsTheOrder(t *testing.T) {
	c := open(t, "stream", WithCapacity(1<<16, 0))
	const count = 20_000
	p := publisher(t, "stream")
	go func() {
		for i := 0; i < count; i++ {
			p.Publish([]byte(fmt.Sprint(i)))
			if i%200 == 0 {
				time.Sleep(100 * time.Microsecond)
			}
		}
	}()
	next := 0
	is := func(m Message) {
		if string(m.Data) != fmt.Sprint(next) {
			t.Fatalf("%q, not %d", m.Data, next)
		}
		next++
	}
	for turn := 0; next < count; turn++ {
		// Until its context is done, which is at any time, or until some were read.
		ctx, cancel := context.WithTimeout(soon(t), time.Duration(turn%7)*100*time.Microsecond)
		left := 90 - turn%3*30
		for m := range c.Messages(ctx) {
			is(m)
			if left--; left == 0 && turn%2 == 0 {
				break
			}
		}
		cancel()
		switch turn % 3 {
		case 0:
			if m, ok, err := c.TryReceive(); ok {
				is(m)
			} else if err != nil {
				t.Fatal(err)
			}
		case 1:
			some := make([]Message, 10)
			n := 0
			if next < count {
				n, _ = c.ReceiveBatch(soon(t), some)
			}
			for _, m := range some[:n] {
				is(m)
			}
		}
	}
	if c.Err() != nil {
		t.Error(c.Err())
	}
	eventually(t, "the streams' goroutines end", func() bool { return goroutines("stream(") == 0 })
	if stats, err := c.Stats(); err != nil || stats.Prefetched != 0 || len(c.streams) != 0 {
		t.Error(stats.Prefetched, len(c.streams), err)
	}
}

func goroutines(of string) int {
	stacks := make([]byte, 1<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), of)
}

func TestAStreamEndsWhenTheChannelIsClosed(t *testing.T) {
	waiting, unread := open(t, "ends"), open(t, "ends.unread")
	for i := 0; i < 3*streamed; i++ {
		publish(t, "ends.unread", "")
	}
	streams := []<-chan Message{waiting.Messages(context.Background()), unread.Messages(context.Background())}
	publish(t, "ends", "")
	<-streams[0]
	<-streams[1]
	waiting.Close()
	unread.Close()
	eventually(t, "both end, read or not", func() bool { return goroutines("stream(") == 0 })
	for _, stream := range streams {
		for range stream {
		}
	}
	if waiting.Err() != nil || unread.Err() != nil {
		t.Error(waiting.Err(), unread.Err())
	}
}

func TestWhatAStreamLeavesWakesAWaitingReceiver(t *testing.T) {
	// Without the wake-up it would take a second each time; a busy machine may take long once.
	for try := 0; ; try++ {
		took := leaveToAWaitingReceiver(t)
		if took < relook/2 {
			return
		}
		if try == 10 {
			t.Fatal(took)
		}
	}
}

func leaveToAWaitingReceiver(t *testing.T) time.Duration {
	c := open(t, "left")
	defer c.Close()
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	stream := c.Messages(ctx)
	publish(t, "left", "")
	eventually(t, "the stream has it", func() bool { return len(stream) == 1 })
	if stats, _ := c.Stats(); stats.Prefetched != 1 {
		t.Error(stats.Prefetched)
	}
	got := make(chan error, 1)
	go func() {
		_, err := c.Receive(soon(t))
		got <- err
	}()
	eventually(t, "a receiver waits behind the stream", func() bool { return goroutines("Receive(") == 1 })
	start := time.Now()
	cancel()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	if _, more := <-stream; more {
		t.Error("twice")
	}
	return took
}

func TestManyReceiversShareAChannel(t *testing.T) {
	c := open(t, "shared")
	const receivers, count = 8, 2000
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]bool{}
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	for i := 0; i < receivers; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				m, err := c.Receive(ctx)
				if err != nil {
					return
				}
				mu.Lock()
				seen[string(m.Data)] = true
				if len(seen) == count {
					cancel()
				}
				mu.Unlock()
			}
		}()
	}
	p := publisher(t, "shared", WithFullTimeout(60*time.Second))
	for i := 0; i < count; i++ {
		if _, err := p.Publish([]byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if len(seen) != count {
		t.Error(len(seen))
	}
}

func TestBlockedReceiversTakeNoThreads(t *testing.T) {
	threads := func() int {
		entries, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Skip(err)
		}
		return len(entries)
	}
	const receivers = 200
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	before := threads()
	var channels []*Channel
	for i := 0; i < receivers; i++ {
		i, c := i, open(t, fmt.Sprint("threads.", i))
		channels = append(channels, c)
		wg.Add(1)
		go func() {
			defer wg.Done()
			if _, err := c.Receive(ctx); i%2 == 0 && err != nil {
				t.Error(err)
			}
		}()
	}
	for _, c := range channels {
		c := c
		eventually(t, "all wait", func() bool { return len(c.turn) == 1 })
	}
	waiting := threads()
	t.Logf("%d receivers wait; %d threads before, %d then", receivers, before, waiting)
	if waiting > before+receivers/4 {
		t.Errorf("%d threads for %d receivers", waiting, receivers)
	}
	for i := 0; i < receivers; i += 2 {
		publish(t, fmt.Sprint("threads.", i), "")
	}
	eventually(t, "half are awake", func() bool { return goroutines("(*Channel).wait(") <= receivers })
	cancel()
	wg.Wait()
}

func TestFullChannels(t *testing.T) {
	rejecting := open(t, "full.rejects", WithCapacity(10, 0))
	for i := 0; i < 10; i++ {
		publish(t, "full.rejects", "")
	}
	receipt, err := Publish("full.rejects", nil)
	expect(t, err, ErrQueueFull)
	if receipt != (Receipt{Rejected: 1}) || !strings.Contains(err.Error(), "full.rejects") {
		t.Error(receipt, err)
	}
	dropping := open(t, "full.+", WithCapacity(100, 0), WithDropOldest())
	if receipt, err := Publish("full.rejects", nil); err != nil || receipt != (Receipt{Delivered: 1, Rejected: 1}) {
		t.Error(receipt, err)
	}
	for i := 0; i < 150; i++ {
		publish(t, "full.drops", fmt.Sprint(i))
	}
	dropped := uint64(0)
	for {
		m := receive(t, dropping)
		dropped += m.DroppedBefore
		if string(m.Data) == "149" {
			break
		}
	}
	stats, err := dropping.Stats()
	if err != nil || dropped < 51 || stats.Dropped != dropped {
		t.Error(dropped, stats, err)
	}
	if stats, err := rejecting.Stats(); err != nil || stats.Rejected != 2 || stats.CapacityMessages != 10 {
		t.Error(stats, err)
	}
}

func TestStatsAndList(t *testing.T) {
	home := t.TempDir()
	c := open(t, "stats.=", WithHome(home), WithTransport(TransportFiles), WithCapacity(100, 5000))
	p := publisher(t, "stats.a", WithHome(home))
	if n, err := p.PublishBatch([][]byte{[]byte("one"), []byte("two"), []byte("three")}); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	stats, err := c.Stats()
	if err != nil || stats.UnreadMessages != 3 || stats.Prefetched != 0 || stats.CapacityBytes != 5000 {
		t.Error(stats, err)
	}
	list, err := List(home)
	if err != nil || len(list) != 1 || list[0] != stats {
		t.Error(list, stats, err)
	}
	if stats.Topic != "stats.=" || stats.Path != c.Path() || !stats.Alive || stats.Foreign ||
		stats.PID != int64(os.Getpid()) || stats.Transport.String() != "files" {
		t.Error(stats)
	}
	receive(t, c)
	if stats, err := c.Stats(); err != nil || stats.UnreadMessages+uint64(stats.Prefetched) != 2 {
		t.Error(stats, err)
	}
	c.Close()
	if list, err := List(home); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
	if _, err := List("/proc/self/status"); err == nil {
		t.Error("a file lists as a store")
	}
}

func TestCleanupRemovesWhatADeadProcessLeft(t *testing.T) {
	home := t.TempDir()
	kill := child(t, "subscriber", home)
	list, err := List(home)
	if err != nil || len(list) != 1 || !list[0].Alive {
		t.Fatal(list, err)
	}
	kill()
	if list, err = List(home); err != nil || len(list) != 1 || list[0].Alive {
		t.Fatal(list, err)
	}
	if n, err := Cleanup(home); n != 1 || err != nil {
		t.Error(n, err)
	}
	if n, err := Cleanup(home); n != 0 || err != nil {
		t.Error(n, err)
	}
}

func TestCreateStore(t *testing.T) {
	home := t.TempDir() + "/store"
	if err := CreateStore(home, StoreOptions{Mode: 0o770}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(home)
	if err != nil || info.Mode().Perm() != 0o770 || info.Mode()&os.ModeSticky == 0 {
		t.Error(info.Mode(), err)
	}
	err = CreateStore(home, StoreOptions{})
	expect(t, err, ErrExists)
	if !errors.Is(err, os.ErrExist) || !strings.Contains(err.Error(), home) {
		t.Error(err)
	}
	expect(t, CreateStore(home+"2", StoreOptions{Mode: 0o123}), ErrInvalidArgument)
	expect(t, CreateStore(home+"2", StoreOptions{Group: "no-such-group"}), ErrNotFound)
	expect(t, CreateStore(home+"\x00", StoreOptions{}), ErrInvalidArgument)
}
