// Throughput measures how fast one goroutine publishes and another receives: throughput [MESSAGES [BYTES]]
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"libpubsub/go"
)

func main() {
	log.SetFlags(0)
	messages, size := argument(1, 20000), argument(2, 64)
	run("one by one", messages, size, func(p *pubsub.Publisher, payload []byte) error {
		for i := 0; i < messages; i++ {
			if _, err := p.Publish(payload); err != nil {
				return err
			}
		}
		return nil
	})
	run("in batches", messages, size, func(p *pubsub.Publisher, payload []byte) error {
		batch := make([][]byte, 0, 256)
		for left := messages; left > 0; left -= len(batch) {
			batch = batch[:0]
			for len(batch) < cap(batch) && len(batch) < left {
				batch = append(batch, payload)
			}
			if _, err := p.PublishBatch(batch); err != nil {
				return err
			}
		}
		return nil
	})
}

func run(name string, messages, size int, publish func(*pubsub.Publisher, []byte) error) {
	ch, err := pubsub.Open("throughput")
	if err != nil {
		log.Fatal(err)
	}
	defer ch.Close()
	// Waits when the receiver is behind.
	p, err := pubsub.NewPublisher("throughput", pubsub.WithFullTimeout(10*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	start := time.Now()
	failed := make(chan error, 1)
	go func() { failed <- publish(p, make([]byte, size)) }()
	batch := make([]pubsub.Message, 256)
	for received := 0; received < messages; {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		n, err := ch.ReceiveBatch(ctx, batch)
		cancel()
		if err != nil {
			log.Fatal(err)
		}
		received += n
	}
	if err := <-failed; err != nil {
		log.Fatal(err)
	}
	took := time.Since(start).Seconds()
	fmt.Printf("%s: %d messages of %d bytes in %.3f s: %.0f a second, %.1f MiB/s\n", name, messages, size, took,
		float64(messages)/took, float64(messages)*float64(size)/took/(1<<20))
}

func argument(at, otherwise int) int {
	if len(os.Args) <= at {
		return otherwise
	}
	number, err := strconv.Atoi(os.Args[at])
	if err != nil || number < 1 {
		log.Fatalf("%q is no number from 1; usage: throughput [MESSAGES [BYTES]]", os.Args[at])
	}
	return number
}
