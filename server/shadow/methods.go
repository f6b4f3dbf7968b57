package shadow

import (
	"gabion/protocol/dtyp"
	"gabion/protocol/fsrvp"
)

// Call performs a method for the client at an address. The caller has been authorized.
func (a *Agent) Call(op uint16, q *fsrvp.Request, client string) fsrvp.Response {
	a.turn <- struct{}{}
	defer func() { <-a.turn }()
	if a.closed {
		return fsrvp.Response{Level: q.Level, Result: fsrvp.Fail}
	}
	p := fsrvp.Response{Level: q.Level}
	switch op {
	case fsrvp.OpGetSupportedVersion:
		p.MinVersion, p.MaxVersion = fsrvp.Version, fsrvp.Version
	case fsrvp.OpSetContext:
		p.Result = a.setContext(q.Context, client)
	case fsrvp.OpStartShadowCopySet:
		p.ID, p.Result = a.start(q)
	case fsrvp.OpAddToShadowCopySet:
		p.ID, p.Result = a.add(q)
	case fsrvp.OpPrepareShadowCopySet:
		p.Result = a.prepare(q)
	case fsrvp.OpCommitShadowCopySet:
		p.Result = a.commit(q)
	case fsrvp.OpExposeShadowCopySet:
		p.Result = a.expose(q)
	case fsrvp.OpRecoveryCompleteShadowCopySet:
		p.Result = a.recoveryComplete(q)
	case fsrvp.OpAbortShadowCopySet:
		p.Result = a.abort(q)
	case fsrvp.OpIsPathSupported:
		a.isPathSupported(q, &p)
	case fsrvp.OpIsPathShadowCopied:
		a.isPathShadowCopied(q, &p)
	case fsrvp.OpGetShareMapping:
		p.Mapping, p.Result = a.getShareMapping(q)
	case fsrvp.OpDeleteShareMapping:
		p.Result = a.deleteShareMapping(q)
	}
	return p
}

// setContext is MS-FSRVP 3.1.4.2.
func (a *Agent) setContext(c fsrvp.Context, client string) fsrvp.Result {
	if !c.Valid() {
		return fsrvp.UnsupportedContext
	}
	retries := 0
	if a.ctx.Set {
		if a.ctx.Client != client {
			return fsrvp.ShadowCopySetInProgress
		}
		if s := a.unfinished(); s != nil {
			if err := a.remove(s); err != nil {
				return a.failed("remove", err)
			}
		}
		if retries = a.ctx.Retries + 1; retries > maxRetries {
			a.ctx = Context{Retries: retries}
			a.disarm()
			return a.kept(dtyp.GUID{}, nil, fsrvp.ShadowCopySetInProgress)
		}
	}
	a.ctx = Context{Set: true, Value: c, Client: client, Retries: retries}
	a.arm(a.opt.Timeouts.Short)
	return a.kept(dtyp.GUID{}, nil, fsrvp.OK)
}

// kept makes the state durable and is then r.
func (a *Agent) kept(id dtyp.GUID, s *Set, r fsrvp.Result) fsrvp.Result {
	if err := a.save(id, s); err != nil {
		return a.failed("save", err)
	}
	return r
}

func (a *Agent) failed(what string, err error) fsrvp.Result {
	a.opt.Log.Error("shadow copy operation failed", "operation", what, "reason", err)
	return fsrvp.Fail
}

// start is StartShadowCopySet, MS-FSRVP 3.1.4.3 and note 7.
func (a *Agent) start(q *fsrvp.Request) (dtyp.GUID, fsrvp.Result) {
	switch {
	case q.ClientID.IsZero():
		return dtyp.GUID{}, fsrvp.InvalidArgument
	case !a.ctx.Set:
		return dtyp.GUID{}, fsrvp.BadState
	case a.unfinished() != nil:
		return dtyp.GUID{}, fsrvp.ShadowCopySetInProgress
	}
	s := &Set{ID: dtyp.NewGUID(), Context: a.ctx.Value}
	if r := a.kept(s.ID, s, fsrvp.OK); r != fsrvp.OK {
		return dtyp.GUID{}, r
	}
	a.sets[s.ID] = s
	a.arm(a.opt.Timeouts.Short)
	return s.ID, fsrvp.OK
}

