// Go's part in the demo: a goroutine for each channel, and one that publishes.
//
//	subscriber PREFIX PUBLISHED LEDGER PATTERN...
//
// Prints "READY" when its channels are open. A line "publish N" on its standard input makes it publish N readings of Go's
// runtime, on PREFIX.go.heap and PREFIX.go.goroutines, while it goes on receiving, and then print "PUBLISHED". Its standard
// input closes when all has been published: then it takes what is still there, and ends. LEDGER gets a line a message
// received, PUBLISHED a line a message sent, as those of the other programs.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/adler32"
	"log"
	"os"
	"runtime"
	"sort"
	"sync"
	"time"

	"libpubsub/go"
)

const (
	samples  = 2 // messages shown of each channel
	interval = 10 * time.Millisecond
)

type subscription struct {
	channel         *pubsub.Channel
	ledger          []byte
	latencies       []int64
	firstUS, lastUS int64
}

func (s *subscription) add(m pubsub.Message) {
	now := time.Now().UnixMicro()
	headers := m.Headers()
	seq, _ := headers.Int("seq")
	sent, _ := headers.Int("sent_us")
	if len(s.latencies) < samples {
		fmt.Printf("%s %s\n", m.Topic, m.Data)
	}
	if len(s.latencies) == 0 {
		s.firstUS = now
	}
	s.lastUS = now
	s.latencies = append(s.latencies, now-sent)
	s.ledger = fmt.Appendf(s.ledger, "%s\t%s\t%d\t%d\t%d\t%d\n",
		s.channel.Topic(), m.Topic, seq, adler32.Checksum(m.Data), sent, now)
}

// run receives until the context is done, takes what is still there, and closes the channel.
func (s *subscription) run(ctx context.Context) error {
	for m := range s.channel.Messages(ctx) {
		s.add(m)
	}
	if err := s.channel.Err(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	for {
		m, ok, err := s.channel.TryReceive()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		s.add(m)
	}
	fmt.Printf("%s: %s\n", s.channel.Topic(), s.summary())
	return s.channel.Close()
}

func (s *subscription) summary() string {
	count := len(s.latencies)
	if count == 0 {
		return "nothing received"
	}
	sort.Slice(s.latencies, func(i, j int) bool { return s.latencies[i] < s.latencies[j] })
	span := s.lastUS - s.firstUS
	if span < 1 {
		span = 1
	}
	return fmt.Sprintf("received %d, %d/s, latency p50 %d us, p99 %d us",
		count, int64(count)*1_000_000/span, s.latencies[count/2], s.latencies[count*99/100])
}

// publish sends readings of Go's runtime, two at each tick.
func publish(prefix, path string, count int) error {
	ledger, err := os.Create(path)
	if err != nil {
		return err
	}
	defer ledger.Close()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for sent := 0; sent < count; sent++ {
		if sent%2 == 0 {
			<-ticker.C
		}
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		name, value := "heap", stats.HeapAlloc
		if sent%2 == 1 {
			name, value = "goroutines", uint64(runtime.NumGoroutine())
		}
		topic := fmt.Sprintf("%s.go.%s", prefix, name)
		seq := int64(sent / 2)
		content := []byte(fmt.Sprintf(`{"seq":%d,"value":%d}`, seq, value))
		receipt, err := pubsub.Publish(topic, content, pubsub.Int("seq", seq), pubsub.Int("sent_us", time.Now().UnixMicro()))
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(ledger, "%s\t%d\t%d\t%d\n", topic, seq, adler32.Checksum(content), receipt.Delivered); err != nil {
			return err
		}
	}
	fmt.Printf("published %d readings on 2 topics\n", count)
	return ledger.Close()
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 5 {
		log.Fatal("usage: subscriber PREFIX PUBLISHED LEDGER PATTERN...")
	}
	prefix, published, path, patterns := os.Args[1], os.Args[2], os.Args[3], os.Args[4:]
	subscriptions := make([]*subscription, len(patterns))
	for i, pattern := range patterns {
		channel, err := pubsub.Open(pattern)
		if err != nil {
			log.Fatal(err)
		}
		subscriptions[i] = &subscription{channel: channel}
	}
	fmt.Println("READY")

	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, s := range subscriptions {
		s := s
		running.Add(1)
		go func() {
			defer running.Done()
			if err := s.run(ctx); err != nil {
				log.Fatal(err)
			}
		}()
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var count int
		if _, err := fmt.Sscanf(lines.Text(), "publish %d", &count); err != nil {
			log.Fatalf("not understood: %s", lines.Text())
		}
		go func() {
			if err := publish(prefix, published, count); err != nil {
				log.Fatal(err)
			}
			fmt.Println("PUBLISHED")
		}()
	}
	// All has been published.
	stop()
	running.Wait()
	var ledger []byte
	for _, s := range subscriptions {
		ledger = append(ledger, s.ledger...)
	}
	if err := os.WriteFile(path, ledger, 0o600); err != nil {
		log.Fatal(err)
	}
}
