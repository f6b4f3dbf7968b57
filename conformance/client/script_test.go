package client_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"

	"gabion/conformance/client"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// script is the server's end of a pipe: the test says what the server says.
type script struct {
	t  *testing.T
	nc net.Conn
}

func newScript(t *testing.T) (*client.Conn, *script) {
	t.Helper()
	a, b := net.Pipe()
	c := client.NewConn(a, client.Options{})
	t.Cleanup(func() { c.Close(); b.Close() })
	return c, &script{t, b}
}

// receive returns the messages of the next frame.
func (s *script) receive() [][]byte {
	s.t.Helper()
	var n [4]byte
	if _, err := io.ReadFull(s.nc, n[:]); err != nil {
		s.t.Error(err)
		return nil
	}
	b := make([]byte, binary.BigEndian.Uint32(n[:]))
	if _, err := io.ReadFull(s.nc, b); err != nil {
		s.t.Error(err)
		return nil
	}
	var all [][]byte
	for b != nil {
		msg, rest, err := smb2.Split(b)
		if err != nil {
			s.t.Error(err)
			return nil
		}
		all, b = append(all, msg), rest
	}
	return all
}

func (s *script) frame(b []byte) {
	if _, err := s.nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
		s.t.Error(err)
	}
}

// answer builds a response to a request.
func answer(req []byte, status ntstatus.Status, m smb2.Message, change func(*smb2.HeaderFields)) []byte {
	f := smb2.Header(req[:smb2.HeaderSize]).Fields()
	f.Flags |= smb2.FlagServerToRedir
	f.Status, f.Credits, f.NextCommand = status, 10, 0
	if change != nil {
		change(&f)
	}
	return m.AppendTo(smb2.AppendHeader(nil, &f))
}

func TestCallAndCredits(t *testing.T) {
	c, s := newScript(t)
	go func() {
		req := s.receive()[0]
		s.frame(answer(req, ntstatus.Success, &smb2.Empty{}, nil))
		s.receive()
	}()
	if c.Credits() != 1 || c.NextMessageID() != 0 {
		t.Errorf("starts with %d credits at %d", c.Credits(), c.NextMessageID())
	}
	if err := c.Echo(); err != nil {
		t.Fatal(err)
	}
	if c.Credits() != 10 || c.NextMessageID() != 1 {
		t.Errorf("%d credits at %d", c.Credits(), c.NextMessageID())
	}
	c.Dialect = smb2.Dialect311
	big := &client.Request{Body: &smb2.ReadRequest{Length: 11 << 16}}
	if _, err := c.Start(big); !errors.Is(err, client.ErrNoCredits) {
		t.Errorf("spent credits it did not have: %v", err)
	}
	p, err := c.Start(&client.Request{Body: &smb2.ReadRequest{Length: 4 << 16}})
	if err != nil || smb2.Header(p.Sent).CreditCharge() != 4 || c.Credits() != 6 || c.NextMessageID() != 5 {
		t.Errorf("%s %v, %d credits left", smb2.Header(p.Sent), err, c.Credits())
	}
}

