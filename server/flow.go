package server

import "gabion/protocol/smb2"

// consume takes the request's message ids [MS-SMB2] 3.3.5.2.3 and enters it into
// Connection.RequestList.
func (c *conn) consume(r *request) bool {
	charge := 1
	if c.multiCredit && r.hdr.CreditCharge > 1 {
		charge = int(r.hdr.CreditCharge)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || !c.window.consume(r.hdr.MessageID, charge) {
		return false
	}
	r.charge = charge
	r.listed = true
	r.following = c.requests
	if c.requests != nil {
		c.requests.prev = r
	}
	c.requests = r
	return true
}

// forget takes the request out of the lists. It returns its asynchronous id, and whether the end of the
// connection cancelled it.
func (c *conn) forget(r *request) (asyncID uint64, lost bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.asyncID != 0 {
		c.waiting--
	}
	r.cancel = nil
	if r.listed {
		r.listed = false
		if r.prev != nil {
			r.prev.following = r.following
		} else {
			c.requests = r.following
		}
		if r.following != nil {
			r.following.prev = r.prev
		}
	}
	return r.asyncID, r.lost
}

// makeAsync gives the request an asynchronous id and a way to be cancelled. ok is
// false when too many wait already; now says that it was cancelled before.
func (c *conn) makeAsync(r *request, cancel func()) (id uint64, now, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.asyncID != 0 {
		r.cancel = cancel
		return 0, r.cancelled, true
	}
	if c.waiting >= c.server.limits.AsyncPerConn {
		return 0, false, false
	}
	c.waiting++
	c.lastAsync++
	r.asyncID = c.lastAsync
	if !r.cancelled {
		r.cancel = cancel
	}
	return r.asyncID, r.cancelled, true
}

// grant returns how many credits a final response grants and extends the window by
// them. A client is never left without a credit [MS-SMB2] 3.3.1.2.
func (c *conn) grant(requested, charge int) int {
	s := c.server
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0
	}
	limit := s.limits.CreditsPerConn
	if !c.authenticated.Load() {
		limit = s.limits.UnauthCredits
	}
	limit = min(limit, max(s.budget.share(), 1))
	n := s.budget.take(min(max(requested, 1), c.window.room(limit)))
	if n == 0 && c.window.free == 0 {
		s.budget.force(1)
		n = 1
	}
	c.window.grant(n)
	return n
}

// grantInterim is grant for an interim response: the final one grants nothing, so
// this one returns what the request consumed.
func (c *conn) grantInterim(requested, charge int) int {
	return c.grant(max(requested, charge), charge)
}

// cancel is [MS-SMB2] 3.3.5.16: the request it names, by asynchronous or by message
// id, is cancelled or will be when it begins to wait. There is no response.
func cancel(r *request) {
	c := r.conn
	var stop func()
	c.mu.Lock()
	for q := c.requests; q != nil; q = q.following {
		if r.hdr.Flags&smb2.FlagAsyncCommand != 0 && (q.asyncID == 0 || q.asyncID != r.hdr.AsyncID) ||
			r.hdr.Flags&smb2.FlagAsyncCommand == 0 && q.hdr.MessageID != r.hdr.MessageID {
			continue
		}
		q.cancelled = true
		stop, q.cancel = q.cancel, nil
		break
	}
	c.mu.Unlock()
	if stop != nil {
		stop()
	}
	r.noReply()
}
