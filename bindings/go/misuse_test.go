package pubsub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

func TestUseAfterClose(t *testing.T) {
	c, p := open(t, "closed"), publisher(t, "closed")
	publish(t, "closed", "unread")
	for i := 0; i < 3; i++ {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	_, err := c.Receive(context.Background())
	expect(t, err, ErrClosed)
	if !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	_, _, err = c.TryReceive()
	expect(t, err, ErrClosed)
	_, err = c.ReceiveBatch(context.Background(), make([]Message, 2))
	expect(t, err, ErrClosed)
	_, err = c.Stats()
	expect(t, err, ErrClosed)
	for m := range c.Messages(context.Background()) {
		t.Error(m)
	}
	_, err = p.Publish(nil)
	expect(t, err, ErrClosed)
	_, err = p.PublishBatch([][]byte{nil})
	expect(t, err, ErrClosed)
	_, err = p.PublishPacked(nil, []uint32{0})
	expect(t, err, ErrClosed)
	if c.Topic() != "closed" || p.Topic() != "closed" || c.Path() == "" {
		t.Error(c.Topic(), p.Topic(), c.Path())
	}
}

func TestTheZeroValueIsClosed(t *testing.T) {
	var c Channel
	var p Publisher
	_, err := c.Receive(context.Background())
	expect(t, err, ErrClosed)
	_, err = p.Publish(nil)
	expect(t, err, ErrClosed)
	if c.Close() != nil || p.Close() != nil {
		t.Error("closing the zero value")
	}
}

func TestCloseEndsWaits(t *testing.T) {
	slow := 0
	for i := 0; i < 100; i++ {
		c := open(t, "close-ends")
		ended := make(chan error)
		for j := 0; j < 4; j++ {
			go func() {
				_, err := c.Receive(context.Background())
				ended <- err
			}()
		}
		switch i % 3 {
		case 0:
			eventually(t, "one waits", func() bool { return len(c.turn) == 1 })
		case 1:
			time.Sleep(time.Millisecond)
		}
		start := time.Now()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		for j := 0; j < 4; j++ {
			expect(t, <-ended, ErrClosed)
		}
		if time.Since(start) > relook/2 {
			slow++
		}
	}
	// A machine that stands still now and then is no wait that nobody ends, of which there would be many.
	if slow > 10 {
		t.Errorf("%d of 100 waits ended only when they looked again", slow)
	}
}

// Everything at once, closed in the midst of it.
func TestConcurrentUseAndClose(t *testing.T) {
	for round := 0; round < 20; round++ {
		c, err := Open("concurrent", WithCapacity(200, 0))
		if err != nil {
			t.Fatal(err)
		}
		p, err := NewPublisher("concurrent", WithFullTimeout(5*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		start := func(what func() error) {
			for i := 0; i < 2; i++ {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for {
						err := what()
						if errors.Is(err, ErrClosed) {
							return
						}
						if err != nil && !errors.Is(err, ErrQueueFull) && !errors.Is(err, context.DeadlineExceeded) {
							t.Error(err)
							return
						}
					}
				}()
			}
		}
		start(func() error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			_, err := c.Receive(ctx)
			return err
		})
		start(func() error { _, err := c.Receive(context.Background()); return err })
		start(func() error { _, err := c.ReceiveBatch(context.Background(), make([]Message, 10)); return err })
		start(func() error { _, _, err := c.TryReceive(); return err })
		start(func() error { _, err := c.Stats(); return err })
		start(func() error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			for range c.Messages(ctx) {
			}
			_, err := c.Stats()
			return err
		})
		start(func() error { _, err := p.Publish([]byte("one"), Int("n", 1)); return err })
		start(func() error { _, err := p.PublishBatch([][]byte{[]byte("a"), []byte("b")}); return err })
		time.Sleep(10 * time.Millisecond)
		for i := 0; i < 2; i++ {
			wg.Add(2)
			go func() { defer wg.Done(); c.Close() }()
			go func() { defer wg.Done(); p.Close() }()
		}
		wg.Wait()
	}
}

func TestForgottenChannelsAreCollected(t *testing.T) {
	home := t.TempDir()
	func() {
		for i := 0; i < 10; i++ {
			c, err := Open(fmt.Sprint("forgotten.", i), WithHome(home))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			c.Receive(ctx)
			cancel()
			p, err := NewPublisher("forgotten.1", WithHome(home))
			if err != nil {
				t.Fatal(err)
			}
			p.Publish([]byte("unread"))
		}
	}()
	eventually(t, "all are collected", func() bool {
		runtime.GC()
		list, err := List(home)
		return err == nil && len(list) == 0
	})
}

func TestADeletedChannelIsNoticed(t *testing.T) {
	c, err := Open("deleted")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	stream := c.Messages(context.Background())
	eventually(t, "it waits", func() bool { return len(c.turn) == 1 })
	if err := os.RemoveAll(c.Path()); err != nil {
		t.Fatal(err)
	}
	for range stream {
	}
	expect(t, c.Err(), ErrCorrupt)
}

func TestDescriptorsAreGivenBack(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(entries)
	}
	use := func() {
		c, err := Open("descriptors")
		if err != nil {
			t.Fatal(err)
		}
		publish(t, "descriptors", "")
		receive(t, c)
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		c.Receive(ctx)
		cancel()
		c.Close()
	}
	use()
	before := count()
	for i := 0; i < 50; i++ {
		use()
	}
	if after := count(); after > before+5 {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
