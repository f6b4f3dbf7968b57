package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"
)

const (
	defaultData   = "./gabion-data"
	defaultListen = "127.0.0.1:4450"

	// Values of --ntlm.
	ntlmDeny       = "deny"
	ntlmLocalUsers = "local-users"
)

// settings are what `gabion serve` runs with: the configuration file's keys and
// the flags have the same names, and a flag given wins.
type settings struct {
	Data        string   `toml:"data"`
	Listen      string   `toml:"listen"`
	Share       []string `toml:"share"`
	User        []string `toml:"user"`
	Admin       string   `toml:"admin"`
	AdminCert   string   `toml:"admin-cert"`
	AdminKey    string   `toml:"admin-key"`
	Signing     string   `toml:"signing"`
	Encryption  string   `toml:"encryption"`
	Capacity    string   `toml:"capacity"`
	ReadCache   string   `toml:"read-cache"`
	Realm       string   `toml:"realm"`
	Keytab      string   `toml:"keytab"`
	NTLM        string   `toml:"ntlm"`
	KerberosRC4 bool     `toml:"kerberos-rc4"`
	QoS         string   `toml:"qos"`
	QoSCapacity int64    `toml:"qos-capacity"`
	QoSDepth    int64    `toml:"qos-depth"`
	QoSBase     string   `toml:"qos-base"`
	ScrubRate   string   `toml:"scrub-rate"`
	ScrubEvery  string   `toml:"scrub-every"`
	LogLevel    string   `toml:"log-level"`
	PeerListen  string   `toml:"peer-listen"`
	VHDLogNames bool     `toml:"shared-vhdx-log-names"`
	Interface   []string `toml:"interface"`
	TestVFS     string   `toml:"-"`
	TestMode    bool     `toml:"-"`
}

func (s *settings) flags(f *pflag.FlagSet) {
	f.StringVar(&s.Listen, "listen", defaultListen, "address to serve SMB on; Windows hosts need port 445")
	f.StringArrayVar(&s.Share, "share", nil, "NAME[,option…]: path=DIR, ca, shared-vhdx, encrypt, readonly, abe, no-odx, compress, quota=SIZE, allow=PRINCIPAL (may be repeated; default vms,ca)")
	f.StringArrayVar(&s.User, "user", nil, "NAME:PASSWORD or NAME:@FILE of a local user to make or change (may be repeated)")
	f.StringVar(&s.Admin, "admin", "", "HOST:PORT of a TLS listener for the HTTP API")
	f.StringVar(&s.AdminCert, "admin-cert", "", "certificate of that listener (default: one made at the first start, DATA/admin.crt)")
	f.StringVar(&s.AdminKey, "admin-key", "", "its key")
	f.StringVar(&s.Signing, "signing", "required", "required or enabled")
	f.StringVar(&s.Encryption, "encryption", "enabled", "off, enabled or required")
	f.StringVar(&s.Capacity, "capacity", "", "size of the volume, such as 500G (default: what the disk offers)")
	f.StringVar(&s.ReadCache, "read-cache", "", "memory for data that large reads asked for lately, such as 1G; 0 is none (default: a sixteenth of the machine's, 256M at most)")
	f.StringVar(&s.Realm, "realm", "", "Kerberos realm")
	f.StringVar(&s.Keytab, "keytab", "", "keytab of the array's account")
	f.BoolVar(&s.KerberosRC4, "kerberos-rc4", false, "accept tickets encrypted with RC4, which can be cracked: for domains that cannot issue AES yet")
	f.StringVar(&s.NTLM, "ntlm", ntlmLocalUsers, "deny, or local-users to let local users log on by NTLM")
	f.BoolVar(&s.VHDLogNames, "shared-vhdx-log-names", false, "let hosts name the log of a shared disk's change tracking, as those did that are older than the rule against it")
	f.StringArrayVar(&s.Interface, "interface", nil, "ADDRESS|NETWORK|ADAPTER[,speed=25G][,no-rss] that clients may open further channels to (may be repeated; default all addresses)")
	f.StringVar(&s.PeerListen, "peer-listen", "", "HOST:PORT for other arrays (gabion peer add), which fetch from here what their clients hold offload tokens for")
	f.StringVar(&s.QoS, "qos", "on", "on, or off: storage QoS")
	f.Int64Var(&s.QoSCapacity, "qos-capacity", 0, "what the array can do in normalised I/O per second; more is held back to keep latency low (default: measured, nothing is held back)")
	f.Int64Var(&s.QoSDepth, "qos-depth", 0, "requests worked on at a time; the others wait where they can be overtaken (default: found by measuring)")
	f.StringVar(&s.QoSBase, "qos-base", "8K", "what counts as one normalised I/O")
	f.StringVar(&s.ScrubRate, "scrub-rate", "32M", "bytes per second that the scrubber reads at most, which verifies all that the volume holds; 0 is no limit")
	f.StringVar(&s.ScrubEvery, "scrub-every", "168h", "time from the end of one pass of the scrubber to the next; 0: only when told (gabion volume scrub start)")
	f.StringVar(&s.LogLevel, "log-level", "info", "debug, info, warn or error")
}

