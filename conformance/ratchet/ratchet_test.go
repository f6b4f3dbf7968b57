package ratchet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"gabion/auth"
	"gabion/conformance/client"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server"
	"gabion/server/object"
	"gabion/store/block"
)

// rounds of each row are measured and the cheapest counts: what the store does by itself now and then,
// such as a new log segment or a flush of the index, and how often it comes while a slow machine is at
// a round, is no cost of a request.
const rounds = 5

// row is one kind of request: the messages of its frame, and what it may cost on average.
type row struct {
	name   string
	n      int
	frame  func(l *line) []message
	allocs float64
	bytes  float64
}

type message struct {
	command smb2.Command
	related bool
	body    smb2.Message
}

var rows = []row{
	{"ECHO", 4000, func(*line) []message {
		return []message{{command: smb2.CommandEcho, body: &smb2.Empty{Of: smb2.CommandEcho}}}
	}, 0.2, 64},
	{"READ 4 KiB", 4000, func(l *line) []message {
		return []message{{command: smb2.CommandRead, body: &smb2.ReadRequest{FileID: l.file, Length: 4096, Offset: 64 << 10}}}
	}, 0.2, 64},
	{"READ 64 KiB", 2000, func(l *line) []message {
		return []message{{command: smb2.CommandRead, body: &smb2.ReadRequest{FileID: l.file, Length: 64 << 10}}}
	}, 0.2, 64},
	{"WRITE 4 KiB", 4000, func(l *line) []message {
		return []message{{command: smb2.CommandWrite, body: &smb2.WriteRequest{FileID: l.file, Offset: 8192, Data: make([]byte, 4096)}}}
	}, 1.3, 64},
	{"CREATE and CLOSE", 2000, func(l *line) []message {
		return []message{{command: smb2.CommandCreate, body: l.openFile()}, {command: smb2.CommandClose, related: true, body: &smb2.CloseRequest{FileID: smb2.AnyFileID}}}
	}, 31, 4480},
	{"QUERY_DIRECTORY of 100", 1000, func(l *line) []message {
		return []message{{command: smb2.CommandCreate, body: client.OpenDirectory("dir")},
			{command: smb2.CommandQueryDirectory, related: true, body: &smb2.QueryDirectoryRequest{
				FileID: smb2.AnyFileID, FileInformationClass: uint8(fscc.FileIDBothDirectoryInformation), FileName: []byte{'*', 0}, OutputBufferLength: 64 << 10}},
			{command: smb2.CommandClose, related: true, body: &smb2.CloseRequest{FileID: smb2.AnyFileID}}}
	}, 43, 12000},
}

func TestCostOfRequests(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates on its own")
	}
	l := connect(t)
	// Pools are emptied by collections, which come when others on the machine let them.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			frame := l.encode(r.frame(l))
			l.exchange(t, frame, r.n/4)
			allocs, size := math.Inf(1), math.Inf(1)
			for range rounds {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				l.exchange(t, frame, r.n/rounds)
				runtime.ReadMemStats(&after)
				allocs = min(allocs, float64(after.Mallocs-before.Mallocs)/float64(r.n/rounds))
				size = min(size, float64(after.TotalAlloc-before.TotalAlloc)/float64(r.n/rounds))
			}
			t.Logf("%.2f allocations, %.0f bytes", allocs, size)
			if allocs > r.allocs || size > r.bytes {
				t.Errorf("costs %.2f allocations and %.0f bytes; it may cost %.2f and %.0f", allocs, size, r.allocs, r.bytes)
			}
		})
		runtime.GC()
	}
}

// line is a connection whose client is taken off once it has a session, so that requests
// and replies cost nothing on this side.
type line struct {
	nc      *detachable
	session uint64
	tree    uint32
	next    uint64
	file    smb2.FileID
	reply   [1 << 20]byte
}

// detachable is a connection whose reader can be put to sleep for good.
type detachable struct {
	net.Conn
	detached atomic.Bool
	asleep   chan struct{}
	over     chan struct{}
}

func (d *detachable) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	if err != nil && d.detached.Load() {
		close(d.asleep)
		<-d.over
	}
	return n, err
}

