package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"gabion/auth"
	"gabion/odx"
	"gabion/odx/peer"
	"gabion/protocol/ntstatus"
	"gabion/rsvd"
	"gabion/server"
	"gabion/server/admin"
	"gabion/server/audit"
	"gabion/server/object"
	"gabion/server/qos"
	"gabion/server/rpc"
	"gabion/server/schedule"
	"gabion/server/shadow"
	"gabion/server/versions"
	"gabion/server/vm"
	"gabion/server/watch"
	"gabion/store/block"
)

const (
	// exitStopped is the exit code after the volume stopped by itself (a failed
	// sync): the supervisor is to start the server again.
	exitStopped = 74
	// drainTime bounds what SIGTERM waits for.
	drainTime = 20 * time.Second
	// testSequence is the message sequence timer of shadow copies in test mode, where
	// Samba's test-suite waits for it.
	testSequence = 5 * time.Second
)

func serveCommand() *cobra.Command {
	var s settings
	var file string
	c := &cobra.Command{
		Use:     "serve",
		Short:   "Run the server",
		Example: "  gabion serve\n  gabion serve --listen 0.0.0.0:445 --data /var/lib/gabion --share vms,ca --share iso,readonly",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s.Data, _ = c.Flags().GetString("data")
			if err := s.load(file, c.Flags()); err != nil {
				return err
			}
			p, err := s.plan()
			if err != nil {
				return err
			}
			return p.run(c.Context())
		},
	}
	s.flags(c.Flags())
	c.Flags().StringVar(&file, "config", "", "TOML file with the same names as the flags")
	c.Flags().StringVar(&s.TestVFS, "test-vfs", "", "keep the volume on a faulty test file system")
	_ = c.Flags().MarkHidden("test-vfs")
	c.Flags().BoolVar(&s.TestMode, "test-mode", false, "let null sessions in and answer the control codes of Samba's test-suite that disturb a server")
	_ = c.Flags().MarkHidden("test-mode")
	return c
}

// plan is a checked configuration.
type plan struct {
	settings
	signing    server.Signing
	encryption server.Encryption
	shares     []admin.ShareSpec
	users      [][2]string
	interfaces []server.InterfaceRule
	capacity   int64
	readCache  int64
	scrub      block.ScrubOptions
	log        *slog.Logger
}

// plan checks everything that can be checked without touching the disk, and
// reports all that is wrong at once.
func (s settings) plan() (*plan, error) {
	p := &plan{settings: s}
	var problems []error
	note := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	var err error
	p.signing, err = server.ParseSigning(s.Signing)
	note(err)
	p.encryption, err = server.ParseEncryption(s.Encryption)
	note(err)
	if s.TestMode && (s.Admin != "" || s.Realm != "" || s.Keytab != "") {
		note(errors.New("--test-mode lets anybody disturb the server: it is refused together with production flags"))
	}
	if s.Capacity != "" {
		p.capacity, err = admin.ParseSize(s.Capacity)
		note(err)
	}
	p.readCache = block.DefaultDataCache()
	if s.ReadCache != "" {
		p.readCache, err = admin.ParseSize(s.ReadCache)
		note(err)
	}
	_, err = s.qosOptions()
	note(err)
	p.scrub, err = s.scrubOptions()
	note(err)
	shares := s.Share
	if len(shares) == 0 {
		shares = []string{"vms,ca"}
	}
	for _, text := range shares {
		spec, err := admin.ParseShare(text)
		note(err)
		p.shares = append(p.shares, spec)
	}
	for _, text := range s.Interface {
		rule, err := server.ParseInterface(text)
		if err != nil {
			note(fmt.Errorf("--interface: %w", err))
		}
		p.interfaces = append(p.interfaces, rule)
	}
	for _, text := range s.User {
		name, password, err := parseUser(text)
		note(err)
		p.users = append(p.users, [2]string{name, password})
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		note(fmt.Errorf("--log-level: %q is none of debug, info, warn, error", s.LogLevel))
	}
	if _, _, err := net.SplitHostPort(s.Listen); err != nil {
		note(fmt.Errorf("--listen: %q is not HOST:PORT", s.Listen))
	}
	if _, _, err := net.SplitHostPort(s.PeerListen); s.PeerListen != "" && err != nil {
		note(fmt.Errorf("--peer-listen: %q is not HOST:PORT", s.PeerListen))
	}
	if s.Admin != "" {
		if _, _, err := net.SplitHostPort(s.Admin); err != nil {
			note(fmt.Errorf("--admin: %q is not HOST:PORT", s.Admin))
		}
	}
	if (s.AdminCert == "") != (s.AdminKey == "") {
		note(errors.New("--admin-cert and --admin-key go together"))
	}
	switch {
	case s.NTLM != ntlmDeny && s.NTLM != ntlmLocalUsers:
		note(fmt.Errorf("--ntlm: %q is neither deny nor local-users", s.NTLM))
	case s.NTLM == ntlmDeny && s.Keytab == "":
		note(errors.New("--ntlm deny without --keytab lets nobody in"))
	case s.KerberosRC4 && s.Keytab == "":
		note(errors.New("--kerberos-rc4 needs --keytab, the key table of the array's account"))
	case s.Realm != "" && s.Keytab == "":
		note(errors.New("--realm needs --keytab, the key table of the array's account"))
	}
	p.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	return p, errors.Join(problems...)
}

