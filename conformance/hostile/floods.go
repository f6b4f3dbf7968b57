package hostile

import (
	"fmt"

	"gabion/conformance/client"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// floodCases are about too much of what is allowed.
var floodCases = []Case{
	{"two hundred silent connections", "", func(t Target) error {
		var open []*client.Conn
		defer func() {
			for _, c := range open {
				c.Close()
			}
		}()
		for range 200 {
			c, err := t.dial()
			if err != nil {
				break // the server defends itself
			}
			open = append(open, c)
		}
		return nil
	}},
	{"thousands of unfinished authentications", "", func(t Target) error {
		return t.negotiated(func(c *client.Conn) error {
			for i := range 5000 {
				if _, err := half(c); err != nil {
					if s, known := client.Status(err); known && !s.IsError() {
						return fmt.Errorf("at %d: %w", i, err)
					}
					return nil // refused or disconnected: bounded
				}
			}
			return fmt.Errorf("one connection keeps 5000 unfinished authentications")
		})
	}},
	{"connection dropped with requests on their way", "3.3.7.1", func(t Target) error {
		return t.file(func(c *client.Conn, f *client.File) error {
			for range 50 {
				if _, err := f.Tree.Start(&smb2.ReadRequest{FileID: f.ID, Length: 8192}); err != nil {
					break
				}
			}
			return c.Close()
		})
	}},
	{"connection dropped with a lock waiting", "3.3.7.1", func(t Target) error {
		return t.file(func(c *client.Conn, f *client.File) error {
			if err := f.Lock(smb2.LockElement{Length: 10, Flags: smb2.LockFlagExclusiveLock}); err != nil {
				return err
			}
			second, err := f.Tree.Create(client.OpenFile(f.Name))
			if err != nil {
				return err
			}
			p, err := second.StartLock(smb2.LockElement{Length: 10, Flags: smb2.LockFlagExclusiveLock})
			if err != nil {
				return err
			}
			r, final, err := p.Interim()
			if err != nil || final {
				return fmt.Errorf("lock did not wait: %v %w", r, err)
			}
			return c.Close()
		})
	}},
	{"change notifies until the credits are gone", "3.3.5.19", func(t Target) error {
		return t.tree(func(c *client.Conn, tree *client.Tree) error {
			dir, err := tree.Create(client.OpenDirectory(""))
			if err != nil {
				return err
			}
			for i := 0; i < 2000 && c.Credits() > 4; i++ {
				p, err := dir.Notify(smb2.NotifyAll, true, 1000)
				if err != nil {
					return nil
				}
				if r, final, err := p.Interim(); err != nil || final && r.Status() != ntstatus.InsufficientResources {
					return endsOrGets(c, r, err, ntstatus.InsufficientResources, ntstatus.TooManyCommands)
				}
			}
			return dir.Close()
		})
	}},
	{"a hundred thousand extended attributes", "3.3.5.21.1", func(t Target) error {
		return t.file(func(c *client.Conn, f *client.File) error {
			var set []fscc.EA
			var get []string
			for i := range 100000 {
				set = append(set, fscc.EA{Name: fmt.Sprintf("%05d", i), Value: []byte{1}})
				get = append(get, fmt.Sprintf("%05d", i))
			}
			if err := credits(f, 64); err != nil {
				return err
			}
			m := &smb2.SetInfoRequest{FileID: f.ID, InfoType: smb2.InfoFile, FileInfoClass: uint8(fscc.FileFullEaInformation), Buffer: fscc.EncodeEAs(set[:4000])}
			if r, err := c.Call(f.Tree.Request(m)); gets(r, err, ntstatus.Success, ntstatus.EasNotSupported, ntstatus.EATooLarge) != nil {
				return fmt.Errorf("a few: %w", err)
			}
			q := &smb2.QueryInfoRequest{FileID: f.ID, InfoType: smb2.InfoFile, FileInfoClass: uint8(fscc.FileFullEaInformation), OutputBufferLength: 64 << 10, Input: fscc.AppendGetEAs(nil, get)}
			if r, err := c.Call(f.Tree.Request(q)); err != nil {
				return fmt.Errorf("all of them asked for: %v %w", r, err)
			}
			m.Buffer = fscc.EncodeEAs(set)
			r, err := c.Call(f.Tree.Request(m))
			return gets(r, err, ntstatus.EATooLarge, ntstatus.EasNotSupported, ntstatus.InvalidParameter)
		})
	}},
	{"reader that does not read", "", func(t Target) error {
		return t.file(func(c *client.Conn, f *client.File) error {
			// Thousands of answers nobody takes off the wire: the server may wait, or end
			// the connection, but must not keep them in memory without bound.
			for range 2000 {
				if _, err := f.Tree.Start(&smb2.ReadRequest{FileID: f.ID, Length: 8192}); err != nil {
					return nil
				}
			}
			return nil
		})
	}},
	{"a thousand opens", "", func(t Target) error {
		return t.tree(func(_ *client.Conn, tree *client.Tree) error {
			for i := range 1000 {
				m := client.OpenFile("hostile-many.bin")
				m.CreateOptions |= smb2.OptionDeleteOnClose
				if _, err := tree.Create(m); err != nil {
					if s, known := client.Status(err); !known || s != ntstatus.TooManyOpenedFiles && s != ntstatus.InsufficientResources && s != ntstatus.DeletePending {
						return fmt.Errorf("open %d: %w", i, err)
					}
					return nil
				}
			}
			return nil // dropped with all of them open
		})
	}},
}

// credits asks until there are so many credits.
func credits(f *client.File, n int) error {
	for range 100 {
		if f.Tree.Session.Conn.Credits() >= n {
			return nil
		}
		r := f.Tree.Request(&smb2.Empty{Of: smb2.CommandEcho})
		r.Header.Credits = uint16(n)
		if _, err := f.Tree.Session.Conn.Call(r); err != nil {
			return err
		}
	}
	return fmt.Errorf("%d credits, want %d", f.Tree.Session.Conn.Credits(), n)
}
