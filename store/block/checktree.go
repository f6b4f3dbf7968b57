package block

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"gabion/store"
)

// The tree is compared record by record: what each must agree with is looked up in the state that is
// checked. So it takes no memory, and a scrubber can do it by slices, each in a state of its own.

// treeKinds are the records of the tree, in the order of their keys.
var treeKinds = []byte{kInode, kLink, kName, kStream}

// tree checks inodes, entries, links and streams against each other.
func (c *checker) tree() error {
	for from := []byte{treeKinds[0]}; from != nil; {
		var err error
		if from, err = c.treeSlice(from, nil, 0); err != nil {
			return err
		}
	}
	c.sum.Snapshots = int64(len(*c.v.snaps.live.Load()))
	return nil
}

// treeSlice checks the records from a key on: those ahead of to, or, without, the next most of
// the kind, or all of them when that is 0. It returns where to go on, nil at the end.
func (c *checker) treeSlice(from, to []byte, most int) (next []byte, err error) {
	kind := from[0]
	visit, least := c.inode, 13
	switch kind {
	case kName:
		visit, least = c.entry, 10
	case kStream:
		visit, least = c.streamEntry, 10
	case kLink:
		visit, least = func(_, _ []byte) error { return nil }, 18 // they are looked up; here it shows whether all can be read
	}
	var last, rest []byte
	n := 0
	next, err = c.scanFrom(from, []byte{kind + 1}, func(key, value []byte) error {
		if len(key) < least+8 {
			c.found(Problem{What: fmt.Sprintf("index: malformed key %x", key)})
			return nil
		}
		body, _ := versionOf(key)
		if string(body) == string(last) {
			return nil
		}
		if n++; to == nil && most > 0 && n > most || to != nil && bytes.Compare(key, to) >= 0 {
			rest = slices.Clone(key)
			return errBatch
		}
		last = append(last[:0], body...)
		if len(value) == 0 {
			return nil
		}
		return visit(body, value)
	})
	switch {
	case err == errBatch:
		return rest, nil
	case err != nil || next != nil:
		return next, err
	}
	if i := slices.Index(treeKinds, kind) + 1; i < len(treeKinds) {
		return []byte{treeKinds[i]}, nil
	}
	return nil, nil
}

// inode checks an inode by its names.
func (c *checker) inode(body, value []byte) error {
	id, no := store.FileID(be.Uint64(body[1:])), be.Uint32(body[9:])
	var a attrs
	if err := a.decode(value); err != nil {
		c.found(Problem{File: id, What: "inode: " + err.Error()})
		return nil
	}
	if no != 0 {
		return nil
	}
	c.sum.Files++
	if id == store.RootID {
		return nil
	}
	links, err := c.linksOf(id)
	if err != nil {
		return c.unread(err)
	}
	var in []store.FileID // folders whose entries lead here
	for _, l := range links {
		switch e, err := c.entryAt(l.parent, l.up); {
		case err != nil:
			if err := c.unread(err); err != nil {
				return err
			}
			in = append(in, l.parent) // as far as can be known
		case e == nil || e.id != id:
			c.found(Problem{File: id, What: fmt.Sprintf("its name %q in directory %d leads elsewhere", l.up, l.parent)})
		default:
			in = append(in, l.parent)
		}
	}
	if int(a.links) != len(links) {
		c.found(Problem{File: id, What: fmt.Sprintf("counts %d names, has %d", a.links, len(links))})
	}
	if a.dir && len(links) > 1 {
		c.found(Problem{File: id, What: "directory with several names"})
	}
	if a.links == 0 {
		return nil // being removed
	}
	for _, dir := range in {
		if ok, err := c.reached(dir); ok || err != nil {
			return c.unread(err)
		}
	}
	c.found(Problem{File: id, What: "cannot be reached from the root"})
	return nil
}

