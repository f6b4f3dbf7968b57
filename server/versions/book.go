package versions

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"gabion/rsvd"
	"gabion/server/object"
	"gabion/store"
)

const bucket = "snapshots"

// Meta is what the array keeps about a snapshot.
type Meta struct {
	Target   string `json:"target,omitempty"`   // what it was taken of
	Schedule string `json:"schedule,omitempty"` // by which schedule
	By       string `json:"by,omitempty"`
	// Until is when the snapshot may be deleted; zero: at any time.
	Until time.Time `json:"until,omitzero"`
}

// Info is a snapshot with all that is known of it.
type Info struct {
	store.Snapshot
	Meta
}

// ImmutableError refuses to delete a snapshot before its date.
type ImmutableError struct {
	Name  string
	Until time.Time
}

func (e *ImmutableError) Error() string {
	return fmt.Sprintf("snapshot %q is immutable until %s", e.Name, e.Until.UTC().Format(time.RFC3339))
}

// ErrShorter refuses to shorten the time a snapshot is immutable.
var ErrShorter = errors.New("the time a snapshot is immutable can only be extended")

// Book is the snapshots of a volume. It is safe for concurrent use.
type Book struct {
	Volume store.Volume
	now    func() time.Time

	mu   sync.Mutex // guards meta; held while a snapshot is checked and deleted
	meta map[store.View]Meta
}

// OpenBook reads what is kept about a volume's snapshots; now is the clock, time.Now if nil.
func OpenBook(vol store.Volume, now func() time.Time) (*Book, error) {
	if now == nil {
		now = time.Now
	}
	b := &Book{Volume: vol, now: now, meta: map[store.View]Meta{}}
	var bad error
	err := vol.KV().Scan(bucket, "", func(key string, value []byte) bool {
		var v store.View
		var m Meta
		if _, bad = fmt.Sscanf(key, "%016x", &v); bad == nil {
			bad = json.Unmarshal(value, &m)
		}
		b.meta[v] = m
		return bad == nil
	})
	if err = errors.Join(err, bad); err != nil {
		return nil, fmt.Errorf("reading what is known of snapshots: %w", err)
	}
	return b, nil
}

func record(v store.View, m *Meta) store.KVEdit {
	e := store.KVEdit{Bucket: bucket, Key: fmt.Sprintf("%016x", uint64(v))}
	if m != nil {
		e.Value, _ = json.Marshal(m) // strings and a time: cannot fail
	}
	return e
}

// reserved reports whether a name is of the kind that shadow copies and virtual disks give
// their snapshots, which go when whoever took them does not know of them any more.
func reserved(name string) bool {
	return strings.HasPrefix(name, object.HiddenSnapshot) || strings.HasPrefix(name, rsvd.SnapshotPrefix)
}

// Create takes a snapshot of files and folders; it is durable with all that is kept about it
// when Create returns.
func (b *Book) Create(name string, scope []store.FileID, m Meta) (Info, error) {
	if strings.ContainsAny(name, "/\\\x00\r\n") || len(name) > 200 || reserved(name) {
		return Info{}, store.ErrName
	}
	snap, pos, err := b.Volume.Snapshots().Create(name, scope)
	if err != nil {
		return Info{}, err
	}
	if m != (Meta{}) {
		if pos, err = b.Volume.KV().Apply([]store.KVEdit{record(snap.View, &m)}); err != nil {
			return Info{}, err
		}
		b.mu.Lock()
		b.meta[snap.View] = m
		b.mu.Unlock()
	}
	return Info{snap, m}, b.Volume.Wait(pos)
}

// List returns the snapshots that cover a file or folder, the root for all, oldest first.
func (b *Book) List(id store.FileID) ([]Info, error) {
	snaps, err := b.Volume.Snapshots().List(id)
	if err != nil {
		return nil, err
	}
	out := make([]Info, len(snaps))
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, s := range snaps {
		out[i] = Info{s, b.meta[s.View]}
	}
	return out, nil
}

// Find finds a snapshot by name.
func (b *Book) Find(name string) (Info, error) {
	s, err := b.Volume.Snapshots().Find(name)
	if err != nil {
		return Info{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return Info{s, b.meta[s.View]}, nil
}

// Delete deletes a snapshot. One that is immutable still is refused with an *ImmutableError,
// unless override agrees: it is to write down, durably, who wants it and why.
func (b *Book) Delete(name string, override func(Info) error) error {
	i, err := b.Find(name)
	if err != nil {
		return err
	}
	b.mu.Lock()
	m := b.meta[i.View] // it may have been extended
	if i.Meta = m; b.now().Before(m.Until) {
		err = &ImmutableError{i.Name, m.Until}
		if override != nil {
			err = override(i)
		}
	}
	var pos store.Pos
	if err == nil {
		pos, err = b.Volume.Snapshots().Delete(i.View)
	}
	if err == nil {
		delete(b.meta, i.View)
	}
	b.mu.Unlock()
	if err != nil {
		return err
	}
	if m != (Meta{}) {
		if pos, err = b.Volume.KV().Apply([]store.KVEdit{record(i.View, nil)}); err != nil {
			return err
		}
	}
	return b.Volume.Wait(pos)
}

// Lock makes a snapshot immutable until a date, which can only be moved back.
func (b *Book) Lock(name string, until time.Time) (Info, error) {
	i, err := b.Find(name)
	if err != nil {
		return Info{}, err
	}
	b.mu.Lock()
	i.Meta = b.meta[i.View]
	if until.Before(i.Until) {
		b.mu.Unlock()
		return i, fmt.Errorf("snapshot %q is immutable until %s: %w", name, i.Until.UTC().Format(time.RFC3339), ErrShorter)
	}
	i.Until = until
	pos, err := b.Volume.KV().Apply([]store.KVEdit{record(i.View, &i.Meta)})
	if err == nil {
		b.meta[i.View] = i.Meta
	}
	b.mu.Unlock()
	if err != nil {
		return i, err
	}
	return i, b.Volume.Wait(pos)
}
