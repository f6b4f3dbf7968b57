package scale

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"gabion/auth/kerberos/kdctest"
	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/smb2"
)

var figures = flag.Bool("figures", false, "measure at full size")

// sizes are the steps of a row: two small ones, of which the second is to cost what the first does, or all of them.
func sizes(little, much int, full ...int) []int {
	if *figures {
		return full
	}
	return []int{little, much}
}

// spares is how many idle goroutines a server keeps that has had work: of its pool, and of the asking.
const spares = 24

// some is how many operations are measured.
func some() int {
	if *figures {
		return 20000
	}
	return 200
}

const kib = 1 << 10

// disk makes a file of size bytes of which the first few MiB are written.
func (a *array) disk(tree *client.Tree, name string, size int64) *client.File {
	a.Helper()
	f, err := tree.Create(client.OpenFile(name))
	a.must(err)
	end := fscc.EndOfFileInformation{EndOfFile: size}
	a.must(f.SetInfo(smb2.InfoFile, uint8(fscc.FileEndOfFileInformation), 0, end.Append(nil)))
	p := make([]byte, 64*kib)
	for off := int64(0); off < min(size, 16<<20); off += int64(len(p)) {
		rand.NewChaCha8([32]byte{byte(off >> 16)}).Read(p)
		_, err := f.WriteAt(p, off)
		a.must(err)
	}
	return f
}

// Connections: a request costs the same whoever else is there. An idle one takes less than 64 KiB, and leaves nothing.
func TestConnections(t *testing.T) {
	little := map[string]float64{}
	for _, n := range sizes(2, 100, 1, 10, 100, 1000) {
		a := start(t)
		first := a.dial("vms", 128)
		a.must(a.disk(first, "disk", 16<<20).Close())
		kept := a.kept()
		before, sockets, goroutines := a.rss(), a.sockets(), a.goroutines()
		trees := []*client.Tree{first}
		for len(trees) < n {
			trees = append(trees, a.dial("vms", 16)) // a thousand share what the server has to lend
		}
		idle := a.rss() - before
		if each := (a.kept() - kept) / float64(n); n >= 100 && each > 64*kib {
			t.Errorf("an idle connection of %d takes %.1f KiB", n, each/kib)
		}
		files := make([]*client.File, n)
		for i, tree := range trees {
			f, err := tree.Create(open("disk"))
			a.must(err)
			files[i] = f
		}
		read := a.cost(some(), 64, func(i int) error {
			_, err := files[i%n].ReadAt(make([]byte, 4*kib), rand.Int64N(4096)*4*kib)
			return err
		})
		four := make([]chan struct{}, n)
		for i := range four {
			four[i] = make(chan struct{}, 4)
		}
		busy := a.cost(some(), 4*n, func(i int) error {
			four[i%n] <- struct{}{}
			defer func() { <-four[i%n] }()
			_, err := files[i%n].WriteAt(make([]byte, 64*kib), rand.Int64N(256)*64*kib)
			return err
		})
		t.Logf("%5d connections: %6.1f KiB each while idle, read of 4 KiB %v, write of 64 KiB with four in flight on each %v, then %d MiB in all",
			n, float64(idle)/float64(max(1, n-1))/kib, read, busy, a.rss()>>20)
		for what, work := range map[string]func(i int) error{
			"a read":            func(i int) error { _, err := files[i%n].ReadAt(make([]byte, 4*kib), int64(i)*4*kib); return err },
			"an open and close": func(i int) error { return openClose(trees[i%n], open("disk")) },
		} {
			much := a.allocated(16, work)
			if little[what] == 0 {
				little[what] = much
			}
			a.flat(fmt.Sprintf("%s beside %d connections", what, n), little[what], much)
		}
		for _, tree := range trees[1:] {
			tree.Session.Conn.Close()
		}
		a.comesBack("sockets", sockets, a.sockets)
		a.comesBack("goroutines", goroutines+spares, a.goroutines)
		a.comesBack("opens", 1, a.opens)
		a.Kill()
	}
}

// Opens: one more costs the same however many are held.
func TestOpens(t *testing.T) {
	a := start(t)
	tree := a.dial("vms", 128)
	trees := []*client.Tree{tree, a.dial("vms", 128), a.dial("vms", 128), a.dial("vms", 128)} // a session has its limit
	for i := range 1000 {
		a.must(openClose(tree, client.OpenFile(fmt.Sprintf("file%d", i))))
	}
	kept := a.kept()
	held, before, little := 0, a.rss(), 0.0
	for _, n := range sizes(100, 4000, 10, 1000, 10000, 100000) {
		a.cost(n-held, 16, func(i int) error {
			_, err := trees[i%4].Create(open(fmt.Sprintf("file%d", i%1000)))
			return err
		})
		held = n
		t.Logf("%6d opens held: %6.0f bytes each, open and close %v", n, float64(a.rss()-before)/float64(n),
			a.cost(some(), 16, func(int) error { return openClose(tree, open(fmt.Sprintf("file%d", rand.IntN(1000)))) }))
		much := a.allocated(16, func(i int) error { return openClose(tree, open(fmt.Sprintf("file%d", i))) })
		if little == 0 {
			little = much
		}
		a.flat(fmt.Sprintf("an open beside %d", n), little, much)
	}
	if each := (a.kept() - kept) / float64(held); each > 8*kib {
		t.Errorf("an open takes %.0f bytes", each)
	}
	for _, tree := range trees {
		tree.Session.Conn.Close()
	}
	a.comesBack("opens", 0, a.opens)
}

