package fault

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

const (
	channels = 2 // of a session
	// backoff is how long a host waits before it connects again: the client's own part
	// of a stall.
	backoff = 25 * time.Millisecond
)

// host is a client that keeps its handles whatever happens to its connections.
type host struct {
	rig  *rigging
	name string
	guid dtyp.GUID

	mu       sync.Mutex
	changed  *sync.Cond
	session  *session  // nil while there is none; guarded by mu
	previous uint64    // id of the last session; guarded by mu
	handles  []*handle // guarded by mu
	closed   bool      // guarded by mu
	done     chan struct{}
}

// session is a session and its channels.
type session struct {
	main     *client.Session
	channels []*channel // that live; guarded by host.mu
	sequence uint16     // ChannelSequence; guarded by host.mu
	next     int        // channel of the next request; guarded by host.mu
	ready    bool       // handles have been reclaimed; guarded by host.mu
}

type channel struct {
	tree *client.Tree
	busy sync.WaitGroup // requests on it
}

func (c *channel) conn() *client.Conn { return c.tree.Session.Conn }

func newHost(r *rigging, name string, guid byte) *host {
	h := &host{rig: r, name: name, guid: dtyp.GUID{15: guid, 0: 0x68}, done: make(chan struct{})}
	h.changed = sync.NewCond(&h.mu)
	go h.run()
	return h
}

func (h *host) close() {
	h.mu.Lock()
	h.closed = true
	s := h.session
	h.mu.Unlock()
	h.changed.Broadcast()
	if s != nil {
		s.main.Conn.Close()
	}
	<-h.done
	if s != nil {
		for _, c := range s.channels {
			c.conn().Close()
		}
	}
}

// run keeps a session with all its channels.
func (h *host) run() {
	defer close(h.done)
	for {
		h.mu.Lock()
		for !h.closed && h.session != nil && (len(h.session.channels) == channels) {
			h.changed.Wait()
		}
		s, closed := h.session, h.closed
		h.mu.Unlock()
		switch {
		case closed:
			return
		case s == nil:
			if err := h.connect(); err != nil {
				time.Sleep(backoff)
			}
		default:
			if err := h.bind(s); err != nil {
				time.Sleep(backoff)
			}
		}
	}
}

