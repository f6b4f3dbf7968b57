package block

import (
	"bytes"
	"fmt"
	"sync/atomic"

	"gabion/store"
)

// node is a handle on an inode; it implements store.Node.
type node struct {
	*inode
	closed atomic.Bool
}

// newNode wraps an inode whose reference it takes over.
func newNode(n *inode) *node { return &node{inode: n} }

func (n *node) ID() store.FileID { return n.id }
func (n *node) View() store.View { return n.view }
func (n *node) IsDir() bool      { return n.dir }

// Close implements store.Node.
func (n *node) Close() {
	if !n.closed.Swap(true) {
		n.release()
	}
}

// Attr implements store.Node.
func (n *node) Attr() (store.Attr, error) {
	if err := n.v.check(); err != nil {
		return store.Attr{}, err
	}
	return n.public(), nil
}

// begin starts a change of attributes.
func (n *node) begin(adds int64) error {
	if n.view != store.Live {
		return store.ErrReadOnly
	}
	if err := n.v.admit(adds); err != nil {
		return err
	}
	n.v.epoch.RLock()
	n.mu.Lock()
	return nil
}

func (n *node) end() {
	n.mu.Unlock()
	n.v.epoch.RUnlock()
}

// Update implements store.Node.
func (n *node) Update(ch store.Change) (store.Pos, error) {
	if err := n.begin(0); err != nil {
		return 0, err
	}
	defer n.end()
	c := newChange()
	defer c.free()
	a := n.attrs()
	a.setTimes(ch.Times)
	if ch.FileAttributes != nil {
		a.file = *ch.FileAttributes
	}
	if ch.EASize != nil {
		a.ea = *ch.EASize
	}
	if ch.ReparseTag != nil {
		a.tag = *ch.ReparseTag
	}
	label := n.update(c, &a)
	for k, b := range ch.Blobs {
		body := blobKey(nil, n.id, k)
		old, err := n.v.find(body, newest)
		if err != nil {
			return 0, err
		}
		if len(b) == 0 {
			c.remove(body, old, n.label(old.version))
		} else {
			c.put(body, old, n.label(old.version), b)
		}
	}
	pos, err := n.v.commit(c)
	if err == nil {
		n.updated(&a, label)
		if b, ok := ch.Blobs[store.BlobSecurity]; ok {
			n.security, n.secured = keepable(b)
		}
	}
	return pos, err
}

// keepable returns a copy of a security descriptor that is small enough to be kept
// with every inode.
func keepable(b []byte) ([]byte, bool) {
	if len(b) == 0 || len(b) > 2048 {
		return nil, len(b) == 0 // an empty one is none
	}
	return bytes.Clone(b), true
}

// Blob implements store.Node.
func (n *node) Blob(k store.BlobKind) ([]byte, error) {
	if err := n.v.check(); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if k == store.BlobSecurity && n.secured {
		return bytes.Clone(n.security), nil
	}
	f, err := n.v.find(blobKey(nil, n.id, k), maxVersion(n.view))
	if err != nil {
		return nil, err
	}
	if !f.live() {
		f.value = nil
	}
	if k == store.BlobSecurity {
		n.security, n.secured = keepable(f.value)
	}
	return f.value, nil
}

// Names implements store.Node.
func (n *node) Names() ([]store.LinkName, error) {
	if err := n.v.check(); err != nil {
		return nil, err
	}
	var out []store.LinkName
	err := n.v.eachLink(n.id, maxVersion(n.view), func(l link) error {
		out = append(out, store.LinkName{Parent: l.parent, Name: l.name})
		return nil
	})
	return out, err
}

// Data implements store.Node.
func (n *node) Data() (store.Stream, error) {
	if n.dir {
		return nil, store.ErrIsDir
	}
	if err := n.v.check(); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.data.openHandle(), nil
}

// streamEntry is the value of a named stream's key.
type streamEntry struct {
	name string
	no   uint32
}

func (e streamEntry) encode() []byte {
	return field(fieldBytes(nil, fName, e.name), fStreamNo, uint64(e.no))
}

func (e *streamEntry) decode(b []byte) error {
	return eachField(b, func(id byte, v uint64, data []byte) {
		switch id {
		case fName:
			e.name = string(data)
		case fStreamNo:
			e.no = uint32(v)
		}
	})
}

// findStream looks up a named stream.
func (n *inode) findStream(name string) (e streamEntry, f found, err error) {
	f, err = n.v.find(streamKey(nil, n.id, n.v.up(name)), maxVersion(n.view))
	if err != nil {
		return e, f, err
	}
	if !f.live() {
		return e, f, fmt.Errorf("stream %q: %w", name, store.ErrNotFound)
	}
	return e, f, e.decode(f.value)
}

// stream returns the stream of an entry, loading it if it is not open. Caller holds mu.
func (n *inode) stream(e streamEntry) (*stream, error) {
	if s := n.streams[e.no]; s != nil {
		return s, nil
	}
	z, version, err := n.streamSizes(e.no)
	if err != nil {
		return nil, err
	}
	s := newStream(n, e.no, e.name, version, z)
	n.keep(s)
	return s, nil
}