// Handles: what keeping an open beyond its connection costs.
func TestHandles(t *testing.T) {
	a := start(t)
	plain, kept := a.dial("vms", 128), a.dial("dur", 128)
	for i := range 100 { // one handle a file at a time, or oplocks would break
		a.must(openClose(plain, client.OpenFile(fmt.Sprint("disk", i))))
		a.must(openClose(kept, client.OpenFile(fmt.Sprint("disk", i))))
	}
	for _, row := range []struct {
		name  string
		tree  *client.Tree
		flags smb2.DurableFlags
	}{{"plain", plain, 0}, {"durable", plain, 0}, {"persistent", kept, smb2.DurableFlagPersistent}} {
		began := time.Now()
		handle := func(i int) error {
			m := open(fmt.Sprint("disk", i%100))
			if row.name != "plain" {
				m.RequestedOplockLevel = smb2.OplockLevelBatch
				m = client.WithContext(m, smb2.ContextDurableRequestV2, &smb2.DurableRequestV2{CreateGUID: dtyp.NewGUID(), Flags: row.flags})
			}
			return openClose(row.tree, m)
		}
		little := a.allocated(16, handle)
		cpu := a.cost(some(), 16, handle)
		t.Logf("open and close of a %s handle: %v, %.0f per second", row.name, cpu, float64(some())/time.Since(began).Seconds())
		a.flat(fmt.Sprintf("a %s handle after many", row.name), little, a.allocated(16, handle))
	}
	a.comesBack("opens", 0, a.opens)
}

// Sessions, each on a connection of its own.
func TestSessions(t *testing.T) {
	kdc, keytab := kdctest.New(18), filepath.Join(t.TempDir(), "keytab")
	if err := kdctest.WriteKeytab(keytab, kdc.Entry()); err != nil {
		t.Fatal(err)
	}
	a := start(t, "--keytab", keytab, "--realm", kdc.Realm)
	for _, row := range []struct {
		name string
		auth func() client.Authenticator
	}{
		{"NTLM", func() client.Authenticator {
			return client.NTLM(client.Credentials{User: rig.User, Password: rig.Password})
		}},
		{"Kerberos", func() client.Authenticator {
			return kdctest.Negotiate(kdc.Issue(time.Now(), kdctest.Spec{Client: "HV1$"}))
		}},
	} {
		n := some() / 10
		began := time.Now()
		cpu := a.cost(n, 4, func(int) error {
			c, err := client.Dial(a.Addr, client.Options{})
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.Negotiate(client.Negotiation{}); err != nil {
				return err
			}
			s, err := c.SessionSetup(row.auth(), client.Setup{})
			if err != nil {
				return err
			}
			return s.Logoff()
		})
		t.Logf("connection, session by %s, logoff: %v, %.0f per second", row.name, cpu, float64(n)/time.Since(began).Seconds())
	}
}

// Names in a folder: making, finding and listing.
func TestNames(t *testing.T) {
	a := start(t)
	tree := a.dial("vms", 128)
	a.must(openClose(tree, client.OpenDirectory("dir")))
	made, little := 0, 0.0
	for _, n := range sizes(200, 4000, 10, 1000, 100000, 1000000) {
		made0 := made
		create := a.cost(n-made, 64, func(i int) error {
			return openClose(tree, client.OpenFile(fmt.Sprintf(`dir\file number %d.txt`, made0+i)))
		})
		made = n
		find := a.cost(some(), 16, func(int) error {
			return openClose(tree, open(fmt.Sprintf(`dir\FILE number %d.txt`, rand.IntN(n))))
		})
		much := a.allocated(16, func(i int) error { return openClose(tree, open(fmt.Sprintf(`dir\FILE number %d.txt`, i%n))) })
		if little == 0 {
			little = much
		}
		a.flat(fmt.Sprintf("an open among %d names", n), little, much)
		before, seen := a.cpu(), 0
		rounds := max(1, min(100, some()/n))
		for range rounds {
			k, err := list(tree, "dir", n+2)
			a.must(err)
			seen += k
		}
		t.Logf("%7d names: create %v, open and close %v, list %.2f µs a name", n, create, find, float64(a.cpu()-before)/float64(seen)/1e3)
		if seen != rounds*(n+2) {
			t.Errorf("%d names in %d listings", seen, rounds)
		}
	}
}

