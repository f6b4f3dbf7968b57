package hostile

import (
	"fmt"

	"gabion/conformance/client"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// sequenceCases are about message ids, credits and chains.
var sequenceCases = []Case{
	{"message id used twice", "3.3.5.2.3", func(t Target) error {
		return t.session(func(c *client.Conn, s *client.Session) error {
			if err := c.Echo(); err != nil {
				return err
			}
			return sendsID(c, s, c.NextMessageID()-1, 1)
		})
	}},
	{"message id far ahead", "3.3.5.2.3", func(t Target) error {
		return t.session(func(c *client.Conn, s *client.Session) error { return sendsID(c, s, 1<<40, 1) })
	}},
	{"message id of all ones", "3.3.5.2.3", func(t Target) error {
		return t.session(func(c *client.Conn, s *client.Session) error { return sendsID(c, s, ^uint64(0), 1) })
	}},
	{"message id just below all ones", "3.3.5.2.3", func(t Target) error {
		return t.session(func(c *client.Conn, s *client.Session) error { return sendsID(c, s, ^uint64(1), 0xFFFF) })
	}},
	{"more credits than there are", "3.3.5.2.3", func(t Target) error {
		return t.session(func(c *client.Conn, s *client.Session) error { return sendsID(c, s, c.NextMessageID(), 0xFFFF) })
	}},
	{"payload without the credits for it", "3.3.5.2.5", func(t Target) error {
		return t.file(func(c *client.Conn, f *client.File) error {
			r, err := c.Call(&client.Request{Header: smb2.HeaderFields{CreditCharge: 1}, Tree: f.Tree,
				Body: &smb2.ReadRequest{FileID: f.ID, Length: 65537}})
			return gets(r, err, ntstatus.InvalidParameter)
		})
	}},
	{"CANCEL of nothing", "3.3.5.16", func(t Target) error {
		return t.session(func(c *client.Conn, s *client.Session) error {
			for id := range uint64(50) {
				if _, err := c.Send(&client.Request{Header: smb2.HeaderFields{Command: smb2.CommandCancel, MessageID: id * 7}, Session: s, Body: &smb2.Empty{}}); err != nil {
					return err
				}
				if _, err := c.Send(&client.Request{Header: smb2.HeaderFields{Command: smb2.CommandCancel, Flags: smb2.FlagAsyncCommand, AsyncID: id}, Session: s, Body: &smb2.Empty{}}); err != nil {
					return err
				}
			}
			return c.Echo()
		})
	}},
	{"response instead of a request", "3.3.5.2.6", func(t Target) error {
		return t.session(func(c *client.Conn, s *client.Session) error {
			r, err := c.Call(&client.Request{Header: smb2.HeaderFields{Command: smb2.CommandEcho, Flags: smb2.FlagServerToRedir}, Session: s, Body: &smb2.Empty{}})
			return endsOrGets(c, r, err, ntstatus.InvalidParameter)
		})
	}},
	{"chain whose first request is related", "3.3.5.2.7.2", func(t Target) error {
		return t.tree(func(c *client.Conn, tree *client.Tree) error {
			r, err := c.Call(tree.Request(&smb2.FlushRequest{FileID: smb2.AnyFileID}).Related())
			return endsOrGets(c, r, err, ntstatus.InvalidParameter)
		})
	}},
	{"chain that mixes styles", "3.3.5.2.7", func(t Target) error {
		return t.file(func(c *client.Conn, f *client.File) error {
			all, err := c.Compound(f.Tree.Request(&smb2.FlushRequest{FileID: f.ID}),
				f.Tree.Request(&smb2.FlushRequest{FileID: f.ID}).Related(),
				f.Tree.Request(&smb2.FlushRequest{FileID: f.ID}))
			if err != nil && !c.Ended() {
				return err
			}
			for _, r := range all {
				if r != nil {
					if err := gets(r, nil, ntstatus.Success, ntstatus.InvalidParameter); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}},
	{"failure carried down a chain", "3.3.5.2.7.2", func(t Target) error {
		return t.tree(func(c *client.Conn, tree *client.Tree) error {
			m := client.OpenFile(`no such folder\x`)
			all, err := c.Compound(tree.Request(m), tree.Request(&smb2.ReadRequest{FileID: smb2.AnyFileID, Length: 10}).Related(),
				tree.Request(&smb2.CloseRequest{FileID: smb2.AnyFileID}).Related())
			if err != nil {
				return err
			}
			for _, r := range all {
				if err := gets(r, nil, ntstatus.ObjectPathNotFound); err != nil {
					return err
				}
			}
			return nil
		})
	}},
	{"NextCommand unaligned", "3.3.5.2.7", nextCommand(func(n uint32) uint32 { return n + 4 })},
	{"NextCommand beyond the frame", "3.3.5.2.7", nextCommand(func(uint32) uint32 { return 0xFFFFFFF8 })},
	{"NextCommand into the header", "3.3.5.2.7", nextCommand(func(uint32) uint32 { return 8 })},
	{"NextCommand at the frame's end", "3.3.5.2.7", nextCommand(func(n uint32) uint32 { return 2 * n })},
	{"chain of a hundred", "3.3.5.2.7", func(t Target) error {
		return t.file(func(c *client.Conn, f *client.File) error {
			for c.Credits() < 100 {
				before := c.Credits()
				if err := c.Echo(); err != nil {
					return err
				}
				if c.Credits() <= before {
					return nil // the server gives fewer: nothing to see
				}
			}
			chain := []*client.Request{f.Tree.Request(&smb2.FlushRequest{FileID: f.ID})}
			for range 99 {
				chain = append(chain, f.Tree.Request(&smb2.FlushRequest{FileID: smb2.AnyFileID}).Related())
			}
			all, err := c.Compound(chain...)
			if err != nil && !c.Ended() {
				return err
			}
			for i, r := range all {
				if r == nil || r.Status() != ntstatus.Success && r.Status() != ntstatus.InvalidParameter {
					return fmt.Errorf("element %d: %v", i, r)
				}
			}
			return nil
		})
	}},
}

// sendsID sends an ECHO with this id and charge; the connection ends, for nothing
// else can be answered ([MS-SMB2] 3.3.5.2.3).
func sendsID(c *client.Conn, s *client.Session, id uint64, charge uint16) error {
	h := smb2.HeaderFields{Command: smb2.CommandEcho, MessageID: id, CreditCharge: charge, Credits: 1, SessionID: s.ID}
	msg := (&smb2.Empty{}).AppendTo(smb2.AppendHeader(nil, &h))
	s.SignMessage(msg)
	if err := c.SendFrame(msg); err != nil {
		return err
	}
	return ends(c)
}

// nextCommand sends two messages with a wrong NextCommand in the first.
func nextCommand(change func(uint32) uint32) func(Target) error {
	return func(t Target) error {
		return t.session(func(c *client.Conn, s *client.Session) error {
			wrong := func(b []byte) []byte {
				h := smb2.Header(b[:smb2.HeaderSize])
				h.SetNextCommand(change(uint32(len(b))))
				return b
			}
			h := smb2.HeaderFields{Command: smb2.CommandEcho, MessageID: c.NextMessageID(), CreditCharge: 1, SessionID: s.ID}
			msg := wrong(append((&smb2.Empty{}).AppendTo(smb2.AppendHeader(nil, &h)), 0, 0, 0, 0))
			s.SignMessage(msg)
			h.MessageID++
			msg = (&smb2.Empty{}).AppendTo(smb2.AppendHeader(msg, &h))
			if err := c.SendFrame(msg); err != nil {
				return err
			}
			// An error or the end, never silence; and the second message, which was
			// reached by a lie, is not carried out on top of the first's.
			select {
			case <-c.Done():
				return nil
			default:
			}
			r, err := c.Stray()
			return endsOrGets(c, r, err, ntstatus.InvalidParameter, ntstatus.AccessDenied)
		})
	}
}
