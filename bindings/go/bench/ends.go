package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"libpubsub/go"
)

// listen makes the parent's end, dial the child's.
func listen(name, home string) (transport, error) {
	if name == "socket" {
		return newSocketListener(home + "/socket")
	}
	return newChannels("bench.down", "bench.up")
}

func dial(name, home string) (transport, error) {
	if name == "socket" {
		conn, err := net.Dial("unix", home+"/socket")
		if err != nil {
			return nil, err
		}
		return newSocket(conn), nil
	}
	return newChannels("bench.up", "bench.down")
}

// channels publishes to one topic and receives from another.
type channels struct {
	out *pubsub.Publisher
	in  *pubsub.Channel
	got []pubsub.Message
}

func newChannels(out, in string) (*channels, error) {
	ch, err := pubsub.Open(in, pubsub.WithCapacity(0, 256<<20))
	if err != nil {
		return nil, err
	}
	p, err := pubsub.NewPublisher(out, pubsub.WithFullTimeout(10*time.Second))
	if err != nil {
		return nil, err
	}
	return &channels{p, ch, make([]pubsub.Message, 256)}, nil
}

func (c *channels) send(size, count, batch int) error {
	payload := make([]byte, size)
	if batch == 1 {
		for i := 0; i < count; i++ {
			if _, err := c.out.Publish(payload); err != nil {
				return err
			}
		}
		return nil
	}
	payloads := make([][]byte, batch)
	for i := range payloads {
		payloads[i] = payload
	}
	for count > 0 {
		if count < batch {
			payloads = payloads[:count]
		}
		n, err := c.out.PublishBatch(payloads)
		if err != nil {
			return err
		}
		count -= n
	}
	return nil
}

func (c *channels) receive(count int) error {
	for count > 0 {
		want := c.got
		if count < len(want) {
			want = want[:count]
		}
		n, err := c.in.ReceiveBatch(context.Background(), want)
		if err != nil {
			return err
		}
		count -= n
	}
	return nil
}

func (c *channels) close() {
	c.out.Close()
	c.in.Close()
}

// socket is one connection.
type socket struct {
	conn   net.Conn
	reader *bufio.Reader
	writer *bufio.Writer
	frame  []byte
}

// waitingSocket accepts at first use.
type waitingSocket struct {
	listener net.Listener
	*socket
}

func newSocketListener(path string) (transport, error) {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	return &waitingSocket{listener: listener}, nil
}

func (w *waitingSocket) accepted() (*socket, error) {
	if w.socket == nil {
		conn, err := w.listener.Accept()
		if err != nil {
			return nil, err
		}
		w.socket = newSocket(conn)
	}
	return w.socket, nil
}

func (w *waitingSocket) send(size, count, batch int) error {
	s, err := w.accepted()
	if err != nil {
		return err
	}
	return s.send(size, count, batch)
}

func (w *waitingSocket) receive(count int) error {
	s, err := w.accepted()
	if err != nil {
		return err
	}
	return s.receive(count)
}

func (w *waitingSocket) close() {
	w.listener.Close()
	if w.socket != nil {
		w.socket.close()
	}
}

func newSocket(conn net.Conn) *socket {
	return &socket{conn: conn, reader: bufio.NewReaderSize(conn, 64<<10), writer: bufio.NewWriterSize(conn, 64<<10)}
}

// A write for each message, or for each batch.
func (s *socket) send(size, count, batch int) error {
	if len(s.frame) != 4+size {
		s.frame = make([]byte, 4+size)
		binary.LittleEndian.PutUint32(s.frame, uint32(size))
	}
	if batch == 1 {
		for i := 0; i < count; i++ {
			if _, err := s.conn.Write(s.frame); err != nil {
				return err
			}
		}
		return nil
	}
	for i := 1; i <= count; i++ {
		if _, err := s.writer.Write(s.frame); err != nil {
			return err
		}
		if i%batch == 0 || i == count {
			if err := s.writer.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Each message in memory of its own, as a receiver of ours has it.
func (s *socket) receive(count int) error {
	var head [4]byte
	for ; count > 0; count-- {
		if _, err := io.ReadFull(s.reader, head[:]); err != nil {
			return err
		}
		size := binary.LittleEndian.Uint32(head[:])
		if size > 1<<30 {
			return fmt.Errorf("a frame of %d bytes", size)
		}
		if _, err := io.ReadFull(s.reader, make([]byte, size)); err != nil {
			return err
		}
	}
	return nil
}

func (s *socket) close() { s.conn.Close() }
