package rpc

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/protocol/fsrvp"
	"gabion/protocol/lsarpc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/srvsvc"
	"gabion/server"
)

// Host opens the pipes of the interface table; it is the server's PipeServer.
type Host struct {
	// Name and Workgroup are what the server calls itself.
	Name, Workgroup, Comment string
	// Started is when the server did.
	Started time.Time
	// Users are the server's own accounts, for look-ups; nil if there are none.
	Users *auth.Users
	// Authenticator serves callers that authenticate at RPC's own level, as backup
	// products do; nil refuses that, and callers are who their session is.
	Authenticator Authenticator
	// Roles tell what callers may do; nil means those that a new volume grants.
	Roles *auth.Roles
	// Directory finds the accounts of the array's domain; nil if it is in none.
	Directory auth.Directory
	// Audit hears of callers whom a service acts for; nil: nobody does.
	Audit server.Auditor
	// Editor lets administrators add, change and remove shares; nil refuses them.
	Editor ShareEditor
	// ShadowCopies serves backup hosts (MS-FSRVP); nil: the pipe is not there.
	ShadowCopies ShadowCopies
}

// ShadowCopies is the agent behind \pipe\FssagentRpc; shadow.Agent is one.
type ShadowCopies interface {
	Call(op uint16, q *fsrvp.Request, client string) fsrvp.Response
}

// ShareEditor makes, changes and removes shares for good. Its errors are, or wrap,
// server.ErrShareExists and server.ErrNoShare where those are the reason.
type ShareEditor interface {
	// AddShare shares the folder path of the volume, "" for all of it.
	AddShare(by Caller, name, path string, s server.ShareSettings) error
	ChangeShare(by Caller, name string, change func(*server.ShareSettings)) error
	RemoveShare(by Caller, name string) error
}

func (h *Host) accounts() *Accounts {
	return &Accounts{Domain: h.Name, Users: h.Users, Directory: h.Directory}
}

// Open opens a pipe for a client.
func (h *Host) Open(name string, from server.PipeCaller) (server.Pipe, error) {
	if !pipeExists(name) || name == fsrvp.Pipe && h.ShadowCopies == nil {
		return nil, ntstatus.ObjectNameNotFound
	}
	caller := Caller{Anonymous: true, From: from.Client}
	if who := from.Identity; who != nil && who.Token != nil {
		caller = h.caller(who.Token, from.Client)
	}
	p := newPipe(name, array{h, from.Server}, caller)
	p.a.authenticator, p.a.callerOf = h.Authenticator, h.caller
	p.a.shadows = h.ShadowCopies
	return p, nil
}

// clientHost is a client's address without its port.
func clientHost(addr string) string {
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		return ap.Addr().Unmap().String()
	}
	return addr
}

func (h *Host) caller(t *auth.Token, from string) Caller {
	return Caller{User: t.Name, Domain: t.Domain, SID: t.User, From: from, Roles: h.Roles.Held(t, auth.Array), Anonymous: t.Anonymous}
}

func newPipe(name string, b Backend, caller Caller) *pipe {
	return &pipe{a: association{
		pipe: name, backend: b, caller: caller,
		contexts: map[uint16]*iface{}, maxXmit: maxFragment,
	}}
}

// array is the Backend of a running server.
type array struct {
	h *Host
	s *server.Server
}

func (a array) Server() srvsvc.Server {
	return srvsvc.Server{
		Name: a.h.Name, Comment: a.h.Comment, Major: 10,
		Type:  srvsvc.TypeWorkstation | srvsvc.TypeServer | srvsvc.TypeNT | srvsvc.TypeServerNT,
		Users: uint32(len(a.s.Sessions())),
	}
}

func (a array) Workgroup() string  { return a.h.Workgroup }
func (a array) Started() time.Time { return a.h.Started }

func (a array) Policy() lsarpc.Policy {
	return lsarpc.Policy{AccountDomain: a.h.Name, AccountSID: a.h.accounts().SID(), PrimaryDomain: a.h.Workgroup}
}

func (a array) LookupName(ctx context.Context, name string) lsarpc.Account {
	return a.h.accounts().ByName(ctx, name)
}

func (a array) LookupSID(ctx context.Context, sid dtyp.SID) lsarpc.Account {
	return a.h.accounts().BySID(ctx, sid)
}

