package main

import (
	"context"
	"fmt"
	"slices"

	"gabion/auth"
	"gabion/auth/domain"
	"gabion/auth/kerberos"
	"gabion/server/admin"
)

// identity is who may come in, and what that is worth.
type identity struct {
	acceptor *auth.Acceptor
	tickets  *auth.Acceptor // Kerberos alone, for the admin listener; nil without a keytab
	roles    *auth.Roles
	names    *auth.Names
	// verify goes the way of a domain client's logon; nil without a keytab.
	verify func(host string) []domain.Check
	close  func()
}

// openIdentity prepares the mechanisms that the configuration asks for: Kerberos with
// a keytab, NTLM for local users unless it is denied.
func (a *array) openIdentity(server string) (*identity, error) {
	id := &identity{names: &auth.Names{Server: server, Users: a.users}, close: func() {}}
	var err error
	if id.roles, err = auth.OpenRoles(a.volume); err != nil {
		return nil, err
	}
	var mechs []auth.Mechanism
	if a.Keytab != "" {
		keys, err := kerberos.OpenKeytab(a.Keytab, a.log)
		if err != nil {
			return nil, fmt.Errorf("--keytab: %w", err)
		}
		config := kerberos.Config{Keytab: keys, Realm: a.Realm, RC4: a.KerberosRC4, Machine: a.users.Machine()}
		if a.Admin != "" {
			// One acceptor, and so one replay cache, for SMB and HTTP: the service's name in a ticket
			// is not protected, its key is that of the account.
			config.Services = append(slices.Clone(kerberos.DefaultServices), "HTTP")
		}
		mechs = auth.NewKerberos(kerberos.NewAcceptor(config), a.log)
		id.tickets = auth.NewAcceptor(mechs...).UseRoles(id.roles)
		member := &domain.Member{Keytab: keys, Realm: a.Realm}
		directory := domain.NewDirectory(member)
		id.names.Directory, id.close = directory, directory.Close
		id.verify = func(host string) []domain.Check { return member.Verify(host, config) }
	}
	if a.NTLM != ntlmDeny {
		mechs = append(mechs, &auth.NTLM{Users: a.users, Name: server, Anonymous: a.TestMode, Log: a.log})
	}
	id.acceptor = auth.NewAcceptor(mechs...).UseRoles(id.roles)
	return id, nil
}

// authVerify is `gabion auth verify` for the admin API.
func (id *identity) authVerify(_ context.Context, host string) (any, error) {
	if id.verify == nil {
		return nil, admin.Errorf(409, "the array has no keytab: start it with --keytab FILE")
	}
	return id.verify(host), nil
}
