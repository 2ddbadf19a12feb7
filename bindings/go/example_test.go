package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strconv"
	"time"

	"libpubsub/go"
)

func Example() {
	ch, err := pubsub.Open("news.+")
	if err != nil {
		log.Fatal(err)
	}
	defer ch.Close()

	receipt, err := pubsub.Publish("news.sport", []byte("3:1"), pubsub.String("ground", "home"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("channels:", receipt.Delivered)

	m, err := ch.Receive(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	ground, _ := m.Headers().String("ground")
	fmt.Println(m.Topic, string(m.Data), ground)
	// Output:
	// channels: 1
	// news.sport 3:1 home
}

func ExampleOpen() {
	ch, err := pubsub.Open("lab.=", pubsub.WithCapacity(1000, 0), pubsub.WithDropOldest())
	if err != nil {
		log.Fatal(err)
	}
	defer ch.Close()
	fmt.Println(ch.Topic())
	// Output: lab.=
}

func ExampleChannel_Receive() {
	ch, err := pubsub.Open("quiet")
	if err != nil {
		log.Fatal(err)
	}
	defer ch.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err = ch.Receive(ctx)
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output: true
}

func ExampleChannel_ReceiveBatch() {
	ch, err := pubsub.Open("lab.temperature")
	if err != nil {
		log.Fatal(err)
	}
	defer ch.Close()
	for _, value := range []string{"21.5", "21.7", "21.6"} {
		pubsub.Publish("lab.temperature", []byte(value))
	}

	messages := make([]pubsub.Message, 100)
	n, err := ch.ReceiveBatch(context.Background(), messages)
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range messages[:n] {
		fmt.Println(string(m.Data))
	}
	// Output:
	// 21.5
	// 21.7
	// 21.6
}

func ExampleChannel_Messages() {
	orders, err := pubsub.Open("orders.+")
	if err != nil {
		log.Fatal(err)
	}
	defer orders.Close()
	control, err := pubsub.Open("control")
	if err != nil {
		log.Fatal(err)
	}
	defer control.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	incoming, commands := orders.Messages(ctx), control.Messages(ctx)
	pubsub.Publish("orders.new", []byte("a book"))
	for {
		select {
		case m := <-incoming:
			fmt.Println("order:", string(m.Data))
			pubsub.Publish("control", []byte("stop"))
		case m := <-commands:
			fmt.Println("command:", string(m.Data))
			return
		}
	}
	// Output:
	// order: a book
	// command: stop
}

func ExamplePublisher_PublishBatch() {
	ch, err := pubsub.Open("ticks")
	if err != nil {
		log.Fatal(err)
	}
	defer ch.Close()

	p, err := pubsub.NewPublisher("ticks", pubsub.WithFullTimeout(time.Second))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	n, err := p.PublishBatch([][]byte{[]byte("1"), []byte("2"), []byte("3")}, pubsub.Int("source", 7))
	fmt.Println(n, err)
	// Output: 3 <nil>
}

func ExampleRequest() {
	// Usually another program: it answers what comes to math.double.
	ch, err := pubsub.Open("math.double")
	if err != nil {
		log.Fatal(err)
	}
	defer ch.Close()
	go func() {
		m, err := ch.Receive(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		number, _ := strconv.Atoi(string(m.Data))
		m.Reply([]byte(strconv.Itoa(2 * number)))
	}()

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	reply, err := pubsub.Request(ctx, "math.double", []byte("21"))
	switch {
	case errors.Is(err, pubsub.ErrNotFound):
		fmt.Println("nobody listens")
	case err != nil:
		fmt.Println(err) // context.DeadlineExceeded: no reply in time
	default:
		fmt.Println(string(reply.Data))
	}
	// Output: 42
}

func ExampleCreateTopic() {
	if err := pubsub.CreateTopic("scores", pubsub.TopicOptions{HistoryMessages: 1000, HistoryTTL: 24 * time.Hour}); err != nil {
		log.Fatal(err)
	}
	defer pubsub.DeleteTopic("scores", "")
	for _, score := range []string{"0:0", "0:1", "1:1"} {
		pubsub.Publish("scores", []byte(score))
	}

	// Who comes late gets the last two, then whatever is new.
	ch, err := pubsub.Open("scores", pubsub.WithReplayLast(2))
	if err != nil {
		log.Fatal(err)
	}
	pubsub.Publish("scores", []byte("2:1"))
	messages := make([]pubsub.Message, 3)
	n, _ := ch.ReceiveBatch(context.Background(), messages)
	for _, m := range messages[:n] {
		fmt.Println(m.Offset, string(m.Data))
	}
	ch.Close()

	// And goes on later where it stopped.
	pubsub.Publish("scores", []byte("2:2"))
	last := messages[n-1]
	ch, err = pubsub.Open("scores", pubsub.WithResume(last.Epoch, last.Offset))
	if err != nil {
		log.Fatal(err)
	}
	defer ch.Close()
	m, _ := ch.Receive(context.Background())
	fmt.Println(m.Offset, string(m.Data))
	// Output:
	// 2 0:1
	// 3 1:1
	// 4 2:1
	// 5 2:2
}

func ExampleErrorCode() {
	ch, err := pubsub.Open("small", pubsub.WithCapacity(1, 0))
	if err != nil {
		log.Fatal(err)
	}
	defer ch.Close()
	pubsub.Publish("small", nil)
	_, err = pubsub.Publish("small", nil)
	if errors.Is(err, pubsub.ErrQueueFull) {
		fmt.Println("full")
	}
	// Output: full
}

func ExampleMessage_Headers() {
	ch, err := pubsub.Open("typed")
	if err != nil {
		log.Fatal(err)
	}
	defer ch.Close()
	pubsub.Publish("typed", nil, pubsub.Int("sensor", 7), pubsub.Float("value", 21), pubsub.Bool("ok", true))

	m, err := ch.Receive(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for _, header := range m.Headers() {
		fmt.Printf("%s: %T %v\n", header.Key, header.Value, header.Value)
	}
	// Output:
	// sensor: int64 7
	// value: float64 21
	// ok: bool true
}

func ExampleList() {
	ch, err := pubsub.Open("listed.+")
	if err != nil {
		log.Fatal(err)
	}
	defer ch.Close()
	channels, err := pubsub.List("")
	if err != nil {
		log.Fatal(err)
	}
	for _, stats := range channels {
		fmt.Println(stats.Topic, stats.Alive, stats.UnreadMessages)
	}
	// Output: listed.+ true 0
}
