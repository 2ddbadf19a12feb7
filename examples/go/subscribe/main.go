// Subscribe prints what is published to matching topics, until Ctrl-C or COUNT messages: subscribe PATTERN [COUNT]
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"

	"libpubsub/go"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: subscribe PATTERN [COUNT]")
	}
	left := 0
	if len(os.Args) > 2 {
		var err error
		if left, err = strconv.Atoi(os.Args[2]); err != nil || left < 1 {
			log.Fatalf("COUNT is %q; it must be a number from 1", os.Args[2])
		}
	}
	ch, err := pubsub.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer ch.Close()
	log.Print("listening on ", ch.Topic())

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for m := range ch.Messages(ctx) {
		fmt.Printf("%s %s %s\n", m.Topic, m.Data, m.HeadersJSON)
		for _, header := range m.Headers() {
			fmt.Printf("  %s: %v (%T)\n", header.Key, header.Value, header.Value)
		}
		if left--; left == 0 {
			stop()
			return
		}
	}
	if err := ch.Err(); err != nil {
		log.Print(err)
	}
}