// entry checks a directory entry by the directory and the file that it names.
func (c *checker) entry(body, value []byte) error {
	dir, up := store.FileID(be.Uint64(body[1:])), string(body[9:len(body)-1])
	var e entry
	if err := e.decode(value); err != nil {
		c.found(Problem{File: dir, What: "directory entry: " + err.Error()})
		return nil
	}
	c.sum.Entries++
	if c.v.up(e.name) != up {
		c.found(Problem{File: dir, What: fmt.Sprintf("entry %q is filed as %q", e.name, up)})
	}
	in, err := c.attrsOf(dir)
	if err != nil {
		return c.unread(err)
	}
	if in == nil || !in.dir {
		c.found(Problem{File: dir, What: fmt.Sprintf("entry %q in what is no directory", e.name)})
		return nil
	}
	a, err := c.attrsOf(e.id)
	if err != nil {
		return c.unread(err)
	}
	if a == nil {
		c.found(Problem{File: e.id, What: fmt.Sprintf("entry %q of directory %d names a file that is not there", e.name, dir)})
		return nil
	}
	link, err := c.look(linkKey(nil, e.id, dir, up))
	if err == nil && link == nil {
		c.found(Problem{File: e.id, What: fmt.Sprintf("does not know its name %q in directory %d", e.name, dir)})
	}
	return c.unread(err)
}

// streamEntry checks that a named stream has sizes.
func (c *checker) streamEntry(body, value []byte) error {
	id := store.FileID(be.Uint64(body[1:]))
	var e streamEntry
	if err := e.decode(value); err != nil {
		c.found(Problem{File: id, What: "stream entry: " + err.Error()})
		return nil
	}
	a, err := c.attrsOf(id)
	if err != nil || a == nil {
		return c.unread(err)
	}
	_, ok, err := c.sizeOf(streamRef{id, e.no})
	if err == nil && !ok {
		c.found(Problem{File: id, Stream: e.name, What: "stream without sizes"})
	}
	return c.unread(err)
}

// unread passes over what cannot be looked up because the index is damaged there, which the walk
// through all keys tells, and returns any other error.
func (c *checker) unread(err error) error {
	if pebble.IsCorruptionError(err) {
		return nil
	}
	return err
}

// lookups is what a checker looks up in the state that it holds.
type lookups struct {
	it    *pebble.Iterator
	dir   store.FileID // whose attributes were asked for last, and those
	attrs *attrs
	below map[store.FileID]bool // directories that can be reached from the root
}

// maxBelow bounds the directories that are kept in mind.
const maxBelow = 1 << 16

// hold has the checker look at a state from now on, until drop.
func (c *checker) hold(snap *pebble.Snapshot) { c.snap, c.looks = snap, lookups{} }

func (c *checker) drop() {
	if c.looks.it != nil {
		c.looks.it.Close()
	}
	c.looks, c.known = lookups{}, streamKnown{}
	c.snap.Close()
}

// seek positions the iterator of lookups at the first key from one on.
func (c *checker) seek(key []byte) (bool, error) {
	l := &c.looks
	if l.it == nil {
		it, err := c.snap.NewIter(nil)
		if err != nil {
			return false, err
		}
		l.it = it
	}
	if err := c.indexRead(2 * len(key)); err != nil {
		return false, err
	}
	ok := l.it.SeekGE(key)
	return ok, l.it.Error()
}

// look returns the newest version of a versioned key, nil when there is none or a tombstone. It is valid until
// the next lookup.
func (c *checker) look(body []byte) ([]byte, error) {
	ok, err := c.seek(body)
	if !ok || err != nil {
		return nil, err
	}
	if key := c.looks.it.Key(); len(key) != len(body)+8 || !bytes.HasPrefix(key, body) {
		return nil, nil
	}
	value, err := c.looks.it.ValueAndErr()
	if len(value) == 0 {
		return nil, err
	}
	return value, err
}

// attrsOf returns the attributes of a live file, nil when there is none, or they cannot be understood, which
// the walk through all inodes tells.
func (c *checker) attrsOf(id store.FileID) (*attrs, error) {
	if c.looks.dir == id && id != 0 {
		return c.looks.attrs, nil
	}
	value, err := c.look(inodeKey(nil, id, 0))
	if err != nil || value == nil {
		return nil, err
	}
	a := new(attrs)
	if a.decode(value) != nil {
		return nil, nil
	}
	if a.dir {
		c.looks.dir, c.looks.attrs = id, a
	}
	return a, nil
}

