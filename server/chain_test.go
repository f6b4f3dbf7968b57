package server

import (
	"testing"

	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

func TestRelatedCompound(t *testing.T) {
	_, addr := startServer(t, nil)
	p, _ := onPipe(t, addr, Dialect311, "echo")
	p.write(compound(
		p.message(smb2.CommandCreate, createOf("echo")),
		p.message(smb2.CommandWrite, &smb2.WriteRequest{FileID: smb2.AnyFileID, Data: []byte("abc")}, related),
		p.message(smb2.CommandRead, &smb2.ReadRequest{FileID: smb2.AnyFileID, Length: 10}, related),
		p.message(smb2.CommandClose, &smb2.CloseRequest{FileID: smb2.AnyFileID}, related)))
	for i, want := range []smb2.Command{smb2.CommandCreate, smb2.CommandWrite, smb2.CommandRead, smb2.CommandClose} {
		h, m := p.read()
		if h.Command() != want || h.Status() != ntstatus.Success || h.IsRelated() != (i > 0) || !h.IsSigned() {
			t.Fatalf("reply %d: %v", i, h)
		}
		if next := h.NextCommand(); (next == 0) != (want == smb2.CommandClose) || next%8 != 0 {
			t.Fatalf("reply %d: NextCommand %d", i, next)
		}
		if want == smb2.CommandRead {
			var r smb2.ReadResponse
			if err := r.Decode(m); err != nil {
				t.Fatal(err)
			}
			sameBytes(t, "READ", r.Data, []byte("abc"))
		}
	}
}

func TestCompoundFailures(t *testing.T) {
	_, addr := startServer(t, nil)
	p, id := onPipe(t, addr, Dialect311, "echo")
	for _, c := range []struct {
		name     string
		messages func() [][]byte
		want     []ntstatus.Status
	}{
		{"the CREATE fails", func() [][]byte {
			return [][]byte{p.message(smb2.CommandCreate, createOf("nothing")),
				p.message(smb2.CommandFlush, &smb2.FlushRequest{FileID: smb2.AnyFileID}, related),
				p.message(smb2.CommandClose, &smb2.CloseRequest{FileID: smb2.AnyFileID}, related)}
		}, []ntstatus.Status{ntstatus.ObjectNameNotFound, ntstatus.ObjectNameNotFound, ntstatus.ObjectNameNotFound}},
		{"the first is related", func() [][]byte {
			return [][]byte{p.message(smb2.CommandFlush, &smb2.FlushRequest{FileID: id}, related),
				p.message(smb2.CommandFlush, &smb2.FlushRequest{FileID: id}, related)}
		}, []ntstatus.Status{ntstatus.InvalidParameter, ntstatus.InvalidParameter}},
		{"no FileId before", func() [][]byte {
			return [][]byte{p.message(smb2.CommandEcho, echoBody()),
				p.message(smb2.CommandFlush, &smb2.FlushRequest{FileID: smb2.AnyFileID}, related)}
		}, []ntstatus.Status{ntstatus.Success, ntstatus.InvalidHandle}},
		{"after CLOSE", func() [][]byte {
			return [][]byte{p.message(smb2.CommandCreate, createOf("echo")),
				p.message(smb2.CommandClose, &smb2.CloseRequest{FileID: smb2.AnyFileID}, related),
				p.message(smb2.CommandFlush, &smb2.FlushRequest{FileID: smb2.AnyFileID}, related)}
		}, []ntstatus.Status{ntstatus.Success, ntstatus.Success, ntstatus.FileClosed}},
		{"unrelated ones do not depend on each other", func() [][]byte {
			return [][]byte{p.message(smb2.CommandClose, &smb2.CloseRequest{FileID: smb2.FileID{Persistent: 1, Volatile: 1}}),
				p.message(smb2.CommandFlush, &smb2.FlushRequest{FileID: id})}
		}, []ntstatus.Status{ntstatus.FileClosed, ntstatus.Success}},
		{"a middle one that would wait", func() [][]byte {
			return [][]byte{p.message(smb2.CommandRead, &smb2.ReadRequest{FileID: id, Length: 9}),
				p.message(smb2.CommandFlush, &smb2.FlushRequest{FileID: id})}
		}, []ntstatus.Status{ntstatus.InternalError, ntstatus.Success}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.t = t
			p.write(compound(c.messages()...))
			for i, want := range c.want {
				if got := p.status(); got != want {
					t.Errorf("reply %d: %v, want %v", i, got, want)
				}
			}
		})
	}
}

