package server

import (
	"errors"
	"strings"
	"sync"

	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// PipeServer opens named pipes on IPC$; package server/rpc implements it.
type PipeServer interface {
	// Open opens the pipe with a name, in lower case and without \pipe\. An error is
	// an ntstatus.Status; a pipe that does not exist is STATUS_OBJECT_NAME_NOT_FOUND.
	Open(name string, caller PipeCaller) (Pipe, error)
}

// Pipe is one open named pipe in message mode. Calls of one pipe come one at a time.
type Pipe interface {
	// Write consumes what the client wrote, which may be part of a message or
	// several, and passes each message that this makes readable to reply, in order. It
	// may block. An error breaks the pipe. p must not be kept.
	Write(p []byte, reply func(message []byte)) error
	// Close ends it; a Write in progress has returned.
	Close()
}

// PipeCaller says who opened a pipe and by what path.
type PipeCaller struct {
	Identity *Identity
	// SessionKey is what RPC may use as the key of the transport [MS-SMB2] 3.3.4.5.
	SessionKey [16]byte
	Session    uint64
	Client     string // address
	Server     *Server
	Encrypted  bool
}

// pipeOpen is the LocalOpen of a pipe: it queues what can be read, and the reads
// that wait for it.
type pipeOpen struct {
	name string
	pipe Pipe

	turn sync.Mutex // held during pipe.Write and pipe.Close

	mu      sync.Mutex
	out     [][]byte       // messages not yet read; guarded by mu
	bytes   int            // their size; guarded by mu
	readers []*messageWait // waiting, in order; guarded by mu
	broken  bool           // guarded by mu
}

// messageWait is a READ or a transceive that waits for a message.
type messageWait struct {
	max  int
	done func(status ntstatus.Status, data []byte)
}

// maxPipeOutput bounds what a client can make the server hold unread in one pipe.
const maxPipeOutput = 4 << 20

// errUnread breaks a pipe whose client does not read.
var errUnread = errors.New("too much unread output")

func (p *pipeOpen) Close(Reason) {
	p.turn.Lock()
	p.pipe.Close()
	p.turn.Unlock()
	p.end()
}

// end fails the reads that wait and all that follow.
func (p *pipeOpen) end() {
	p.mu.Lock()
	p.broken = true
	readers := p.readers
	p.readers, p.out, p.bytes = nil, nil, 0
	p.mu.Unlock()
	for _, r := range readers {
		r.done(ntstatus.PipeBroken, nil)
	}
}

// Detach says that pipes do not survive their session.
func (p *pipeOpen) Detach(Reason) bool { return false }

func (p *pipeOpen) Describe(info *OpenInfo) {
	info.Pipe, info.Path = true, `\pipe\`+p.name
}

// write passes data to the pipe and its answers to those who wait.
func (p *pipeOpen) write(data []byte) ntstatus.Status {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.mu.Lock()
	broken := p.broken
	p.mu.Unlock()
	if broken {
		return ntstatus.PipeDisconnected
	}
	overflow := false
	err := p.pipe.Write(data, func(message []byte) { overflow = !p.push(message) || overflow })
	if err == nil && overflow {
		err = errUnread
	}
	if err != nil {
		p.end()
		var status ntstatus.Status
		if errors.As(err, &status) {
			return status
		}
		return ntstatus.PipeBroken
	}
	return ntstatus.Success
}

// push queues a message, or hands it to the first reader that waits.
func (p *pipeOpen) push(message []byte) bool {
	p.mu.Lock()
	if len(p.readers) == 0 {
		defer p.mu.Unlock()
		if p.bytes+len(message) > maxPipeOutput {
			return false
		}
		p.out = append(p.out, append([]byte(nil), message...))
		p.bytes += len(message)
		return true
	}
	r := p.readers[0]
	p.readers = p.readers[1:]
	n := min(len(message), r.max)
	status := ntstatus.Success
	if n < len(message) {
		// [MS-SMB2] 3.3.5.12: the rest of a message waits for the next read.
		status = ntstatus.BufferOverflow
		p.out = append(p.out, append([]byte(nil), message[n:]...))
		p.bytes += len(message) - n
	}
	p.mu.Unlock()
	r.done(status, message[:n])
	return true
}

// pull takes what is readable, at most max bytes of one message; ok is false when
// there is none yet, and q waits for it.
func (p *pipeOpen) pull(max int, q *messageWait) (data []byte, status ntstatus.Status, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.broken:
		return nil, ntstatus.PipeBroken, true
	case len(p.out) == 0:
		if q != nil {
			p.readers = append(p.readers, q)
		}
		return nil, ntstatus.Success, false
	}
	m := p.out[0]
	n := min(len(m), max)
	p.bytes -= n
	if n < len(m) {
		p.out[0] = m[n:]
		return m[:n], ntstatus.BufferOverflow, true
	}
	p.out = p.out[1:]
	return m, ntstatus.Success, true
}

// abandon takes a waiting read out of the queue; false if it is answered already.
func (p *pipeOpen) abandon(q *messageWait) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.readers {
		if other == q {
			p.readers = append(p.readers[:i:i], p.readers[i+1:]...)
			return true
		}
	}
	return false
}

// pull answers a request with the next message of its pipe, waiting for one if need be.
func (r *request) pull(max int, answer func(status ntstatus.Status, data []byte)) {
	p := r.open.local.(*pipeOpen)
	q := &messageWait{max: max, done: answer}
	data, status, ok := p.pull(max, q)
	if ok {
		answer(status, data)
		return
	}
	status = r.pend(func() {
		if p.abandon(q) {
			r.fail(ntstatus.Cancelled)
		}
	})
	if status != ntstatus.Success && p.abandon(q) {
		r.fail(status)
	}
}

// pipeCreate is [MS-SMB2] 3.3.5.9 for a named pipe.
func pipeCreate(r *request, req *smb2.CreateRequest) {
	// [MS-SMB2] 2.2.13: the name comes without \pipe\; with a backslash it is another's.
	name := strings.ToLower(dtyp.DecodeUTF16(req.Name))
	s := r.server()
	who := r.session.identity.Load()
	if s.cfg.Pipes == nil || name == "" {
		r.fail(ntstatus.ObjectNameNotFound)
		return
	}
	if req.ImpersonationLevel > smb2.ImpersonationDelegate {
		r.fail(ntstatus.BadImpersonationLevel)
		return
	}
	pipe, err := s.cfg.Pipes.Open(name, PipeCaller{Identity: who, SessionKey: r.session.keys.application, Session: r.session.id,
		Client: r.conn.remote.Addr().String(), Server: s, Encrypted: r.chain.encrypted})
	if err != nil {
		status := ntstatus.ObjectNameNotFound
		errors.As(err, &status)
		r.fail(status)
		return
	}
	o, status := r.newOpen(&pipeOpen{name: name, pipe: pipe}, 0)
	if status != ntstatus.Success {
		pipe.Close()
		r.fail(status)
		return
	}
	o.release()
	r.ok(&smb2.CreateResponse{CreateAction: smb2.ActionOpened, FileAttributes: fscc.FileAttributeNormal, AllocationSize: 4096, FileID: o.id})
}

// pipeRead is [MS-SMB2] 3.3.5.12 for a pipe.
func pipeRead(r *request, req *smb2.ReadRequest) {
	if req.Length > r.conn.maxIO {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	r.pull(int(req.Length), func(status ntstatus.Status, data []byte) {
		if status.IsError() {
			r.fail(status)
			return
		}
		r.finish(status, (&smb2.ReadResponse{Data: data}).AppendTo(r.reserve(smb2.ReadResponseFixed+len(data))))
	})
}

// pipeWrite is [MS-SMB2] 3.3.5.13 for a pipe.
func pipeWrite(r *request, req *smb2.WriteRequest) {
	if uint32(len(req.Data)) > r.conn.maxIO {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	if status := r.open.local.(*pipeOpen).write(req.Data); status != ntstatus.Success {
		r.fail(status)
		return
	}
	r.ok(&smb2.WriteResponse{Count: uint32(len(req.Data))})
}

// pipeFlush is [MS-SMB2] 3.3.5.11: what was written has been consumed.
func pipeFlush(r *request) { r.ok(&smb2.Empty{Of: smb2.CommandFlush}) }

// transceivePipe is [MS-SMB2] 3.3.5.15.3: a write and the read of its answer.
func transceivePipe(r *request, req *smb2.IoctlRequest) {
	if status := r.open.local.(*pipeOpen).write(req.Input); status != ntstatus.Success {
		r.fail(status)
		return
	}
	answer := *req
	answer.Input = nil
	r.pull(int(req.MaxOutputResponse), func(status ntstatus.Status, data []byte) {
		if status.IsError() {
			r.fail(status)
			return
		}
		r.respondIoctl(status, &answer, data)
	})
}

// pipePeekFixed is the output of a peek before its data [MS-FSCC] 2.3.46.
const pipePeekFixed = 16

// peekPipe is [MS-SMB2] 3.3.5.15.4.
func peekPipe(r *request, req *smb2.IoctlRequest) {
	if req.MaxOutputResponse < pipePeekFixed {
		r.fail(ntstatus.BufferTooSmall)
		return
	}
	p := r.open.local.(*pipeOpen)
	p.mu.Lock()
	peek := fscc.PipePeek{NamedPipeState: fscc.PipeConnectedState, ReadDataAvailable: uint32(p.bytes), NumberOfMessages: uint32(len(p.out))}
	if len(p.out) > 0 {
		peek.MessageLength = uint32(len(p.out[0]))
		peek.Data = append(peek.Data, p.out[0][:min(len(p.out[0]), int(req.MaxOutputResponse)-pipePeekFixed)]...)
	}
	p.mu.Unlock()
	status := ntstatus.Success
	if len(peek.Data) < int(peek.MessageLength) {
		status = ntstatus.BufferOverflow
	}
	r.respondIoctl(status, req, peek.Append(nil))
}

// pipeQueryInfo answers QUERY_INFO on a pipe [MS-SMB2] 3.3.5.20.1.
func pipeQueryInfo(r *request, req *smb2.QueryInfoRequest) {
	var out []byte
	switch class := fscc.FileInformationClass(req.FileInfoClass); {
	case req.InfoType != smb2.InfoFile:
		r.fail(ntstatus.NotSupported)
		return
	case class == fscc.FileStandardInformation:
		out = (&fscc.StandardInformation{AllocationSize: 4096, NumberOfLinks: 1, DeletePending: true}).Append(nil)
	case class == fscc.FilePipeInformation:
		out = (&fscc.PipeInformation{ReadMode: 1}).Append(nil)
	default:
		r.fail(ntstatus.InvalidParameter)
		return
	}
	if int(req.OutputBufferLength) < len(out) {
		r.fail(ntstatus.InfoLengthMismatch)
		return
	}
	r.ok(&smb2.QueryInfoResponse{Buffer: out})
}

// pipeSetInfo answers SET_INFO on a pipe [MS-SMB2] 3.3.5.21.1: its modes are what they are.
func pipeSetInfo(r *request, req *smb2.SetInfoRequest) { r.fail(ntstatus.NotSupported) }

func init() {
	addFSCTL(fscc.FsctlPipeTransceive, fsctl{"PIPE_TRANSCEIVE", transceivePipe, fsctlPipe, capCount})
	addFSCTL(fscc.FsctlPipePeek, fsctl{"PIPE_PEEK", peekPipe, fsctlPipe, capCount})
	addFSCTL(fscc.FsctlPipeWait, fsctl{"PIPE_WAIT", waitPipe, fsctlNoOpen, capCount})
}

// waitPipe is [MS-SMB2] 3.3.5.15.10: a pipe that exists always has an instance to
// connect to.
func waitPipe(r *request, req *smb2.IoctlRequest) {
	var w fscc.PipeWait
	if !r.tree.share.IsPipe() || w.Decode(req.Input) != nil {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	name := strings.ToLower(w.Name)
	s := r.server()
	if s.cfg.Pipes == nil {
		r.fail(ntstatus.ObjectNameNotFound)
		return
	}
	pipe, err := s.cfg.Pipes.Open(name, PipeCaller{Identity: r.session.identity.Load(), Server: s})
	if err != nil {
		r.fail(ntstatus.ObjectNameNotFound)
		return
	}
	pipe.Close()
	r.respondIoctl(ntstatus.Success, req, nil)
}
