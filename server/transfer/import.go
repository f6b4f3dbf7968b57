package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"gabion/protocol/archive"
	"gabion/server/object"
	"gabion/server/versions"
	"gabion/server/vm"
	"gabion/store"
)

const bucket = "imports"

// recordEvery is how many bytes may be written between two records of the progress.
const recordEvery = 256 << 20

// Import makes files of a stream in a folder.
type Import struct {
	Changer *versions.Changer
	Dest    vm.Place
	Options versions.Options
	// Replace lets files go that are in the way of a whole export.
	Replace bool
	Turn    Turn // before data is written; nil: at once
}

// Reasons to refuse an import.
var (
	ErrMark    = errors.New("the stream does not continue what was imported so far")
	ErrBase    = errors.New("the folder does not hold the base of the difference")
	ErrChanged = errors.New("files have changed since the base was imported")
	ErrInWay   = errors.New("exists already; use --replace to let it go")
	ErrPath    = errors.New("a path that leads out of the folder")
)

// progress is what is recorded of an import, by its folder.
type progress struct {
	ID    string       `json:"id"`
	Mark  archive.Mark `json:"mark"`
	Begun bool         `json:"begun"` // the entry behind the mark is there already
	Done  bool         `json:"done"`
	View  uint64       `json:"view"`  // of the export's snapshot, on the volume it came from
	From  string       `json:"from"`  // that volume
	Local string       `json:"local"` // the snapshot taken here when it was done
}

// Result is what was imported.
type Result struct {
	Target   string  `json:"target"`
	Snapshot string  `json:"snapshot"` // the export's
	Local    string  `json:"local_snapshot"`
	Entries  int64   `json:"entries"`
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"`
}

// importing is an import on its way.
type importing struct {
	*Import
	ctx   context.Context
	r     *Reader
	state progress
	ours  int64 // entries that an earlier try of the same stream made or began
	bytes int64
	since int64 // bytes written since the last record
	pos   store.Pos
	dirs  []described

	entry *archive.Entry
	node  store.Node
	open  *object.Open
	out   store.Stream
	size  int64
	valid int64
}

// described is a folder whose times are set once its entries are there.
type described struct {
	id     store.FileID
	change store.Change
}

func (m *Import) vol() store.Volume { return m.Changer.Book.Volume }

func (m *Import) key() string { return fmt.Sprintf("%016x", uint64(m.Dest.ID)) }

// Read imports a stream to its end. A stream that breaks leaves what was imported, with its mark.
func (m *Import) Read(ctx context.Context, r io.Reader) (*Result, error) {
	began := time.Now()
	x := &importing{Import: m, ctx: ctx, r: NewReader(r)}
	defer x.closeEntry()
	if err := x.load(); err != nil {
		return nil, err
	}
	for {
		f, err := x.r.Next()
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = x.frame(f)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, x.interrupted(err)
		}
	}
	if err := x.finish(); err != nil {
		return nil, err
	}
	b := x.r.Begin()
	return &Result{
		Target: m.Dest.String(), Snapshot: b.Snapshot, Local: x.state.Local, Entries: x.r.Mark().Entries, Bytes: x.bytes,
		Seconds: time.Since(began).Seconds(),
	}, nil
}

// load reads how far an earlier import of the folder came.
func (x *importing) load() error {
	b, err := x.vol().KV().Get(bucket, x.key())
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(b, &x.state)
}

// record makes what was written durable, then the mark that says so.
func (x *importing) record() error {
	if err := x.vol().Wait(x.pos); err != nil {
		return err
	}
	b, err := json.Marshal(x.state)
	if err != nil {
		return err
	}
	pos, err := x.vol().KV().Apply([]store.KVEdit{{Bucket: bucket, Key: x.key(), Value: b}})
	x.since = 0
	return errors.Join(err, x.vol().Wait(pos))
}

// interrupted records how far the import came, and says so.
func (x *importing) interrupted(err error) error {
	if x.state.ID == "" || x.state.ID != x.r.Begin().ID {
		return err // it never began
	}
	if bad := errors.Join(x.setTimes(), x.record()); bad != nil {
		return errors.Join(err, bad)
	}
	var broken *BrokenError
	if errors.As(err, &broken) {
		broken.Mark = x.state.Mark
		return err
	}
	return fmt.Errorf("%w; %d entries are complete, continue with --resume %v", err, x.state.Mark.Entries, x.state.Mark)
}

func (x *importing) frame(f *Frame) error {
	var err error
	switch f.Type {
	case archive.TypeBegin:
		return x.begin(f.Begin)
	case archive.TypeEntry:
		x.state.Begun = false
		err = x.beginEntry(f.Entry)
		x.state.Begun = err == nil
	case archive.TypeStream:
		err = x.beginStream(f.Stream)
	case archive.TypeData:
		err = x.write(f)
	case archive.TypeZero:
		err = x.zero(f)
	case archive.TypeEntryEnd:
		err = x.endEntry()
		x.state.Begun = false
	}
	if err != nil {
		return err
	}
	x.state.Mark = x.r.Mark()
	if x.since >= recordEvery {
		return x.record()
	}
	return nil
}