// Size: sparse disks with data all over them, two where one would be larger than a file may be.
func TestSize(t *testing.T) {
	a := start(t)
	tree := a.dial("vms", 128)
	little := map[string]float64{}
	for _, gib := range sizes(1, 4<<10, 1, 64, 1<<10, 16<<10, 100<<10) {
		size, disks := int64(gib)<<30, []*client.File{}
		for range 1 + gib>>16 {
			disks = append(disks, a.disk(tree, fmt.Sprintf("disk%d-%d", gib, len(disks)), size/int64(1+gib>>16)))
		}
		at := make([]int64, some())
		for i := range at {
			at[i] = rand.Int64N(size/int64(len(disks))/(4*kib)) * 4 * kib
		}
		p := bytes.Repeat([]byte{7}, 4*kib)
		write := a.cost(len(at), 32, func(i int) error { _, err := disks[i%len(disks)].WriteAt(p, at[i]); return err })
		again := a.cost(len(at), 32, func(i int) error { _, err := disks[i%len(disks)].WriteAt(p, at[i]); return err })
		read := a.cost(len(at), 32, func(i int) error {
			_, err := disks[i%len(disks)].ReadAt(make([]byte, 4*kib), at[i])
			return err
		})
		t.Logf("%6d GiB: first write of 4 KiB %v, overwrite %v, read %v", gib, write, again, read)
		for what, work := range map[string]func(i int) error{
			"an overwrite": func(i int) error { _, err := disks[i%len(disks)].WriteAt(p, at[i]); return err },
			"a read":       func(i int) error { _, err := disks[i%len(disks)].ReadAt(make([]byte, 4*kib), at[i]); return err },
		} {
			much := a.allocated(32, work)
			if little[what] == 0 {
				little[what] = much
			}
			a.flat(fmt.Sprintf("%s in %d GiB", what, gib), little[what], much)
		}
		for _, f := range disks {
			a.must(f.Close())
		}
	}
}

// Snapshots of the share.
func TestSnapshots(t *testing.T) {
	a := start(t)
	tree := a.dial("vms", 128)
	f := a.disk(tree, "disk", 16<<20)
	p := bytes.Repeat([]byte{7}, 4*kib)
	taken := 0
	for _, n := range sizes(10, 20, 0, 10, 100, 1000, 10000) {
		var slowest time.Duration
		for ; taken < n; taken++ {
			_, err := f.WriteAt(p, rand.Int64N(4096)*4*kib)
			a.must(err)
			began := time.Now()
			a.snapshot("vms", fmt.Sprintf("s%d", taken))
			slowest = max(slowest, time.Since(began))
		}
		write := a.cost(some(), 32, func(int) error { _, err := f.WriteAt(p, rand.Int64N(4096)*4*kib); return err })
		read := a.cost(some(), 32, func(int) error { _, err := f.ReadAt(make([]byte, 4*kib), rand.Int64N(4096)*4*kib); return err })
		opens := a.cost(some(), 16, func(int) error { return openClose(tree, open("disk")) })
		t.Logf("%5d snapshots: write of 4 KiB %v, read %v, open and close %v; %d MiB in all, slowest snapshot %v", n, write, read, opens, a.rss()>>20, slowest)
	}
}

// snapshot takes one through the API.
func (a *array) snapshot(target, name string) {
	a.Helper()
	body, err := json.Marshal(map[string]string{"target": target, "name": name})
	a.must(err)
	resp, err := a.api().Post("http://gabion/v1/snapshots", "application/json", bytes.NewReader(body))
	a.must(err)
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		a.Fatalf("snapshot %s: %s", name, resp.Status)
	}
}

func (a *array) api() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(a.Data, "admin.sock"))
	}}}
}

// Lives: clients come, work, and go by logging off or breaking off; nothing of them stays.
func TestNothingStays(t *testing.T) {
	a := start(t)
	rounds := 20
	if *figures {
		rounds = 1000
	}
	life := func(i int) {
		tree := a.dial("vms", 128)
		name := fmt.Sprintf("file%d", i%50)
		f, err := tree.Create(client.OpenFile(name))
		a.must(err)
		for range 50 {
			_, err = f.WriteAt(make([]byte, 4*kib), rand.Int64N(256)*4*kib)
			a.must(err)
		}
		a.must(f.Lock(smb2.LockElement{Offset: 0, Length: 10, Flags: smb2.LockFlagExclusiveLock | smb2.LockFlagFailImmediately}))
		if i%2 == 0 {
			a.must(f.Close())
			a.must(tree.Session.Logoff())
		}
		tree.Session.Conn.Close()
	}
	sockets := a.sockets()
	for i := range rounds / 4 {
		life(i)
	}
	memory := a.rss()
	for i := range rounds {
		life(i)
	}
	for end := time.Now().Add(2 * time.Minute); a.sockets() > sockets && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		continue // the last connections are still on their way out
	}
	now := a.sockets()
	t.Logf("%d lives: sockets %d, then %d; memory %d MiB, then %d", rounds, sockets, now, memory>>20, a.rss()>>20)
	if now > sockets {
		t.Errorf("%d sockets, then %d", sockets, now)
	}
}
