package shadow

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/fsrvp"
)

// Backend does what the state machine decides. Its calls may wait for the log; none but
// Share and Uses is made twice at a time for one set.
type Backend interface {
	// Share finds the folder of a share: found says that the share exists, supported that
	// there can be shadow copies of it.
	Share(name string) (folder Folder, found, supported bool)
	// Prepare does ahead of Commit what would take long in it.
	Prepare(s *Set) error
	// Snapshot makes one snapshot of all the set's folders and notes it in the copies.
	Snapshot(s *Set) error
	// Expose puts the copy's share on the server.
	Expose(c *Copy) error
	// Freeze makes the share read-only and closes its handles.
	Freeze(c *Copy) error
	// Unexpose takes the share and its clone away.
	Unexpose(c *Copy) error
	// Delete removes the snapshot of copies that no other copy of the set shows.
	Delete(s *Set, gone []*Copy) error
	// Uses counts the tree connects to the copy's share.
	Uses(c *Copy) int
	// Save makes the state durable; a nil set is one that is gone.
	Save(id dtyp.GUID, s *Set, ctx Context) error
	// Load returns what was saved.
	Load() ([]*Set, Context, error)
}

// Context is what SetContext set, for whom.
type Context struct {
	Set     bool
	Value   fsrvp.Context
	Client  string // address
	Retries int    // ShadowCopyClientRetryCount
}

// Clock is time, to be replaced in tests.
type Clock interface {
	Now() time.Time
	// After calls fn once in d unless stop is called before.
	After(d time.Duration, fn func()) (stop func() bool)
}

// Timeouts of the message sequence timer (MS-FSRVP 3.1.2), and what is ours to choose.
type Timeouts struct {
	Short, Long time.Duration
	// Keep is how long shadow copies outlive a backup that does not delete them although
	// it should (contexts with auto-release), if nobody uses them.
	Keep time.Duration
}

// DefaultTimeouts are the protocol's.
var DefaultTimeouts = Timeouts{Short: 180 * time.Second, Long: 1800 * time.Second, Keep: 24 * time.Hour}

// Options of an Agent.
type Options struct {
	Backend  Backend
	Name     string // OwnerMachineName
	Clock    Clock  // nil: the real one
	Timeouts Timeouts
	Log      *slog.Logger
}

// maxRetries is how often a client may begin again without having finished
// (MS-FSRVP note 5: Windows Server 2012 R2 and later).
const maxRetries = 5

// maxCopies bounds a set; Windows takes no more shares either.
const maxCopies = 64

// Agent is the server of MS-FSRVP 3.1.
type Agent struct {
	opt Options

	// turn is held by the call that is in progress: the protocol has one sequence of
	// messages for the whole server, and a call may wait for the log. Jobs run outside.
	turn chan struct{}
	ctx  Context
	sets map[dtyp.GUID]*Set

	jobs   sync.WaitGroup
	stop   func() bool // of the message sequence timer
	epoch  int         // of the timer: a stopped one may be on its way already
	reaper func() bool
	closed bool
}