// entryAt returns the entry of a directory, nil when there is none.
func (c *checker) entryAt(dir store.FileID, up string) (*entry, error) {
	value, err := c.look(nameKey(nil, dir, up))
	if err != nil || value == nil {
		return nil, err
	}
	e := new(entry)
	if e.decode(value) != nil {
		return nil, nil
	}
	return e, nil
}

// sizeOf returns the size of a stream of a live file.
func (c *checker) sizeOf(ref streamRef) (size int64, ok bool, err error) {
	a, err := c.attrsOf(ref.file)
	if err != nil || a == nil {
		return 0, false, err
	}
	if ref.no == a.data {
		return a.size, true, nil
	}
	value, err := c.look(inodeKey(nil, ref.file, ref.no))
	if err != nil || value == nil {
		return 0, false, err
	}
	var z attrs
	return z.size, true, z.decode(value)
}

// each walks the newest versions, which are not tombstones, of the keys with a prefix, whose bodies are
// of at least so many bytes.
func (c *checker) each(prefix []byte, least int, fn func(body, value []byte)) error {
	var last []byte
	ok, err := c.seek(prefix)
	for it := c.looks.it; ok && err == nil && bytes.HasPrefix(it.Key(), prefix); ok = it.Next() {
		body, _ := versionOf(it.Key())
		if len(body) < least || string(body) == string(last) {
			continue
		}
		last = append(last[:0], body...)
		var value []byte
		if value, err = it.ValueAndErr(); err == nil && len(value) > 0 {
			fn(body, value)
		}
	}
	if err == nil {
		err = c.looks.it.Error()
	}
	return err
}

// linksOf returns the names that a live file says it has.
func (c *checker) linksOf(id store.FileID) (links []link, err error) {
	err = c.each(key64(nil, kLink, uint64(id)), 18, func(body, value []byte) {
		l := link{parent: store.FileID(be.Uint64(body[9:])), up: string(body[17 : len(body)-1])}
		eachField(value, func(id byte, _ uint64, data []byte) { //nolint:errcheck // the name is for display
			if id == fName {
				l.name = string(data)
			}
		})
		links = append(links, l)
	})
	return links, err
}

// reached reports whether entries lead from the root to a directory.
func (c *checker) reached(dir store.FileID) (bool, error) {
	l := &c.looks
	way := map[store.FileID]bool{}
	for dir != store.RootID && !l.below[dir] {
		if way[dir] {
			return false, nil
		}
		way[dir] = true
		links, err := c.linksOf(dir)
		if err != nil {
			return false, err
		}
		up := store.FileID(0)
		for _, x := range links {
			e, err := c.entryAt(x.parent, x.up)
			if err != nil {
				return false, err
			}
			if e != nil && e.id == dir {
				up = x.parent
			}
		}
		if dir = up; up == 0 {
			return false, nil
		}
	}
	if l.below == nil || len(l.below) > maxBelow {
		l.below = map[store.FileID]bool{}
	}
	maps.Copy(l.below, way)
	return true, nil
}

// path returns the path of a file below the root in the state that is checked, "" when there is none.
func (c *checker) path(id store.FileID) string {
	path := ""
	for id != store.RootID {
		links, err := c.linksOf(id)
		if err != nil || len(links) == 0 || len(path) > 1<<15 {
			return ""
		}
		path, id = `\`+links[0].name+path, links[0].parent
	}
	if path == "" {
		return `\`
	}
	return path
}

// streamKnown is the stream that was asked for last.
type streamKnown struct {
	ref  streamRef
	size int64
	ok   bool // it has a size
	name string
}

// stream returns what is known of a stream. What cannot be read is not known.
func (c *checker) stream(ref streamRef) streamKnown {
	if c.known.ref == ref {
		return c.known
	}
	k := streamKnown{ref: ref}
	var err error
	if k.size, k.ok, err = c.sizeOf(ref); err != nil {
		k.ok = false
	}
	c.each(key64(nil, kStream, uint64(ref.file)), 10, func(_, value []byte) { //nolint:errcheck // as above
		var e streamEntry
		if e.decode(value) == nil && e.no == ref.no {
			k.name = e.name
		}
	})
	c.known = k
	return k
}
