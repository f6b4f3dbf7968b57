package shadow

import (
	"time"

	"gabion/protocol/fsrvp"
)

// job is the work of Prepare, Commit or Expose, which may take longer than the client
// waits; asked for again it is waited for, not done twice.
type job struct {
	op     uint16
	done   chan struct{}
	err    error // set before done is closed
	orphan bool  // its set was removed; guarded by the agent's turn
}

func (j *job) over() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// run does the work of a method, or joins it, and waits as long as the client says. The
// turn is given up while it waits.
func (a *Agent) run(s *Set, q *fsrvp.Request, op uint16, work func(*Set) error) fsrvp.Result {
	j := s.job
	switch {
	case j == nil:
		j = &job{op: op, done: make(chan struct{})}
		s.job = j
		own := s.clone()
		a.jobs.Go(func() { a.work(s, own, j, work) })
	case j.op != op:
		return fsrvp.BadState
	}
	a.disarm()
	expired := make(chan struct{})
	stop := a.opt.Clock.After(time.Duration(q.TimeoutMS)*time.Millisecond, func() { close(expired) })
	<-a.turn
	select {
	case <-j.done:
	case <-expired:
	}
	stop()
	a.turn <- struct{}{}
	if a.sets[s.ID] != s {
		return fsrvp.BadState // aborted meanwhile
	}
	a.arm(a.opt.Timeouts.Short)
	switch {
	case !j.over():
		return fsrvp.WaitTimeout
	}
	if s.job == j {
		s.job = nil
	}
	if j.err == nil {
		return fsrvp.OK
	}
	if op == fsrvp.OpCommitShadowCopySet {
		s.Status = Added
	}
	return a.failed("job", j.err)
}

// work runs a job on a goroutine of its own, on a set of its own: others look at s meanwhile.
func (a *Agent) work(s, own *Set, j *job, work func(*Set) error) {
	err := work(own)
	a.turn <- struct{}{}
	defer func() { <-a.turn }()
	s.Copies = own.Copies // what was done, also if it was not all
	j.err = err
	close(j.done)
	if j.orphan {
		if err := a.scrap(s); err != nil {
			a.opt.Log.Error("shadow copy set cannot be removed", "set", s.ID, "reason", err)
		}
	}
}
