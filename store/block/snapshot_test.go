package block

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
)

// gatedFS holds reads of the index's files up while its gate is locked.
type gatedFS struct {
	vfs.FS
	gate sync.RWMutex
}

func (f *gatedFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.Open(name, opts...)
	if err != nil || !strings.HasSuffix(name, ".sst") {
		return file, err
	}
	return &gatedFile{file, f}, nil
}

func (f *gatedFS) Unwrap() vfs.FS { return f.FS }

type gatedFile struct {
	vfs.File
	fs *gatedFS
}

func (f *gatedFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.gate.RLock()
	defer f.fs.gate.RUnlock()
	return f.File.ReadAt(p, off)
}

// Whoever writes waits while a snapshot is taken, so that does not wait for a read of the index; nor does the first
// change of an open file after it, which the next snapshot waits for.
func TestSnapshotReadsNothing(t *testing.T) {
	fs := &gatedFS{FS: vfs.NewMem()}
	v, err := Open(Options{Dir: "vol", FS: fs, SegmentSize: 1 << 20, CacheSize: 1 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	root, err := v.Root(store.Live)
	if err != nil {
		t.Fatal(err)
	}
	dir, _, err := v.Create(root, "folder", store.Init{Dir: true})
	if err != nil {
		t.Fatal(err)
	}
	n, _, err := v.Create(dir, "disk", store.Init{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := n.Data()
	if err != nil {
		t.Fatal(err)
	}
	write := func(block int, round uint64) error {
		_, err := s.WriteAt(stamp(block, round), int64(block)*blockSize, store.Touch{})
		return err
	}
	for i := range 2 { // what is open is known from the second time on
		if err := write(0, uint64(i)); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "z"} {
			if _, _, err := v.Snapshots().Create(fmt.Sprint(name, i), []store.FileID{dir.ID()}); err != nil {
				t.Fatal(err)
			}
		}
		if err := write(0, uint64(i)+10); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.flushNow(); err != nil { // nothing of the index is in memory
		t.Fatal(err)
	}
	fs.gate.Lock()
	done := make(chan error, 1)
	go func() {
		_, _, err := v.Snapshots().Create("m", []store.FileID{dir.ID()})
		if err == nil {
			err = write(0, 20)
		}
		if err == nil {
			_, err = v.Snapshots().Find("m")
		}
		done <- err
	}()
	select {
	case err = <-done:
	case <-time.After(time.Minute):
		err = fmt.Errorf("a snapshot, or the write after it, waits for the index")
	}
	fs.gate.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	n.Close()
	dir.Close()
	root.Close()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

// Names of snapshots are what they were after the volume was opened anew, and only those of snapshots that are there.
func TestSnapshotNames(t *testing.T) {
	opt := Options{Dir: "vol", FS: vfs.NewMem(), SegmentSize: 1 << 20, CacheSize: 1 << 20, Manual: true}
	names := func(v *Volume, want map[string]bool) {
		t.Helper()
		for name, there := range want {
			sn, err := v.Snapshots().Find(name)
			if there != (err == nil) || err == nil && sn.Name != name || err != nil && !isNotFound(err) {
				t.Errorf("find %q: %v, %v", name, sn, err)
			}
			if _, _, err := v.Snapshots().Create(name, []store.FileID{store.RootID}); there && err == nil {
				t.Errorf("%q was made twice", name)
			} else if !there && err == nil {
				sn, _ := v.Snapshots().Find(name)
				if _, err := v.Snapshots().Delete(sn.View); err != nil {
					t.Error(err)
				}
			}
		}
	}
	v, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	var views []store.View
	for _, name := range []string{"kept", "deleted", "needed"} {
		sn, _, err := v.Snapshots().Create(name, []store.FileID{store.RootID})
		if err != nil {
			t.Fatal(err)
		}
		views = append(views, sn.View)
	}
	n, s := newFile(t, v, "disk")
	if _, err := s.WriteAt(stamp(0, 1), 0, store.Touch{}); err != nil {
		t.Fatal(err)
	}
	sn, _, err := v.Snapshots().Create("pinned", []store.FileID{store.RootID})
	if err != nil {
		t.Fatal(err)
	}
	was, err := v.OpenID(sn.View, n.ID())
	if err != nil {
		t.Fatal(err)
	}
	data, err := was.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := v.Pins().Add(store.Pin{ID: store.PinID{1}, Range: store.Range{Len: blockSize}, Expires: 1 << 62}, data); err != nil {
		t.Fatal(err)
	}
	data.Close()
	was.Close()
	s.Close()
	n.Close()
	for _, view := range []store.View{views[1], sn.View} { // a pin keeps the second, which is hidden now
		if _, err := v.Snapshots().Delete(view); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]bool{"kept": true, "needed": true, "deleted": false, "pinned": false, "other": false}
	names(v, want)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if v, err = Open(opt); err != nil {
		t.Fatal(err)
	}
	names(v, want)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

// Which folders an open file lies in is kept in mind; a snapshot of one that it came to later holds what it was then.
func TestSnapshotAfterMove(t *testing.T) {
	for _, how := range []string{"rename", "link", "rename of the folder"} {
		t.Run(how, func(t *testing.T) {
			v, err := Open(Options{Dir: "vol", FS: vfs.NewMem(), SegmentSize: 1 << 20, CacheSize: 1 << 20, Manual: true})
			if err != nil {
				t.Fatal(err)
			}
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			made := func(in store.Node, name string, dir bool) store.Node {
				n, _, err := v.Create(in, name, store.Init{Dir: dir})
				must(err)
				return n
			}
			root, err := v.Root(store.Live)
			must(err)
			old, to := made(root, "old", true), made(root, "to", true)
			n := made(old, "disk", false)
			s, err := n.Data()
			must(err)
			write := func(round uint64) {
				_, err := s.WriteAt(stamp(0, round), 0, store.Touch{})
				must(err)
			}
			snap := func(name string, of store.Node) store.Snapshot {
				sn, _, err := v.Snapshots().Create(name, []store.FileID{of.ID()})
				must(err)
				return sn
			}
			write(1)
			snap("first", old)
			write(2) // the folders are known
			switch how {
			case "rename":
				_, err = v.Rename(old, "disk", to, "disk", false)
			case "link":
				_, err = v.Link(n, to, "disk", false)
			case "rename of the folder":
				_, err = v.Rename(root, "old", to, "old", false)
			}
			must(err)
			sn := snap("second", to)
			write(3)
			was, err := v.OpenID(sn.View, n.ID())
			must(err)
			data, err := was.Data()
			must(err)
			p := make([]byte, blockSize)
			_, err = data.ReadAt(p, 0)
			must(err)
			if string(p) != string(stamp(0, 2)) {
				t.Error("the snapshot shows what was written later")
			}
			data.Close()
			for _, x := range []store.Node{was, n, old, to, root} {
				x.Close()
			}
			s.Close()
			must(v.Close())
		})
	}
}