// array is everything that runs.
type array struct {
	*plan
	volume   *block.Volume
	users    *auth.Users
	identity *identity
	srv      *server.Server
	disks    *rsvd.Service
	qos      *qos.Service // nil: switched off
	system   *admin.System
	listener net.Listener
	socket   net.Listener
	remote   net.Listener // of --admin, nil without
	gate     *admin.Gate
	audit    *audit.File
	tokens   *odx.Tokens
	shadows  *shadow.Agent
	peers    *peer.Link
	failed   chan error // the volume stopped
}

func (p *plan) run(ctx context.Context) (err error) {
	a := &array{plan: p, failed: make(chan error, 1)}
	defer func() { err = errors.Join(err, a.close()) }()
	if err := os.MkdirAll(p.Data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if a.listener, err = listen(p.Listen); err != nil {
		return err
	}
	if err := a.openVolume(); err != nil {
		return err
	}
	first, err := a.openUsers()
	if err != nil {
		return err
	}
	if err := a.openServer(); err != nil {
		return err
	}
	if a.socket, err = admin.ListenSocket(p.Data); err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	if err := a.openGate(); err != nil {
		return fmt.Errorf("--admin: %w", err)
	}
	if first != "" {
		a.greet(first)
	}
	return a.serve(ctx)
}

func listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use by another program; choose another with --listen", addr)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("no right to listen on %s: ports below 1024 need `setcap cap_net_bind_service=+ep %s` or the shipped unit file", addr, os.Args[0])
	case err != nil:
		return nil, fmt.Errorf("--listen: %w", err)
	}
	return l, nil
}

// openServer puts the object store and the SMB server on the volume.
func (a *array) openServer() error {
	name := hostName()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	started := time.Now()
	var err error
	if a.identity, err = a.openIdentity(name); err != nil {
		return err
	}
	if a.audit, err = audit.OpenFile(filepath.Join(a.Data, "audit.log"), audit.DefaultSize, audit.DefaultKeep); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	if err := a.openTokens(registry); err != nil {
		return err
	}
	if err := a.openQoS(registry); err != nil {
		return err
	}
	a.disks = rsvd.New(rsvd.Options{AcceptLogNames: a.VHDLogNames, Panicked: func(p any) { a.srv.Panicked(p) }})
	var offered func() []server.Interface
	if len(a.interfaces) > 0 {
		offered = server.OfferInterfaces(a.interfaces)
	}
	auditor := audit.New(a.audit, a.identity.roles, a.log)
	pipes := &rpc.Host{Name: name, Workgroup: "WORKGROUP", Comment: "Gabion storage array", Started: started,
		Users: a.users, Directory: a.identity.names.Directory, Authenticator: a.identity.acceptor, Roles: a.identity.roles, Audit: auditor}
	a.srv, err = server.New(server.Config{
		Name: name, GUID: a.volume.Info().GUID,
		Capabilities: server.DefaultCapabilities.With(server.CapPersistentHandles, server.CapCluster, server.CapScaleOut, server.CapSharedVHDX, server.CapOffload),
		Tokens:       a.tokens,
		Signing:      a.signing, Encryption: a.encryption, Anonymous: a.TestMode, TestMode: a.TestMode,
		Auth: server.Accepting(a.identity.acceptor), Roles: a.identity.roles, Audit: auditor,
		Pipes:       pipes,
		SharedDisks: a.disks,
		QoS:         a.qos,
		Log:         a.log,
		Metrics:     registry,
		Interfaces:  offered,
	})
	if err != nil {
		return err
	}
	objects := object.New(object.Config{
		Breaker: a.srv.Breaker(), Panicked: a.srv.Panicked,
		Stopped: func(err error) {
			select {
			case a.failed <- err:
			default:
			}
		},
		Left: func(path string, err error) {
			a.log.Error("an empty file or stream of an open that failed is left", "path", path, "error", err)
		},
	})
	mounted := objects.Mount(a.volume)
	shares, err := admin.OpenShareBook(a.srv, mounted, a.identity.names, a.shares)
	if err != nil {
		return err
	}
	for share, err := range shares.Unlimited() {
		a.log.Error("a share is served without its quota, which cannot be set", "share", share, "error", err)
	}
	machines, err := vm.Open(a.volume, shares)
	if err != nil {
		return err
	}
	changer, err := openVersions(mounted)
	if err != nil {
		return err
	}
	keeper, err := schedule.Open(changer.Book, machines, a.log)
	if err != nil {
		return err
	}
	keeper.Held = shares.Mounted
	tokens, err := auth.OpenAPITokens(a.volume, nil)
	if err != nil {
		return err
	}
	timeouts := shadow.DefaultTimeouts
	if a.TestMode {
		timeouts.Short, timeouts.Long = testSequence, testSequence
	}
	a.shadows, err = shadow.Open(shadow.Options{Backend: shadow.NewArray(a.srv, mounted), Name: name, Log: a.log, Timeouts: timeouts})
	if err != nil {
		return fmt.Errorf("shadow copies: %w", err)
	}
	pipes.ShadowCopies = a.shadows
	if err := a.srv.RecoverOpens(a.volume); err != nil {
		return err
	}
	watcher := watch.New(mounted, a.log, registry)
	scrubber := a.scrubber()
	scrubber.Collect(registry)
	a.collectReadCache(registry)
	a.system = &admin.System{
		Version: version, Started: started, Listen: a.listener.Addr().String(),
		Server: a.srv, Volume: a.volume, QoS: a.qos, Users: a.users, Shares: shares,
		Roles: a.identity.roles, Names: a.identity.names, Verify: a.identity.authVerify,
		Machines: machines, Versions: changer, Schedules: keeper, Disks: a.disks,
		Tokens: a.tokens, Peers: a.peers, APITokens: tokens,
		Watch: watcher,
		Audit: auditor.Logger, SyncAudit: a.audit.Sync,
		Metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		Check:   a.check,
		Scrub:   scrubber,
		Stats:   func() any { return a.volume.Stats() },
		Usage:   func() (any, error) { return a.volume.Usage() },
	}
	watcher.Name = a.system.NameOf
	pipes.Editor = admin.RemoteShares{System: a.system}
	return nil
}

