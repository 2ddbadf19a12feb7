package pubsub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// manage makes a managed topic for one test.
func manage(t testing.TB, topic string, options TopicOptions) {
	t.Helper()
	if err := CreateTopic(topic, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := DeleteTopic(topic, options.Home); err != nil && !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	})
}

// feed publishes the numbers from one up to another, to whoever listens.
func feed(t testing.TB, topic string, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if _, err := Publish(topic, []byte(strconv.Itoa(n))); err != nil {
			t.Fatal(err)
		}
	}
}

// take is the next messages.
func take(t testing.TB, c *Channel, count int) []Message {
	t.Helper()
	messages := make([]Message, count)
	for i := range messages {
		messages[i] = receive(t, c)
	}
	return messages
}

func empty(t testing.TB, c *Channel) {
	t.Helper()
	if m, ok, err := c.TryReceive(); ok || err != nil {
		t.Fatal(m, err)
	}
}

// told is offsets and contents in a line.
func told(messages []Message) string {
	var parts []string
	for _, m := range messages {
		parts = append(parts, fmt.Sprintf("%d=%s", m.Offset, m.Data))
	}
	return strings.Join(parts, " ")
}

func same(t testing.TB, found, expected any) {
	t.Helper()
	if !reflect.DeepEqual(found, expected) {
		t.Fatalf("%v instead of %v", found, expected)
	}
}

func onEachTransport(t *testing.T, test func(*testing.T, Option)) {
	for _, transport := range []Transport{TransportRing, TransportFiles} {
		t.Run(transport.String(), func(t *testing.T) { test(t, WithTransport(transport)) })
	}
}

func TestTopicsAreCreatedListedAndDeleted(t *testing.T) {
	before := time.Now()
	manage(t, "topics.b", TopicOptions{})
	manage(t, "topics.a", TopicOptions{HistoryMessages: 3, HistoryBytes: 1 << 20, HistoryTTL: time.Hour})
	c := open(t, "topics.=")
	feed(t, "topics.a", 0, 5)
	take(t, c, 5)
	topics, err := Topics("")
	if err != nil || len(topics) != 2 {
		t.Fatal(topics, err)
	}
	a, b := topics[0], topics[1]
	if a.Topic != "topics.a" || b.Topic != "topics.b" || a.Epoch == b.Epoch || a.BytesInHistory == 0 ||
		a.Created.Sub(before).Abs() > time.Hour {
		t.Fatal(topics)
	}
	same(t, [4]uint64{a.MessagesPublished, a.MessagesInHistory, a.NextOffset, a.Subscribers}, [4]uint64{5, 3, 6, 1})
	same(t, [4]uint64{b.MessagesPublished, b.MessagesInHistory, b.NextOffset, b.BytesInHistory}, [4]uint64{0, 0, 1, 0})
	if err := DeleteTopic("topics.b", ""); err != nil {
		t.Fatal(err)
	}
	topics, err = Topics("")
	if err != nil || len(topics) != 1 {
		t.Fatal(topics, err)
	}
}

func TestAHistoryHasWhatWasPublished(t *testing.T) {
	manage(t, "topics.a", TopicOptions{})
	if messages, err := TopicHistory("topics.a", "", WholeHistory); messages != nil || err != nil {
		t.Fatal(messages, err)
	}
	Publish("topics.a", []byte("\x00one"), Int("n", 1), String("unit", "°C"))
	Publish("topics.a", nil)
	messages, err := TopicHistory("topics.a", "", WholeHistory)
	if err != nil || len(messages) != 2 {
		t.Fatal(messages, err)
	}
	first, second := messages[0], messages[1]
	unit, _ := first.Headers().String("unit")
	if first.Topic != "topics.a" || string(first.Data) != "\x00one" || unit != "°C" || first.ID >= second.ID {
		t.Fatal(first)
	}
	if second.Data == nil || len(second.Data) != 0 || second.HeadersJSON != "{}" || second.Kind != KindData {
		t.Fatal(second)
	}
	same(t, [3]uint64{first.Offset, second.Offset, first.Epoch}, [3]uint64{1, 2, second.Epoch})
	messages, err = TopicHistory("topics.a", "", 1)
	if err != nil || len(messages) != 1 || messages[0].Offset != 2 {
		t.Fatal(messages, err)
	}
}

