package memvol

import (
	"fmt"
	"maps"
	"slices"

	"gabion/store"
)

// node is an open reference. The pointer to the inode is all that pins it.
type node struct {
	v    *Volume
	view store.View
	*inode
}

func (n *node) ID() store.FileID { return n.id }
func (n *node) View() store.View { return n.view }
func (n *node) IsDir() bool      { return n.dir }
func (n *node) Close()           {}

func (n *node) Attr() (store.Attr, error) {
	if err := n.v.enter("Attr"); err != nil {
		return store.Attr{}, err
	}
	defer n.v.mu.Unlock()
	return n.attr(), nil
}

// enterLive locks the volume for a change of n.
func (n *node) enterLive(method string) error {
	if err := n.v.enter(method); err != nil {
		return err
	}
	if n.view != store.Live {
		n.v.mu.Unlock()
		return store.ErrReadOnly
	}
	return nil
}

func (n *node) Update(c store.Change) (store.Pos, error) {
	if err := n.enterLive("Update"); err != nil {
		return 0, err
	}
	defer n.v.mu.Unlock()
	n.setTimes(c.Times)
	n.setBlobs(c.Blobs)
	if c.FileAttributes != nil {
		n.attrs = *c.FileAttributes
	}
	if c.EASize != nil {
		n.eaSize = *c.EASize
	}
	if c.ReparseTag != nil {
		n.tag = *c.ReparseTag
	}
	return n.v.done(), nil
}

func (n *node) Blob(k store.BlobKind) ([]byte, error) {
	if err := n.v.enter("Blob"); err != nil {
		return nil, err
	}
	defer n.v.mu.Unlock()
	return slices.Clone(n.blobs[k]), nil
}

func (n *node) Names() ([]store.LinkName, error) {
	if err := n.v.enter("Names"); err != nil {
		return nil, err
	}
	defer n.v.mu.Unlock()
	return slices.Clone(n.links), nil
}

func (n *node) Data() (store.Stream, error) {
	if n.dir {
		return nil, store.ErrIsDir
	}
	if err := n.v.enter("Data"); err != nil {
		return nil, err
	}
	defer n.v.mu.Unlock()
	return &handle{n, n.unnamed}, nil
}

func (n *node) Stream(name string) (store.Stream, error) {
	if name == "" {
		return n.Data()
	}
	if err := n.v.enter("Stream"); err != nil {
		return nil, err
	}
	defer n.v.mu.Unlock()
	s, err := n.find(name)
	if err != nil {
		return nil, err
	}
	return &handle{n, s}, nil
}

// find returns the stream called name, "" for the unnamed one.
func (n *inode) find(name string) (*stream, error) {
	if name == "" {
		if n.dir {
			return nil, store.ErrIsDir
		}
		return n.unnamed, nil
	}
	s := n.streams[fold(name)]
	if s == nil {
		return nil, fmt.Errorf("stream %q: %w", name, store.ErrNotFound)
	}
	return s, nil
}

func (n *node) CreateStream(name string) (store.Stream, store.Pos, error) {
	if err := n.enterLive("CreateStream"); err != nil {
		return nil, 0, err
	}
	defer n.v.mu.Unlock()
	if err := checkName(name); err != nil {
		return nil, 0, err
	}
	if n.streams[fold(name)] != nil {
		return nil, 0, fmt.Errorf("stream %q: %w", name, store.ErrExist)
	}
	s := &stream{name: name}
	n.streams[fold(name)] = s
	return &handle{n, s}, n.v.done(), nil
}

func (n *node) RemoveStream(name string) (store.Pos, error) {
	if err := n.enterLive("RemoveStream"); err != nil {
		return 0, err
	}
	defer n.v.mu.Unlock()
	if name == "" {
		return 0, store.ErrInvalid
	}
	if _, err := n.find(name); err != nil {
		return 0, err
	}
	delete(n.streams, fold(name))
	return n.v.done(), nil
}

// RenameStream follows [MS-FSA] 2.1.5.15.12.1: a target must be empty to be
// replaced, and renaming the unnamed stream leaves an empty one behind.
func (n *node) RenameStream(name, newName string, replace bool) (store.Pos, error) {
	if err := n.enterLive("RenameStream"); err != nil {
		return 0, err
	}
	defer n.v.mu.Unlock()
	if newName != "" {
		if err := checkName(newName); err != nil {
			return 0, err
		}
	}
	s, err := n.find(name)
	if err != nil {
		return 0, err
	}
	if fold(name) == fold(newName) {
		return n.v.done(), nil
	}
	if n.dir && newName == "" {
		return 0, store.ErrInvalid
	}
	if t, err := n.find(newName); err == nil {
		if !replace {
			return 0, fmt.Errorf("stream %q: %w", newName, store.ErrExist)
		}
		if t.size != 0 {
			return 0, fmt.Errorf("stream %q is not empty: %w", newName, store.ErrInvalid)
		}
	}
	if name == "" {
		n.unnamed = &stream{}
	} else {
		delete(n.streams, fold(name))
	}
	s.name = newName
	if newName == "" {
		n.unnamed = s
	} else {
		n.streams[fold(newName)] = s
	}
	return n.v.done(), nil
}

func (n *node) Streams() ([]store.StreamInfo, error) {
	if err := n.v.enter("Streams"); err != nil {
		return nil, err
	}
	defer n.v.mu.Unlock()
	var out []store.StreamInfo
	for _, k := range slices.Sorted(maps.Keys(n.streams)) {
		s := n.streams[k]
		out = append(out, store.StreamInfo{Name: s.name, Sizes: s.sizes(n.sparse())})
	}
	return out, nil
}
