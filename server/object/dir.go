package object

import (
	"errors"
	"sync"

	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/store"
	"gabion/store/upcase"
)

// DirQuery is one QUERY_DIRECTORY ([MS-FSA] 2.1.5.6.3).
type DirQuery struct {
	Pattern string // "" on a continued scan means the first query's pattern
	Restart bool   // SMB2_RESTART_SCANS
	Reopen  bool   // SMB2_REOPEN: also take the new pattern
	Single  bool   // SMB2_RETURN_SINGLE_ENTRY
}

// DirEntry is one entry: FileAttributes as clients see them; "." and ".." first. It is
// valid until the callback returns.
type DirEntry struct{ store.Entry }

// scan is the state of an enumeration: Open.QueryPattern and Open.QueryLastEntry.
type scan struct {
	mu      sync.Mutex // serialises the queries of an open; taken before File.mu
	pattern *fscc.Pattern
	dots    int    // how many of "." and ".." have been returned
	after   string // name of the last entry returned
	began   bool   // some entry has been returned since the scan began
	ended   bool
	ahead   []store.Entry // read but not returned yet
	buf     []store.Entry
	entry   DirEntry // what nextEntry returned
}

// readAhead is how many entries one call to the store asks for.
const readAhead = 128

// scanBuffers are taken for a scan and given back at its end.
var scanBuffers = sync.Pool{New: func() any { return new([readAhead]store.Entry) }}

// ReadDir calls emit for each further entry that matches, until it returns
// false, which means "did not fit": that entry comes again with the next query.
// STATUS_NO_SUCH_FILE when nothing matched at all, STATUS_NO_MORE_FILES at the end;
// success when at least one entry was taken. When the first did not fit the status is
// STATUS_INFO_LENGTH_MISMATCH with nothing taken.
func (o *Open) ReadDir(q DirQuery, emit func(*DirEntry) bool) ntstatus.Status {
	if !o.IsDir() {
		return ntstatus.InvalidParameter
	}
	if !o.has(fileListDirectory) {
		return ntstatus.AccessDenied
	}
	if o.file.id == quotaIndexID {
		return ntstatus.NoMoreFiles
	}
	if st := o.enter(); st != ntstatus.Success {
		return st
	}
	defer o.leave()
	s := &o.scan
	s.mu.Lock()
	defer s.mu.Unlock()
	first, st := s.begin(q)
	if st != ntstatus.Success {
		return st
	}
	taken := 0
	for {
		e, st := o.nextEntry()
		if st != ntstatus.Success {
			return st
		}
		if e == nil {
			break
		}
		if !emit(e) {
			if taken == 0 {
				return ntstatus.InfoLengthMismatch
			}
			return ntstatus.Success
		}
		s.took()
		if taken++; q.Single {
			return ntstatus.Success
		}
	}
	switch {
	case taken > 0:
		return ntstatus.Success
	case first && !s.began:
		return ntstatus.NoSuchFile
	}
	return ntstatus.NoMoreFiles
}

// begin prepares the scan for a query and reports whether it is the first one.
func (s *scan) begin(q DirQuery) (first bool, st ntstatus.Status) {
	first = s.pattern == nil || q.Restart || q.Reopen
	if s.pattern == nil || q.Reopen || q.Restart && q.Pattern != "" {
		pattern := q.Pattern
		if pattern == "" {
			pattern = "*"
		}
		if !validPattern(pattern) {
			return first, ntstatus.ObjectNameInvalid
		}
		p, err := fscc.NewPattern(pattern, upcase.Default())
		if err != nil {
			return first, ntstatus.ObjectNameInvalid
		}
		s.pattern = p
	}
	if first {
		s.dots, s.after, s.began, s.ended = 0, "", false, false
		s.ahead = nil
	}
	return first, ntstatus.Success
}

// validPattern is a file name in which wildcards are allowed.
func validPattern(p string) bool {
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c < 0x20, c == '/', c == '\\', c == ':', c == '|':
			return false
		}
	}
	return true
}

// nextEntry is the next entry that matches and may be seen, nil at the end. It
// stays the next until took.
func (o *Open) nextEntry() (*DirEntry, ntstatus.Status) {
	s := &o.scan
	for ; s.dots < 2; s.dots++ {
		name := "."
		if s.dots == 1 {
			name = ".."
		}
		if o.file.id != store.RootID && s.pattern.Match(name) {
			e, st := o.dot(name)
			return e, st
		}
	}
	for {
		if len(s.ahead) == 0 {
			if st := o.fill(); st != ntstatus.Success || len(s.ahead) == 0 {
				return nil, st
			}
		}
		e := &s.ahead[0]
		if s.pattern.Match(e.Name) && o.maySee(e) {
			d := &s.entry
			d.Entry = *e
			d.FileAttributes = visibleAttributes(&e.Attr)
			d.ID = clientID(o.file.view, e.ID)
			return d, ntstatus.Success
		}
		s.after, s.ahead = e.Name, s.ahead[1:]
	}
}

// fill reads more entries from the store.
func (o *Open) fill() ntstatus.Status {
	s := &o.scan
	if s.ended {
		if s.buf != nil {
			clear(s.buf)
			scanBuffers.Put((*[readAhead]store.Entry)(s.buf[:readAhead]))
			s.buf = nil
		}
		return ntstatus.Success
	}
	if s.buf == nil {
		s.buf = scanBuffers.Get().(*[readAhead]store.Entry)[:]
	}
	var err error
	s.buf, err = o.tree.vol.store.ReadDir(o.file.node, s.after, readAhead, s.buf[:0])
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return o.tree.vol.fs.statusOf(err)
	}
	s.ahead, s.ended = s.buf, len(s.buf) < readAhead
	return ntstatus.Success
}

// took moves past the entry nextEntry returned.
func (s *scan) took() {
	s.began = true
	if s.dots < 2 {
		s.dots++
		return
	}
	s.after, s.ahead = s.ahead[0].Name, s.ahead[1:]
}

// dot is the entry "." or "..".
func (o *Open) dot(name string) (*DirEntry, ntstatus.Status) {
	n := o.file.node
	if name == ".." && !o.isRoot() {
		o.file.mu.Lock()
		parent := o.link.parent
		o.file.mu.Unlock()
		p, err := o.tree.vol.store.OpenID(o.file.view, parent)
		if err != nil {
			return nil, o.tree.vol.fs.statusOf(err)
		}
		defer p.Close()
		n = p
	}
	a, err := n.Attr()
	if err != nil {
		return nil, o.tree.vol.fs.statusOf(err)
	}
	a.FileAttributes = visibleAttributes(&a)
	a.ID = clientID(o.file.view, a.ID)
	o.scan.entry.Entry = store.Entry{Name: name, Attr: a}
	return &o.scan.entry, ntstatus.Success
}

// maySee is access-based enumeration: entries the user may not read stay hidden.
func (o *Open) maySee(e *store.Entry) bool {
	if !o.tree.opt.AccessBasedEnumeration || o.backup {
		return true
	}
	n, err := o.tree.vol.store.OpenID(o.file.view, e.ID)
	if err != nil {
		return false
	}
	defer n.Close()
	sd, err := nodeSecurity(n)
	return err == nil && granted(o.Token(), sd, fileGenericRead) == fileGenericRead
}
