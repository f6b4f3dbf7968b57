package versions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server/object"
	"gabion/server/vm"
	"gabion/store"
)

// Changer changes live files for the array.
type Changer struct {
	Book *Book
	// Tree is the whole volume as the array itself opens it.
	Tree *object.Tree
}

// Options say how a change of live files goes about it.
type Options struct {
	// Force closes what clients have open.
	Force bool
	// NoSafety leaves the safety snapshot out.
	NoSafety bool
	// KeepNew leaves files alone that the snapshot does not have.
	KeepNew bool
	// Wait bounds the wait for clients that are asked for their caches; 0 means a minute.
	Wait time.Duration
	// By is who asked for it.
	By string
}

// Report is what was done.
type Report struct {
	Snapshot string  `json:"snapshot"`
	Safety   string  `json:"safety"` // the snapshot of what was there before
	Files    int     `json:"files"`
	Bytes    int64   `json:"bytes_changed"`
	Seconds  float64 `json:"seconds"`
	Items    []Item  `json:"items"`
}

// Item is one file of a report.
type Item struct {
	Path   string `json:"path"`
	Action string `json:"action"`
	Bytes  int64  `json:"bytes_changed"`
}

// InUseError refuses to change a file that clients use.
type InUseError struct {
	Path   string
	Status ntstatus.Status
}

func (e *InUseError) Error() string {
	if e.Status == ntstatus.IOTimeout {
		return fmt.Sprintf("%s is in use: a client did not give up its cache in time", e.Path)
	}
	return fmt.Sprintf("%s is in use", e.Path)
}

// ErrNothing is returned when a snapshot holds nothing of what was asked for.
var ErrNothing = errors.New("the snapshot does not cover it")

const defaultWait = time.Minute

// held is what a change has acquired.
type held struct {
	opens map[store.FileID]*object.Open
}

func (h *held) release() (pos store.Pos) {
	for _, o := range h.opens {
		_, p, _ := o.Close()
		pos = max(pos, p)
	}
	return pos
}

// acquire takes files from everybody else. Without force it takes none if it cannot take all;
// with it, opens are closed only once it is known that all files can be looked at.
func (c *Changer) acquire(ctx context.Context, files map[store.FileID]string, opt Options) (*held, error) {
	ctx, cancel := c.Bounded(ctx, opt)
	defer cancel()
	h := &held{opens: map[store.FileID]*object.Open{}}
	for id, path := range files {
		o, err := c.Take(ctx, id, path, opt)
		if err != nil {
			h.release()
			return nil, err
		}
		h.opens[id] = o
	}
	return h, nil
}

// Bounded ends the wait for clients after the time that the options allow.
func (c *Changer) Bounded(ctx context.Context, opt Options) (context.Context, context.CancelFunc) {
	wait := opt.Wait
	if wait == 0 {
		wait = defaultWait
	}
	return context.WithTimeout(ctx, wait)
}

// Take takes one file from everybody else, until the open is closed.
func (c *Changer) Take(ctx context.Context, id store.FileID, path string, opt Options) (*object.Open, error) {
	o, st := c.Tree.Acquire(ctx, id, uint32(dtyp.FileReadData|dtyp.Delete), 0, opt.Force)
	switch st {
	case ntstatus.Success:
		return o, nil
	case ntstatus.SharingViolation, ntstatus.FileNotAvailable, ntstatus.IOTimeout, ntstatus.DeletePending:
		return nil, &InUseError{path, st}
	}
	return nil, fmt.Errorf("%s: %v", path, st)
}

// Remove deletes a file, or a folder with all that is in it, at a path from the volume's root.
func (c *Changer) Remove(ctx context.Context, full string, opt Options) error {
	n, err := vm.Walk(c.Book.Volume, store.Live, full)
	if err != nil {
		return err
	}
	defer n.Close()
	p := &restoring{c: c, opt: opt}
	if err := p.removal(n, full); err != nil {
		return err
	}
	files := map[store.FileID]string{}
	for _, s := range p.steps {
		if !s.dir {
			files[s.live] = s.path
		}
	}
	h, err := c.acquire(ctx, files, opt)
	if err != nil {
		return err
	}
	defer h.release()
	for _, s := range p.steps {
		if err := p.removeOne(ctx, h, s); err != nil {
			return err
		}
	}
	return nil
}

