package server

import (
	"context"
	"errors"
	"time"

	"gabion/odx"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/server/object"
	"gabion/store"
)

func sectors(n ...uint64) bool {
	for _, n := range n {
		if n%object.Sector != 0 {
			return false
		}
	}
	return true
}

// offloadRead is FSCTL_OFFLOAD_READ, [MS-FSA] 2.1.5.10.20. The checks are in the specification's order.
func (c *control) offloadRead() {
	var x fscc.OffloadReadInput
	switch {
	case c.f.share.NoOffload:
		c.fail(ntstatus.NotSupported)
		return
	case x.Decode(c.req.Input) != nil, c.room() < fscc.OffloadReadOutputSize:
		c.fail(ntstatus.BufferTooSmall)
		return
	case !sectors(x.FileOffset, x.CopyLength), x.Size != fscc.OffloadReadInputSize, x.FileOffset+x.CopyLength < x.FileOffset:
		c.fail(ntstatus.InvalidParameter)
		return
	}
	out := fscc.OffloadReadOutput{Size: fscc.OffloadReadOutputSize, Token: odx.Zero()}
	if x.CopyLength == 0 {
		c.ok(out.Append(nil))
		return
	}
	tokens, by := c.r.server().cfg.Tokens, c.issuer()
	ttl := time.Duration(x.TokenTimeToLive) * time.Millisecond
	issue := func(s store.Stream, off, n int64) (odx.Token, odx.Info, store.Pos, error) {
		return tokens.Issue(s, off, n, ttl, by)
	}
	// What exceeds 63 bits is past every end of file.
	n := int64(min(x.CopyLength, 1<<62))
	read, pos, status := c.f.obj.OffloadRead(int64(min(x.FileOffset, 1<<62)), n, issue)
	if status != ntstatus.Success {
		c.fail(status)
		return
	}
	c.r.server().metrics.offload.issued(read.Info.ID == "")
	if read.Info.ID != "" {
		c.auditOffload("issued", "", read.Info, read.Length)
	}
	out.Token, out.TransferLength = read.Token, uint64(read.Length)
	if read.ZeroBeyond {
		out.Flags = fscc.OffloadReadAllZeroBeyondCurrentRange
	}
	c.durable(pos, ntstatus.Success, out.Append(nil))
}

// offloadWrite is FSCTL_OFFLOAD_WRITE, [MS-FSA] 2.1.5.10.21. The checks are in the specification's order.
func (c *control) offloadWrite() {
	var x fscc.OffloadWriteInput
	switch {
	case c.f.obj.ReadOnly():
		c.fail(ntstatus.MediaWriteProtected)
		return
	case c.f.share.NoOffload:
		c.fail(ntstatus.NotSupported)
		return
	case x.Decode(c.req.Input) != nil, c.room() < fscc.OffloadWriteOutputSize:
		c.fail(ntstatus.BufferTooSmall)
		return
	case !sectors(x.FileOffset, x.CopyLength, x.TransferOffset), x.Size != fscc.OffloadWriteInputSize,
		x.FileOffset+x.CopyLength < x.FileOffset:
		c.fail(ntstatus.InvalidParameter)
		return
	case x.CopyLength == 0:
		c.wrote(0, 0)
		return
	}
	off, n := int64(min(x.FileOffset, 1<<62)), int64(min(x.CopyLength, 1<<62))
	if status := c.f.obj.MayOffloadWrite(off, n); status != ntstatus.Success {
		c.fail(status)
		return
	}
	src, err := c.r.server().cfg.Tokens.Open(x.Token[:])
	if err != nil {
		c.refused(err)
		return
	}
	if !src.Zero {
		if x.TransferOffset >= uint64(src.Length) {
			src.Close()
			c.fail(ntstatus.InvalidParameter)
			return
		}
		n = min(n, src.Length-int64(x.TransferOffset))
	}
	if src.Remote != nil {
		c.fetch(src, int64(x.TransferOffset), off, n)
		return
	}
	c.transfer(context.Background(), src, int64(min(x.TransferOffset, 1<<62)), off, n)
}

// transfer carries the write out and answers.
func (c *control) transfer(ctx context.Context, src *odx.Source, from, off, n int64) {
	defer src.Close()
	began := time.Now()
	written, pos, status := c.f.obj.OffloadWrite(ctx, src, from, off, n)
	c.r.server().metrics.offload.wrote(src, written, time.Since(began))
	if status != ntstatus.Success {
		c.fail(c.reason(status))
		return
	}
	if !src.Zero && from == 0 {
		c.auditOffload("used", "", src.Info, written)
	}
	c.wrote(written, pos)
}

func (c *control) wrote(n int64, pos store.Pos) {
	out := fscc.OffloadWriteOutput{Size: fscc.OffloadWriteOutputSize, LengthWritten: uint64(n)}
	c.durable(pos, ntstatus.Success, out.Append(nil))
}

// refused answers for a token that is not honoured.
func (c *control) refused(err error) {
	status, why := ntstatus.UnexpectedIOError, "store"
	switch {
	case errors.Is(err, odx.ErrInvalid):
		status, why = ntstatus.InvalidToken, "invalid"
	case errors.Is(err, odx.ErrUnreachable):
		status, why = ntstatus.DeviceUnreachable, "unreachable"
	}
	c.r.server().metrics.offload.refused.WithLabelValues(why).Inc()
	c.auditOffload("refused", why, odx.Info{}, 0)
	c.fail(status)
}

// fetchTime bounds how long one OFFLOAD_WRITE brings data from another array: what is there
// by then is a short transfer, and the client goes on.
const fetchTime = 8 * time.Second

// fetch is transfer for data of another array, which may take its time: the client is told
// so, and may cancel it.
func (c *control) fetch(src *odx.Source, from, off, n int64) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
	work := func() {
		defer cancel()
		c.transfer(ctx, src, from, off, n)
	}
	if c.r.pend(cancel) != ntstatus.Success {
		work() // others of its compound depend on it
		return
	}
	c.r.server().pool.submit(taskFunc(func() {
		defer c.r.conn.recovered(nil)
		work()
	}))
}

// issuer is who asks for a token, and of what.
func (c *control) issuer() odx.Issuer {
	who := c.r.session.identity.Load()
	return odx.Issuer{User: who.User, SID: who.Token.User.String(), From: c.r.conn.remote.String(), File: c.file()}
}

func (c *control) file() string { return c.f.share.Name + `\` + c.f.path() }

// Offload is an event in a token's life.
type Offload struct {
	Who    *Identity
	From   string
	What   string   // issued, used, refused
	Why    string   // it was refused
	Token  odx.Info // none if it was refused or another array's
	Target string   // file written to, SHARE\path
	Bytes  int64
}

func (c *control) auditOffload(what, why string, token odx.Info, n int64) {
	a := c.r.server().cfg.Audit
	if a == nil {
		return
	}
	e := &Offload{Who: c.r.session.identity.Load(), From: c.r.conn.remote.String(), What: what, Why: why, Token: token, Bytes: n}
	if what != "issued" {
		e.Target = c.file()
	}
	a.Offload(e)
}