// begin decides whether the part fits what is here.
func (x *importing) begin(b *archive.Begin) error {
	same := x.state.ID == b.ID && !x.state.Done
	switch {
	case b.From != archive.Mark{} && (!same || later(b.From, x.state.Mark)):
		return fmt.Errorf("%w: it begins at %v, but %v is complete", ErrMark, b.From, x.state.Mark)
	case same: // again, or on from a mark
	case b.Base != "" && (!x.state.Done || x.state.From != b.Volume || x.state.View != b.BaseView):
		return fmt.Errorf("%w: import snapshot %q first", ErrBase, b.Base)
	case b.Base != "":
		if err := x.unchanged(); err != nil {
			return err
		}
	}
	x.closeEntry() // where the part before was cut
	if same {
		x.ours = max(x.ours, x.state.Mark.Entries)
		if x.state.Begun {
			x.ours = max(x.ours, x.state.Mark.Entries+1)
		}
	}
	local := x.state.Local
	x.state = progress{ID: b.ID, Mark: b.From, Begun: same && x.state.Begun && b.From.Entries == x.state.Mark.Entries, View: b.View, From: b.Volume, Local: local}
	return x.record()
}

func later(a, b archive.Mark) bool {
	if a.Entries != b.Entries {
		return a.Entries > b.Entries
	}
	if a.Streams != b.Streams {
		return a.Streams > b.Streams
	}
	return a.Offset > b.Offset
}

// unchanged checks that the folder is still what was imported; with force it is made so.
func (x *importing) unchanged() error {
	s, err := x.Changer.Book.Find(x.state.Local)
	if err != nil {
		return fmt.Errorf("%w: its snapshot %q is gone", ErrBase, x.state.Local)
	}
	t := &vm.Target{Text: x.Dest.String(), Places: []vm.Place{x.Dest}}
	list, err := x.Changer.Book.Collect(t, versions.Side{Snap: &s}, versions.Side{})
	if err != nil || len(list) == 0 {
		return err
	}
	if !x.Options.Force {
		return fmt.Errorf("%w: %s and %d others; use --force to undo the changes", ErrChanged, list[0].Path, len(list)-1)
	}
	_, err = x.Changer.Restore(x.ctx, t, s, x.Options)
	return err
}

// full is the path of an entry from the volume's root.
func (x *importing) full(p string) (string, error) {
	if p == "" {
		return x.Dest.Full, nil
	}
	for _, part := range strings.Split(p, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsAny(part, "\\:\x00") {
			return "", fmt.Errorf("%w: %q", ErrPath, p)
		}
	}
	return path.Join(x.Dest.Full, p), nil
}

// keepTimes remembers the times of the folder of an entry that comes or goes: the stream says what
// they become if they changed.
func (x *importing) keepTimes(full string) error {
	n, err := vm.Walk(x.vol(), store.Live, parent(full))
	if err != nil {
		return err
	}
	defer n.Close()
	if slices.ContainsFunc(x.dirs, func(d described) bool { return d.id == n.ID() }) {
		return nil
	}
	a, err := n.Attr()
	x.dirs = append(x.dirs, described{n.ID(), store.Change{Times: store.Times{
		Creation: a.CreationTime, LastAccess: a.LastAccessTime, LastWrite: a.LastWriteTime, Change: a.ChangeTime,
	}}})
	return err
}

func parent(full string) string { return full[:max(strings.LastIndexByte(full, '/'), 0)] }

// setTimes gives the folders the times that they had or are to have.
func (x *importing) setTimes() error {
	for _, d := range x.dirs {
		n, err := x.vol().OpenID(store.Live, d.id)
		if err == nil {
			err = x.did(n.Update(d.change))
			n.Close()
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// finish sets the folders' times, and takes the snapshot that the next difference builds on.
func (x *importing) finish() error {
	if err := x.setTimes(); err != nil {
		return err
	}
	b := x.r.Begin()
	old := x.state.Local
	name := "import-" + b.Snapshot + "-" + time.Now().UTC().Format("20060102T150405.000000Z")
	i, err := x.Changer.Book.Create(name, []store.FileID{x.Dest.ID}, versions.Meta{Target: x.Dest.String(), By: x.Options.By})
	if err != nil {
		return err
	}
	x.state.Done, x.state.Local = true, i.Name
	if err := x.record(); err != nil {
		return err
	}
	if old != "" {
		err = x.Changer.Book.Delete(old, nil)
		var immutable *versions.ImmutableError
		if errors.Is(err, store.ErrNotFound) || errors.As(err, &immutable) {
			err = nil
		}
	}
	return err
}
