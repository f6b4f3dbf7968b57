package audit

import (
	"io"
	"log/slog"
	"net/netip"
	"sync/atomic"

	"gabion/auth"
	"gabion/server"
)

// Log writes the server's records. It is safe for concurrent use.
type Log struct {
	*slog.Logger
	roles *auth.Roles
}

// New returns a log of JSON lines on w. roles tells which grants gave a privilege;
// complain hears of it when lines get lost.
func New(w io.Writer, roles *auth.Roles, complain *slog.Logger) *Log {
	return &Log{slog.New(slog.NewJSONHandler(&witness{w: w, log: complain}, nil)), roles}
}

// by is one privilege and what gave it.
type by struct {
	Privilege string   `json:"privilege"`
	Grants    []string `json:"grants"`
}

// PrivilegedOpen implements server.Auditor.
func (l *Log) PrivilegedOpen(p *server.PrivilegedOpen) {
	at := auth.FileScope(p.Share, p.Path)
	used := []by{}
	for _, pr := range p.Used.List() {
		b := by{Privilege: pr.String(), Grants: []string{}}
		for _, g := range l.roles.Why(p.Token, pr, at) {
			b.Grants = append(b.Grants, g.String())
		}
		used = append(used, b)
	}
	args := append(caller(p.Who, p.From),
		"share", p.Share, "path", p.Path, "intent", p.Intent,
		"asked", p.Asked.String(), "granted", p.Granted.String(), "gained", p.Gained.String(),
		"by", used, "result", p.Status.String())
	l.Info("open", args...)
}

// Offload implements server.Auditor. What is logged of a token cannot be used as one.
func (l *Log) Offload(e *server.Offload) {
	from, _ := netip.ParseAddrPort(e.From)
	args := append(caller(e.Who, from), "what", e.What, "bytes", e.Bytes)
	if e.Token.ID != "" {
		args = append(args, "token", e.Token.ID, "issuer", e.Token.User, "source", e.Token.File)
	}
	if e.Target != "" {
		args = append(args, "target", e.Target)
	}
	if e.Why != "" {
		args = append(args, "why", e.Why)
	}
	l.Info("offload", args...)
}

// DelegatedLogon implements server.Auditor.
func (l *Log) DelegatedLogon(who *server.Identity, from netip.AddrPort) {
	l.Info("delegated", caller(who, from)...)
}

// caller is who did it, from where, and who acted for them.
func caller(who *server.Identity, from netip.AddrPort) []any {
	args := []any{"user", who.User, "sid", who.Token.User.String(), "from", from.String()}
	if len(who.Delegated) > 0 {
		args = append(args, "through", who.Delegated)
	}
	return args
}

// witness notices what cannot be written, and says so once until it can again.
type witness struct {
	w    io.Writer
	log  *slog.Logger
	lost atomic.Bool
}

func (w *witness) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	if err == nil {
		w.lost.Store(false)
	} else if w.lost.CompareAndSwap(false, true) && w.log != nil {
		w.log.Error("the audit log cannot be written as it should", "error", err)
	}
	return n, err
}
