package block

import (
	"fmt"

	"gabion/store"
)

// rename gives a stream another name. The unnamed stream's number and sizes lie in the
// inode's record, those of a named one in an entry and a record of their own.
type rename struct {
	n             *inode
	name, newName string
	moving        *stream
	from, to      found  // entries of name and newName
	target        uint32 // stream that is replaced
	replaces      bool
}

// find looks at what is there. Caller holds the inode's mu.
func (r *rename) find(replace bool) error {
	n := r.n
	var err error
	if r.moving, r.from, err = r.side(r.name); err != nil {
		return err
	}
	same := n.v.up(r.name) == n.v.up(r.newName)
	if n.dir && r.newName == "" && !same {
		return store.ErrInvalid
	}
	t, to, err := r.side(r.newName)
	r.to = to
	switch {
	case same:
		return nil
	case isNotFound(err):
		return nil
	case err != nil:
		return err
	case !replace:
		return fmt.Errorf("stream %q: %w", r.newName, store.ErrExist)
	case t.size.Load() != 0:
		return fmt.Errorf("stream %q is not empty: %w", r.newName, store.ErrInvalid)
	}
	r.replaces, r.target = true, t.no
	return nil
}

func (r *rename) side(name string) (*stream, found, error) {
	n := r.n
	if name == "" {
		if n.dir {
			return nil, found{}, store.ErrIsDir
		}
		return n.data, found{}, nil
	}
	e, f, err := n.findStream(name)
	if err != nil {
		return nil, f, err
	}
	s, err := n.stream(e)
	return s, f, err
}

func (r *rename) commit() (store.Pos, error) {
	n, s := r.n, r.moving
	c := newChange()
	defer c.free()
	if n.v.up(r.name) == n.v.up(r.newName) {
		return store.Pos(n.v.log.Last()), nil // a stream keeps the case it was made with
	}
	a := n.attrs()
	z := s.sizes()
	var empty *stream // takes the unnamed place when its stream moves away
	if r.name == "" {
		a.next++
		empty = newStream(n, a.next, "", 0, sizes{})
		a.data, a.sizes = empty.no, sizes{}
	} else {
		c.remove(streamKey(nil, n.id, n.v.up(r.name)), r.from, n.label(r.from.version))
	}
	version := s.version
	if r.newName == "" {
		a.data, a.sizes = s.no, z
	} else {
		e := streamEntry{r.newName, s.no}
		c.put(streamKey(nil, n.id, n.v.up(r.newName)), r.to, n.label(r.to.version), e.encode())
		if r.name == "" {
			body := inodeKey(nil, n.id, s.no)
			was, err := n.v.find(body, newest)
			if err != nil {
				return 0, err
			}
			version = n.label(was.version)
			c.put(body, was, version, z.full(nil))
		}
	}
	label := n.update(c, &a)
	if r.replaces {
		c.set(orphanStreamKey(nil, n.id, r.target), nil)
	}
	charged, err := n.charging()
	if err != nil {
		return 0, err
	}
	pos, err := n.v.commit(c)
	if err != nil {
		return 0, err
	}
	old := n.data
	switch {
	case r.name == "":
		n.data = empty
		n.keep(s)
	case r.newName == "":
		delete(n.streams, s.no)
		n.data = s
	}
	n.updated(&a, label)
	s.name, s.version = r.newName, version
	charged.over()
	if r.replaces {
		open := n.streams[r.target]
		if r.newName == "" {
			open = old
		}
		n.droppedStream(r.target, open)
	}
	return pos, nil
}
