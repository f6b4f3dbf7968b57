package hostile

import (
	"fmt"
	"math/rand/v2"

	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// fileBodies are well-formed requests on an open file, to be spoiled.
func fileBodies(f *client.File) []smb2.Message {
	create := client.WithLease(client.OpenFile("hostile-2.bin"), smb2.Lease{V2: true, State: smb2.LeaseReadCaching})
	create.CreateOptions |= smb2.OptionDeleteOnClose
	return []smb2.Message{
		create,
		&smb2.TreeConnectRequest{Path: dtyp.EncodeUTF16(`\\x\y`)},
		&smb2.FlushRequest{FileID: f.ID},
		&smb2.ReadRequest{FileID: f.ID, Length: 4096},
		&smb2.WriteRequest{FileID: f.ID, Data: make([]byte, 100)},
		&smb2.LockRequest{FileID: f.ID, Locks: []smb2.LockElement{{Length: 1, Flags: smb2.LockFlagExclusiveLock | smb2.LockFlagFailImmediately}}},
		&smb2.IoctlRequest{CtlCode: smb2.FsctlSrvCopychunkWrite, FileID: f.ID, Input: make([]byte, 56), MaxOutputResponse: 12, Flags: smb2.IoctlIsFsctl},
		&smb2.QueryDirectoryRequest{FileID: f.ID, FileInformationClass: 37, FileName: dtyp.EncodeUTF16("*"), OutputBufferLength: 1000},
		&smb2.ChangeNotifyRequest{FileID: f.ID, OutputBufferLength: 1000, CompletionFilter: smb2.NotifyAll},
		&smb2.QueryInfoRequest{FileID: f.ID, InfoType: smb2.InfoFile, FileInfoClass: 18, OutputBufferLength: 1000, Input: make([]byte, 8)},
		&smb2.SetInfoRequest{FileID: f.ID, InfoType: smb2.InfoFile, FileInfoClass: 4, Buffer: make([]byte, 40)},
		&smb2.OplockBreak{FileID: f.ID},
		&smb2.LeaseBreak{LeaseKey: smb2.LeaseKey{1}},
		&smb2.Empty{Of: smb2.CommandEcho},
	}
}

// bodyCases are about requests in a session whose bodies are wrong.
var bodyCases = []Case{
	{"StructureSize of every request", "3.3.5.2.6", everyBody(func(b []byte) []byte { return put16(b, bodyAt, 0x7FFF) })},
	{"every request cut behind StructureSize", "3.3.5.2.6", everyBody(func(b []byte) []byte { return b[:bodyAt+2] })},
	{"every request without a body", "3.3.5.2.6", everyBody(func(b []byte) []byte { return b[:bodyAt] })},
	{"WRITE whose length lies", "3.3.5.13", onFile(&smb2.WriteRequest{Data: make([]byte, 100)},
		func(b []byte) []byte { return put32(b, bodyAt+4, 65536) }, ntstatus.InvalidParameter)},
	{"WRITE whose offset points into the header", "3.3.5.13", onFile(&smb2.WriteRequest{Data: make([]byte, 100)},
		func(b []byte) []byte { return put16(b, bodyAt+2, 8) }, ntstatus.InvalidParameter)},
	{"WRITE behind the end of numbers", "3.3.5.13", onFile(&smb2.WriteRequest{Offset: ^uint64(0) - 10, Data: make([]byte, 100)}, nil,
		ntstatus.InvalidParameter, ntstatus.DiskFull, ntstatus.FileTooLarge)},
	{"READ behind the end of numbers", "3.3.5.12", onFile(&smb2.ReadRequest{Offset: ^uint64(0) - 10, Length: 100}, nil,
		ntstatus.InvalidParameter, ntstatus.EndOfFile)},
	{"LOCK of nothing", "3.3.5.14", onFile(&smb2.LockRequest{}, nil, ntstatus.InvalidParameter)},
	{"LockCount lies", "3.3.5.14", onFile(&smb2.LockRequest{Locks: make([]smb2.LockElement, 1)},
		func(b []byte) []byte { return put16(b, bodyAt+2, 0xFFFF) }, ntstatus.InvalidParameter)},
	{"LOCK with impossible flags", "3.3.5.14", onFile(&smb2.LockRequest{Locks: []smb2.LockElement{{Length: 1, Flags: 0xFF}}}, nil, ntstatus.InvalidParameter)},
	{"IOCTL whose input lies", "3.3.5.15", onFile(&smb2.IoctlRequest{CtlCode: smb2.FsctlSrvCopychunk, Input: make([]byte, 32), Flags: smb2.IoctlIsFsctl, MaxOutputResponse: 12},
		func(b []byte) []byte { return put32(b, bodyAt+28, 0xFFFFFFF0) }, ntstatus.InvalidParameter)},
	{"IOCTL that is no FSCTL", "3.3.5.15", onFile(&smb2.IoctlRequest{CtlCode: smb2.FsctlSrvRequestResumeKey, MaxOutputResponse: 100}, nil, ntstatus.NotSupported)},
	{"CREATE context list that lies", "3.3.5.9", createContexts(func(b []byte) []byte { return put32(b, 0, 0xFFFFFFF8) })},
	{"CREATE context that is its own next", "3.3.5.9", createContexts(func(b []byte) []byte { return put32(b, 0, 8) })},
	{"CREATE context whose name lies", "3.3.5.9", createContexts(func(b []byte) []byte { return put16(b, 6, 0xFFFF) })},
	{"CREATE context whose data lies", "3.3.5.9", createContexts(func(b []byte) []byte { return put32(put16(b, 10, 24), 12, 0xFFFFFF00) })},
	{"name of an odd length", "3.3.5.9", onTree(func() smb2.Message {
		m := client.OpenFile("x")
		m.Name = []byte{'x', 0, 'y'}
		return m
	}, ntstatus.InvalidParameter, ntstatus.ObjectNameInvalid, ntstatus.IllegalCharacter)},
	{"name of 32767 characters", "3.3.5.9", onTree(func() smb2.Message {
		m := client.OpenFile("x")
		m.Name = make([]byte, 65534)
		for i := 0; i < len(m.Name); i += 2 {
			m.Name[i] = 'a'
		}
		return m
	}, ntstatus.ObjectNameInvalid, ntstatus.ObjectPathNotFound, ntstatus.ObjectNameNotFound, ntstatus.NameTooLong, ntstatus.InvalidParameter)},
	{"path of ten thousand folders", "3.3.5.9", onTree(func() smb2.Message {
		m := client.OpenFile("x")
		m.Name = nil
		for range 10000 {
			m.Name = append(m.Name, 'a', 0, '\\', 0)
		}
		m.Name = append(m.Name, 'a', 0)
		return m
	}, ntstatus.ObjectNameInvalid, ntstatus.ObjectPathNotFound, ntstatus.NameTooLong, ntstatus.InvalidParameter)},
	{"path out of the share", "3.3.5.9", onTree(func() smb2.Message { return client.OpenFile(`..\..\..\etc\passwd`) },
		ntstatus.ObjectPathSyntaxBad, ntstatus.ObjectNameInvalid, ntstatus.ObjectPathNotFound, ntstatus.ObjectNameNotFound, ntstatus.InvalidParameter)},
	{"file of another session", "3.3.5.2.10", func(t Target) error {
		return t.file(func(_ *client.Conn, f *client.File) error {
			return t.tree(func(c *client.Conn, tree *client.Tree) error {
				r, err := c.Call(tree.Request(&smb2.ReadRequest{FileID: f.ID, Length: 10}))
				return gets(r, err, ntstatus.FileClosed)
			})
		})
	}},
	{"tree that is not there", "3.3.5.2.11", func(t Target) error {
		return t.tree(func(c *client.Conn, tree *client.Tree) error {
			other := *tree
			other.ID = 0xDEADBEE0
			r, err := c.Call(other.Request(client.OpenFile("x")))
			return gets(r, err, ntstatus.NetworkNameDeleted)
		})
	}},
	{"share that is not there", "3.3.5.7", func(t Target) error {
		return t.session(func(_ *client.Conn, s *client.Session) error {
			_, err := s.Connect("no-such-share")
			if got, _ := client.Status(err); got != ntstatus.BadNetworkName {
				return fmt.Errorf("got %w", err)
			}
			return nil
		})
	}},
	{"acknowledgement of no break", "3.3.5.22.1", onFile(&smb2.OplockBreak{OplockLevel: smb2.OplockLevelNone}, nil,
		ntstatus.InvalidOplockProtocol, ntstatus.InvalidDeviceState, ntstatus.InvalidParameter, ntstatus.FileClosed)},
	{"acknowledgement of no lease", "3.3.5.22.2", onTree(func() smb2.Message { return &smb2.LeaseBreak{LeaseKey: smb2.LeaseKey{9, 9}} }, ntstatus.ObjectNameNotFound)},
	{"ten thousand changed bytes", "", func(t Target) error {
		r := rand.New(rand.NewPCG(7, 11))
		for range 10 {
			if err := t.file(func(c *client.Conn, f *client.File) error { return mutate(c, f, r) }); err != nil {
				return err
			}
		}
		return nil
	}},
}

// mutate sends requests with a few bytes of the body changed, signed rightly, until
// the server has had enough. Any answer is right.
func mutate(c *client.Conn, f *client.File, r *rand.Rand) error {
	bodies := fileBodies(f)
	for range 100 {
		m := bodies[r.IntN(len(bodies))]
		p, err := c.Start(&client.Request{Tree: f.Tree, Body: m, Spoil: func(b []byte) []byte {
			for range 1 + r.IntN(10) {
				if len(b) > bodyAt {
					b[bodyAt+r.IntN(len(b)-bodyAt)] ^= byte(1 << r.IntN(8))
				}
			}
			return b[:max(bodyAt, len(b)-r.IntN(2)*r.IntN(8))]
		}})
		if err != nil {
			break // out of credits, or out of connection
		}
		if _, final, err := p.Interim(); err != nil && final {
			break
		} else if !final {
			_ = p.Cancel(0)
		}
	}
	return nil
}

// everyBody spoils each request in turn; STATUS_INVALID_PARAMETER is the answer, or
// the end of the connection.
func everyBody(change func([]byte) []byte) func(Target) error {
	return func(t Target) error {
		for i := 0; ; i++ {
			done := false
			err := t.file(func(c *client.Conn, f *client.File) error {
				all := fileBodies(f)
				if i >= len(all) {
					done = true
					return nil
				}
				r, err := c.Call(&client.Request{Tree: f.Tree, Body: all[i], Spoil: change})
				if err := endsOrGets(c, r, err, ntstatus.InvalidParameter); err != nil {
					return fmt.Errorf("%s: %w", all[i].Command(), err)
				}
				return nil
			})
			if err != nil || done {
				return err
			}
		}
	}
}

// onFile sends a request on an open file, spoiled if change is not nil.
func onFile(m smb2.Message, change func([]byte) []byte, want ...ntstatus.Status) func(Target) error {
	return func(t Target) error {
		return t.file(func(c *client.Conn, f *client.File) error {
			switch m := m.(type) {
			case *smb2.WriteRequest:
				m.FileID = f.ID
			case *smb2.ReadRequest:
				m.FileID = f.ID
			case *smb2.LockRequest:
				m.FileID = f.ID
			case *smb2.IoctlRequest:
				m.FileID = f.ID
			case *smb2.OplockBreak:
				m.FileID = f.ID
			}
			r, err := c.Call(&client.Request{Tree: f.Tree, Body: m, Spoil: change})
			return gets(r, err, want...)
		})
	}
}

// onTree sends a request in a tree.
func onTree(m func() smb2.Message, want ...ntstatus.Status) func(Target) error {
	return func(t Target) error {
		return t.tree(func(c *client.Conn, tree *client.Tree) error {
			r, err := c.Call(tree.Request(m()))
			return gets(r, err, want...)
		})
	}
}

// createContexts sends a CREATE whose context list was changed.
func createContexts(change func([]byte) []byte) func(Target) error {
	return onTree(func() smb2.Message {
		m := client.WithContext(client.OpenFile("x"), smb2.ContextMaximalAccess, nil)
		m = client.WithContext(m, smb2.ContextOnDiskID, nil)
		m.Contexts = change(m.Contexts)
		return m
	}, ntstatus.InvalidParameter)
}