// folder finds the share that a client means.
func (a *Agent) folder(unc string) (string, Folder, fsrvp.Result) {
	name, ok := shareOf(unc)
	if !ok {
		return "", Folder{}, fsrvp.InvalidArgument
	}
	f, found, supported := a.opt.Backend.Share(name)
	switch {
	case !found:
		return "", Folder{}, fsrvp.ObjectNotFound
	case !supported:
		return "", Folder{}, fsrvp.NotSupported
	}
	return name, f, fsrvp.OK
}

// set finds the set of a request (MS-FSRVP 3.1.4: the zero GUID is what NULL comes as).
func (a *Agent) set(q *fsrvp.Request) (*Set, fsrvp.Result) {
	if q.SetID.IsZero() {
		return nil, fsrvp.InvalidArgument
	}
	s := a.sets[q.SetID]
	if s == nil {
		return nil, fsrvp.ShadowCopySetIDMismatch
	}
	return s, fsrvp.OK
}

// add is AddToShadowCopySet, MS-FSRVP 3.1.4.4.
func (a *Agent) add(q *fsrvp.Request) (id dtyp.GUID, r fsrvp.Result) {
	share, f, r := a.folder(q.ShareName)
	if r != fsrvp.OK {
		return id, r
	}
	s, r := a.set(q)
	switch {
	case r != fsrvp.OK:
		return id, r
	case s.Status > Added || s.job != nil:
		return id, fsrvp.BadState
	case len(s.Copies) == maxCopies:
		return id, fsrvp.OutOfMemory
	}
	for _, c := range s.Copies {
		if c.Folder == f.ID {
			a.arm(a.opt.Timeouts.Short)
			return id, fsrvp.ObjectAlreadyExists
		}
	}
	c := &Copy{ID: dtyp.NewGUID(), UNC: q.ShareName, Share: share, Folder: f.ID, Created: dtyp.FiletimeOf(a.opt.Clock.Now())}
	before := s.Status
	s.Copies, s.Status = append(s.Copies, c), Added
	if r := a.kept(s.ID, s, fsrvp.OK); r != fsrvp.OK {
		s.Copies, s.Status = s.Copies[:len(s.Copies)-1], before
		return id, r
	}
	a.arm(a.opt.Timeouts.Long)
	return c.ID, fsrvp.OK
}

// prepare is PrepareShadowCopySet, MS-FSRVP 3.1.4.13.
func (a *Agent) prepare(q *fsrvp.Request) fsrvp.Result {
	s, r := a.set(q)
	switch {
	case r != fsrvp.OK:
		return r
	case s.Status != Added:
		return fsrvp.BadState
	}
	r = a.run(s, q, fsrvp.OpPrepareShadowCopySet, a.opt.Backend.Prepare)
	if r == fsrvp.OK {
		a.arm(a.opt.Timeouts.Long)
	}
	return r
}

// commit is CommitShadowCopySet, MS-FSRVP 3.1.4.5.
func (a *Agent) commit(q *fsrvp.Request) fsrvp.Result {
	s, r := a.set(q)
	switch {
	case r != fsrvp.OK:
		return r
	case s.Status != Added && s.Status != CreationInProgress:
		return fsrvp.BadState
	}
	s.Status = CreationInProgress
	if r = a.run(s, q, fsrvp.OpCommitShadowCopySet, a.opt.Backend.Snapshot); r == fsrvp.WaitTimeout {
		r = fsrvp.CommitTimeout
	}
	if r == fsrvp.OK && s.Status == CreationInProgress {
		s.Status = Committed
		r = a.kept(s.ID, s, r)
	}
	return r
}

// expose is ExposeShadowCopySet, MS-FSRVP 3.1.4.6.
func (a *Agent) expose(q *fsrvp.Request) fsrvp.Result {
	s, r := a.set(q)
	switch {
	case r != fsrvp.OK:
		return r
	case s.Status != Committed:
		return fsrvp.BadState
	}
	r = a.run(s, q, fsrvp.OpExposeShadowCopySet, a.exposeAll)
	if r == fsrvp.OK && s.Status == Committed {
		s.Status = Exposed
		r = a.kept(s.ID, s, r)
	}
	return r
}

// exposeAll exposes those copies of a set that are not yet.
func (a *Agent) exposeAll(s *Set) error {
	for _, c := range s.Copies {
		if c.Exposed != "" {
			continue
		}
		c.Exposed, c.Writable = c.exposedName(), s.Context.AutoRecovery()
		if err := a.opt.Backend.Expose(c); err != nil {
			c.Exposed = ""
			return err
		}
	}
	return nil
}