// openVersions is what works on snapshots, with the whole volume as the array itself opens it.
func openVersions(vol *object.Volume) (*versions.Changer, error) {
	book, err := versions.OpenBook(vol.Store(), nil)
	if err != nil {
		return nil, err
	}
	tree, st := vol.Tree("", object.TreeOptions{})
	if st != ntstatus.Success {
		return nil, fmt.Errorf("opening the volume's root: %v", st)
	}
	return &versions.Changer{Book: book, Tree: tree}, nil
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "gabion"
	}
	name, _, _ = strings.Cut(name, ".")
	if len(name) > 15 {
		name = name[:15] // the longest NetBIOS name
	}
	return strings.ToUpper(name)
}

// serve runs until ctx ends or something fails.
func (a *array) serve(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	adminCtx, stopAdmin := context.WithCancel(context.Background())
	defer stopAdmin()
	errs := make(chan error, 3)
	wg.Go(func() { a.system.Schedules.Run(adminCtx) })
	wg.Go(func() { a.system.Watch.Run(adminCtx) })
	wg.Go(func() { errs <- admin.ServeSocket(adminCtx, a.socket, a.system) })
	also := ""
	if a.remote != nil {
		wg.Go(func() { errs <- admin.ServeTLS(adminCtx, a.remote, a.system, a.gate) })
		also = " admin=https://" + a.remote.Addr().String()
	}
	wg.Go(func() {
		if err := a.srv.Serve(a.listener); !errors.Is(err, server.ErrClosed) {
			errs <- err
		}
	})
	fmt.Printf("gabion: ready smb=%s admin=unix:%s%s\n", a.listener.Addr(), filepath.Join(a.Data, admin.SocketName), also)
	select {
	case <-ctx.Done():
		return a.drain()
	case err := <-errs:
		return errors.Join(err, a.drain())
	case err := <-a.failed:
		// No reply may leave any more: what was not acknowledged, clients replay.
		_ = a.srv.Close()
		return &exitError{exitStopped, fmt.Errorf("the volume stopped: %w", err)}
	}
}

// drain stops accepting, finishes what runs and ends the connections.
func (a *array) drain() error {
	a.log.Info("draining")
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	err := a.srv.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		a.log.Warn("draining took too long; what was still running is cut off")
	} else if err != nil {
		return err
	}
	if err := a.srv.Close(); !errors.Is(err, server.ErrClosed) {
		return err
	}
	return nil
}

// close releases what was opened, in reverse order.
func (a *array) close() (err error) {
	if a.srv != nil {
		_ = a.srv.Close()
	}
	if a.shadows != nil {
		a.shadows.Close()
	}
	if a.qos != nil {
		a.qos.Close()
	}
	if a.socket != nil {
		a.socket.Close()
	}
	if a.peers != nil {
		a.peers.Close()
	}
	if a.remote != nil {
		a.remote.Close()
	}
	if a.identity != nil {
		a.identity.close()
	}
	if a.volume != nil {
		err = a.volume.Close()
	}
	if a.audit != nil {
		a.audit.Close()
	}
	if a.listener != nil {
		a.listener.Close()
	}
	return err
}
