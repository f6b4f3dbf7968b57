package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"gabion/auth"
	"gabion/store"
	"gabion/store/block"
	"gabion/store/crashfs"
)

// secretKeyFile seals the password hashes of local users.
const secretKeyFile = "secret.key"

// openVolume opens the data directory, or makes a volume of an empty one.
func (a *array) openVolume() error {
	opt := block.Options{Dir: filepath.Join(a.Data, "volume"), Capacity: a.capacity, Scrub: a.scrub, Logger: a.log, DataCache: a.readCache}
	if a.TestVFS != "" {
		if a.Admin != "" || a.Realm != "" || a.Keytab != "" {
			return errors.New("--test-vfs loses data on purpose: it is refused together with production flags")
		}
		fs, err := crashfs.Parse(a.TestVFS, opt.Dir)
		if err != nil {
			return fmt.Errorf("--test-vfs: %w", err)
		}
		opt.FS = fs
	}
	var err error
	a.volume, err = block.Open(opt)
	return volumeError(a.Data, err)
}

// collectReadCache registers what the cache of data did.
func (a *array) collectReadCache(r prometheus.Registerer) {
	counter := func(name, help string, value func() uint64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "gabion_read_cache_" + name, Help: help},
			func() float64 { return float64(value()) }))
	}
	counter("hit_bytes_total", "Bytes of large reads that were in the cache of data.",
		func() uint64 { hits, _ := a.volume.DataCacheCounts(); return hits })
	counter("miss_bytes_total", "Bytes of large reads that were not.",
		func() uint64 { _, misses := a.volume.DataCacheCounts(); return misses })
}

// volumeError says what an administrator can do about it.
func volumeError(data string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrBusy):
		return fmt.Errorf("data directory %s is in use by another gabion", data)
	case errors.Is(err, syscall.EROFS), errors.Is(err, os.ErrPermission):
		return fmt.Errorf("data directory %s cannot be written: %w", data, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, store.ErrNoSpace):
		return fmt.Errorf("the disk of data directory %s is full: %w", data, err)
	}
	return fmt.Errorf("opening the volume in %s: %w", data, err)
}

// openUsers opens the local users, makes or changes those of --user, and at the
// first start without any makes admin, whose password it returns.
func (a *array) openUsers() (first string, err error) {
	key, err := auth.LoadKey(filepath.Join(a.Data, secretKeyFile))
	if err != nil {
		return "", err
	}
	if a.users, err = auth.OpenUsers(a.volume, key); err != nil {
		return "", err
	}
	fresh := len(a.users.List()) == 0
	if fresh && len(a.plan.users) == 0 {
		first = auth.GeneratePassword()
		_, err = a.users.Add(firstUser, first, "Administrators")
		return first, err
	}
	for i, u := range a.plan.users {
		var groups []string
		if fresh && i == 0 {
			groups = []string{"Administrators"}
		}
		_, err := a.users.Add(u[0], u[1], groups...)
		if errors.Is(err, auth.ErrUserExists) {
			err = a.users.SetPassword(u[0], u[1])
		}
		if err != nil {
			return "", fmt.Errorf("--user: %w", err)
		}
	}
	return "", nil
}

// firstUser is the account made at a first start that names none.
const firstUser = "admin"

// greet tells whoever started the server for the first time how to go on.
func (a *array) greet(password string) {
	host, port := hostPort(a.listener.Addr())
	share := a.shares[0].Name
	fmt.Fprintf(os.Stderr, `
This is the first start. A user was made:

    user      %[1]s
    password  %[2]s

Change it with:  gabion user passwd %[1]s --data %[3]s

Try it:

    Linux     smbclient //%[4]s/%[6]s -p %[5]s -U %[1]s
              mount -t cifs //%[4]s/%[6]s /mnt -o port=%[5]s,username=%[1]s,vers=3.1.1
    Windows   net use * \\%[4]s\%[6]s /user:%[1]s        (port 445 only, see below)

Windows hosts always connect to port 445: run with --listen 0.0.0.0:445, which needs
`+"`setcap cap_net_bind_service=+ep gabion`"+` or the shipped unit file. Hyper-V hosts connect with
their computer account, for which the array needs a domain account and a keytab.

`, firstUser, password, a.Data, host, port, share)
}
