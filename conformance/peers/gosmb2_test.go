package peers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hirochachacha/go-smb2"

	"gabion/conformance/rig"
)

func mount(t *testing.T, s *rig.Server, share string) *smb2.Share {
	t.Helper()
	tree, leave, err := try(s, share)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(leave)
	return tree
}

// try connects to a share.
func try(s *rig.Server, share string) (tree *smb2.Share, leave func(), err error) {
	c, err := net.Dial("tcp", s.Addr)
	if err != nil {
		return nil, nil, err
	}
	d := &smb2.Dialer{Initiator: &smb2.NTLMInitiator{User: rig.User, Password: rig.Password}}
	session, err := d.Dial(c)
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	if tree, err = session.Mount(share); err != nil {
		c.Close()
		return nil, nil, err
	}
	return tree, func() {
		_ = tree.Umount()
		_ = session.Logoff()
		c.Close()
	}, nil
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestGoSMB2 walks through what the client's README shows.
func TestGoSMB2(t *testing.T) {
	s := rig.Start(t)
	share := mount(t, s, "vms")

	check(t, share.WriteFile("hello.txt", []byte("Hello world!"), 0o444))
	b, err := share.ReadFile("hello.txt")
	check(t, err)
	if string(b) != "Hello world!" {
		t.Errorf("read %q", b)
	}
	if err := share.WriteFile("hello.txt", []byte("no"), 0o444); !os.IsPermission(err) {
		t.Errorf("writing a read-only file: %v", err)
	}
	check(t, share.Chmod("hello.txt", 0o666))
	f, err := share.OpenFile("hello.txt", os.O_RDWR, 0o666)
	check(t, err)
	_, err = f.Seek(0, io.SeekEnd)
	check(t, err)
	_, err = f.WriteString(" Again.")
	check(t, err)
	check(t, f.Sync())
	check(t, f.Truncate(5))
	_, err = f.Seek(0, io.SeekStart)
	check(t, err)
	b, err = io.ReadAll(f)
	check(t, err)
	if string(b) != "Hello" {
		t.Errorf("after truncate: %q", b)
	}
	check(t, f.Close())

	when := time.Date(2020, 2, 3, 4, 5, 6, 700, time.UTC)
	check(t, share.Chtimes("hello.txt", when, when))
	fi, err := share.Stat("hello.txt")
	check(t, err)
	if !fi.ModTime().Equal(when) {
		t.Errorf("times: %v, want %v", fi.ModTime(), when)
	}

	check(t, share.MkdirAll(`a\b\c`, 0o755))
	check(t, share.Rename("hello.txt", `a\b\c\moved.txt`))
	if _, err := share.Stat("hello.txt"); !os.IsNotExist(err) {
		t.Errorf("the old name: %v", err)
	}
	var seen []string
	check(t, fs.WalkDir(share.DirFS("a"), ".", func(path string, d fs.DirEntry, err error) error {
		seen = append(seen, path)
		return err
	}))
	if got := strings.Join(seen, " "); got != ". b b/c b/c/moved.txt" {
		t.Errorf("walk: %s", got)
	}
	matches, err := share.Glob(`a\b\c\*.txt`)
	check(t, err)
	if len(matches) != 1 {
		t.Errorf("glob: %v", matches)
	}
	_, err = share.Statfs(".")
	check(t, err)
	check(t, share.RemoveAll("a"))
	if _, err := share.Stat("a"); !os.IsNotExist(err) {
		t.Errorf("after RemoveAll: %v", err)
	}
}

// Many goroutines on several sessions at once, each with files of its own and
// all in one folder.
func TestGoSMB2Concurrently(t *testing.T) {
	s := rig.Start(t)
	const sessions, workers, rounds = 4, 4, 8
	check(t, mount(t, s, "vms").Mkdir("busy", 0o755))
	var wg sync.WaitGroup
	for i := range sessions {
		share := mount(t, s, "vms")
		for w := range workers {
			wg.Go(func() {
				name := fmt.Sprintf(`busy\%d-%d`, i, w)
				for r := range rounds {
					want := bytes.Repeat([]byte{byte(i), byte(w), byte(r)}, 30_000+r)
					if err := share.WriteFile(name, want, 0o666); err != nil {
						t.Errorf("%s: %v", name, err)
						return
					}
					got, err := share.ReadFile(name)
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("%s: %v, %d bytes of %d", name, err, len(got), len(want))
						return
					}
					if _, err := share.ReadDir("busy"); err != nil {
						t.Errorf("listing: %v", err)
					}
				}
				if err := share.Remove(name); err != nil {
					t.Errorf("removing %s: %v", name, err)
				}
			})
		}
	}
	wg.Wait()
	left, err := mount(t, s, "vms").ReadDir("busy")
	check(t, err)
	if len(left) != 0 {
		t.Errorf("%d files are left", len(left))
	}
}

func TestWrongPasswordAndShare(t *testing.T) {
	s := rig.Start(t)
	dial := func(user, password string) (*smb2.Session, error) {
		c, err := net.Dial("tcp", s.Addr)
		check(t, err)
		t.Cleanup(func() { c.Close() })
		return (&smb2.Dialer{Initiator: &smb2.NTLMInitiator{User: user, Password: password}}).Dial(c)
	}
	for _, who := range [][2]string{{rig.User, "wrong"}, {"nobody", rig.Password}} {
		var e *smb2.ResponseError
		if _, err := dial(who[0], who[1]); !errors.As(err, &e) || e.Code != 0xC000006D {
			t.Errorf("%s: %v, want STATUS_LOGON_FAILURE", who[0], err)
		}
	}
	session, err := dial(rig.User, rig.Password)
	check(t, err)
	var e *smb2.ResponseError
	if _, err := session.Mount("nowhere"); !errors.As(err, &e) || e.Code != 0xC00000CC {
		t.Errorf("unknown share: %v, want STATUS_BAD_NETWORK_NAME", err)
	}
}
