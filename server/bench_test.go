package server

import (
	"net"
	"testing"

	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// quiet is a connection to nowhere, so that what is measured is the server.
type quiet struct{ net.Conn }

func (quiet) Write(b []byte) (int, error) { return len(b), nil }
func (quiet) Close() error                { return nil }

// benchConn is a connection with a session and a pipe, as far as dispatch needs it.
func benchConn(b *testing.B, d smb2.Dialect, a smb2.SigningAlgorithm) (*conn, *peer, smb2.FileID) {
	b.Helper()
	s, err := New(Config{Auth: believer{}, Pipes: testPipes{}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	c := &conn{server: s, net: quiet{}, window: newWindow()}
	c.dialect, c.multiCredit, c.signing, c.maxIO = d, d != Dialect202, a, 8<<20
	c.authenticated.Store(true)
	c.out.init(c)
	c.active.Store(2)
	c.out.writing = true // nobody takes the queue; the benchmark drops it
	ses := &session{server: s, dialect: d, opens: map[uint64]*open{}}
	who := &Identity{User: "bench"}
	ses.identity.Store(who)
	ses.keys = sessionKeys{present: true, algorithm: a}
	s.sessions.add(ses)
	ses.state.Store(uint32(sessionValid))
	ch := &channel{session: ses, conn: c}
	ch.signer.Store(&signerBox{ses.keys.signer(c)})
	ses.channels = []*channel{ch}
	ses.signingRequired.Store(true)
	c.addChannel(ch)
	t := &tree{session: ses, share: s.Share(IPC)}
	ses.addTree(t)
	p := &peer{t: b, session: ses.id, tree: t.id, dialect: d}
	r := &request{conn: c, session: ses, tree: t}
	pipe, _ := testPipes{}.Open("mute", PipeCaller{})
	o, status := r.newOpen(&pipeOpen{name: "mute", pipe: pipe}, 0)
	if status != ntstatus.Success {
		b.Fatal(status)
	}
	o.release()
	p.useKeys("bench", false)
	p.signer = nil
	return c, p, o.id
}

// BenchmarkDispatch is one signed request from the complete frame to the queued reply.
func BenchmarkDispatch(b *testing.B) {
	for _, a := range []smb2.SigningAlgorithm{smb2.SigningAESGMAC, smb2.SigningAESCMAC} {
		b.Run(a.String(), func(b *testing.B) {
			c, p, id := benchConn(b, Dialect311, a)
			signer := newSigner(a, [16]byte{})
			commands[smb2.CommandFlush].flags |= rowInline
			defer func() { commands[smb2.CommandFlush].flags &^= rowInline }()
			c.mu.Lock()
			c.window.grant(c.window.room(8192))
			c.mu.Unlock()
			m := p.message(smb2.CommandFlush, &smb2.FlushRequest{FileID: id}, func(h *smb2.HeaderFields) { h.Credits = 1 })
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				buf := newBuffer(len(m))
				frame := buf.mem[:len(m)]
				copy(frame, m)
				smb2.Header(frame).SetMessageID(uint64(i))
				signer.Sign(frame)
				c.out.cork()
				if err := c.receive(buf, frame); err != nil {
					b.Fatal(err)
				}
				list := c.out.head
				if list == nil {
					b.Fatal("no reply")
				}
				if s := smb2.Header(list.data[frameHeader:]).Status(); s != ntstatus.Success {
					b.Fatal(s)
				}
				c.out.head, c.out.tail, c.out.queued = nil, nil, 0
				c.out.drop(list)
			}
		})
	}
}

// BenchmarkEcho is a round trip over loopback.
func BenchmarkEcho(b *testing.B) {
	_, addr := startServer(b, nil)
	p := connect(b, addr, Dialect311, "alice")
	b.ReportAllocs()
	for b.Loop() {
		p.write(p.message(smb2.CommandEcho, echoBody()))
		p.frame()
	}
}

// BenchmarkWindow is a message id's way through the window.
func BenchmarkWindow(b *testing.B) {
	w := newWindow()
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		w.grant(1)
		if !w.consume(i, 1) {
			b.Fatal(i)
		}
	}
}

// BenchmarkOpenTable is what finding an open costs.
func BenchmarkOpenTable(b *testing.B) {
	var t openTable
	t.init()
	var ids []smb2.FileID
	for range 10000 {
		o := &open{}
		t.add(o, 0)
		ids = append(ids, o.id)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if t.find(ids[i%len(ids)]) == nil {
			b.Fatal(i)
		}
	}
}