// safety takes the snapshot of how things were.
func (c *Changer) safety(verb string, scope []store.FileID, target string, opt Options) (string, error) {
	if opt.NoSafety || len(scope) == 0 {
		return "", nil
	}
	base := "before-" + verb + "-" + c.Book.now().UTC().Format("20060102T150405.000Z")
	for n := 0; ; n++ {
		name := base
		if n > 0 {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		_, err := c.Book.Create(name, scope, Meta{Target: target, By: opt.By})
		if !errors.Is(err, store.ErrExist) {
			return name, err
		}
	}
}

// CopyContents makes a live file's or folder's streams and, with metadata, what describes it
// those of another node.
func CopyContents(from, to store.Node) (store.Pos, error) {
	var last store.Pos
	note := func(p store.Pos, err error) error {
		last = max(last, p)
		return err
	}
	if !from.IsDir() {
		x, err := from.Data()
		if err != nil {
			return 0, err
		}
		defer x.Close()
		y, err := to.Data()
		if err != nil {
			return 0, err
		}
		defer y.Close()
		if err := note(cloneStream(y, x)); err != nil {
			return 0, err
		}
	}
	if err := note(copyStreams(from, to)); err != nil {
		return 0, err
	}
	return last, note(describe(from, to))
}

// copyStreams makes the named streams of a node those of another.
func copyStreams(from, to store.Node) (last store.Pos, err error) {
	want, err := from.Streams()
	if err != nil {
		return 0, err
	}
	have, err := to.Streams()
	if err != nil {
		return 0, err
	}
	keep := map[string]bool{}
	for _, w := range want {
		keep[strings.ToUpper(w.Name)] = true
		x, err := from.Stream(w.Name)
		if err != nil {
			return 0, err
		}
		y, err := to.Stream(w.Name)
		if errors.Is(err, store.ErrNotFound) {
			y, _, err = to.CreateStream(w.Name)
		}
		if err == nil {
			last, err = cloneStream(y, x)
			y.Close()
		}
		x.Close()
		if err != nil {
			return 0, err
		}
	}
	for _, s := range have {
		if !keep[strings.ToUpper(s.Name)] {
			if last, err = to.RemoveStream(s.Name); err != nil {
				return 0, err
			}
		}
	}
	return last, nil
}

// cloneStream makes a live stream equal to another, without moving data.
func cloneStream(to, from store.Stream) (store.Pos, error) {
	const block = 4096
	n := from.Sizes().Size
	var pos store.Pos
	var err error
	if n == 0 || n%block != 0 && to.Sizes().Size > n {
		if pos, err = to.SetSize(n, store.Touch{}); err != nil || n == 0 {
			return pos, err
		}
	}
	if pos, err = to.CloneFrom(0, from, 0, n, store.Touch{}); err == nil && to.Sizes().Size > n {
		pos, err = to.SetSize(n, store.Touch{})
	}
	return pos, err
}

// describe gives a live node the attributes, times, security and other blobs of another.
func describe(from, to store.Node) (store.Pos, error) {
	a, err := from.Attr()
	if err != nil {
		return 0, err
	}
	ch := store.Change{
		FileAttributes: &a.FileAttributes, EASize: &a.EASize, ReparseTag: &a.ReparseTag,
		Times: store.Times{Creation: a.CreationTime, LastAccess: a.LastAccessTime, LastWrite: a.LastWriteTime, Change: a.ChangeTime},
		Blobs: map[store.BlobKind][]byte{},
	}
	for _, k := range []store.BlobKind{store.BlobSecurity, store.BlobEA, store.BlobReparse} {
		b, err := from.Blob(k)
		if err != nil {
			return 0, err
		}
		old, err := to.Blob(k)
		if err != nil {
			return 0, err
		}
		if string(b) != string(old) {
			ch.Blobs[k] = append([]byte{}, b...) // empty removes
		}
	}
	return to.Update(ch)
}

// Make creates a file or folder through the object layer, so that watchers hear of it, and
// returns the open that keeps others away.
func (c *Changer) Make(ctx context.Context, path string, dir bool) (*object.Open, error) {
	options := smb2.OptionNonDirectoryFile
	if dir {
		options = smb2.OptionDirectoryFile
	}
	o, st := c.Tree.CreateWait(ctx, &object.CreateRequest{
		Token: auth.System, Path: strings.ReplaceAll(path, "/", `\`), Disposition: uint32(smb2.DispositionCreate),
		DesiredAccess: uint32(dtyp.FileReadData | dtyp.Delete), Options: uint32(options | smb2.OptionOpenForBackupIntent),
	})
	switch st {
	case ntstatus.Success:
		return o, nil
	case ntstatus.ObjectNameCollision:
		return nil, fmt.Errorf("%s: %w", path, store.ErrExist)
	case ntstatus.ObjectPathNotFound:
		return nil, fmt.Errorf("the folder of %s: %w", path, store.ErrNotFound)
	}
	return nil, fmt.Errorf("making %s: %v", path, st)
}

// remove deletes a file or an empty folder through the object layer.
func (c *Changer) remove(ctx context.Context, o *object.Open, path string) error {
	done := make(chan ntstatus.Status, 1)
	p := o.SetDisposition(object.DispositionDelete|object.DispositionIgnoreReadonly, func(_ store.Pos, st ntstatus.Status) { done <- st })
	var st ntstatus.Status
	select {
	case st = <-done:
	case <-ctx.Done():
		p.Cancel()
		st = <-done
	}
	if st != ntstatus.Success {
		return fmt.Errorf("removing %s: %v", path, st)
	}
	return nil
}

// sizeOf counts what differs between two streams.
func sizeOf(x, y store.Stream) (n int64, err error) {
	err = x.DiffersFrom(y, func(r store.Range) bool {
		n += r.Len
		return true
	})
	return n, err
}

// Placed is a place with the snapshot's side of it opened.
func Placed(vol store.Volume, s store.Snapshot, p vm.Place) (store.Node, error) {
	if p.ID != 0 {
		if n, err := vol.OpenID(s.View, p.ID); err == nil {
			return n, nil
		}
	}
	n, err := vm.Locate(vol, s, p.Full)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%v in snapshot %q: %w", p, s.Name, ErrNothing)
	}
	return n, err
}

// openFolder takes a folder that is to go.
func (c *Changer) openFolder(ctx context.Context, id store.FileID, path string, opt Options) (*object.Open, error) {
	o, st := c.Tree.Acquire(ctx, id, uint32(dtyp.Delete), 0, opt.Force)
	if st != ntstatus.Success {
		return nil, &InUseError{path, st}
	}
	return o, nil
}
