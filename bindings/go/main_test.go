package pubsub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"
)

// The tests' own default store. Decided at the library's first use, hence before any test.
func TestMain(m *testing.M) {
	if child := os.Getenv("PUBSUB_GO_TEST_CHILD"); child != "" {
		runChild(child)
		return
	}
	parent := "/dev/shm"
	if info, err := os.Stat(parent); err != nil || !info.IsDir() {
		parent = ""
	}
	home, err := os.MkdirTemp(parent, "t-go-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv("PUBSUB_HOME", home)
	code := m.Run()
	if list, err := List(""); code == 0 && (err != nil || len(list) > 0) {
		fmt.Fprintln(os.Stderr, "the tests left channels in the store:", list, err)
		code = 1
	}
	if topics, err := Topics(""); code == 0 && (err != nil || len(topics) > 0) {
		fmt.Fprintln(os.Stderr, "the tests left managed topics in the store:", topics, err)
		code = 1
	}
	os.RemoveAll(home)
	os.Exit(code)
}

// soon is for waits that end by an event: its end is a failure.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func open(t testing.TB, pattern string, options ...Option) *Channel {
	t.Helper()
	c, err := Open(pattern, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func publisher(t testing.TB, topic string, options ...PublisherOption) *Publisher {
	t.Helper()
	p, err := NewPublisher(topic, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func publish(t testing.TB, topic, data string, headers ...Header) {
	t.Helper()
	if receipt, err := Publish(topic, []byte(data), headers...); err != nil || receipt.Delivered == 0 {
		t.Fatal(receipt, err)
	}
}

func receive(t testing.TB, c *Channel) Message {
	t.Helper()
	message, err := c.Receive(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func expect(t testing.TB, err error, code ErrorCode) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Fatalf("%v is no %v", err, code)
	}
}

// eventually is for what other threads do, when nothing tells of it.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(120 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("in vain: ", what)
		}
	}
}
