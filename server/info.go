package server

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gabion/protocol/ntstatus"
)

// ConnInfo describes a connection to administrators.
type ConnInfo struct {
	ID        uint64    `json:"id"`
	Client    string    `json:"client"`
	Local     string    `json:"local"`
	Since     time.Time `json:"since"`
	Dialect   string    `json:"dialect"`
	Cipher    string    `json:"cipher,omitempty"`
	Signing   string    `json:"signing"`
	Sessions  int       `json:"sessions"`
	Credits   int       `json:"credits"`
	InFlight  int       `json:"inFlight"`
	Waiting   int       `json:"waiting"`
	MachineID string    `json:"clientGuid"`
}

// SessionInfo describes a session to administrators.
type SessionInfo struct {
	ID        uint64    `json:"id"`
	User      string    `json:"user"`
	Client    string    `json:"client"`
	State     string    `json:"state"`
	Dialect   string    `json:"dialect"`
	Since     time.Time `json:"since"`
	Idle      Seconds   `json:"idleSeconds"`
	Channels  int       `json:"channels"`
	Trees     []string  `json:"trees"`
	Opens     int       `json:"opens"`
	Signed    bool      `json:"signed"`
	Encrypted bool      `json:"encrypted"`
	Guest     bool      `json:"guest,omitempty"`
	Anonymous bool      `json:"anonymous,omitempty"`
}

// Seconds is a duration in whole seconds.
type Seconds int64

// Connections lists the connections, oldest first.
func (s *Server) Connections() []ConnInfo {
	var list []ConnInfo
	for _, c := range s.allConns() {
		list = append(list, c.info())
	}
	slices.SortFunc(list, func(a, b ConnInfo) int { return int(a.ID) - int(b.ID) })
	return list
}

func (c *conn) info() ConnInfo {
	i := ConnInfo{ID: c.id, Client: c.remote.String(), Local: c.local.String(), Since: c.created}
	if m := c.channels.Load(); m != nil {
		i.Sessions = len(*m)
	}
	// The negotiation is complete, and stays, once a session was valid.
	if c.authenticated.Load() {
		i.Dialect, i.Signing, i.MachineID = c.dialect.String(), c.signing.String(), c.client.String()
		if c.cipher != 0 {
			i.Cipher = c.cipher.String()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	i.Credits, i.Waiting = c.window.free, c.waiting
	for r := c.requests; r != nil; r = r.following {
		i.InFlight++
	}
	return i
}

// Sessions lists the sessions, oldest first.
func (s *Server) Sessions() []SessionInfo {
	var list []SessionInfo
	for _, ses := range s.sessions.all() {
		list = append(list, ses.info())
	}
	slices.SortFunc(list, func(a, b SessionInfo) int { return a.Since.Compare(b.Since) })
	return list
}

func (s *session) info() SessionInfo {
	i := SessionInfo{ID: s.id, State: s.currentState().String(), Dialect: s.dialect.String(), Since: s.created,
		Idle:   Seconds(max(0, s.server.clock.Load()-s.lastUsed.Load()) / int64(time.Second)),
		Signed: s.signingRequired.Load(), Encrypted: s.currentState() != sessionInProgress && s.encryptData}
	if who := s.identity.Load(); who != nil {
		i.User, i.Guest, i.Anonymous = who.User, who.Guest, who.Anonymous
	}
	if m := s.trees.Load(); m != nil {
		for _, t := range *m {
			i.Trees = append(i.Trees, t.share.Name)
		}
		slices.Sort(i.Trees)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i.Channels, i.Opens = len(s.channels), len(s.opens)
	if len(s.channels) > 0 {
		i.Client = s.channels[0].conn.remote.Addr().String()
	}
	return i
}

// Opens lists the opens that sessions have, and those that wait for their clients, by path.
func (s *Server) Opens() []OpenInfo {
	var list []OpenInfo
	for _, o := range s.opens.all() {
		i := OpenInfo{ID: o.id.Persistent, Session: o.session.id, Share: o.tree.share.Name, Client: o.conn.remote.Addr().String()}
		if who := o.session.identity.Load(); who != nil {
			i.User = who.User
		}
		o.local.Describe(&i)
		list = append(list, i)
	}
	for _, f := range s.durables.all() {
		i := OpenInfo{ID: f.persistent, Share: f.share.Name, User: f.user, Client: f.client.String(), Disconnected: true}
		f.Describe(&i)
		list = append(list, i)
	}
	slices.SortFunc(list, func(a, b OpenInfo) int { return strings.Compare(a.Share+"\\"+a.Path, b.Share+"\\"+b.Path) })
	return list
}

// CloseSession ends a session [MS-SMB2] 3.3.4.12.
func (s *Server) CloseSession(id uint64) error {
	ses := s.sessions.find(id)
	if ses == nil {
		return fmt.Errorf("there is no session %d", id)
	}
	ses.close(ReasonAdmin, nil)
	return nil
}

// CloseOpen ends an open [MS-SMB2] 3.3.4.17, also one that waits for its client. It returns when
// the file is free, for good, unless requests are still using the open.
func (s *Server) CloseOpen(id uint64) error {
	if o := s.opens.byPersistent(id); o != nil && o.end(func() { o.local.Close(ReasonAdmin) }) {
		return nil
	}
	if f := s.durables.find(id); f != nil {
		if pos, status := f.obj.ForceClose(); status != ntstatus.FileClosed {
			return f.obj.Tree().Store().Wait(f.share.since(pos))
		}
	}
	return fmt.Errorf("there is no open %d", id)
}

// CloseConnection drops a connection; what can be reclaimed is kept.
func (s *Server) CloseConnection(id uint64) error {
	for _, c := range s.allConns() {
		if c.id == id {
			c.fail("closed by an administrator")
			return nil
		}
	}
	return fmt.Errorf("there is no connection %d", id)
}
