package main

import (
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"

	"gabion/server/admin"
)

// openGate opens the TLS listener of --admin.
func (a *array) openGate() error {
	if a.Admin == "" {
		return nil
	}
	cert := &admin.Certificate{CertFile: a.AdminCert, KeyFile: a.AdminKey}
	if a.AdminCert == "" {
		cert.CertFile, cert.KeyFile = filepath.Join(a.Data, "admin.crt"), filepath.Join(a.Data, "admin.key")
		if err := admin.MakeCertificate(cert.CertFile, cert.KeyFile, a.ownNames()); err != nil {
			return err
		}
	}
	var err error
	if a.remote, err = admin.ListenTLS(a.Admin, cert); err != nil {
		return err
	}
	a.gate = &admin.Gate{
		Tokens: a.system.APITokens, Acceptor: a.identity.tickets, Roles: a.identity.roles, Log: a.log,
		Certificate: func() (*x509.Certificate, error) {
			pair, err := cert.Get()
			if err != nil {
				return nil, err
			}
			return pair.Leaf, nil
		},
	}
	return nil
}

// ownNames are what clients may call this machine, for a certificate made here.
func (a *array) ownNames() []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil {
		short, _, _ := strings.Cut(name, ".")
		names = append(names, name, short)
	}
	host, _, _ := net.SplitHostPort(a.Admin)
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		return append(names, host)
	}
	addresses, _ := net.InterfaceAddrs()
	for _, addr := range addresses {
		if n, ok := addr.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			names = append(names, n.IP.String())
		}
	}
	return names
}
