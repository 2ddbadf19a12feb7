// The matrix's program in Go: see ../README.md.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"libpubsub/go"
)

const patience = 20 * time.Second

var channels []*pubsub.Channel

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func unhex(text string) string {
	decoded, err := hex.DecodeString(text)
	check(err)
	return string(decoded)
}

func readHeaders(list string) (headers []pubsub.Header) {
	if list == "-" {
		return nil
	}
	for _, item := range strings.Split(list, ",") {
		fields := strings.Split(item, ":")
		if len(fields) != 3 {
			log.Fatalf("not a header: %s", item)
		}
		name, value := unhex(fields[0]), fields[2]
		switch fields[1] {
		case "n":
			headers = append(headers, pubsub.Null(name))
		case "b":
			headers = append(headers, pubsub.Bool(name, value == "1"))
		case "i":
			integer, err := strconv.ParseInt(value, 10, 64)
			check(err)
			headers = append(headers, pubsub.Int(name, integer))
		case "d":
			bits, err := strconv.ParseUint(value, 16, 64)
			check(err)
			headers = append(headers, pubsub.Float(name, math.Float64frombits(bits)))
		case "s":
			headers = append(headers, pubsub.String(name, unhex(value)))
		case "j":
			headers = append(headers, pubsub.JSON(name, json.RawMessage(unhex(value))))
		default:
			log.Fatalf("unknown type of a header: %s", item)
		}
	}
	return headers
}

func written(headers pubsub.Headers) string {
	if len(headers) == 0 {
		return "-"
	}
	var items []string
	for _, header := range headers {
		var text string
		switch value := header.Value.(type) {
		case nil:
			text = "n:"
		case bool:
			text = "b:0"
			if value {
				text = "b:1"
			}
		case int64:
			text = fmt.Sprintf("i:%d", value)
		case float64:
			text = fmt.Sprintf("d:%016x", math.Float64bits(value))
		case string:
			text = fmt.Sprintf("s:%x", value)
		case json.RawMessage:
			text = fmt.Sprintf("j:%x", []byte(value))
		default:
			log.Fatalf("the header %q is a %T", header.Key, header.Value)
		}
		items = append(items, fmt.Sprintf("%x:%s", header.Key, text))
	}
	return strings.Join(items, ",")
}

func channel(index string) *pubsub.Channel {
	i, err := strconv.Atoi(index)
	check(err)
	return channels[i]
}

func received(message pubsub.Message, path string) string {
	check(os.WriteFile(path, message.Data, 0o600))
	return fmt.Sprintf("message %s %s", message.Topic, written(message.Headers()))
}

func fetch(index, path string) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	message, err := channel(index).Receive(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return "nothing"
	}
	check(err)
	return received(message, path)
}

func try(index, path string) string {
	message, ok, err := channel(index).TryReceive()
	check(err)
	if !ok {
		return "nothing"
	}
	return received(message, path)
}

func publish(topic, path, headers string) string {
	content, err := os.ReadFile(path)
	check(err)
	receipt, err := pubsub.Publish(topic, content, readHeaders(headers)...)
	check(err)
	return fmt.Sprintf("published %d", receipt.Delivered)
}

func obey(words []string) string {
	switch {
	case words[0] == "open" && len(words) == 2:
		opened, err := pubsub.Open(words[1])
		check(err)
		channels = append(channels, opened)
		return "opened"
	case words[0] == "fetch" && len(words) == 3:
		return fetch(words[1], words[2])
	case words[0] == "try" && len(words) == 3:
		return try(words[1], words[2])
	case words[0] == "publish" && len(words) == 4:
		return publish(words[1], words[2], words[3])
	case words[0] == "close":
		for _, opened := range channels {
			check(opened.Close())
		}
		return "closed"
	}
	log.Fatalf("unknown command: %v", words)
	return ""
}

func main() {
	log.SetFlags(0)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println(obey(strings.Split(lines.Text(), " ")))
	}
	check(lines.Err())
}
