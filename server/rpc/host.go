package rpc

import (
	"strings"
	"time"

	"gabion/auth"
	"gabion/protocol/dtyp"
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
}

func (h *Host) accounts() *Accounts { return &Accounts{Domain: h.Name, Users: h.Users} }

// Open opens a pipe for a client.
func (h *Host) Open(name string, from server.PipeCaller) (server.Pipe, error) {
	if !pipeExists(name) {
		return nil, ntstatus.ObjectNameNotFound
	}
	caller := Caller{Anonymous: true}
	if who := from.Identity; who != nil && who.Token != nil {
		t := who.Token
		caller = Caller{User: t.Name, Domain: t.Domain, SID: t.User, Administrator: t.IsAdministrator(), Anonymous: who.Anonymous}
	}
	return newPipe(name, array{h, from.Server}, caller), nil
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

func (a array) LookupName(name string) lsarpc.Account { return a.h.accounts().ByName(name) }
func (a array) LookupSID(sid dtyp.SID) lsarpc.Account { return a.h.accounts().BySID(sid) }

func (a array) Shares(Caller) []srvsvc.Share {
	var list []srvsvc.Share
	for _, sh := range a.s.Shares() {
		s := srvsvc.Share{Name: sh.Name, Remark: sh.Comment, MaxUses: srvsvc.Unlimited, Uses: uint32(sh.Uses())}
		if sh.MaxUses > 0 {
			s.MaxUses = uint32(sh.MaxUses)
		}
		if sh.IsPipe() {
			s.Type = srvsvc.TypeIPC | srvsvc.TypeSpecial
		} else {
			s.Path = `C:\` + sh.Name
		}
		if sh.Security != nil {
			s.Security = sh.Security.Append(nil)
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
			path = `C:\` + o.Share + `\` + o.Path
		}
		list = append(list, srvsvc.File{
			ID: uint32(o.ID), Permissions: filePermissions(uint32(o.Access)), Locks: uint32(o.Locks), Path: path, User: account(o.User),
		})
	}
	return list
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