// Open resumes what the agent of the run before had answered for, and exposes its shares.
func Open(opt Options) (*Agent, error) {
	if opt.Timeouts == (Timeouts{}) {
		opt.Timeouts = DefaultTimeouts
	}
	if opt.Clock == nil {
		opt.Clock = wallClock{}
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	a := &Agent{opt: opt, turn: make(chan struct{}, 1), sets: map[dtyp.GUID]*Set{}}
	sets, ctx, err := opt.Backend.Load()
	if err != nil {
		return nil, err
	}
	a.ctx = ctx
	for _, s := range sets {
		a.resume(s)
	}
	if a.unfinished() != nil || a.ctx.Set {
		a.arm(opt.Timeouts.Short)
	}
	a.reap()
	return a, nil
}

// resume takes up a set after a restart.
func (a *Agent) resume(s *Set) {
	if s.Status == CreationInProgress {
		s.Status = Added // MS-FSRVP 3.1.4.5: as after a wait that failed
	}
	for _, c := range s.Copies {
		if c.Exposed == "" {
			continue
		}
		if err := a.opt.Backend.Expose(c); err != nil {
			a.opt.Log.Error("shadow copy cannot be exposed again", "share", c.Exposed, "reason", err)
		} else if s.Status == Recovered {
			if err := a.opt.Backend.Freeze(c); err != nil {
				a.opt.Log.Error("shadow copy stays writable", "share", c.Exposed, "reason", err)
			}
		}
	}
	a.sets[s.ID] = s
}

// Close stops the timers and waits for jobs; what is saved stays for the next start.
func (a *Agent) Close() {
	a.turn <- struct{}{}
	a.closed = true
	a.disarm()
	if a.reaper != nil {
		a.reaper()
	}
	<-a.turn
	a.jobs.Wait()
}

// unfinished is the one set that is not Recovered, nil if there is none.
func (a *Agent) unfinished() *Set {
	for _, s := range a.sets {
		if s.Status != Recovered {
			return s
		}
	}
	return nil
}

// arm starts the message sequence timer anew.
func (a *Agent) arm(d time.Duration) {
	a.disarm()
	epoch := a.epoch
	a.stop = a.opt.Clock.After(d, func() {
		defer a.recovered()
		a.expire(epoch)
	})
}

// recovered, deferred, logs a panic of a timer instead of ending the process.
func (a *Agent) recovered() {
	if p := recover(); p != nil {
		a.opt.Log.Error("panic", "at", "a timer of shadow copies", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
}

func (a *Agent) disarm() {
	a.epoch++
	if a.stop != nil {
		a.stop()
		a.stop = nil
	}
}

// expire is the message sequence timer's event (MS-FSRVP 3.1.5).
func (a *Agent) expire(epoch int) {
	a.turn <- struct{}{}
	defer func() { <-a.turn }()
	if a.closed || epoch != a.epoch {
		return
	}
	a.forget()
	if s := a.unfinished(); s != nil {
		a.opt.Log.Warn("shadow copy set abandoned by its client is removed", "set", s.ID)
		if err := a.remove(s); err != nil {
			a.opt.Log.Error("shadow copy set cannot be removed", "set", s.ID, "reason", err)
		}
	} else if err := a.save(dtyp.GUID{}, nil); err != nil {
		a.opt.Log.Error("state of shadow copies cannot be kept", "reason", err)
	}
}

// forget ends the client's context.
func (a *Agent) forget() { a.ctx = Context{Retries: a.ctx.Retries} }

func (a *Agent) save(id dtyp.GUID, s *Set) error { return a.opt.Backend.Save(id, s, a.ctx) }

// remove deletes a set with all it has. A job that still runs for it does that
// when it ends.
func (a *Agent) remove(s *Set) error {
	delete(a.sets, s.ID)
	if s.job != nil && !s.job.over() {
		s.job.orphan = true
		return a.save(s.ID, nil)
	}
	return errors.Join(a.scrap(s), a.save(s.ID, nil))
}

// scrap takes away what a set has on the server and in the store.
func (a *Agent) scrap(s *Set) (err error) {
	for _, c := range s.Copies {
		if c.Exposed != "" {
			err = errors.Join(err, a.opt.Backend.Unexpose(c))
		}
	}
	gone := s.Copies
	s.Copies = nil
	return errors.Join(err, a.opt.Backend.Delete(s, gone))
}

// reap removes the recovered sets that should have gone with their backup, and
// looks again later.
func (a *Agent) reap() {
	now := a.opt.Clock.Now()
	for _, s := range a.sets {
		if s.Status != Recovered || !s.Context.AutoRelease() || now.Sub(s.Recovered) < a.opt.Timeouts.Keep || a.used(s) {
			continue
		}
		a.opt.Log.Info("shadow copy set of a finished backup is removed", "set", s.ID)
		if err := a.remove(s); err != nil {
			a.opt.Log.Error("shadow copy set cannot be removed", "set", s.ID, "reason", err)
		}
	}
	a.reaper = a.opt.Clock.After(max(a.opt.Timeouts.Keep/24, time.Minute), func() {
		defer a.recovered()
		a.turn <- struct{}{}
		defer func() { <-a.turn }()
		if !a.closed {
			a.reap()
		}
	})
}

func (a *Agent) used(s *Set) bool {
	for _, c := range s.Copies {
		if a.opt.Backend.Uses(c) > 0 {
			return true
		}
	}
	return false
}

// covers reports whether a copy of the folder is complete (MS-FSRVP 3.1.4.10).
func (a *Agent) covers(f Folder) bool {
	for _, s := range a.sets {
		if s.Status < Committed {
			continue
		}
		for _, c := range s.Copies {
			if c.Folder == f.ID {
				return true
			}
		}
	}
	return false
}

func sameShare(a, b string) bool { return strings.EqualFold(a, b) }

type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }

func (wallClock) After(d time.Duration, fn func()) (stop func() bool) {
	return time.AfterFunc(d, fn).Stop
}
