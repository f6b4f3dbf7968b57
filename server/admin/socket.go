package admin

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"gabion/auth"
)

// SocketName is the socket's name in the data directory.
const SocketName = "admin.sock"

// ListenSocket opens DATA/admin.sock with mode 0600. The caller holds the data
// directory's lock, so a socket left by a dead server may be removed.
func ListenSocket(data string) (net.Listener, error) {
	path := filepath.Join(data, SocketName)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("removing a stale %s: %w", path, err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// ServeSocket answers on l until ctx ends.
func ServeSocket(ctx context.Context, l net.Listener, s *System) error {
	srv := &http.Server{
		Handler:           Handler(s),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return WithCaller(ctx, peer(c))
		},
	}
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if srv.Shutdown(grace) != nil {
			srv.Close()
		}
	})
	defer stop()
	if err := srv.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// peer asks the kernel who is at the other end of a unix socket.
func peer(c net.Conn) Caller {
	caller := Caller{From: "socket"}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return caller
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return caller
	}
	_ = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			return
		}
		caller.Name = fmt.Sprintf("uid %d", cred.Uid)
		if cred.Uid == 0 || int(cred.Uid) == os.Geteuid() {
			caller.Held = func(auth.Scope) auth.RoleSet { return auth.RolesOf(auth.RoleSuperAdmin) }
		}
	})
	return caller
}