func TestCompoundThatWaitsAtItsEnd(t *testing.T) {
	_, addr := startServer(t, nil)
	p, _ := onPipe(t, addr, Dialect311, "echo")
	p.write(compound(
		p.message(smb2.CommandCreate, createOf("mute")),
		p.message(smb2.CommandRead, &smb2.ReadRequest{FileID: smb2.AnyFileID, Length: 10}, related)))
	h, _ := p.read()
	if h.Command() != smb2.CommandCreate || h.Status() != ntstatus.Success || h.NextCommand() != 0 {
		t.Fatalf("first reply: %v", h)
	}
	h, _ = p.read()
	if h.Status() != ntstatus.Pending || !h.IsAsync() || h.IsRelated() || h.IsSigned() {
		t.Fatalf("interim response: %v", h)
	}
	id := h.AsyncID()
	p.write(p.message(smb2.CommandCancel, echoBody(), func(h *smb2.HeaderFields) {
		h.Flags |= smb2.FlagAsyncCommand
		h.AsyncID = id
	}))
	h, _ = p.read()
	if h.Status() != ntstatus.Cancelled || h.AsyncID() != id || h.Credits() != 0 || h.NextCommand() != 0 {
		t.Fatalf("final response: %v", h)
	}
}

func TestCancelByMessageID(t *testing.T) {
	_, addr := startServer(t, nil)
	for i, d := range dialects {
		p := dial(t, addr)
		p.client[1] = byte(i)
		p.negotiate(d)
		p.login("alice")
		p.mount(IPC)
		id := p.open("mute")
		mid := p.next
		read := p.message(smb2.CommandRead, &smb2.ReadRequest{FileID: id, Length: 10})
		p.write(read)
		// Whether the CANCEL comes before or after the READ has begun to wait, the
		// READ ends.
		p.write(p.message(smb2.CommandCancel, echoBody(), func(h *smb2.HeaderFields) { h.MessageID = mid }))
		s := p.status()
		for s == ntstatus.Pending {
			s = p.status()
		}
		expect(t, d.String(), s, ntstatus.Cancelled)
		p.write(p.message(smb2.CommandCancel, echoBody(), func(h *smb2.HeaderFields) { h.MessageID = mid }))
		expect(t, "after a CANCEL for nothing", p.do(smb2.CommandEcho, echoBody(), nil), ntstatus.Success)
	}
}

func TestCloseEndsWhatWaits(t *testing.T) {
	_, addr := startServer(t, nil)
	p, id := onPipe(t, addr, Dialect311, "mute")
	p.write(p.message(smb2.CommandRead, &smb2.ReadRequest{FileID: id, Length: 10}))
	expect(t, "READ", p.status(), ntstatus.Pending)
	p.write(p.message(smb2.CommandClose, &smb2.CloseRequest{FileID: id}))
	seen := map[smb2.Command]ntstatus.Status{}
	for range 2 {
		h, _ := p.read()
		seen[h.Command()] = h.Status()
	}
	expect(t, "READ", seen[smb2.CommandRead], ntstatus.PipeBroken)
	expect(t, "CLOSE", seen[smb2.CommandClose], ntstatus.Success)
}

func TestPipeMessages(t *testing.T) {
	_, addr := startServer(t, nil)
	p, id := onPipe(t, addr, Dialect311, "halves")
	var r smb2.ReadResponse
	expect(t, "WRITE", p.do(smb2.CommandWrite, &smb2.WriteRequest{FileID: id, Data: []byte("abcdef")}, nil), ntstatus.Success)
	p.write(p.message(smb2.CommandRead, &smb2.ReadRequest{FileID: id, Length: 2}))
	h, m := p.read()
	if h.Status() != ntstatus.BufferOverflow || r.Decode(m) != nil || string(r.Data) != "ab" {
		t.Fatalf("part of a message: %v %q", h.Status(), r.Data)
	}
	for _, want := range []string{"c", "def"} {
		expect(t, "READ", p.do(smb2.CommandRead, &smb2.ReadRequest{FileID: id, Length: 99}, &r), ntstatus.Success)
		sameBytes(t, "READ", r.Data, []byte(want))
	}
}

