package block

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
	"gabion/store/storetest"
)

// everything makes a volume that holds every kind of record and key, some of them
// half done: nothing runs in the background.
func everything(t *testing.T, fs vfs.FS) *Volume {
	t.Helper()
	v, err := Open(Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	v.eager = true
	ok := func(_ store.Pos, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	n, s := newFile(t, v, "Disk.vhdx")
	ok(n.Update(store.Change{Blobs: map[store.BlobKind][]byte{store.BlobSecurity: noise(300), store.BlobEA: noise(20_000)}}))
	ok(s.WriteAt(noise(600_000), 100, store.Touch{LastWrite: 5}))
	ok(s.WriteAt(make([]byte, 2*blockSize), 8*blockSize, store.Touch{}))
	ok(s.Zero(20*blockSize, 5*blockSize, store.Touch{}))
	s.(store.Packer).SetPacking(true)
	ok(s.WriteAt(bytes.Repeat([]byte("compressible "), 10_000), 300_000, store.Touch{}))
	st, pos, err := n.CreateStream("Side")
	ok(pos, err)
	ok(st.WriteAt([]byte("stream"), 0, store.Touch{}))
	snap, pos, err := v.Snapshots().Create("daily", []store.FileID{store.RootID})
	ok(pos, err)
	for i := range 64 {
		ok(s.WriteAt(noise(blockSize), int64(i)*blockSize, store.Touch{}))
	}
	doomed, pos, err := v.Snapshots().Create("doomed", []store.FileID{n.ID()})
	ok(pos, err)
	ok(s.WriteAt(noise(blockSize), 0, store.Touch{}))
	ok(v.KV().Apply([]store.KVEdit{{Bucket: "b", Key: "k", Value: []byte("v")}, {Bucket: "b", Key: "empty", Value: []byte{}}}))
	if err := v.flushNow(); err != nil { // so that the cleaner may touch what is there
		t.Fatal(err)
	}
	settle(v, 500)
	v.few = 1
	c, cs := newFile(t, v, "Copy.vhdx")
	ok(cs.CloneFrom(0, s, 0, 512<<10, store.Touch{}))
	ok(v.Snapshots().Delete(doomed.View))
	gone, gs := newFile(t, v, "gone")
	ok(gs.WriteAt(noise(300_000), 0, store.Touch{}))
	root, err := v.Root(store.Live)
	if err != nil {
		t.Fatal(err)
	}
	ok(v.Unlink(root, "gone"))
	sub, pos, err := v.Create(root, "sub", store.Init{Dir: true})
	ok(pos, err)
	ok(v.Link(c, sub, "second name", false))
	ok(n.RemoveStream("Side"))
	for _, x := range []interface{ Close() }{st, gs, gone, cs, c, s, n, sub, root} {
		x.Close()
	}
	_ = snap
	return v
}

// A volume that holds everything is found as it was left, after Close and after a
// kill, and finishes then what was half done.
func TestEveryRecord(t *testing.T) {
	fs := vfs.NewCrashableMem()
	v := everything(t, fs)
	prefixes := map[byte]bool{}
	if err := v.scan(nil, []byte{0}, func(key, _ []byte) (bool, error) {
		prefixes[key[0]] = true
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, k := range []byte{kApplied, kBlob, kChunk, kCounts, kSegment, kCounter, kInode, kKV, kLink, kMarker, kName, kOrphan, kPending, kMoved, kStream, kSnap, kSnapBy, kTally} {
		if !prefixes[k] {
			t.Errorf("no key %q", k)
		}
	}
	want, err := storetest.Take(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(v); err != nil {
		t.Error(err)
	}
	if err := v.Sync(); err != nil {
		t.Fatal(err)
	}
	killed := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for name, fs := range map[string]vfs.FS{"closed": fs, "killed": killed} {
		t.Run(name, func(t *testing.T) {
			v, err := Open(Options{Dir: "vol", FS: fs, Manual: true})
			if err != nil {
				t.Fatal(err)
			}
			for _, when := range []string{"opened", "settled"} {
				if err := verify(v); err != nil {
					t.Errorf("%s: %v", when, err)
				}
				got, err := storetest.Take(v)
				if err != nil {
					t.Fatal(err)
				}
				if d := storetest.Compare(got, want); len(d) > 0 {
					t.Errorf("%s: %v", when, d)
				}
				settle(v, 1000)
			}
			if p := v.pendings.any(); p != nil {
				t.Errorf("%+v is still pending", p)
			}
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	fs := vfs.NewMem()
	opt := Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10}
	v, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(opt); !errors.Is(err, store.ErrBusy) {
		t.Errorf("a second opening got %v", err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Root(store.Live); !errors.Is(err, store.ErrStopped) {
		t.Errorf("a closed volume says %v", err)
	}
	change := func(edit func([]byte) []byte) error {
		t.Helper()
		i, _, err := readIdentity(fs, "vol")
		if err != nil {
			t.Fatal(err)
		}
		old := i.encode()
		put := func(b []byte) {
			f, err := fs.Create("vol/VOLUME", vfs.WriteCategoryUnspecified)
			if err != nil {
				t.Fatal(err)
			}
			f.Write(b)
			f.Close()
		}
		put(edit(bytes.Clone(old)))
		defer put(old)
		_, err = Open(opt)
		return err
	}
	if err := change(func(b []byte) []byte { b[8] = 99; return b }); err == nil || !strings.Contains(err.Error(), "format version 99") {
		t.Errorf("another format: %v", err)
	}
	if err := change(func(b []byte) []byte { b[20] ^= 1; return b }); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged identity: %v", err)
	}
	fs.Remove("vol/VOLUME")
	if _, err := Open(opt); err == nil || !strings.Contains(err.Error(), "VOLUME is missing") {
		t.Errorf("without identity: %v", err)
	}
}