var everyone = dtyp.SecurityDescriptor{
	Control: dtyp.SelfRelative | dtyp.DACLPresent,
	DACL:    dtyp.NewACL(dtyp.ACE{Type: dtyp.AccessAllowed, Mask: dtyp.FileAllAccess, SID: dtyp.Everyone}),
}

func (a array) Shares(Caller) []srvsvc.Share {
	var list []srvsvc.Share
	for _, sh := range a.s.Shares() {
		set := sh.Settings()
		s := srvsvc.Share{Name: sh.Name, Remark: set.Comment, MaxUses: srvsvc.Unlimited, Uses: uint32(sh.Uses()), Flags: shareFlags(sh, &set)}
		if set.MaxUses > 0 {
			s.MaxUses = uint32(set.MaxUses)
		}
		if sh.IsPipe() {
			s.Type = srvsvc.TypeIPC | srvsvc.TypeSpecial
		} else {
			s.Path = drive + sh.Tree.Path()
			if a.s.ScaleOut(sh) {
				s.Type |= srvsvc.TypeClusterSOFS
			}
		}
		// A share without a descriptor of its own lets everybody in, and says so: clients
		// copy what they find here.
		s.Security = everyone.Append(nil)
		if set.Security != nil {
			s.Security = set.Security.Append(nil)
		}
		list = append(list, s)
	}
	return list
}

func (a array) Sessions() []srvsvc.Session {
	var list []srvsvc.Session
	for _, s := range a.s.Sessions() {
		list = append(list, srvsvc.Session{
			Client: s.Client, User: account(s.User), Opens: uint32(s.Opens),
			Active: uint32(time.Since(s.Since).Seconds()), Idle: uint32(s.Idle), Guest: s.Guest,
		})
	}
	return list
}

// account is the name without its domain.
func account(name string) string { return name[strings.LastIndexByte(name, '\\')+1:] }

func (a array) Files() []srvsvc.File {
	var list []srvsvc.File
	for _, o := range a.s.Opens() {
		path := o.Path
		if !o.Pipe {
			path = a.onDrive(o.Share, o.Path)
		}
		list = append(list, srvsvc.File{
			ID: uint32(o.ID), Permissions: filePermissions(uint32(o.Access)), Locks: uint32(o.Locks), Path: path, User: account(o.User),
		})
	}
	return list
}

