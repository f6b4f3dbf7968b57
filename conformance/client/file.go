package client

import (
	"io"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// File is an open.
type File struct {
	Tree     *Tree
	ID       smb2.FileID
	Name     string
	Response smb2.CreateResponse // its Contexts are the File's own
}

// OpenFile is a CREATE of an existing or new file with every right that a file
// server's client commonly asks for, shared with everybody.
func OpenFile(name string) *smb2.CreateRequest {
	return &smb2.CreateRequest{
		Name:               dtyp.EncodeUTF16(name),
		ImpersonationLevel: smb2.ImpersonationImpersonation,
		DesiredAccess:      dtyp.FileAllAccess,
		ShareAccess:        smb2.ShareAll,
		CreateDisposition:  smb2.DispositionOpenIf,
		CreateOptions:      smb2.OptionNonDirectoryFile,
	}
}

// OpenDirectory is OpenFile for a directory.
func OpenDirectory(name string) *smb2.CreateRequest {
	m := OpenFile(name)
	m.CreateOptions = smb2.OptionDirectoryFile
	return m
}

// WithContext adds a create context to a request.
func WithContext(m *smb2.CreateRequest, name string, data interface{ AppendTo([]byte) []byte }) *smb2.CreateRequest {
	var b smb2.ContextBuilder
	old := m.CreateContexts()
	for old.Next() {
		b.Add(string(old.Name), old.Data)
	}
	var payload []byte
	if data != nil {
		payload = data.AppendTo(nil)
	}
	b.Add(name, payload)
	m.Contexts = b.Bytes()
	return m
}

// WithLease asks for a lease.
func WithLease(m *smb2.CreateRequest, l smb2.Lease) *smb2.CreateRequest {
	m.RequestedOplockLevel = smb2.OplockLevelLease
	return WithContext(m, smb2.ContextLease, &l)
}

// Create opens a file.
func (t *Tree) Create(m *smb2.CreateRequest) (*File, error) {
	p, err := t.Start(m)
	if err != nil {
		return nil, err
	}
	return p.File()
}

// File waits for the response to a CREATE.
func (p *Pending) File() (*File, error) {
	r, err := p.Wait()
	if err != nil {
		return nil, err
	}
	f := &File{Tree: p.request.Tree}
	if err := r.result(&f.Response); err != nil {
		return nil, err
	}
	if m, ok := p.request.Body.(*smb2.CreateRequest); ok {
		f.Name = dtyp.DecodeUTF16(m.Name)
	}
	f.ID = f.Response.FileID
	return f, nil
}

// Context returns the data of a create context of the response.
func (f *File) Context(name string) ([]byte, bool) {
	return smb2.FindContext(f.Response.Contexts, name)
}

// Lease returns the lease that was granted.
func (f *File) Lease() (l smb2.Lease, ok bool) {
	data, ok := f.Context(smb2.ContextLease)
	return l, ok && l.Decode(data) == nil
}

// On returns the open as another channel of its session sees it.
func (f *File) On(channel *Session) *File {
	c := *f
	c.Tree = f.Tree.On(channel)
	return &c
}

// Close closes the open.
func (f *File) Close() error {
	_, err := f.CloseWith(0)
	return err
}

// CloseWith closes the open and returns the response.
func (f *File) CloseWith(flags smb2.CloseFlags) (out smb2.CloseResponse, err error) {
	_, err = f.Tree.Call(&smb2.CloseRequest{Flags: flags, FileID: f.ID}, &out)
	return out, err
}

// ReadAt reads into p. At the end of the file it returns io.EOF.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	var out smb2.ReadResponse
	_, err := f.Tree.Call(&smb2.ReadRequest{FileID: f.ID, Offset: uint64(off), Length: uint32(len(p))}, &out)
	if err == ntstatus.EndOfFile {
		return 0, io.EOF
	}
	n := copy(p, out.Data)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// WriteAt writes p.
func (f *File) WriteAt(p []byte, off int64) (int, error) { return f.WriteWith(p, off, 0) }

// WriteWith writes p with flags.
func (f *File) WriteWith(p []byte, off int64, flags smb2.WriteFlags) (int, error) {
	var out smb2.WriteResponse
	_, err := f.Tree.Call(&smb2.WriteRequest{FileID: f.ID, Offset: uint64(off), Data: p, Flags: flags}, &out)
	return int(out.Count), err
}

// Flush makes what was written durable.
func (f *File) Flush() error {
	_, err := f.Tree.Call(&smb2.FlushRequest{FileID: f.ID}, nil)
	return err
}

// Lock locks and unlocks ranges and waits for it.
func (f *File) Lock(locks ...smb2.LockElement) error {
	_, err := f.Tree.Call(&smb2.LockRequest{FileID: f.ID, Locks: locks}, nil)
	return err
}

// StartLock is Lock that does not wait.
func (f *File) StartLock(locks ...smb2.LockElement) (*Pending, error) {
	return f.Tree.Start(&smb2.LockRequest{FileID: f.ID, Locks: locks})
}

// Ioctl sends an FSCTL on the file.
func (f *File) Ioctl(code uint32, input []byte, maxOutput uint32) ([]byte, error) {
	return f.Tree.ioctl(f.ID, code, input, maxOutput)
}

// QueryInfo asks for information of at most max bytes.
func (f *File) QueryInfo(t smb2.InfoType, class uint8, additional, max uint32) ([]byte, error) {
	var out smb2.QueryInfoResponse
	_, err := f.Tree.Call(&smb2.QueryInfoRequest{InfoType: t, FileInfoClass: class, AdditionalInformation: additional, OutputBufferLength: max, FileID: f.ID}, &out)
	return out.Buffer, err
}

// SetInfo sets information.
func (f *File) SetInfo(t smb2.InfoType, class uint8, additional uint32, buffer []byte) error {
	_, err := f.Tree.Call(&smb2.SetInfoRequest{InfoType: t, FileInfoClass: class, AdditionalInformation: additional, FileID: f.ID, Buffer: buffer}, nil)
	return err
}

// QueryDirectory lists what matches pattern, one response of at most max bytes.
func (f *File) QueryDirectory(class uint8, flags smb2.QueryDirectoryFlags, pattern string, max uint32) ([]byte, error) {
	var out smb2.QueryDirectoryResponse
	_, err := f.Tree.Call(&smb2.QueryDirectoryRequest{FileInformationClass: class, Flags: flags, FileID: f.ID,
		FileName: dtyp.EncodeUTF16(pattern), OutputBufferLength: max}, &out)
	return out.Buffer, err
}

// Notify asks to be told of changes and does not wait.
func (f *File) Notify(filter smb2.CompletionFilter, recursive bool, max uint32) (*Pending, error) {
	m := &smb2.ChangeNotifyRequest{FileID: f.ID, CompletionFilter: filter, OutputBufferLength: max}
	if recursive {
		m.Flags = smb2.WatchTree
	}
	return f.Tree.Start(m)
}

// Changes waits for the response to a Notify.
func (p *Pending) Changes() ([]byte, error) {
	r, err := p.Wait()
	if err != nil {
		return nil, err
	}
	var out smb2.ChangeNotifyResponse
	err = r.result(&out)
	return out.Buffer, err
}

// Done waits for the response to a request and returns its status as an error.
func (p *Pending) Done() error {
	r, err := p.Wait()
	if err != nil {
		return err
	}
	return r.result(nil)
}

// OplockBreak reads an unsolicited message as an oplock break.
func (r *Response) OplockBreak() (m smb2.OplockBreak, err error) {
	err = m.Decode(r.Msg)
	return m, err
}

// LeaseBreak reads an unsolicited message as a lease break.
func (r *Response) LeaseBreak() (m smb2.LeaseBreakNotification, err error) {
	err = m.Decode(r.Msg)
	return m, err
}

// AcknowledgeOplock answers an oplock break and returns the server's response.
func (f *File) AcknowledgeOplock(level smb2.OplockLevel) (out smb2.OplockBreak, err error) {
	_, err = f.Tree.Call(&smb2.OplockBreak{OplockLevel: level, FileID: f.ID}, &out)
	return out, err
}

// AcknowledgeLease answers a lease break and returns the server's response.
func (t *Tree) AcknowledgeLease(key smb2.LeaseKey, state smb2.LeaseState) (out smb2.LeaseBreak, err error) {
	_, err = t.Call(&smb2.LeaseBreak{LeaseKey: key, LeaseState: state}, &out)
	return out, err
}