func TestCreditsFollowTheRequests(t *testing.T) {
	s, addr := startServer(t, nil)
	p := connect(t, addr, Dialect311, "alice")
	ask := func(want uint16) uint16 {
		p.write(p.message(smb2.CommandEcho, echoBody(), func(h *smb2.HeaderFields) { h.Credits = want }))
		h, _ := p.read()
		expect(t, "ECHO", h.Status(), ntstatus.Success)
		return h.Credits()
	}
	if n := ask(1); n != 1 {
		t.Fatalf("asked for 1, got %d", n)
	}
	if n := ask(65535); int(n) < 8000 {
		t.Fatalf("asked for all, got %d", n)
	}
	if n := ask(65535); n != 1 {
		t.Fatalf("with a full window, got %d", n)
	}
	if n := ask(0); n > 1 {
		t.Fatalf("asked for none, got %d", n)
	}
	p.nc.Close()
	s.Close()
	if n := s.budget.taken.Load(); n != 0 {
		t.Fatalf("the end of the connection left %d credits taken", n)
	}
}

func TestMessageIDs(t *testing.T) {
	_, addr := startServer(t, nil)
	for _, c := range []struct {
		name   string
		change func(p *peer, h *smb2.HeaderFields)
	}{
		{"used", func(p *peer, h *smb2.HeaderFields) { h.MessageID = 1 }},
		{"beyond the window", func(p *peer, h *smb2.HeaderFields) { h.MessageID = p.next + 100000 }},
		{"the last of all", func(p *peer, h *smb2.HeaderFields) { h.MessageID = ^uint64(0) }},
		{"more credits than granted", func(p *peer, h *smb2.HeaderFields) { h.CreditCharge = 60000 }},
	} {
		p := connect(t, addr, Dialect311, "alice")
		p.write(p.message(smb2.CommandEcho, echoBody(), func(h *smb2.HeaderFields) { c.change(p, h) }))
		if !p.closed() {
			t.Errorf("a message id that is %s was accepted", c.name)
		}
	}
}

func TestCreditCharge(t *testing.T) {
	_, addr := startServer(t, nil)
	p, id := onPipe(t, addr, Dialect311, "echo")
	charge := func(n uint16) func(*smb2.HeaderFields) { return func(h *smb2.HeaderFields) { h.CreditCharge = n } }
	read := func(length uint32) *smb2.ReadRequest { return &smb2.ReadRequest{FileID: id, Length: length} }
	expect(t, "64 KiB and a byte for one credit", p.do(smb2.CommandRead, read(65537), nil, charge(1)), ntstatus.InvalidParameter)
	expect(t, "64 KiB and a byte for none", p.do(smb2.CommandRead, read(65537), nil, charge(0)), ntstatus.InvalidParameter)
	expect(t, "more than the largest transfer", p.do(smb2.CommandRead, read(8<<20+1), nil, charge(129)), ntstatus.InvalidParameter)
	p.write(p.message(smb2.CommandWrite, &smb2.WriteRequest{FileID: id, Data: make([]byte, 200<<10)}, charge(4)))
	expect(t, "a large WRITE", p.status(), ntstatus.Success)
	var r smb2.ReadResponse
	expect(t, "a large READ", p.do(smb2.CommandRead, read(256<<10), &r, charge(4)), ntstatus.Success)
	if len(r.Data) != 200<<10 {
		t.Fatalf("read %d bytes", len(r.Data))
	}
}

func TestTooManyWait(t *testing.T) {
	_, addr := startServer(t, func(c *Config) { c.Limits.AsyncPerConn = 3 })
	p, id := onPipe(t, addr, Dialect311, "mute")
	for range 3 {
		p.write(p.message(smb2.CommandRead, &smb2.ReadRequest{FileID: id, Length: 1}))
		expect(t, "READ", p.status(), ntstatus.Pending)
	}
	expect(t, "one too many", p.do(smb2.CommandRead, &smb2.ReadRequest{FileID: id, Length: 1}, nil), ntstatus.InsufficientResources)
}

func TestPanicEndsOneConnection(t *testing.T) {
	_, addr := startServer(t, nil)
	p, id := onPipe(t, addr, Dialect311, "bad")
	other, _ := onPipe(t, addr, Dialect311, "echo")
	p.write(p.message(smb2.CommandWrite, &smb2.WriteRequest{FileID: id, Data: []byte("x")}))
	if !p.closed() {
		t.Fatal("answered after a panic")
	}
	expect(t, "another connection", other.do(smb2.CommandEcho, echoBody(), nil), ntstatus.Success)
}

