package server

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"unicode"

	"gabion/protocol/dtyp"
	"gabion/server/object"
)

// Share is a Share [MS-SMB2] 3.3.1.6. Once it is added only its ShareSettings change,
// by Change.
type Share struct {
	Name    string
	Comment string
	// Tree is what the share shows; nil for IPC$.
	Tree *object.Tree

	ContinuouslyAvailable  bool
	Encrypt                bool // Share.EncryptData
	ReadOnly               bool
	AccessBasedEnumeration bool
	SharedVHDX             bool
	ForceLevelII           bool // Share.ForceLevel2Oplock
	// Caching is Share.CscFlags; hosts of virtual machines want NO_CACHING.
	Caching CachingPolicy
	// NoOffload is Volume.IsOffloadReadSupported and IsOffloadWriteSupported, negated
	// ([MS-FSA] 2.1.1.1).
	NoOffload bool
	MaxUses   int
	// Security is that of ShareSettings at the start.
	Security *dtyp.SecurityDescriptor

	changed atomic.Pointer[ShareSettings]

	uses    atomic.Int64
	records atomic.Uint64 // the last store.Pos of a record of a persistent open
	removed atomic.Bool
}

// ShareSettings are what of a share may change while clients are connected. They count
// from the next TREE_CONNECT.
type ShareSettings struct {
	Comment string
	Caching CachingPolicy
	MaxUses int // 0: no limit
	// Security is Share.ConnectSecurity and Share.FileSecurity: who may connect, and
	// what access they have at most. Nil lets every authenticated user do everything.
	Security *dtyp.SecurityDescriptor
}

// Settings are the present ones.
func (s *Share) Settings() ShareSettings {
	if c := s.changed.Load(); c != nil {
		return *c
	}
	return ShareSettings{Comment: s.Comment, Caching: s.Caching, MaxUses: s.MaxUses, Security: s.Security}
}

// Change puts others in their place.
func (s *Share) Change(to ShareSettings) { s.changed.Store(&to) }

// CachingPolicy is what clients are told about offline use.
type CachingPolicy uint8

const (
	CacheNone CachingPolicy = iota // SMB2_SHAREFLAG_NO_CACHING
	CacheManual
	CacheAuto
	CachePrograms
)

// IPC is the name of the share of the named pipes.
const IPC = "IPC$"

// IsPipe reports whether the share is IPC$.
func (s *Share) IsPipe() bool { return s.Tree == nil }

// ErrShareExists and ErrNoShare say what they are called.
var (
	ErrShareExists = fmt.Errorf("a share of that name exists")
	ErrNoShare     = fmt.Errorf("there is no such share")
)

// fold makes names of shares and servers comparable.
func fold(s string) string {
	return strings.Map(func(r rune) rune { return unicode.ToUpper(unicode.ToLower(r)) }, s)
}

// ValidShareName says why name cannot name a share.
func ValidShareName(name string) error {
	switch {
	case name == "" || len(name) > 80:
		return fmt.Errorf("share name %q is empty or longer than 80 bytes", name)
	case strings.ContainsAny(name, "\\/[]:|<>+=;,*?\""):
		return fmt.Errorf("share name %q contains a character that is not allowed", name)
	}
	for _, r := range name {
		if r < 0x20 {
			return fmt.Errorf("share name %q contains a control character", name)
		}
	}
	return nil
}

// AddShare makes a share available to clients.
func (s *Server) AddShare(sh *Share) error {
	if err := ValidShareName(sh.Name); err != nil {
		return err
	}
	if sh.Tree == nil {
		return fmt.Errorf("share %q shows no volume", sh.Name)
	}
	if err := s.canServe(sh); err != nil {
		return fmt.Errorf("share %q: %w", sh.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.shares[fold(sh.Name)]; taken {
		return fmt.Errorf("share %q: %w", sh.Name, ErrShareExists)
	}
	s.shares[fold(sh.Name)] = sh
	return nil
}

// canServe checks a share's options against the server's.
func (s *Server) canServe(sh *Share) error {
	switch {
	case sh.ContinuouslyAvailable && !s.caps.Has(CapPersistentHandles):
		return fmt.Errorf("continuous availability needs persistent handles")
	case sh.SharedVHDX && (!s.caps.Has(CapSharedVHDX) || !sh.ContinuouslyAvailable):
		return fmt.Errorf("shared virtual disks need their service and a continuously available share")
	case sh.Encrypt && !s.caps.Has(CapEncryption):
		return fmt.Errorf("encryption is off")
	}
	return nil
}

// RemoveShare takes a share away: its tree connects and opens are closed, also those that wait
// for their clients.
func (s *Server) RemoveShare(name string) error {
	s.mu.Lock()
	sh := s.shares[fold(name)]
	if sh != nil && !sh.IsPipe() {
		delete(s.shares, fold(name))
	}
	s.mu.Unlock()
	if sh == nil || sh.IsPipe() {
		return fmt.Errorf("share %q: %w", name, ErrNoShare)
	}
	sh.removed.Store(true)
	for _, session := range s.sessions.all() {
		m := session.trees.Load()
		if m == nil {
			continue
		}
		for _, t := range *m {
			if t.share == sh {
				session.disconnect(t, ReasonShareGone, nil)
			}
		}
	}
	for _, f := range s.durables.of(sh) {
		f.obj.ForceClose()
	}
	return nil
}

// Share finds a share by name, nil if there is none.
func (s *Server) Share(name string) *Share {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shares[fold(name)]
}

// Shares lists the shares by name, IPC$ included.
func (s *Server) Shares() []*Share {
	s.mu.Lock()
	list := make([]*Share, 0, len(s.shares))
	for _, sh := range s.shares {
		list = append(list, sh)
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b *Share) int { return strings.Compare(fold(a.Name), fold(b.Name)) })
	return list
}

// Uses is how many tree connects there are to the share.
func (sh *Share) Uses() int { return int(sh.uses.Load()) }

// disconnect ends a tree connect [MS-SMB2] 3.3.5.8; then is called when its opens
// have been closed, maybe on another goroutine. False: it was ended before.
func (s *session) disconnect(t *tree, why Reason, then func()) bool {
	if !s.dropTree(t) {
		return false
	}
	t.share.uses.Add(-1)
	endAll(s.opensOf(t), why, then)
	return true
}