func TestAgeBoundsAHistory(t *testing.T) {
	manage(t, "topics.short", TopicOptions{HistoryTTL: 20 * time.Millisecond})
	feed(t, "topics.short", 0, 1)
	eventually(t, "a message is too old", func() bool {
		messages, err := TopicHistory("topics.short", "", WholeHistory)
		return err == nil && len(messages) == 0
	})
}

func TestAnotherStoreHasTopicsOfItsOwn(t *testing.T) {
	home := WithHome(filepath.Join(filepath.Dir(os.Getenv("PUBSUB_HOME")), fmt.Sprint("t-go-topics-", os.Getpid())))
	defer os.RemoveAll(string(home))
	if topics, err := Topics(string(home)); topics != nil || err != nil {
		t.Fatal(topics, err)
	}
	manage(t, "topics.a", TopicOptions{Home: string(home)})
	back := open(t, "back", home)
	if _, err := publisher(t, "topics.a", home).Publish([]byte("?"), String("response-topic", "back")); err != nil {
		t.Fatal(err)
	}
	messages, err := TopicHistory("topics.a", string(home), 1)
	if err != nil || len(messages) != 1 {
		t.Fatal(messages, err)
	}
	if receipt, err := messages[0].Reply([]byte("!")); err != nil || receipt.Delivered != 1 {
		t.Fatal(receipt, err)
	}
	same(t, string(receive(t, back).Data), "!")
	same(t, told(take(t, open(t, "topics.=", home, WithReplayLast(5)), 1)), "1=?")
	if _, err := TopicHistory("topics.a", "", 1); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
}

func TestErrorsOfManagedTopics(t *testing.T) {
	err := DeleteTopic("topics.none", "")
	expect(t, err, ErrNotFound)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "'topics.none' is not managed") {
		t.Fatal(err)
	}
	_, err = TopicHistory("topics.none", "", 1)
	expect(t, err, ErrNotFound)
	_, err = Open("topics.none", WithResume(1, 1))
	expect(t, err, ErrNotFound)
	manage(t, "topics.a", TopicOptions{})
	err = CreateTopic("topics.a", TopicOptions{})
	expect(t, err, ErrExists)
	if !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	_, err = Open("topics.=", WithResume(1, 1))
	expect(t, err, ErrInvalidArgument)
	for _, topic := range []string{"", "topics.=", "a b", "a\x00b"} {
		expect(t, CreateTopic(topic, TopicOptions{}), ErrInvalidTopic)
		expect(t, DeleteTopic(topic, ""), ErrInvalidTopic)
		_, err = TopicHistory(topic, "", 1)
		expect(t, err, ErrInvalidTopic)
	}
	for _, options := range []TopicOptions{{HistoryTTL: -1}, {HistoryMessages: 1 << 27}, {HistoryBytes: 1 << 60}, {Home: "a\x00b"}} {
		expect(t, CreateTopic("topics.b", options), ErrInvalidArgument)
	}
	_, err = Topics("a\x00b")
	expect(t, err, ErrInvalidArgument)
}

func TestAReplayGoesOnLive(t *testing.T) {
	onEachTransport(t, func(t *testing.T, transport Option) {
		manage(t, "topics.a", TopicOptions{})
		feed(t, "topics.a", 0, 10)
		c := open(t, "topics.=", WithReplayLast(3), transport)
		feed(t, "topics.a", 10, 12)
		messages := make([]Message, 2)
		if n, err := c.ReceiveBatch(soon(t), messages); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		ctx := soon(t)
		for m := range c.Messages(ctx) {
			if messages = append(messages, m); m.Offset == 12 {
				break
			}
		}
		same(t, told(messages), "8=7 9=8 10=9 11=10 12=11")
		for _, m := range messages {
			if m.Epoch == 0 || m.Epoch != messages[0].Epoch || m.DroppedBefore != 0 {
				t.Fatal(m)
			}
		}
		empty(t, c)
	})
}

