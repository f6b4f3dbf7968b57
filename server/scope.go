package server

import (
	"sync/atomic"

	"gabion/auth"
)

// scopedToken is what a session's user is on a share: the token with the roles that
// are held there only.
type scopedToken struct {
	of      *auth.Token // the session's, which a renewed logon replaces
	share   *auth.Token
	folders bool // there are roles on folders, so that CREATE has to look
}

// scoped is kept by a tree connect; grants made later count from the next one.
type scoped struct{ atomic.Pointer[scopedToken] }

// token is who the session's user is on the share.
func (t *tree) token() *scopedToken {
	who := t.session.identity.Load().Token
	if s := t.scoped.Load(); s != nil && s.of == who {
		return s
	}
	s := t.session.server.scopeToken(t.share, who)
	t.scoped.Store(s)
	return s
}

// tokenAt is who the session's user is where path leads.
func (t *tree) tokenAt(path string) *auth.Token {
	s := t.token()
	if !s.folders {
		return s.share
	}
	return t.session.server.cfg.Roles.At(s.share, auth.FileScope(t.share.Name, path))
}

func (s *Server) scopeToken(sh *Share, who *auth.Token) *scopedToken {
	st := &scopedToken{of: who, share: who}
	if s.cfg.Roles != nil && !sh.IsPipe() {
		at := auth.Scope(sh.Name)
		st.share = s.cfg.Roles.At(who, at)
		st.folders = s.cfg.Roles.Below(st.share, at)
	}
	return st
}
