package block

import (
	"cmp"
	"fmt"
	"slices"

	"gabion/store"
)

// Restore implements store.Snapshots.
func (s snapshots) Restore(files []store.FileID, view store.View) (store.Pos, error) {
	v := s.v
	if view == store.Live || len(files) == 0 {
		return 0, store.ErrInvalid
	}
	files = slices.Clone(files)
	slices.Sort(files)
	r := restoring{v: v, view: view}
	defer r.close()
	for _, id := range slices.Compact(files) {
		if _, err := r.open(id, id); err != nil {
			return 0, err
		}
	}
	return r.run()
}

// Replace implements store.Snapshots.
func (s snapshots) Replace(list []store.Replacement, view store.View) (store.Pos, error) {
	if view == store.Live || len(list) == 0 {
		return 0, store.ErrInvalid
	}
	r := restoring{v: s.v, view: view}
	defer r.close()
	for i, p := range list {
		f, err := r.open(p.To, p.From)
		if err != nil {
			return 0, err
		}
		f.dataOnly = true
		if f.to.dir || f.from.dir {
			return 0, store.ErrIsDir
		}
		if slices.ContainsFunc(list[:i], func(q store.Replacement) bool { return q.To == p.To }) {
			return 0, fmt.Errorf("file %d is to become two: %w", p.To, store.ErrInvalid)
		}
	}
	slices.SortFunc(r.files, func(a, b *restored) int { return cmp.Compare(a.to.id, b.to.id) })
	return r.run()
}

// run tries until nothing comes in between.
func (r *restoring) run() (store.Pos, error) {
	for {
		pos, again, err := r.attempt()
		if err != nil {
			return 0, fmt.Errorf("restore from snapshot %d: %w", r.view, err)
		}
		if !again {
			return pos, nil
		}
	}
}

// restoring is a restore of a set of files to a snapshot, as one change. The contents are
// planned with the streams locked, in the order of their files and numbers; the files'
// inodes are locked for the end of it only, so what streams there are is looked at twice.
type restoring struct {
	v     *Volume
	view  store.View
	files []*restored // by id

	c     *change
	plans []*plan
}

// restored is one file.
type restored struct {
	to, from *node
	dataOnly bool      // named streams stay
	seen     streamSet // the live streams as they were when planning began
	gone     []namedStream
	streams  []*restoredStream
	next     uint32 // last stream number, with the new streams

	a     attrs
	label uint64
}

// restoredStream is one stream with its source.
type restoredStream struct {
	*stream         // a new one is nobody else's yet
	from    *handle // in the snapshot's view
	held    *handle // keeps the live stream at hand; nil for a new one
	was     found   // entry of its name
	fresh   bool
	version uint64 // the record of its sizes will have
}

// namedStream is an entry of a named stream.
type namedStream struct {
	up string
	streamEntry
	f found
}

// streamSet is the streams of a file.
type streamSet struct {
	data, next uint32
	named      []namedStream
}

func (s *streamSet) find(up string) *namedStream {
	for i := range s.named {
		if s.named[i].up == up {
			return &s.named[i]
		}
	}
	return nil
}

func (s *streamSet) equal(o *streamSet) bool {
	return s.data == o.data && s.next == o.next && slices.EqualFunc(s.named, o.named, func(a, b namedStream) bool {
		return a.streamEntry == b.streamEntry && a.f.version == b.f.version
	})
}

// streamSet lists the streams. Caller holds mu.
func (n *inode) streamSet() (streamSet, error) {
	s := streamSet{data: n.a.data, next: n.a.next}
	err := n.v.scanVersions(key64(nil, kStream, uint64(n.id)), nil, maxVersion(n.view), func(body []byte, f found) (bool, error) {
		e := namedStream{up: string(body[9 : len(body)-1]), f: f}
		err := e.decode(f.value)
		s.named = append(s.named, e)
		return err == nil, err
	})
	return s, err
}

// open opens a file and what it becomes.
func (r *restoring) open(to, from store.FileID) (*restored, error) {
	live, err := r.v.OpenID(store.Live, to)
	if err != nil {
		return nil, err
	}
	f := &restored{to: live.(*node)}
	r.files = append(r.files, f)
	then, err := r.v.OpenID(r.view, from)
	if err != nil {
		return nil, err
	}
	f.from = then.(*node)
	return f, nil
}

func (r *restoring) close() {
	for _, f := range r.files {
		f.to.Close()
		if f.from != nil {
			f.from.Close()
		}
	}
}