// dial negotiates a connection as this host.
func (h *host) dial() (*client.Conn, error) {
	c, err := client.Dial(h.rig.proxy.addr(), client.Options{Timeout: requestTime, CreditRequest: 128})
	if err != nil {
		return nil, err
	}
	if err := c.Negotiate(client.Negotiation{ClientGUID: h.guid}); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// requestTime is after how long without an answer a connection counts as lost: no fault keeps the end
// of a connection to itself for long, and a slow disk is none.
const requestTime = 2 * time.Minute

var credentials = client.NTLM

func login() client.Authenticator {
	return credentials(client.Credentials{User: rig.User, Password: rig.Password})
}

// connect makes a new session in place of the one that was lost, and reclaims what that had.
func (h *host) connect() error {
	c, err := h.dial()
	if err != nil {
		return err
	}
	main, err := c.SessionSetup(login(), client.Setup{PreviousSessionID: h.previous})
	if err != nil {
		c.Close()
		return err
	}
	tree, err := main.Connect("vms")
	if err != nil {
		c.Close()
		return err
	}
	s := &session{main: main, channels: []*channel{{tree: tree}}}
	go h.watch(s, s.channels[0])
	h.mu.Lock()
	h.session, h.previous = s, main.ID
	list := append([]*handle(nil), h.handles...)
	h.mu.Unlock()
	h.rig.count("sessions")
	var wg sync.WaitGroup
	for _, f := range list {
		wg.Go(func() { f.reclaim(s) })
	}
	wg.Wait()
	h.mu.Lock()
	s.ready = true
	h.mu.Unlock()
	h.changed.Broadcast()
	return nil
}

// bind adds a channel to the session.
func (h *host) bind(s *session) error {
	c, err := h.dial()
	if err != nil {
		return err
	}
	h.mu.Lock()
	current := h.session == s
	h.mu.Unlock()
	if !current {
		c.Close()
		return nil
	}
	bound, err := c.Bind(s.main, login())
	if err != nil {
		c.Close()
		if status, ok := client.Status(err); ok && status == ntstatus.UserSessionDeleted {
			h.lost(s, nil)
		}
		return err
	}
	ch := &channel{}
	h.mu.Lock()
	if h.session != s || h.closed {
		h.mu.Unlock()
		c.Close()
		return nil
	}
	ch.tree = s.channels[0].tree.On(bound)
	s.channels = append(s.channels, ch)
	h.mu.Unlock()
	h.changed.Broadcast()
	h.rig.count("channels bound")
	go h.watch(s, ch)
	return nil
}

// swap adds a channel and drops the oldest, under load.
func (h *host) swap() {
	h.mu.Lock()
	s := h.session
	h.mu.Unlock()
	if s == nil || h.bind(s) != nil {
		return
	}
	h.mu.Lock()
	var old *channel
	if h.session == s && len(s.channels) > 1 {
		old = s.channels[0]
	}
	h.mu.Unlock()
	if old != nil {
		h.lost(s, old)
	}
}

// retire adds a channel and gives up the oldest when nothing is outstanding on it.
func (h *host) retire() error {
	h.mu.Lock()
	s := h.session
	h.mu.Unlock()
	if err := h.bind(s); err != nil {
		return err
	}
	h.mu.Lock()
	old := s.channels[0]
	s.channels = append([]*channel(nil), s.channels[1:]...)
	h.mu.Unlock()
	old.busy.Wait()
	return old.conn().Close()
}

// watch answers breaks that arrive on a channel, until it ends.
func (h *host) watch(s *session, ch *channel) {
	for {
		m, err := ch.conn().Break()
		switch {
		case errors.Is(err, client.ErrTimeout):
			continue
		case err != nil:
			h.lost(s, ch)
			return
		}
		if b, err := m.LeaseBreak(); err == nil {
			go h.broken(s, ch, b)
		}
	}
}

// broken takes note of a lease break and acknowledges it.
func (h *host) broken(s *session, ch *channel, b smb2.LeaseBreakNotification) {
	h.mu.Lock()
	for _, f := range h.handles {
		if f.lease != nil && f.lease.Key == b.LeaseKey {
			f.lease.State = b.NewLeaseState
			if b.NewEpoch-f.lease.Epoch <= 0x7FFF {
				f.lease.Epoch = b.NewEpoch
			}
		}
	}
	h.mu.Unlock()
	h.rig.count("lease breaks")
	if b.Flags&smb2.NotifyBreakLeaseAckRequired == 0 {
		return
	}
	// Lost with its channel, the acknowledgement is sent again on another.
	for {
		_, err := ch.tree.AcknowledgeLease(b.LeaseKey, b.NewLeaseState)
		if _, answered := client.Status(err); answered {
			return
		}
		h.lost(s, ch)
		if ch = h.another(s); ch == nil {
			return
		}
	}
}

// another is a channel of s that lives, nil if s is over.
func (h *host) another(s *session) *channel {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.session != s || len(s.channels) == 0 {
		return nil
	}
	return s.channels[0]
}

// lost is told that a channel is dead, all of them if ch is nil.
func (h *host) lost(s *session, ch *channel) {
	h.mu.Lock()
	var dead []*channel
	for i, c := range s.channels {
		if c == ch {
			dead = append(dead, c)
			s.channels = append(s.channels[:i:i], s.channels[i+1:]...)
			// [MS-SMB2] 3.2.4.1.5: another channel takes over what was outstanding.
			s.sequence++
			break
		}
	}
	if ch == nil {
		dead, s.channels = s.channels, nil
	}
	if len(s.channels) == 0 && h.session == s {
		h.session = nil
	}
	h.mu.Unlock()
	h.changed.Broadcast()
	for _, c := range dead {
		c.conn().Close()
	}
}

// errGone is the end of a handle that another host took over.
var errGone = errors.New("the handle is another host's")

// handle is a handle of an application on a host. It outlives sessions if it is persistent.
type handle struct {
	host       *host
	name       string
	guid       dtyp.GUID // CreateGuid
	persistent bool
	request    func() *smb2.CreateRequest // without durable contexts and lease
	lease      *smb2.Lease                // guarded by host.mu, as the rest
	id         smb2.FileID
	in         *session // where id is valid
	opened     bool     // CREATE has been answered
	closing    bool     // CLOSE may have been carried out
	leaving    bool     // another host may have taken it
	gone       bool

	reclaiming sync.Mutex // one reclaim at a time
}

// open opens a file: CREATE, replayed until it is answered.
func (h *host) open(f *handle) error {
	f.host = h
	h.mu.Lock()
	h.handles, f.gone = append(h.handles, f), false
	h.mu.Unlock()
	replay := false
	for {
		s, ch, sequence, err := h.acquire(nil)
		if err != nil {
			return err
		}
		got, err := f.create(s, ch, sequence, replay)
		ch.busy.Done()
		switch status, answered := client.Status(err); {
		case !answered:
			h.lost(s, ch)
			replay = true
		case status == ntstatus.Success:
			f.attached(s, got)
			return nil
		case h.passing(s, status):
			replay = replay || status != ntstatus.FileNotAvailable
			time.Sleep(5 * time.Millisecond)
		default:
			h.forget(f)
			return status
		}
	}
}

func (h *host) forget(f *handle) {
	h.mu.Lock()
	f.gone = true
	for i, other := range h.handles {
		if other == f {
			h.handles = append(h.handles[:i:i], h.handles[i+1:]...)
			break
		}
	}
	h.mu.Unlock()
	h.changed.Broadcast()
}

// passing reports whether a status means that the request is to be sent again.
func (h *host) passing(s *session, status ntstatus.Status) bool {
	switch status {
	case ntstatus.FileNotAvailable:
		h.rig.count("answers FILE_NOT_AVAILABLE")
		return true
	case ntstatus.UserSessionDeleted, ntstatus.NetworkNameDeleted:
		h.lost(s, nil)
		return true
	}
	return false
}

// create sends the CREATE of a handle.
func (f *handle) create(s *session, ch *channel, sequence uint16, replay bool) (*client.File, error) {
	m := f.request()
	f.host.mu.Lock()
	if f.lease != nil {
		l := *f.lease
		l.State = rwh
		m = client.WithLease(m, l)
	}
	f.host.mu.Unlock()
	if f.persistent {
		m = client.WithContext(m, smb2.ContextDurableRequestV2,
			&smb2.DurableRequestV2{CreateGUID: f.guid, Flags: smb2.DurableFlagPersistent, Timeout: 300_000})
	}
	r := ch.tree.Request(m)
	r.Header.ChannelSequence = sequence
	if replay && f.persistent {
		r.Header.Flags |= smb2.FlagReplayOperation
		f.host.rig.count("replays")
	}
	p, err := f.host.start(ch, r)
	if err != nil {
		return nil, err
	}
	return p.File()
}

const rwh = smb2.LeaseReadCaching | smb2.LeaseHandleCaching | smb2.LeaseWriteCaching

// attached takes over what a CREATE response says.
func (f *handle) attached(s *session, got *client.File) {
	f.host.mu.Lock()
	first := !f.opened
	f.id, f.in, f.opened = got.ID, s, true
	if l, ok := got.Lease(); ok && f.lease != nil {
		f.lease.State, f.lease.Epoch = l.State, l.Epoch
	}
	current := f.host.session
	f.host.mu.Unlock()
	f.host.changed.Broadcast()
	if first && current != nil && current != s {
		go f.reclaim(current) // the session was lost behind the response, and its handles gathered before it
	}
}

// reclaim reconnects the handle to a new session.
func (f *handle) reclaim(s *session) {
	h := f.host
	f.reclaiming.Lock()
	defer f.reclaiming.Unlock()
	for {
		h.mu.Lock()
		opened, gone := f.opened, f.gone || f.in == s
		ch := (*channel)(nil)
		if len(s.channels) > 0 {
			ch = s.channels[0]
		}
		h.mu.Unlock()
		switch {
		case !opened || gone || ch == nil:
			return // a CREATE without answer is replayed by its caller
		case !f.persistent:
			h.forget(f)
			return
		}
		got, err := f.reconnect(ch)
		status, answered := client.Status(err)
		switch {
		case !answered:
			h.lost(s, ch)
			return
		case status == ntstatus.Success:
			f.attached(s, got)
			h.rig.count("reclaims")
			return
		case h.passing(s, status):
			time.Sleep(5 * time.Millisecond)
			continue
		case status == ntstatus.ObjectNameNotFound && f.mayBeGone():
			h.forget(f)
			return
		}
		h.rig.violation("%s cannot reclaim %s: %v", h.name, f.name, status)
		h.forget(f)
		return
	}
}

func (f *handle) mayBeGone() bool {
	f.host.mu.Lock()
	defer f.host.mu.Unlock()
	return f.leaving || f.closing
}

func (f *handle) reconnect(ch *channel) (*client.File, error) {
	f.host.mu.Lock()
	m := client.OpenFile(f.name)
	if f.lease != nil {
		m = client.WithLease(m, *f.lease)
	}
	id := f.id
	f.host.mu.Unlock()
	m = client.WithContext(m, smb2.ContextDurableReconnectV2,
		&smb2.DurableReconnectV2{FileID: id, CreateGUID: f.guid, Flags: smb2.DurableFlagPersistent})
	p, err := f.host.start(ch, ch.tree.Request(m))
	if err != nil {
		return nil, err
	}
	return p.File()
}

// start sends a request as soon as there are credits for it.
func (h *host) start(ch *channel, r *client.Request) (*client.Pending, error) {
	for {
		p, err := ch.conn().Start(r)
		if !errors.Is(err, client.ErrNoCredits) {
			return p, err
		}
		select {
		case <-ch.conn().Done():
			return nil, ch.conn().Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// acquire waits for a channel on which f, if any, can be used. It is busy until told otherwise.
func (h *host) acquire(f *handle) (*session, *channel, uint16, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		s := h.session
		switch {
		case h.closed, f != nil && f.gone:
			return nil, nil, 0, errGone
		case s != nil && len(s.channels) > 0 && (f == nil && s.ready || f != nil && f.in == s):
			s.next++
			ch := s.channels[s.next%len(s.channels)]
			ch.busy.Add(1)
			return s, ch, s.sequence, nil
		}
		h.changed.Wait()
	}
}

// call carries a request out on the handle, once, whatever it takes. It gives up when
// abandoned is closed.
func (f *handle) call(build func(smb2.FileID) smb2.Message, out smb2.Message, abandoned <-chan struct{}) error {
	h := f.host
	replay := false
	for {
		s, ch, sequence, err := h.acquire(f)
		if err != nil {
			return err
		}
		r := ch.tree.Request(build(f.fileID()))
		r.Header.ChannelSequence = sequence
		if replay {
			r.Header.Flags |= smb2.FlagReplayOperation
			h.rig.count("replays")
		}
		resp, err := h.exchange(ch, r, abandoned)
		ch.busy.Done()
		switch {
		case err == errGone:
			return err
		case err != nil:
			h.lost(s, ch)
			replay = true
			continue
		}
		status := resp.Status()
		switch {
		case h.passing(s, status):
			replay = true
			time.Sleep(2 * time.Millisecond)
		case status == ntstatus.FileClosed && f.mayBeGone():
			h.forget(f)
			return errGone
		case status != ntstatus.Success:
			return status
		case out == nil:
			return nil
		default:
			return resp.Decode(out)
		}
	}
}

func (f *handle) fileID() smb2.FileID {
	f.host.mu.Lock()
	defer f.host.mu.Unlock()
	return f.id
}

// exchange sends a request and waits for the answer.
func (h *host) exchange(ch *channel, r *client.Request, abandoned <-chan struct{}) (*client.Response, error) {
	p, err := h.start(ch, r)
	if err != nil {
		return nil, err
	}
	if abandoned == nil {
		return p.Wait()
	}
	type answer struct {
		r   *client.Response
		err error
	}
	got := make(chan answer, 1)
	go func() {
		r, err := p.Wait()
		got <- answer{r, err}
	}()
	select {
	case a := <-got:
		return a.r, a.err
	case <-abandoned:
		return nil, errGone
	}
}

// shut closes the handle.
func (f *handle) shut() error {
	f.host.mu.Lock()
	f.closing = true
	f.host.mu.Unlock()
	err := f.call(func(id smb2.FileID) smb2.Message { return &smb2.CloseRequest{FileID: id} }, nil, nil)
	f.host.forget(f)
	if err != nil && err != errGone {
		return fmt.Errorf("close of %s: %w", f.name, err)
	}
	return nil
}
