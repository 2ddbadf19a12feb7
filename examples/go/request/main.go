// Request asks on one topic, several questions at once, and prints the replies: request TOPIC TEXT [TEXT…]
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"sync"
	"time"

	"libpubsub/go"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 3 {
		log.Fatal("usage: request TOPIC TEXT [TEXT…]")
	}
	p, err := pubsub.NewPublisher(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()

	questions := os.Args[2:]
	replies, errs := make([]pubsub.Message, len(questions)), make([]error, len(questions))
	var all sync.WaitGroup
	for i, question := range questions {
		i, question := i, question
		all.Add(1)
		go func() {
			defer all.Done()
			replies[i], errs[i] = p.Request(ctx, []byte(question))
		}()
	}
	all.Wait()
	failed := false
	for i, question := range questions {
		if errs[i] != nil {
			log.Printf("%s: %v", question, errs[i])
			failed = true
			continue
		}
		fmt.Printf("%s: %s\n", question, replies[i].Data)
	}
	if failed {
		p.Close() // os.Exit runs no deferred call
		os.Exit(1)
	}
}
