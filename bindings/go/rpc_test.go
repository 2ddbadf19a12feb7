package pubsub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// serve answers what comes to a pattern with "re " and its content, until the test ends.
func serve(t testing.TB, pattern string, options ...Option) {
	t.Helper()
	c := open(t, pattern, options...)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		defer done.Done()
		for m := range c.Messages(ctx) {
			if _, err := m.Reply(append([]byte("re "), m.Data...)); err != nil {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		done.Wait()
	})
}

// inboxesIn is the channels for replies in a store.
func inboxesIn(t testing.TB, home string) []string {
	t.Helper()
	if home == "" {
		home = os.Getenv("PUBSUB_HOME")
	}
	found, err := filepath.Glob(filepath.Join(home, "reply.*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestReplyAnswersItsRequest(t *testing.T) {
	c := open(t, "rpc.=")
	p := publisher(t, "rpc.a")
	headers := []Header{Int("n", 5), String("correlation-id", "passed on")}
	for _, ask := range []func() (Message, error){
		func() (Message, error) { return Request(soon(t), "rpc.a", []byte("question"), headers...) },
		func() (Message, error) { return p.Request(soon(t), []byte("question"), headers...) },
	} {
		go func() {
			m := receive(t, c)
			n, _ := m.Headers().Int("n")
			if id, ok := m.Headers().String("correlation-id"); n != 5 || !ok || id == "passed on" || len(m.Headers()) != 3 {
				t.Error(m.HeadersJSON)
			}
			if receipt, err := m.Reply([]byte("answer"), Bool("ok", true), Null("correlation-id")); err != nil || receipt.Delivered != 1 {
				t.Error(receipt, err)
			}
		}()
		m, err := ask()
		if err != nil || string(m.Data) != "answer" {
			t.Fatal(m, err)
		}
		if ok, _ := m.Headers().Bool("ok"); !ok {
			t.Fatal(m.HeadersJSON)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	_, err := Request(context.Background(), "rpc.nobody", nil)
	expect(t, err, ErrNotFound)
	if !strings.Contains(err.Error(), "rpc.nobody") {
		t.Fatal(err)
	}
	_, err = publisher(t, "rpc.nobody").Request(context.Background(), nil)
	expect(t, err, ErrNotFound)
	_, err = Request(context.Background(), "no topic", nil)
	expect(t, err, ErrInvalidTopic)
	closed := publisher(t, "rpc.nobody")
	closed.Close()
	_, err = closed.Request(context.Background(), nil)
	expect(t, err, ErrClosed)
}

// expiring is a context whose deadline passes when the test says so.
type expiring struct {
	context.Context
	expired chan struct{}
}

func (c *expiring) Done() <-chan struct{} { return c.expired }

func (c *expiring) Err() error {
	select {
	case <-c.expired:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestAContextEndsARequestAndLeavesNothing(t *testing.T) {
	c := open(t, "rpc.slow")
	p := publisher(t, "rpc.slow")
	// Each context ends when the request is there, however late that is.
	late := func(ctx context.Context, end func(), want error) Message {
		got := make(chan Message, 1)
		go func() {
			m, _ := c.Receive(soon(t))
			end()
			got <- m
		}()
		if _, err := p.Request(ctx, nil); err != want {
			t.Fatal(err)
		}
		return <-got
	}
	ctx := &expiring{context.Background(), make(chan struct{})}
	first := late(ctx, func() { close(ctx.expired) }, context.DeadlineExceeded)
	if _, err := p.Request(ctx, nil); err != context.DeadlineExceeded {
		t.Fatal(err) // not even published
	}
	cancelled, cancel := context.WithCancel(context.Background())
	second := late(cancelled, cancel, context.Canceled)
	if len(p.inbox.waiting) != 0 {
		t.Fatal(p.inbox.waiting)
	}
	// Late replies answer nothing.
	go func() {
		third := receive(t, c)
		for _, m := range []*Message{&first, &second, &third} {
			data := "late"
			if m == &third {
				data = "right"
			}
			if receipt, err := m.Reply([]byte(data)); err != nil || receipt.Delivered != 1 {
				t.Error(receipt, err)
			}
		}
	}()
	if m, err := p.Request(soon(t), nil); err != nil || string(m.Data) != "right" {
		t.Fatal(m, err)
	}
}

func TestAThousandGoroutinesShareOneInbox(t *testing.T) {
	const goroutines = 1000
	c := open(t, "rpc.many")
	p := publisher(t, "rpc.many")
	var all sync.WaitGroup
	for n := 0; n < goroutines; n++ {
		n := n
		all.Add(1)
		go func() {
			defer all.Done()
			request := p.Request
			if n%2 == 0 {
				request = func(ctx context.Context, data []byte, _ ...Header) (Message, error) {
					return Request(ctx, "rpc.many", data)
				}
			}
			m, err := request(soon(t), []byte(fmt.Sprint(n)))
			if err != nil || string(m.Data) != fmt.Sprint("re ", n) {
				t.Error(n, string(m.Data), err)
			}
		}()
	}
	var asked []Message
	for len(asked) < goroutines {
		asked = append(asked, receive(t, c))
	}
	if found := inboxesIn(t, ""); len(found) != 1 {
		t.Error(found)
	}
	for i := range asked {
		m := &asked[goroutines-1-i]
		if receipt, err := m.Reply(append([]byte("re "), m.Data...)); err != nil || receipt.Delivered != 1 {
			t.Error(receipt, err)
		}
	}
	all.Wait()
	p.Close()
	if found := inboxesIn(t, ""); len(found) != 0 {
		t.Error(found)
	}
}

func TestAPublisherKeepsItsInbox(t *testing.T) {
	serve(t, "rpc.kept")
	p := publisher(t, "rpc.kept")
	var kept []string
	for i := 0; i < 3; i++ {
		if _, err := p.Request(soon(t), nil); err != nil {
			t.Fatal(err)
		}
		if found := inboxesIn(t, ""); len(found) != 1 || kept != nil && kept[0] != found[0] {
			t.Fatal(kept, found)
		} else {
			kept = found
		}
	}
	p.Close()
	if _, err := Request(soon(t), "rpc.kept", nil); err != nil {
		t.Fatal(err)
	}
	if found := inboxesIn(t, ""); len(found) != 0 {
		t.Fatal(found)
	}
}

func TestADeletedInboxIsMadeAnew(t *testing.T) {
	serve(t, "rpc.deleted")
	p := publisher(t, "rpc.deleted")
	silent := open(t, "rpc.silent")
	for i := 0; i < 3; i++ {
		if m, err := p.Request(soon(t), []byte("x")); err != nil || string(m.Data) != "re x" {
			t.Fatal(m, err)
		}
		// Who waits meanwhile is told.
		told := make(chan error)
		go func() {
			_, err := Request(soon(t), "rpc.silent", nil)
			told <- err
		}()
		receive(t, silent)
		for _, directory := range inboxesIn(t, "") {
			os.RemoveAll(directory)
		}
		expect(t, <-told, ErrCorrupt)
	}
}

func TestRepliesInAnotherStore(t *testing.T) {
	home := filepath.Join(os.Getenv("PUBSUB_HOME"), "..", fmt.Sprint("t-go-rpc-", os.Getpid()))
	t.Cleanup(func() { os.RemoveAll(home) })
	serve(t, "rpc.a", WithHome(home))
	p := publisher(t, "rpc.a", WithHome(home))
	if m, err := p.Request(soon(t), []byte("x")); err != nil || string(m.Data) != "re x" {
		t.Fatal(m, err)
	}
	if found := inboxesIn(t, home); len(found) != 1 {
		t.Fatal(found)
	}
	_, err := Request(soon(t), "rpc.a", nil)
	expect(t, err, ErrNotFound)
	p.Close()
}

func TestWhatAsksForNoReply(t *testing.T) {
	c, answers := open(t, "rpc.none"), open(t, "rpc.answers")
	for _, one := range []struct {
		headers []Header
		code    ErrorCode
	}{
		{nil, ErrInvalidArgument},
		{[]Header{Int("response-topic", 5)}, ErrInvalidArgument},
		{[]Header{String("response-topic", "a.+")}, ErrInvalidTopic},
	} {
		publish(t, "rpc.none", "x", one.headers...)
		m := receive(t, c)
		_, err := m.Reply(nil)
		expect(t, err, one.code)
	}
	for _, id := range []string{`"1"`, `17`, `null`, `[1, {"a": 2}]`, `123456789012345678901234567890`} {
		publish(t, "rpc.none", "x", String("response-topic", "rpc.answers"), JSON("correlation-id", []byte(id)))
		m := receive(t, c)
		if _, err := m.Reply(nil); err != nil {
			t.Fatal(err)
		}
		if m := receive(t, answers); m.HeadersJSON != `{"correlation-id": `+id+`}` {
			t.Fatal(m.HeadersJSON)
		}
	}
}

func TestRequestsBetweenProcesses(t *testing.T) {
	kill := child(t, "replier", os.Getenv("PUBSUB_HOME"))
	if m, err := Request(soon(t), "child.question", []byte("x")); err != nil || string(m.Data) != "from the child: x" {
		t.Fatal(m, err)
	}
	kill()
	eventually(t, "the replier's death is noticed", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_, err := Request(ctx, "child.question", nil)
		return errors.Is(err, ErrNotFound)
	})
	if _, err := Cleanup(""); err != nil {
		t.Fatal(err)
	}
}