// recoveryComplete is RecoveryCompleteShadowCopySet, MS-FSRVP 3.1.4.7.
func (a *Agent) recoveryComplete(q *fsrvp.Request) fsrvp.Result {
	s, r := a.set(q)
	switch {
	case r != fsrvp.OK:
		return r
	case s.Status != Exposed:
		return fsrvp.BadState
	}
	for _, c := range s.Copies {
		if err := a.opt.Backend.Freeze(c); err != nil {
			a.arm(a.opt.Timeouts.Short)
			return a.failed("freeze", err)
		}
	}
	s.Status, s.Recovered = Recovered, a.opt.Clock.Now()
	a.disarm()
	a.ctx = Context{}
	return a.kept(s.ID, s, fsrvp.OK)
}

// abort is AbortShadowCopySet, MS-FSRVP 3.1.4.8.
func (a *Agent) abort(q *fsrvp.Request) fsrvp.Result {
	s, r := a.set(q)
	switch {
	case r != fsrvp.OK:
		return r
	case s.Status == Recovered:
		return fsrvp.BadState
	}
	a.disarm()
	a.ctx = Context{}
	if err := a.remove(s); err != nil {
		return a.failed("abort", err)
	}
	return fsrvp.OK
}

// isPathSupported is MS-FSRVP 3.1.4.9.
func (a *Agent) isPathSupported(q *fsrvp.Request, p *fsrvp.Response) {
	if _, _, p.Result = a.folder(q.ShareName); p.Result == fsrvp.OK {
		p.Supported, p.Owner = true, a.opt.Name
	}
}

// isPathShadowCopied is MS-FSRVP 3.1.4.10.
func (a *Agent) isPathShadowCopied(q *fsrvp.Request, p *fsrvp.Response) {
	_, f, r := a.folder(q.ShareName)
	if p.Result = r; r == fsrvp.OK {
		p.Present = a.covers(f)
	}
}

// getShareMapping is MS-FSRVP 3.1.4.11.
func (a *Agent) getShareMapping(q *fsrvp.Request) (*fsrvp.Mapping, fsrvp.Result) {
	if q.Level != 1 {
		return nil, fsrvp.InvalidArgument
	}
	s, r := a.set(q)
	switch {
	case r != fsrvp.OK:
		return nil, r
	case s.Status != Exposed:
		return nil, fsrvp.BadState
	}
	c := s.copyOf(q.CopyID)
	share, ok := shareOf(q.ShareName)
	if c == nil || !ok || !sameShare(share, c.Share) {
		return nil, fsrvp.InvalidArgument
	}
	a.arm(a.opt.Timeouts.Long)
	return &fsrvp.Mapping{SetID: s.ID, CopyID: c.ID, ShareUNC: c.UNC, ExposedShare: c.Exposed, Created: c.Created}, fsrvp.OK
}

// deleteShareMapping is MS-FSRVP 3.1.4.12.
func (a *Agent) deleteShareMapping(q *fsrvp.Request) fsrvp.Result {
	share, ok := shareOf(q.ShareName)
	if !ok || q.SetID.IsZero() || q.CopyID.IsZero() {
		return fsrvp.InvalidArgument
	}
	s := a.sets[q.SetID]
	switch {
	case s == nil:
		return fsrvp.ObjectNotFound
	case s.Status != Exposed && s.Status != Recovered:
		return fsrvp.BadState
	}
	c := s.copyOf(q.CopyID)
	if c == nil || !sameShare(share, c.Share) {
		return fsrvp.ObjectNotFound
	}
	if err := a.opt.Backend.Unexpose(c); err != nil {
		return a.failed("unexpose", err)
	}
	var rest []*Copy
	for _, other := range s.Copies {
		if other != c {
			rest = append(rest, other)
		}
	}
	s.Copies = rest
	if err := a.opt.Backend.Delete(s, []*Copy{c}); err != nil {
		return a.failed("delete", err)
	}
	if len(rest) > 0 {
		return a.kept(s.ID, s, fsrvp.OK)
	}
	delete(a.sets, s.ID)
	if s.Status != Recovered {
		a.disarm()
		a.ctx = Context{}
	}
	return a.kept(s.ID, nil, fsrvp.OK)
}
