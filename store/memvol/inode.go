package memvol

import (
	"maps"
	"slices"

	"gabion/store"
)

// fileAttributeSparse is FILE_ATTRIBUTE_SPARSE_FILE ([MS-FSCC] 2.6).
const fileAttributeSparse = 0x200

// stream is a stream with its name; "" for the unnamed one.
type stream struct {
	name string
	data
}

// inode is a file or directory in one view.
type inode struct {
	id       store.FileID
	dir      bool
	attrs    uint32
	times    store.Times
	blobs    map[store.BlobKind][]byte
	eaSize   uint32
	tag      uint32
	links    []store.LinkName
	unnamed  *stream            // nil for a directory
	streams  map[string]*stream // by folded name
	children map[string]dirent  // of a directory, by folded name
	gone     bool               // the last name was removed
}

type dirent struct {
	name string
	id   store.FileID
}

// tree holds the inodes of one view.
type tree map[store.FileID]*inode

func (s *stream) clone() *stream {
	if s == nil {
		return nil
	}
	return &stream{s.name, s.data.clone()}
}

func (n *inode) clone() *inode {
	c := *n
	c.blobs = maps.Clone(n.blobs) // the values are never changed in place
	c.links = slices.Clone(n.links)
	c.unnamed = n.unnamed.clone()
	c.streams = make(map[string]*stream, len(n.streams))
	for k, s := range n.streams {
		c.streams[k] = s.clone()
	}
	c.children = maps.Clone(n.children)
	return &c
}

func (n *inode) sparse() bool { return n.attrs&fileAttributeSparse != 0 }

func (n *inode) attr() store.Attr {
	a := store.Attr{
		ID: n.id, Dir: n.dir, FileAttributes: n.attrs,
		CreationTime: n.times.Creation, LastAccessTime: n.times.LastAccess,
		LastWriteTime: n.times.LastWrite, ChangeTime: n.times.Change,
		Links: uint32(len(n.links)), ReparseTag: n.tag, EASize: n.eaSize,
	}
	if n.id == store.RootID {
		a.Links = 1
	}
	if n.unnamed != nil {
		a.Sizes = n.unnamed.sizes(n.sparse())
	}
	return a
}

func (n *inode) setTimes(t store.Times) {
	if t.Creation != 0 {
		n.times.Creation = t.Creation
	}
	if t.LastAccess != 0 {
		n.times.LastAccess = t.LastAccess
	}
	if t.LastWrite != 0 {
		n.times.LastWrite = t.LastWrite
	}
	if t.Change != 0 {
		n.times.Change = t.Change
	}
}

func (n *inode) setBlobs(m map[store.BlobKind][]byte) {
	for k, b := range m {
		if len(b) == 0 {
			delete(n.blobs, k)
		} else {
			n.blobs[k] = slices.Clone(b)
		}
	}
}

func (n *inode) touch(t store.Touch) {
	n.setTimes(store.Times{LastWrite: t.LastWrite, Change: t.Change})
	n.attrs |= t.SetAttributes
}

// unlink removes the link (parent, folded name) from the inode's list.
func (n *inode) unlink(parent store.FileID, folded string) {
	n.links = slices.DeleteFunc(n.links, func(l store.LinkName) bool {
		return l.Parent == parent && fold(l.Name) == folded
	})
}