func TestCompoundInterimAndBreak(t *testing.T) {
	c, s := newScript(t)
	go func() {
		s.frame(answer(s.receive()[0], ntstatus.Success, &smb2.Empty{}, nil))
		reqs := s.receive()
		if len(reqs) != 2 || !smb2.Header(reqs[1]).IsRelated() || smb2.Header(reqs[0]).NextCommand()%8 != 0 {
			t.Errorf("chain of %d", len(reqs))
			return
		}
		async := func(f *smb2.HeaderFields) { f.Flags |= smb2.FlagAsyncCommand; f.AsyncID = 99 }
		s.frame(answer(reqs[0], ntstatus.Pending, &smb2.ErrorResponse{}, async))
		lease := smb2.LeaseBreakNotification{LeaseKey: smb2.LeaseKey{7}, NewLeaseState: smb2.LeaseReadCaching}
		s.frame(answer(reqs[0], ntstatus.Success, &lease, func(f *smb2.HeaderFields) {
			f.Command, f.MessageID = smb2.CommandOplockBreak, smb2.UnsolicitedMessageID
		}))
		chain := answer(reqs[0], ntstatus.Success, &smb2.CreateResponse{EndOfFile: 5}, async)
		chain = smb2.PadCompound(chain, 0)
		chain = append(chain, answer(reqs[1], ntstatus.FileClosed, &smb2.ErrorResponse{}, nil)...)
		s.frame(chain)
		// An answer nobody asked for.
		s.frame(answer(reqs[0], ntstatus.Success, &smb2.Empty{}, func(f *smb2.HeaderFields) { f.MessageID = 500 }))
	}()
	if err := c.Echo(); err != nil {
		t.Fatal(err)
	}
	all, err := c.Send(&client.Request{Body: client.OpenFile("x")}, (&client.Request{Body: &smb2.CloseRequest{FileID: smb2.AnyFileID}}).Related())
	if err != nil {
		t.Fatal(err)
	}
	r, final, err := all[0].Interim()
	if err != nil || final || r.Header.AsyncID() != 99 {
		t.Fatal(r, final, err)
	}
	b, err := c.Break()
	if err != nil {
		t.Fatal(err)
	}
	if m, err := b.LeaseBreak(); err != nil || m.LeaseKey != (smb2.LeaseKey{7}) {
		t.Error(m, err)
	}
	var create smb2.CreateResponse
	if r, err = all[0].Wait(); err != nil || r.Decode(&create) != nil || create.EndOfFile != 5 || !r.Chained {
		t.Error(r, err)
	}
	if err := all[1].Done(); err != ntstatus.FileClosed {
		t.Error(err)
	}
	if r, err := c.Stray(); err != nil || r.Header.MessageID() != 500 {
		t.Error(r, err)
	}
	if _, ok := c.TryBreak(); ok {
		t.Error("a second break")
	}
}

func TestExactHeaderAndSpoiling(t *testing.T) {
	c, s := newScript(t)
	got := make(chan []byte, 1)
	go func() { got <- s.receive()[0] }()
	want := smb2.HeaderFields{CreditCharge: 9, Command: smb2.CommandFlush, Credits: 3, Flags: smb2.FlagReplayOperation, MessageID: 77, TreeID: 5, SessionID: 6, Signature: [16]byte{1}}
	if _, err := c.Start(&client.Request{Exact: true, Header: want, Raw: []byte("any body"), Spoil: func(b []byte) []byte { return append(b, '!') }}); err != nil {
		t.Fatal(err)
	}
	msg := <-got
	if smb2.Header(msg[:64]).Fields() != want || !bytes.Equal(msg[64:], []byte("any body!")) {
		t.Errorf("%s %q", smb2.Header(msg[:64]), msg[64:])
	}
	if c.Credits() != 1 || c.NextMessageID() != 0 {
		t.Error("an exact request was accounted for")
	}
}

func TestEndOfConnectionEndsEverybody(t *testing.T) {
	c, s := newScript(t)
	go func() {
		s.receive()
		s.nc.Close()
	}()
	if err := c.Echo(); !errors.Is(err, client.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if !c.Ended() || !errors.Is(c.Err(), client.ErrClosed) {
		t.Error(c.Err())
	}
	if _, err := c.Start(&client.Request{Body: &smb2.Empty{Of: smb2.CommandEcho}, Exact: true}); !errors.Is(err, client.ErrClosed) {
		t.Errorf("sent on a dead connection: %v", err)
	}
	if _, err := c.Break(); !errors.Is(err, client.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestMalformedResponsesEndTheConnection(t *testing.T) {
	for name, frame := range map[string][]byte{
		"no header":        []byte("abc"),
		"unknown protocol": bytes.Repeat([]byte{1}, 100),
		"unknown session":  append(smb2.PutTransformHeader(make([]byte, smb2.TransformHeaderSize), 1, 5), 1),
	} {
		c, s := newScript(t)
		s.frame(frame)
		if !c.Ended() {
			t.Errorf("%s: connection lives", name)
		}
	}
}