// onDrive is the path of a share's file as its volume has it.
func (a array) onDrive(share, path string) string {
	if sh := a.s.Share(share); sh != nil && !sh.IsPipe() && sh.Tree.Path() != "" {
		path = sh.Tree.Path() + `\` + path
	}
	return drive + path
}

// filePermissions is fi3_permissions (MS-SRVS 2.2.4.7): read, write, create.
func filePermissions(access uint32) (p uint32) {
	const readData, writeData, appendData = 1, 2, 4
	if access&readData != 0 {
		p |= 1
	}
	if access&writeData != 0 {
		p |= 2
	}
	if access&appendData != 0 {
		p |= 4
	}
	return p
}

// Connections lists the tree connects to a share, or those of a client.
func (a array) Connections(qualifier string) []srvsvc.Connection {
	var list []srvsvc.Connection
	for _, s := range a.s.Sessions() {
		for _, share := range s.Trees {
			if !strings.EqualFold(share, qualifier) && !strings.EqualFold(s.Client, qualifier) {
				continue
			}
			c := srvsvc.Connection{ID: uint32(len(list) + 1), Opens: uint32(s.Opens), Users: 1, User: account(s.User),
				Seconds: uint32(time.Since(s.Since).Seconds()), Share: s.Client}
			if !strings.EqualFold(share, qualifier) {
				c.Share = share
			}
			if share == server.IPC {
				c.Type = srvsvc.TypeIPC | srvsvc.TypeSpecial
			}
			list = append(list, c)
		}
	}
	return list
}

func (a array) CloseFile(id uint32) bool {
	for _, o := range a.s.Opens() {
		if uint32(o.ID) == id {
			return a.s.CloseOpen(o.ID) == nil
		}
	}
	return false
}

func (a array) CloseSessions(client, user string) (n int) {
	for _, s := range a.s.Sessions() {
		if matches(client, s.Client) && matches(user, account(s.User)) && a.s.CloseSession(s.ID) == nil {
			n++
		}
	}
	return n
}

// drive is what paths of shares begin with: the volume looks like a disk to those
// who administer Windows servers.
const drive = `C:\`

// Flags of a share (MS-SRVS 2.2.4.29).
const (
	flagForceLevelII = 0x1000
	flagAccessBased  = 0x0800
	flagEncrypt      = 0x8000
	flagCaching      = 0x0030 // two bits: manual, automatic, programs, none
)

var cachingFlags = [...]uint32{server.CacheManual: 0x00, server.CacheAuto: 0x10, server.CachePrograms: 0x20, server.CacheNone: 0x30}

func shareFlags(sh *server.Share, set *server.ShareSettings) uint32 {
	flags := cachingFlags[set.Caching]
	for bit, on := range map[uint32]bool{flagForceLevelII: sh.ForceLevelII, flagAccessBased: sh.AccessBasedEnumeration, flagEncrypt: sh.Encrypt} {
		if on {
			flags |= bit
		}
	}
	return flags
}

// AddShare is the array's part of NetrShareAdd.
func (a array) AddShare(by Caller, s srvsvc.Share) uint32 {
	path, ok := strings.CutPrefix(s.Path, drive)
	switch {
	case a.h.Editor == nil:
		return srvsvc.NotSupported
	case !ok:
		return srvsvc.InvalidParameter
	}
	var set server.ShareSettings
	takeParts(&set, &s, srvsvc.PartRemark|srvsvc.PartMaxUses|srvsvc.PartSecurity)
	return editResult(a.h.Editor.AddShare(by, s.Name, path, set))
}

// ChangeShare is the array's part of NetrShareSetInfo. Of the flags only those about
// caching can change while clients are connected.
func (a array) ChangeShare(by Caller, name string, s srvsvc.Share, parts srvsvc.ShareParts) uint32 {
	sh := a.s.Share(name)
	switch {
	case a.h.Editor == nil || sh != nil && sh.IsPipe():
		return srvsvc.NotSupported
	case sh == nil:
		return srvsvc.NetNameMissing
	}
	if set := sh.Settings(); parts&srvsvc.PartFlags != 0 && (shareFlags(sh, &set)^s.Flags)&^flagCaching != 0 {
		return srvsvc.NotSupported
	}
	return editResult(a.h.Editor.ChangeShare(by, name, func(set *server.ShareSettings) { takeParts(set, &s, parts) }))
}

// takeParts takes parts of a share, whose descriptor has been checked.
func takeParts(set *server.ShareSettings, s *srvsvc.Share, parts srvsvc.ShareParts) {
	if parts&srvsvc.PartRemark != 0 {
		set.Comment = s.Remark
	}
	if parts&srvsvc.PartMaxUses != 0 {
		set.MaxUses = 0
		if s.MaxUses != srvsvc.Unlimited {
			set.MaxUses = int(min(s.MaxUses, math.MaxInt32))
		}
	}
	if parts&srvsvc.PartFlags != 0 {
		set.Caching = server.CachingPolicy(slices.Index(cachingFlags[:], s.Flags&flagCaching))
	}
	if parts&srvsvc.PartSecurity != 0 && len(s.Security) != 0 {
		if sd, err := dtyp.DecodeSecurityDescriptor(s.Security); err == nil {
			set.Security = sd
		}
	}
}

// RemoveShare is the array's part of NetrShareDel.
func (a array) RemoveShare(by Caller, name string) uint32 {
	if a.h.Editor == nil {
		return srvsvc.NotSupported
	}
	return editResult(a.h.Editor.RemoveShare(by, name))
}

// Delegated is told to the audit log.
func (a array) Delegated(who *auth.Identity, from string) {
	if a.h.Audit == nil {
		return
	}
	addr, _ := netip.ParseAddr(from)
	a.h.Audit.DelegatedLogon(&server.Identity{Token: who.Token(), User: who.Name(), Delegated: who.Delegated}, netip.AddrPortFrom(addr, 0))
}

func editResult(err error) uint32 {
	switch {
	case err == nil:
		return srvsvc.Success
	case errors.Is(err, server.ErrShareExists):
		return srvsvc.DuplicateShare
	case errors.Is(err, server.ErrNoShare):
		return srvsvc.NetNameMissing
	}
	return srvsvc.InvalidData
}

// Transports is the one transport: SMB over TCP without NetBIOS.
func (a array) Transports() []srvsvc.Transport {
	return []srvsvc.Transport{{
		Clients: uint32(len(a.s.Sessions())), Device: `\Device\Smb4`, Name: []byte(a.h.Name), Address: "000000000000", Domain: a.h.Workgroup,
	}}
}
