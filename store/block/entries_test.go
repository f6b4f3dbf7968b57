package block

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"gabion/protocol/dtyp"
	"gabion/store"
)

func openDir(t *testing.T, dir string) (*Volume, store.Node) {
	t.Helper()
	v, err := Open(Options{Dir: dir, SegmentSize: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	root, err := v.Root(store.Live)
	if err != nil {
		t.Fatal(err)
	}
	return v, root
}

// TestNamesSettle: what an operation did to a name is what its caller sees next, whoever
// else looks the name up meanwhile.
func TestNamesSettle(t *testing.T) {
	v, root := openDir(t, t.TempDir())
	defer v.Close()
	defer root.Close()
	const owners, rounds = 4, 150
	name := func(owner, i int) string { return fmt.Sprintf("owner %d file %d", owner, i) }
	stop := make(chan struct{})
	var lookers, wg sync.WaitGroup
	for range 4 {
		lookers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if n, _, err := v.Open(root, name(rand.IntN(owners), rand.IntN(2))); err == nil {
					n.Close()
				}
			}
		})
	}
	expect := func(name string, id store.FileID) {
		n, e, err := v.Open(root, name)
		switch {
		case id == 0 && !errors.Is(err, store.ErrNotFound):
			t.Errorf("%s: %v, %v; want not found", name, e.ID, err)
		case id != 0 && (err != nil || e.ID != id || e.Name != name):
			t.Errorf("%s: %v %q, %v; want %v", name, e.ID, e.Name, err, id)
		}
		if err == nil {
			n.Close()
		}
	}
	for o := range owners {
		wg.Go(func() {
			a, b := name(o, 0), name(o, 1)
			for range rounds {
				n, _, err := v.Create(root, a, store.Init{})
				if err != nil {
					t.Error(err)
					return
				}
				id := n.ID()
				expect(a, id)
				if _, err := v.Rename(root, a, root, b, true); err != nil {
					t.Error(err)
				}
				expect(a, 0)
				expect(b, id)
				if rand.IntN(2) == 0 {
					if _, err := v.Unlink(root, b); err != nil {
						t.Error(err)
					}
					expect(b, 0)
				}
				n.Close()
			}
		})
	}
	wg.Wait()
	close(stop)
	lookers.Wait()
}

// TestIdleFilesAreListed: a listing shows what became of files after they were
// made, whether they are still at hand or not, also after a restart.
func TestIdleFilesAreListed(t *testing.T) {
	dir := t.TempDir()
	v, root := openDir(t, dir)
	const files = inodeShards*idlePerShard + 500
	for i := range files {
		n, _, err := v.Create(root, fmt.Sprint(i), store.Init{})
		if err == nil {
			_, err = n.Update(store.Change{Times: store.Times{LastWrite: dtyp.Filetime(i + 1)}})
		}
		if err != nil {
			t.Fatal(err)
		}
		n.Close()
	}
	check := func() {
		t.Helper()
		list, err := v.ReadDir(root, "", files+1, nil)
		if err != nil || len(list) != files {
			t.Fatal(len(list), err)
		}
		for _, e := range list {
			if want := fmt.Sprint(int64(e.LastWriteTime) - 1); e.Name != want {
				t.Fatalf("%s has the time of %s", e.Name, want)
			}
		}
	}
	check()
	for i := range v.inodes.shards {
		if s := &v.inodes.shards[i]; s.count > idlePerShard || len(s.open) > idlePerShard+1 {
			t.Errorf("%d inodes idle, %d in the table", s.count, len(s.open))
		}
	}
	root.Close()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v, root = openDir(t, dir)
	defer v.Close()
	defer root.Close()
	check()
}