// attempt plans and commits, unless streams came or went meanwhile.
func (r *restoring) attempt() (pos store.Pos, again bool, err error) {
	v := r.v
	if err := v.admit(0); err != nil {
		return 0, false, err
	}
	v.epoch.RLock()
	defer v.epoch.RUnlock()
	if _, err := v.snapshotOf(r.view); err != nil {
		return 0, false, err // deleted since the files were opened
	}
	r.c, r.plans = newChange(), nil
	defer r.c.free()
	for _, f := range r.files {
		defer f.release()
		if err := f.pair(); err != nil {
			return 0, false, err
		}
	}
	defer r.lock()()
	defer func() {
		for _, p := range r.plans {
			p.release()
		}
	}()
	for _, f := range r.files {
		for _, s := range f.streams {
			if err := r.plan(s); err != nil {
				return 0, false, err
			}
		}
	}
	return r.commit()
}

// pair finds for each stream of the snapshot the live one.
func (f *restored) pair() error {
	n := f.to.inode
	f.from.mu.Lock()
	want, err := f.from.streamSet()
	f.from.mu.Unlock()
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if f.seen, err = n.streamSet(); err != nil {
		return err
	}
	f.next = f.seen.next
	if !n.dir {
		from, err := f.from.Data()
		if err != nil {
			return err
		}
		held := n.data.openHandle()
		f.streams = append(f.streams, &restoredStream{stream: n.data, from: from.(*handle), held: held})
	}
	if f.dataOnly {
		return nil
	}
	for _, e := range f.seen.named {
		if want.find(e.up) == nil {
			f.gone = append(f.gone, e)
		}
	}
	for _, w := range want.named {
		if err := f.pairNamed(w); err != nil {
			return err
		}
	}
	slices.SortFunc(f.streams, func(a, b *restoredStream) int { return int(int64(a.no) - int64(b.no)) })
	return nil
}

// pairNamed is pair for a named stream; the live file may lack it. Caller holds the live inode's mu.
func (f *restored) pairNamed(w namedStream) error {
	from, err := f.from.Stream(w.name)
	if err != nil {
		return err
	}
	s := &restoredStream{from: from.(*handle)}
	f.streams = append(f.streams, s)
	n := f.to.inode
	if e := f.seen.find(w.up); e != nil {
		s.was = e.f
		if s.stream, err = n.stream(e.streamEntry); err == nil {
			s.held = s.openHandle()
		}
		return err
	}
	if s.was, err = n.v.find(streamKey(nil, n.id, w.up), newest); err != nil {
		return err
	}
	f.next++
	s.fresh = true
	s.stream = newStream(n, f.next, w.name, n.label(0), sizes{})
	return nil
}

// release closes what pair opened.
func (f *restored) release() {
	for _, s := range f.streams {
		s.from.Close()
		if s.held != nil {
			s.held.Close()
		}
	}
	f.streams, f.gone = nil, nil
}

// lock locks the streams that are there, in order.
func (r *restoring) lock() (unlock func()) {
	var held []*stream
	for _, f := range r.files {
		for _, s := range f.streams {
			if !s.fresh {
				s.mu.Lock()
				held = append(held, s.stream)
			}
		}
	}
	return func() {
		for _, s := range held {
			s.mu.Unlock()
		}
	}
}

// plan plans that a stream holds what its source does: chunks that may differ are shared
// one by one if they are few, else by pending clones.
func (r *restoring) plan(s *restoredStream) error {
	p := newPlanIn(s.stream, r.c)
	r.plans = append(r.plans, p)
	from := s.from.stream
	if end, many, err := s.whole(from); err != nil {
		return err
	} else if many {
		z := lazyClone{p: p, from: from}
		z.begin()
		z.add(0, end, 0)
		return nil
	}
	list, err := r.v.changed(from, s.stream)
	if err != nil {
		return err
	}
	if len(list) > r.v.few {
		z := lazyClone{p: p, from: from}
		z.begin()
		for k := 0; k < len(list); {
			n := 1
			for k+n < len(list) && list[k+n] == list[k]+uint32(n) {
				n++
			}
			z.add(list[k], uint32(n), int64(list[k])*chunkBlocks)
			k += n
		}
		return nil
	}
	for _, i := range list {
		m, err := from.mapOf(i)
		if err != nil {
			return err
		}
		p.room(0)
		pl, err := p.lock(i)
		if err != nil {
			return err
		}
		if err := p.share(pl, m, 0, 0, chunkBlocks); err != nil {
			return err
		}
	}
	p.flush()
	return nil
}

