// Reply answers each request with its text in capitals, until Ctrl-C or COUNT messages: reply PATTERN [COUNT]
package main

import (
	"bytes"
	"context"
	"errors"
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
		log.Fatal("usage: reply PATTERN [COUNT]")
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
		receipt, err := m.Reply(bytes.ToUpper(m.Data))
		switch {
		case errors.Is(err, pubsub.ErrInvalidArgument):
			log.Print(err) // no request
		case err != nil:
			log.Print("not answered: ", err)
		case receipt.Delivered == 0:
			fmt.Printf("%s: too late\n", m.Topic)
		default:
			fmt.Printf("%s: answered\n", m.Topic)
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