func connect(t *testing.T) *line {
	t.Helper()
	nc, err := net.Dial("tcp", serve(t))
	if err != nil {
		t.Fatal(err)
	}
	l := &line{nc: &detachable{Conn: nc, asleep: make(chan struct{}), over: make(chan struct{})}}
	c := client.NewConn(l.nc, client.Options{})
	t.Cleanup(func() { close(l.nc.over); c.Close() })
	check(t, c.Negotiate(client.Negotiation{}))
	s, err := c.Login(client.Credentials{User: "rig", Password: "Rig-Password-1"})
	check(t, err)
	tree, err := s.Connect("bench")
	check(t, err)
	f, err := tree.Create(client.OpenFile("file"))
	check(t, err)
	for off := range int64(16) {
		_, err = f.WriteAt(bytes.Repeat([]byte{1, 2, 3, 4}, 16<<10), off*64<<10)
		check(t, err)
	}
	_, err = tree.Create(client.OpenDirectory("dir"))
	check(t, err)
	for i := range 100 {
		n, err := tree.Create(client.OpenFile(fmt.Sprintf(`dir\disk-%03d.vhdx`, i)))
		check(t, err)
		check(t, n.Close())
	}
	l.session, l.tree, l.file, l.next = s.ID, tree.ID, f.ID, c.NextMessageID()
	l.nc.detached.Store(true)
	check(t, nc.SetReadDeadline(time.Unix(1, 0)))
	<-l.nc.asleep
	check(t, nc.SetReadDeadline(time.Time{}))
	return l
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (l *line) openFile() *smb2.CreateRequest {
	m := client.OpenFile("file")
	m.CreateDisposition = smb2.DispositionOpen
	return m
}

// encode makes a frame of messages, which exchange numbers.
func (l *line) encode(list []message) []byte {
	frame := make([]byte, 4)
	last := 4
	for i, m := range list {
		if i > 0 {
			for len(frame)%8 != 4 {
				frame = append(frame, 0)
			}
			smb2.Header(frame[last:]).SetNextCommand(uint32(len(frame) - last))
			last = len(frame)
		}
		h := smb2.HeaderFields{Command: m.command, CreditCharge: client.Charge(m.body), Credits: 64, SessionID: l.session, TreeID: l.tree}
		if m.related {
			h.Flags |= smb2.FlagRelatedOperations
		}
		frame = m.body.AppendTo(smb2.AppendHeader(frame, &h))
	}
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame
}

// exchange sends a frame n times, each time when the reply to the last is there.
func (l *line) exchange(t *testing.T, frame []byte, n int) {
	for range n {
		for h := smb2.Header(frame[4:]); ; h = h[h.NextCommand():] {
			h.SetMessageID(l.next)
			l.next += uint64(max(1, h.CreditCharge()))
			if h.NextCommand() == 0 {
				break
			}
		}
		if _, err := l.nc.Conn.Write(frame); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(l.nc.Conn, l.reply[:4]); err != nil {
			t.Fatal(err)
		}
		size := binary.BigEndian.Uint32(l.reply[:])
		if _, err := io.ReadFull(l.nc.Conn, l.reply[:size]); err != nil {
			t.Fatal(err)
		}
		for h := smb2.Header(l.reply[:size]); ; h = h[h.NextCommand():] {
			if s := h.Status(); s != ntstatus.Success {
				t.Fatalf("%v: %v", h.Command(), s)
			}
			if h.NextCommand() == 0 {
				break
			}
		}
	}
}

// serve runs a server on the real store in this process.
func serve(t *testing.T) (addr string) {
	t.Helper()
	volume, err := block.Open(block.Options{Dir: t.TempDir()})
	check(t, err)
	t.Cleanup(func() { volume.Close() })
	users, err := auth.OpenUsers(volume, make([]byte, 32))
	check(t, err)
	_, err = users.Add("rig", "Rig-Password-1", "Administrators")
	check(t, err)
	srv, err := server.New(server.Config{
		Name: "GABION", Auth: server.Accepting(auth.NewAcceptor(&auth.NTLM{Users: users, Name: "GABION"})), Signing: server.SigningEnabled,
	})
	check(t, err)
	t.Cleanup(func() { srv.Close() })
	objects := object.New(object.Config{Breaker: srv.Breaker()})
	tree, status := objects.Mount(volume).Tree("", object.TreeOptions{})
	if status != ntstatus.Success {
		t.Fatal(status)
	}
	check(t, srv.AddShare(&server.Share{Name: "bench", Tree: tree}))
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	go srv.Serve(nl)
	return nl.Addr().String()
}