// load merges the configuration file under the flags that were given.
func (s *settings) load(file string, f *pflag.FlagSet) error {
	if file == "" {
		return nil
	}
	var from settings
	meta, err := toml.DecodeFile(file, &from)
	if err != nil {
		return fmt.Errorf("configuration file: %w", err)
	}
	var problems []error
	for _, k := range meta.Undecoded() {
		problems = append(problems, fmt.Errorf("%s: unknown key %q", file, k))
	}
	if len(from.User) > 0 {
		info, err := os.Stat(file)
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			problems = append(problems, fmt.Errorf("%s names users and can be read by others (mode %04o); run chmod 600 %s", file, info.Mode().Perm(), file))
		}
	}
	take := func(name string, to *string, v string) {
		if meta.IsDefined(name) && !f.Changed(name) {
			*to = v
		}
	}
	take("data", &s.Data, from.Data)
	take("listen", &s.Listen, from.Listen)
	take("admin", &s.Admin, from.Admin)
	take("admin-cert", &s.AdminCert, from.AdminCert)
	take("admin-key", &s.AdminKey, from.AdminKey)
	take("signing", &s.Signing, from.Signing)
	take("encryption", &s.Encryption, from.Encryption)
	take("capacity", &s.Capacity, from.Capacity)
	take("read-cache", &s.ReadCache, from.ReadCache)
	take("realm", &s.Realm, from.Realm)
	take("keytab", &s.Keytab, from.Keytab)
	take("ntlm", &s.NTLM, from.NTLM)
	take("log-level", &s.LogLevel, from.LogLevel)
	take("peer-listen", &s.PeerListen, from.PeerListen)
	take("scrub-rate", &s.ScrubRate, from.ScrubRate)
	take("scrub-every", &s.ScrubEvery, from.ScrubEvery)
	take("qos", &s.QoS, from.QoS)
	take("qos-base", &s.QoSBase, from.QoSBase)
	number := func(name string, to *int64, v int64) {
		if meta.IsDefined(name) && !f.Changed(name) {
			*to = v
		}
	}
	number("qos-capacity", &s.QoSCapacity, from.QoSCapacity)
	number("qos-depth", &s.QoSDepth, from.QoSDepth)
	if meta.IsDefined("kerberos-rc4") && !f.Changed("kerberos-rc4") {
		s.KerberosRC4 = from.KerberosRC4
	}
	if meta.IsDefined("shared-vhdx-log-names") && !f.Changed("shared-vhdx-log-names") {
		s.VHDLogNames = from.VHDLogNames
	}
	if !f.Changed("share") {
		s.Share = from.Share
	}
	if !f.Changed("interface") {
		s.Interface = from.Interface
	}
	if !f.Changed("user") {
		s.User = from.User
	}
	return errors.Join(problems...)
}

// parseUser splits NAME:PASSWORD or NAME:@FILE.
func parseUser(s string) (name, password string, err error) {
	name, secret, ok := strings.Cut(s, ":")
	if !ok || name == "" || secret == "" {
		return "", "", fmt.Errorf("--user wants NAME:PASSWORD or NAME:@FILE")
	}
	if file, isFile := strings.CutPrefix(secret, "@"); isFile {
		secret, err = readSecret(file, "password")
	}
	return name, secret, err
}
