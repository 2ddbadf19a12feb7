// History prints what came to a topic since it ran last, whether or not it ran when that was published: the topic keeps a
// history, and the file keeps the place in it. The first time, the last ten messages: history TOPIC FILE
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"

	"libpubsub/go"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: history TOPIC FILE")
	}
	if err := printNews(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func printNews(topic, path string) error {
	err := pubsub.CreateTopic(topic, pubsub.TopicOptions{HistoryMessages: 1000})
	if err != nil && !errors.Is(err, pubsub.ErrExists) {
		return err
	}
	var epoch, offset uint64
	begin := pubsub.WithReplayLast(10)
	switch text, err := os.ReadFile(path); {
	case err == nil:
		if _, err := fmt.Sscan(string(text), &epoch, &offset); err != nil {
			return fmt.Errorf("%s holds no place: %w", path, err)
		}
		begin = pubsub.WithResume(epoch, offset)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}

	ch, err := pubsub.Open(topic, begin)
	if err != nil {
		return err
	}
	defer ch.Close()
	for {
		m, ok, err := ch.TryReceive()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if m.Kind != pubsub.KindData {
			continue // the topic has just been deleted
		}
		if epoch != 0 && m.Epoch != epoch {
			fmt.Println("(the topic was created anew)")
		}
		if m.DroppedBefore > 0 {
			fmt.Printf("(%d before this are not kept any more)\n", m.DroppedBefore)
		}
		fmt.Printf("%d %s\n", m.Offset, m.Data)
		epoch, offset = m.Epoch, m.Offset
	}
	if epoch == 0 {
		return nil
	}
	return os.WriteFile(path, []byte(fmt.Sprintln(epoch, offset)), 0o644)
}
