// Publish sends one message: publish TOPIC DATA [KEY=VALUE…]
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"

	"libpubsub/go"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 3 {
		log.Fatal("usage: publish TOPIC DATA [KEY=VALUE…]")
	}
	var headers []pubsub.Header
	for _, argument := range os.Args[3:] {
		key, value, _ := strings.Cut(argument, "=")
		if number, err := strconv.ParseInt(value, 10, 64); err == nil {
			headers = append(headers, pubsub.Int(key, number))
		} else {
			headers = append(headers, pubsub.String(key, value))
		}
	}
	receipt, err := pubsub.Publish(os.Args[1], []byte(os.Args[2]), headers...)
	if errors.Is(err, pubsub.ErrQueueFull) {
		log.Fatal("nobody has room for it: ", err)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d channels took it\n", receipt.Delivered)
}
