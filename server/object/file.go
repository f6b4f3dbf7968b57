package object

import (
	"strings"
	"sync"
	"sync/atomic"

	"gabion/protocol/dtyp"
	"gabion/store"
)

// File is a live file or directory ([MS-FSA] 2.1.1.3).
type File struct {
	vol  *Volume
	node store.Node
	id   store.FileID
	view store.View
	dir  bool

	refs int // guarded by vol.mu

	// sd is the decoded security descriptor, loaded at first use and dropped by every
	// change of it.
	sd atomic.Pointer[dtyp.SecurityDescriptor]

	activity atomic.Pointer[Activity] // nil until the first write

	mu sync.Mutex
	// The rest is guarded by mu.
	links   []*Link       // the names that live opens came by
	streams []*Stream     // the streams that are open
	waiters []*waiter     // operations that wait for a break, in order of arrival
	touched dtyp.Filetime // when data changed last, to a tick
}

// Link is a name by which a live file was opened ([MS-FSA] 2.1.1.4). Its fields
// are guarded by File.mu.
type Link struct {
	parent store.FileID
	name   string // case-preserved
	dir    string // path of the parent from the volume's root
	opens  int

	deletePending bool // Link.IsDeleted
	posix         bool // Link.DeleteUsingPosixSemantics
	unlinked      bool // the entry is gone
}

// path is the link's path from the volume's root.
func (l *Link) path() string { return joinPath(l.dir, l.name) }

// Stream is one stream of a live File ([MS-FSA] 2.1.1.5). Its fields are guarded
// by File.mu unless they say otherwise.
type Stream struct {
	file *File
	name string       // case-preserved; "" for the unnamed one and for directories
	data store.Stream // nil for a directory; constant, closed with the last open

	opens         []*Open
	grants        []*grant
	deletePending bool // Stream.IsDeleted, for named streams

	locks lockTable

	// readers counts the grants that a write must break: those with R. It may be read
	// without the lock.
	readers atomic.Int32
}

func newFile(v *Volume, n store.Node) *File {
	return &File{vol: v, node: n, id: n.ID(), view: n.View(), dir: n.IsDir(), refs: 1}
}

func (f *File) key() fileKey { return fileKey{f.view, f.id} }

// link returns the Link for a name of f, making it if need be. Caller holds mu.
func (f *File) link(parent store.FileID, name, dir string) *Link {
	for _, l := range f.links {
		if l.parent == parent && l.name == name && !l.unlinked {
			return l
		}
	}
	l := &Link{parent: parent, name: name, dir: dir}
	f.links = append(f.links, l)
	return l
}

// dropLink forgets a link nobody has open. Caller holds mu.
func (f *File) dropLink(l *Link) {
	for i, x := range f.links {
		if x == l {
			f.links = append(f.links[:i], f.links[i+1:]...)
			return
		}
	}
}

// stream returns the live stream of that stored name, nil if it is not open.
// Caller holds mu.
func (f *File) stream(name string) *Stream {
	for _, s := range f.streams {
		if s.name == name {
			return s
		}
	}
	return nil
}

// addStream makes a stream live. Caller holds mu.
func (f *File) addStream(name string, data store.Stream) *Stream {
	s := &Stream{file: f, name: name, data: data}
	f.streams = append(f.streams, s)
	return s
}

// dropStream forgets a stream nobody has open and returns its store handle
// for closing. Caller holds mu.
func (f *File) dropStream(s *Stream) store.Stream {
	for i, x := range f.streams {
		if x == s {
			f.streams = append(f.streams[:i], f.streams[i+1:]...)
			break
		}
	}
	return s.data
}

// main reports whether s is the unnamed data stream or the directory itself:
// deleting it deletes the file.
func (s *Stream) main() bool { return s.name == "" }

// below reports whether path lies in the directory dir, both from the volume's root.
func below(path, dir string) bool {
	if dir == "" {
		return path != ""
	}
	return len(path) > len(dir) && path[len(dir)] == '\\' && strings.EqualFold(path[:len(dir)], dir)
}