// keep notes an open named stream. Caller holds mu.
func (n *inode) keep(s *stream) {
	if n.streams == nil {
		n.streams = map[uint32]*stream{}
	}
	n.streams[s.no] = s
}

func (n *inode) streamSizes(no uint32) (sizes, uint64, error) {
	f, err := n.v.find(inodeKey(nil, n.id, no), maxVersion(n.view))
	if err != nil {
		return sizes{}, 0, err
	}
	var a attrs
	err = a.decode(f.value)
	return a.sizes, f.version, err
}

// Stream implements store.Node.
func (n *node) Stream(name string) (store.Stream, error) {
	if name == "" {
		return n.Data()
	}
	if err := n.v.check(); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	e, _, err := n.findStream(name)
	if err != nil {
		return nil, err
	}
	s, err := n.stream(e)
	if err != nil {
		return nil, err
	}
	return s.openHandle(), nil
}

// CreateStream implements store.Node.
func (n *node) CreateStream(name string) (store.Stream, store.Pos, error) {
	if err := n.begin(addsNames); err != nil {
		return nil, 0, err
	}
	defer n.end()
	if err := checkName(name); err != nil {
		return nil, 0, err
	}
	_, old, err := n.findStream(name)
	if err == nil {
		return nil, 0, fmt.Errorf("stream %q: %w", name, store.ErrExist)
	}
	if !isNotFound(err) {
		return nil, 0, err
	}
	c := newChange()
	defer c.free()
	a := n.attrs()
	a.next++
	e := streamEntry{name, a.next}
	label := n.update(c, &a)
	c.put(streamKey(nil, n.id, n.v.up(name)), old, n.label(old.version), e.encode())
	fresh := n.label(0)
	c.set(at(inodeKey(nil, n.id, e.no), fresh), sizes{}.full(nil))
	pos, err := n.v.commit(c)
	if err != nil {
		return nil, 0, err
	}
	n.updated(&a, label)
	s := newStream(n.inode, e.no, name, fresh, sizes{})
	n.keep(s)
	return s.openHandle(), pos, nil
}

// RemoveStream implements store.Node.
func (n *node) RemoveStream(name string) (store.Pos, error) {
	if err := n.begin(0); err != nil {
		return 0, err
	}
	defer n.end()
	if name == "" {
		return 0, store.ErrInvalid
	}
	e, old, err := n.findStream(name)
	if err != nil {
		return 0, err
	}
	c := newChange()
	defer c.free()
	c.remove(streamKey(nil, n.id, n.v.up(name)), old, n.label(old.version))
	charged, err := n.charging()
	if err != nil {
		return 0, err
	}
	open, err := n.dropStream(c, e.no)
	if err != nil {
		return 0, err
	}
	pos, err := n.v.commit(c)
	if err == nil {
		charged.over()
		n.droppedStream(e.no, open)
	}
	return pos, err
}

// dropStream plans that a stream without a name goes when it is closed. Caller holds mu.
func (n *inode) dropStream(c *change, no uint32) (*stream, error) {
	c.set(orphanStreamKey(nil, n.id, no), nil)
	return n.streams[no], nil
}

func (n *inode) droppedStream(no uint32, open *stream) {
	if open != nil && open.refs > 0 {
		open.gone = true
		return
	}
	delete(n.streams, no)
	n.v.work.orphan(orphan{id: n.id, stream: no})
}

// Streams implements store.Node.
func (n *node) Streams() ([]store.StreamInfo, error) {
	if err := n.v.check(); err != nil {
		return nil, err
	}
	var out []store.StreamInfo
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.v.scanVersions(key64(nil, kStream, uint64(n.id)), nil, maxVersion(n.view), func(_ []byte, f found) (bool, error) {
		var e streamEntry
		if err := e.decode(f.value); err != nil {
			return false, err
		}
		info := store.StreamInfo{Name: e.name}
		if s := n.streams[e.no]; s != nil {
			info.Sizes = s.sizes().public()
		} else if z, _, err := n.streamSizes(e.no); err != nil {
			return false, err
		} else {
			info.Sizes = z.public()
		}
		out = append(out, info)
		return true, nil
	})
	return out, err
}

// RenameStream implements store.Node, as [MS-FSA] 2.1.5.15.12.1 has it: a target
// must be empty to be replaced, and renaming the unnamed stream leaves an empty
// one behind.
func (n *node) RenameStream(name, newName string, replace bool) (store.Pos, error) {
	if err := n.begin(0); err != nil {
		return 0, err
	}
	defer n.end()
	if newName != "" {
		if err := checkName(newName); err != nil {
			return 0, err
		}
	}
	r := rename{n: n.inode, name: name, newName: newName}
	if err := r.find(replace); err != nil {
		return 0, err
	}
	return r.commit()
}