// whole reports whether a stream becomes another file's and one of them holds more than a few chunks:
// then all of them, up to end, are shared at once, without looking for those that differ.
func (s *restoredStream) whole(from *stream) (end uint32, many bool, err error) {
	end = uint32((max(s.size.Load(), from.size.Load()) + chunkSize - 1) / chunkSize)
	if s.n.id == from.n.id || int(end) <= s.n.v.few {
		return end, false, nil
	}
	if many, err = from.many(0, end); !many && err == nil {
		many, err = s.many(0, end)
	}
	return end, many, err
}

// commit adds what becomes of inodes, names and pending clones, and commits all of it.
func (r *restoring) commit() (pos store.Pos, again bool, err error) {
	v := r.v
	var lazy []*pending
	for _, p := range r.plans {
		lazy = append(lazy, p.lazy...)
	}
	pos, again, err = func() (store.Pos, bool, error) {
		if len(lazy) == 0 {
			return r.commitInodes(nil)
		}
		v.pendings.cutting.Lock()
		defer v.pendings.cutting.Unlock()
		e := v.planLazy(r.c, lazy)
		return r.commitInodes(&e)
	}()
	if err == nil && !again && len(lazy) > 0 {
		v.madeLazy(lazy)
	}
	return pos, again, err
}

// commitInodes is commit with the inodes locked.
func (r *restoring) commitInodes(e *pendEdit) (store.Pos, bool, error) {
	for _, f := range r.files {
		f.to.mu.Lock()
		defer f.to.mu.Unlock()
	}
	for _, f := range r.files {
		now, err := f.to.streamSet()
		if err != nil {
			return 0, false, err
		}
		if f.to.gone.Load() {
			return 0, false, fmt.Errorf("file %d: %w", f.to.id, store.ErrNotFound)
		}
		if !now.equal(&f.seen) {
			return 0, true, nil
		}
	}
	charged, err := r.charge()
	if err != nil {
		return 0, false, err
	}
	for _, f := range r.files {
		r.c.room(r.v.log.MaxPayload(), maxEdits)
		f.planInode(r.c, r.v.log.MaxPayload())
	}
	pos, err := r.v.commit(r.c)
	if err != nil {
		charged.undo()
		return 0, false, err
	}
	if e != nil {
		r.v.pendings.change(e.gone, e.new)
	}
	for _, p := range r.plans {
		p.committed()
	}
	for _, f := range r.files {
		f.committed()
	}
	return pos, false, nil
}

// planInode plans the records of a file and its streams. Caller holds mu.
func (f *restored) planInode(c *change, limit int) {
	n := f.to.inode
	old := n.attrs()
	f.a = old
	f.a.next = f.next
	for _, s := range f.streams {
		z := s.from.stream.sizes()
		if s.stream == n.data {
			f.a.sizes = z
			continue
		}
		c.room(limit, maxEdits)
		e := streamEntry{s.from.name, s.no}
		body := streamKey(nil, n.id, n.v.up(e.name))
		s.version = s.stream.version
		if s.fresh || s.stream.name != e.name {
			c.put(body, s.was, n.label(s.was.version), e.encode())
		}
		if s.fresh {
			c.set(at(inodeKey(nil, n.id, s.no), s.version), z.full(nil))
		} else if old := s.stream.sizes(); z != old {
			s.version = s.planSizes(c, z, old)
		}
	}
	for _, e := range f.gone {
		c.room(limit, maxEdits)
		c.remove(streamKey(nil, n.id, e.up), e.f, n.label(e.f.version))
		c.set(orphanStreamKey(nil, n.id, e.no), nil)
	}
	f.label = n.version
	if f.a != old {
		f.label = n.update(c, &f.a)
	}
}

// committed brings what is in memory up to date. Caller holds mu.
func (f *restored) committed() {
	n := f.to.inode
	if f.a != n.attrs() {
		n.updated(&f.a, f.label)
	}
	for _, s := range f.streams {
		if s.fresh {
			continue // loaded when it is opened
		}
		if s.stream != n.data {
			s.stream.version, s.stream.name = s.version, s.from.name
		}
		s.setSizes(s.from.stream.sizes())
	}
	for _, e := range f.gone {
		n.droppedStream(e.no, n.streams[e.no])
	}
}
