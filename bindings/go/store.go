package pubsub

// #include "shim.h"
import "C"

import (
	"io/fs"
	"unsafe"
)

// Version is the version of the library that is loaded, such as "0.1.0".
func Version() string {
	return C.GoString(C.ps_version())
}

// Home is the default store's directory: PUBSUB_HOME, else /dev/shm/pubsub, else pubsub in the temporary directory.
// Decided at first use and kept.
func Home() string {
	return C.GoString(C.ps_home())
}

// StoreOptions says how to make a store.
type StoreOptions struct {
	// Mode is the directory's permissions: 0700, 0770 or 0777; 0 is 0770 with a group, else 0700.
	Mode fs.FileMode
	// Group is the group that owns it, by name or number; "" is the caller's.
	Group string
}

// CreateStore makes a store, for instance one that a group shares. Others are made on first use, private to their user.
//
// home is the directory; "" is the default store's. Errors: ErrExists when it is there; ErrInvalidArgument for another
// mode; ErrNotFound for a group that is not known; ErrPermission, ErrStoreFull, ErrIO.
func CreateStore(home string, options StoreOptions) error {
	directory, err := optional("store's path", home)
	if err != nil {
		return err
	}
	group, err := optional("group", options.Group)
	if err != nil {
		return err
	}
	return failure(C.psgo_store_create(chars(directory), C.uint32_t(options.Mode), chars(group)))
}

// Cleanup removes what dead processes left in a store, and answers how many channels that was. Opening channels does it
// step by step, so this is for those who want it done at once. home "" is the default store.
func Cleanup(home string) (int, error) {
	directory, err := optional("store's path", home)
	if err != nil {
		return 0, err
	}
	result := C.psgo_cleanup(chars(directory))
	if err := failure(result); err != nil {
		return 0, err
	}
	return int(result.value), nil
}

// Stats is a channel as its receiver or a monitor sees it.
type Stats struct {
	// Topic is the topic or pattern that it was opened with.
	Topic string
	// Path is its directory.
	Path string
	// Transport is how messages travel to it.
	Transport Transport
	// Alive is whether its receiver lives.
	Alive bool
	// Foreign is whether it is a formix-pubsub channel. Then only Topic, Path, PID, Alive and the unread figures mean
	// anything.
	Foreign bool
	// PID is the receiver's process id, as the receiver's own namespace knows it.
	PID int64
	// UnreadMessages and UnreadBytes wait in the queue.
	UnreadMessages, UnreadBytes uint64
	// Prefetched is how many messages this program's Channel has taken from the queue and not yet handed out. They
	// count as received. 0 in a list.
	Prefetched int
	// CapacityMessages and CapacityBytes are the queue's bounds.
	CapacityMessages, CapacityBytes uint64
	// Received is how many messages were fetched so far.
	Received uint64
	// Rejected is how many were refused because the queue was full.
	Rejected uint64
	// Dropped is how many were dropped to make room.
	Dropped uint64
	// Malformed is how many entries could not be parsed.
	Malformed uint64
}

func newStats(from *C.ps_channel_stats) Stats {
	return Stats{
		Topic:            C.GoString(from.topic),
		Path:             C.GoString(from.path),
		Transport:        Transport(from.transport),
		Alive:            bool(from.alive),
		Foreign:          bool(from.foreign),
		PID:              int64(from.pid),
		UnreadMessages:   uint64(from.unread_messages),
		UnreadBytes:      uint64(from.unread_bytes),
		CapacityMessages: uint64(from.capacity_messages),
		CapacityBytes:    uint64(from.capacity_bytes),
		Received:         uint64(from.received),
		Rejected:         uint64(from.rejected),
		Dropped:          uint64(from.dropped),
		Malformed:        uint64(from.malformed),
	}
}

// List describes the channels of a store, formix-pubsub's included, dead ones marked. home "" is the default store.
func List(home string) ([]Stats, error) {
	directory, err := optional("store's path", home)
	if err != nil {
		return nil, err
	}
	var list **C.ps_channel_stats
	result := C.psgo_list(chars(directory), &list)
	if err := failure(result); err != nil {
		return nil, err
	}
	if list == nil {
		return nil, nil
	}
	defer C.ps_channel_list_free(list, C.size_t(result.value))
	stats := make([]Stats, 0, int(result.value))
	for _, entry := range unsafe.Slice(list, int(result.value)) {
		stats = append(stats, newStats(entry))
	}
	return stats, nil
}