func TestAReplayAmongLivePublishersHasNoGapAndNoDuplicate(t *testing.T) {
	// More than this test falls behind on a busy machine.
	manage(t, "topics.fed", TopicOptions{HistoryMessages: 1000000})
	for i := 0; i < 2; i++ {
		child(t, "feed", os.Getenv("PUBSUB_HOME"))
	}
	eventually(t, "a history", func() bool {
		messages, err := TopicHistory("topics.fed", "", WholeHistory)
		from := map[string]bool{}
		for _, m := range messages {
			from[strings.Fields(string(m.Data))[0]] = true
		}
		return err == nil && len(messages) >= 100 && len(from) == 2
	})
	for turn := 0; turn < 20; turn++ {
		transport := TransportRing + Transport(turn%2)
		c := open(t, "topics.=", WithReplayLast(50), WithTransport(transport), WithCapacity(1000000, 0))
		topics, err := Topics("")
		if err != nil || len(topics) != 1 {
			t.Fatal(topics, err)
		}
		began := topics[0].NextOffset
		seen := map[uint64]bool{}
		// Each publisher's last number. The order of what is live may differ between publishers; each has its own.
		last, live := map[string]int{}, map[string]bool{}
		for len(live) < 2 {
			m := receive(t, c)
			var from string
			var number int
			if _, err := fmt.Sscan(string(m.Data), &from, &number); err != nil {
				t.Fatal(err)
			}
			if before, ok := last[from]; seen[m.Offset] || ok && number != before+1 {
				t.Fatalf("%v: %s at %d behind %d", transport, m.Data, m.Offset, before)
			}
			if len(seen) == 0 && m.Offset >= began {
				t.Fatal("nothing was replayed", m.Offset, began)
			}
			last[from], seen[m.Offset] = number, true
			if m.Offset > began+50 {
				live[from] = true
			}
		}
		c.Close()
	}
}

func TestResumingGivesWhatWasMissed(t *testing.T) {
	onEachTransport(t, func(t *testing.T, transport Option) {
		manage(t, "topics.a", TopicOptions{HistoryMessages: 5})
		c := open(t, "topics.a", transport)
		feed(t, "topics.a", 0, 3)
		last := take(t, c, 3)[2]
		c.Close()

		feed(t, "topics.a", 3, 6)
		c = open(t, "topics.a", WithResume(last.Epoch, last.Offset), transport)
		feed(t, "topics.a", 6, 7)
		missed := take(t, c, 4)
		same(t, told(missed), "4=3 5=4 6=5 7=6")
		c.Close()

		last = missed[3]
		feed(t, "topics.a", 7, 20)
		c = open(t, "topics.a", WithResume(last.Epoch, last.Offset), transport)
		missed = take(t, c, 5)
		same(t, told(missed), "16=15 17=16 18=17 19=18 20=19")
		same(t, missed[0].DroppedBefore, uint64(8))
		empty(t, c)
	})
}

func TestResumingAcrossADeletionTellsOfAnotherEpoch(t *testing.T) {
	manage(t, "topics.a", TopicOptions{})
	c := open(t, "topics.a")
	feed(t, "topics.a", 0, 3)
	last := take(t, c, 3)[2]
	c.Close()
	if err := DeleteTopic("topics.a", ""); err != nil {
		t.Fatal(err)
	}
	if err := CreateTopic("topics.a", TopicOptions{}); err != nil {
		t.Fatal(err)
	}
	feed(t, "topics.a", 10, 12)
	c = open(t, "topics.a", WithResume(last.Epoch, last.Offset))
	feed(t, "topics.a", 12, 13)
	messages := take(t, c, 3)
	same(t, told(messages), "1=10 2=11 3=12")
	if messages[0].Epoch == last.Epoch || messages[0].Epoch != messages[2].Epoch {
		t.Fatal(messages, last)
	}
}

func TestADeletionIsToldOnExactlyThatTopic(t *testing.T) {
	onEachTransport(t, func(t *testing.T, transport Option) {
		manage(t, "topics.a", TopicOptions{})
		exact, wild := open(t, "topics.a", transport), open(t, "topics.=", transport)
		feed(t, "topics.a", 0, 1)
		if err := DeleteTopic("topics.a", ""); err != nil {
			t.Fatal(err)
		}
		feed(t, "topics.a", 1, 2)
		messages := take(t, exact, 3)
		same(t, []Kind{messages[0].Kind, messages[1].Kind, messages[2].Kind}, []Kind{KindData, KindTopicDeleted, KindData})
		if deleted := messages[1]; deleted.Topic != "topics.a" || len(deleted.Data) != 0 || deleted.Epoch != messages[0].Epoch {
			t.Fatal(deleted)
		}
		same(t, [2]uint64{messages[2].Epoch, messages[2].Offset}, [2]uint64{0, 0})
		same(t, told(take(t, wild, 2)), "1=0 0=1")
		empty(t, wild)
	})
}