func TestFrames(t *testing.T) {
	_, addr := startServer(t, nil)
	for _, c := range []struct {
		name string
		b    []byte
	}{
		{"oversized", []byte{0, 0xFF, 0xFF, 0xFF}},
		{"unknown type", []byte{0x81, 0, 0, 4, 1, 2, 3, 4}},
		{"no protocol", []byte{0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8}},
		{"short header", []byte{0, 0, 0, 5, 0xFE, 'S', 'M', 'B', 64}},
		{"compressed", []byte{0, 0, 0, 8, 0xFC, 'S', 'M', 'B', 0, 0, 0, 0}},
		{"sealed for nobody", append([]byte{0, 0, 0, 60, 0xFD, 'S', 'M', 'B'}, make([]byte, 56)...)},
		{"empty", []byte{0, 0, 0, 0}},
	} {
		p := dial(t, addr)
		p.nc.Write(c.b)
		if !p.closed() {
			t.Errorf("%s frame was answered", c.name)
		}
	}
	p := dial(t, addr)
	p.nc.Write([]byte{0x85, 0, 0, 0})
	p.negotiate(Dialect311)
}

func TestAddressLimit(t *testing.T) {
	_, addr := startServer(t, func(c *Config) { c.Limits.UnauthPerIP, c.Limits.ConnectionsPerIP = 2, 4 })
	a, b := dial(t, addr), dial(t, addr)
	a.negotiate(Dialect311)
	b.negotiate(Dialect311)
	if !dial(t, addr).closed() {
		t.Fatal("a third connection without a session was let in")
	}
	a.login("alice")
	c := dial(t, addr)
	c.negotiate(Dialect311)
	b.login("alice")
	c.login("alice")
	dial(t, addr).negotiate(Dialect311)
	if !dial(t, addr).closed() {
		t.Fatal("a fifth connection was let in")
	}
}

func TestHandshakeDeadline(t *testing.T) {
	_, addr := startServer(t, func(c *Config) { c.Limits.HandshakeTimeout = 1 })
	p := dial(t, addr)
	if !p.closed() {
		t.Fatal("a silent connection was kept")
	}
}

func TestChannelSequence(t *testing.T) {
	// Each step is a request that stays outstanding.
	type step struct {
		sequence         uint16
		replay, mutates  bool
		want             ntstatus.Status
		outstanding, pre int
	}
	stale := ntstatus.FileNotAvailable
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"the same channel", []step{{0, false, true, 0, 1, 0}, {0, false, true, 0, 2, 0}, {0, true, true, 0, 3, 0}}},
		{"a newer one", []step{{0, false, true, 0, 1, 0}, {1, false, true, 0, 1, 1}}},
		{"an older one", []step{{5, false, true, 0, 1, 0}, {4, false, true, stale, 1, 0}, {4, false, false, 0, 1, 0}}},
		{"replay while the old one runs", []step{{0, false, true, 0, 1, 0}, {1, true, true, stale, 0, 1}, {1, true, true, stale, 0, 1}}},
		{"replay after the old one ended", []step{{0, false, false, 0, 1, 0}, {0, true, true, 0, 2, 0}}},
		{"wrapped", []step{{0x7FFF, false, true, 0, 1, 0}, {0xFFFE, false, true, 0, 1, 1}, {2, false, true, 0, 1, 2}, {0x9000, false, true, stale, 1, 2}}},
	} {
		o := &open{}
		for i, s := range c.steps {
			status, _ := o.verifySequence(s.sequence, s.replay, s.mutates)
			if status != s.want || o.outstanding != s.outstanding || o.outstandingPre != s.pre {
				t.Errorf("%s, step %d: %v outstanding %d pre %d, want %v %d %d", c.name, i, status, o.outstanding, o.outstandingPre, s.want, s.outstanding, s.pre)
			}
		}
	}
}

func TestOpenTableReusesPlacesNotIDs(t *testing.T) {
	var table openTable
	table.init()
	seen := map[smb2.FileID]bool{}
	var last *open
	for range 3000 {
		o := &open{}
		table.add(o, 0)
		if seen[o.id] || table.find(o.id) != o {
			t.Fatalf("id %v", o.id)
		}
		seen[o.id] = true
		if last != nil {
			table.remove(last)
			if table.find(last.id) != nil {
				t.Fatal("a closed open was found")
			}
		}
		last = o
	}
	if table.used > 2 {
		t.Fatalf("%d places for two opens at a time", table.used)
	}
}

func TestShareNames(t *testing.T) {
	for path, want := range map[string]string{`\\server\share`: "share", `\\s\IPC$`: "IPC$", `\\s\`: "", `\\s`: "", `share`: "", `\s\t`: "", `\\s\a\b`: "", `\\\a`: ""} {
		if got, ok := shareOf(path); got != want || ok != (want != "") {
			t.Errorf("%s: %q %v", path, got, ok)
		}
	}
	for _, name := range []string{"", "a\\b", "a/b", "x\x01", "a*"} {
		if ValidShareName(name) == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}
