package block

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"gabion/store"
)

// The scrubber does what a check does, again and again and slowly: it reads all that lives, so
// that rot is known while there still is another copy of the data somewhere. A state of the index that
// is held keeps compactions from letting old keys go, so chunk maps, and the records of the tree, are looked
// at some at a time, each time as they are then. What must agree with each other is compared in one
// state, and is damaged only if it is so twice. Reference counts are compared by windows, each of
// which reads all chunk maps: a pass compares as many as scrubLimits allows, and the next goes on there.

// ScrubOptions of a volume.
type ScrubOptions struct {
	// Rate bounds what is read, in bytes per second; 0 does not.
	Rate int64
	// Every is the time from the end of a pass, or the making of the volume, to the next one; 0:
	// there are passes only when they are asked for.
	Every time.Duration
}

// ScrubStatus says what the scrubber does and found.
type ScrubStatus struct {
	Running  bool
	Began    time.Time // the pass that runs, or ran last
	Finished time.Time // the last pass that came to its end
	Next     time.Time // when a pass is due; zero: none
	Passes   uint64    // that came to their end since the volume was opened
	Done     int64     // bytes of data that this pass verified
	Total    int64     // there were when it began
	Verified uint64    // bytes of data since the volume was opened
	// Problems is how many the last full pass found, or this one if those are more. Found are the
	// first of them: what a pass does not find any more is forgotten at its end.
	Problems int64
	Found    []Problem
	// LeftOut names what the last full pass did not compare, because that is too much for one; the
	// next pass goes on there.
	LeftOut []string
}

// ErrScrubbing: a pass runs.
var ErrScrubbing = errors.New("a scrub is running already")

var errScrubStopped = errors.New("scrub stopped")

const (
	// maxFound bounds the problems that are kept.
	maxFound = 100
	// scrubBatch is how many chunk maps are looked at in one state of the index.
	scrubBatch = 64
	// hurried divides the rate while the cleaner is short of room.
	hurried = 4

	// maxTwice bounds what is found once and looked for again.
	maxTwice = 1 << 12

	scrubBucket = "scrub"
	scrubKey    = "last"
)

// scrubber is the volume's; its goroutine runs from start to close.
type scrubber struct {
	v    *Volume
	kick chan struct{}
	quit chan struct{}
	done chan struct{}

	mu     sync.Mutex // guards the rest; a leaf
	status ScrubStatus
	asked  bool          // for a pass that has not begun
	cancel chan struct{} // of the pass that runs; nil as well once it is told to stop
	begun  uint64        // passes
	found  []scrubFound  // changed by the pass only
	count  int64         // of problems in this pass; changed by the pass only
	last   int64         // and in the last full one
	resume regionID      // where the next pass goes on to compare counts; changed by the pass only

	limits scrubLimits // set before there is a pass
}

// scrubLimits bounds what a pass compares.
type scrubLimits struct {
	records int // of the tree (inodes, streams, names and links) that are compared in one state
	window  int // the weight of the regions that are counted at once, see countWindow
	windows int // in one pass, at least: each reads all chunk maps
	// reads is how many bytes of chunk maps, for every byte of data that was verified, a pass may read for
	// more windows.
	reads int64
}

// defaultLimits are 21 MB for a window of 32 GiB of segments where little is shared, and 2 GiB where all is, and 64
// windows. Maps of 4 KiB pieces are a two-hundredth of the data, larger ones less, so that reading as much
// again is 200 windows, or more.
var defaultLimits = scrubLimits{records: 1 << 12, window: countWindow / 8, windows: 64, reads: 1}

// scrubFound is a problem and the pass that found it last.
type scrubFound struct {
	Problem
	Counts    bool   `json:",omitempty"` // it is about the counts of a region
	Container uint64 `json:",omitempty"`
	Region    uint16 `json:",omitempty"`

	pass uint64
}

// scrubRecord is what the volume remembers of the last full pass.
type scrubRecord struct {
	Finished time.Time
	Problems int64
	Found    []scrubFound
	LeftOut  []string `json:",omitempty"`
	// Container and Region are where the next goes on to compare counts.
	Container uint64 `json:",omitempty"`
	Region    uint16 `json:",omitempty"`
}

// start brings back what the last pass found and begins to wait for the next.
func (s *scrubber) start(v *Volume) {
	s.v, s.kick, s.quit, s.limits = v, make(chan struct{}, 1), make(chan struct{}), defaultLimits
	var r scrubRecord
	value, err := v.KV().Get(scrubBucket, scrubKey)
	if err == nil {
		err = json.Unmarshal(value, &r)
	}
	if err != nil && !isNotFound(err) {
		v.out.Warn("what the last scrub found is not known", "error", err)
	}
	s.status.Finished, s.last, s.status.LeftOut = r.Finished, r.Problems, r.LeftOut
	s.found, s.resume = r.Found, regionID{r.Container, r.Region}
	s.plan()
	if v.opt.Manual {
		return
	}
	s.done = make(chan struct{})
	go s.run()
}

// plan sets when the next pass is due.
func (s *scrubber) plan() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Next = time.Time{}
	if every := s.v.opt.Scrub.Every; every > 0 {
		from := s.status.Finished
		if from.IsZero() {
			from = s.v.Info().Created.Time()
		}
		if s.status.Began.After(from) {
			from = s.status.Began // it was stopped: that counts as well
		}
		s.status.Next = from.Add(every)
	}
}

func (s *scrubber) run() {
	defer close(s.done)
	for {
		due, open := s.wait()
		if !open {
			return
		}
		p := s.begin(due)
		if p == nil {
			continue
		}
		err := p.run()
		if err != nil && !errors.Is(err, errScrubStopped) && s.v.check() == nil {
			s.v.out.Error("scrub failed", "error", err)
		}
		s.plan()
	}
}

// wait returns when a pass is due or one was asked for. open is false when the volume is closed or stopped.
func (s *scrubber) wait() (due, open bool) {
	var at <-chan time.Time
	if next := s.Status().Next; !next.IsZero() {
		t := time.NewTimer(max(0, next.Sub(s.v.opt.Now())))
		defer t.Stop()
		at = t.C
	}
	select {
	case <-s.quit:
		return false, false
	case <-s.v.dead:
		return false, false
	case <-s.kick:
		return false, true
	case <-at:
		return true, true
	}
}

// close ends the scrubber. The volume is closed already, so that no other pass gets far.
func (s *scrubber) close() {
	if s.quit == nil {
		return
	}
	close(s.quit)
	s.v.StopScrub()
	if s.done != nil {
		<-s.done
	}
}

// StartScrub has the scrubber begin a pass now.
func (v *Volume) StartScrub() error {
	if err := v.check(); err != nil {
		return err
	}
	s := &v.scrub
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.Running {
		return ErrScrubbing
	}
	s.asked = true
	select {
	case s.kick <- struct{}{}:
	default:
	}
	return nil
}

// StopScrub ends the pass that runs, or takes back that one was asked for, and reports whether there was
// such: it does not come to its end then. The next comes when it is due.
func (v *Volume) StopScrub() bool {
	s := &v.scrub
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.asked || s.cancel != nil
	s.asked = false
	if s.cancel != nil {
		close(s.cancel)
		s.cancel = nil
	}
	return was
}

// ScrubStatus says what the scrubber does and found.
func (v *Volume) ScrubStatus() ScrubStatus { return v.scrub.Status() }

// Status is ScrubStatus.
func (s *scrubber) Status() ScrubStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Problems = max(s.last, s.count)
	for _, f := range s.found {
		st.Found = append(st.Found, f.Problem)
	}
	return st
}

// begin makes a pass the one that runs: from here on it can be stopped. It is nil when none is due and
// none is asked for any more.
func (s *scrubber) begin(due bool) *scrubPass {
	v := s.v
	total := v.space.living()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !due && !s.asked {
		return nil
	}
	s.asked = false
	s.status.Running, s.status.Began, s.status.Done, s.status.Total = true, v.opt.Now(), 0, total
	s.cancel, s.count = make(chan struct{}), 0
	s.begun++
	p := &scrubPass{s: s, number: s.begun, cancel: s.cancel}
	p.c = checker{v: v, pacer: p.pace, weight: s.limits.window}
	return p
}

// run verifies the volume once. That a full pass is over shows when what it found is recorded.
func (p *scrubPass) run() error {
	s, v := p.s, p.s.v
	err := p.all()
	s.mu.Lock()
	if err == nil && s.cancel == nil {
		err = errScrubStopped // behind the last that it read
	}
	s.cancel = nil // it cannot be stopped any more
	s.mu.Unlock()
	if s.count > 0 {
		v.out.Error("scrub found damage", "problems", s.count)
	}
	full := err == nil
	record := scrubRecord{Finished: v.opt.Now(), Problems: s.count, LeftOut: p.left, Container: p.at.container, Region: p.at.region}
	if full {
		for _, f := range s.found {
			if f.pass == p.number {
				record.Found = append(record.Found, f)
			} else if f.Counts && !p.compared(regionID{f.Container, f.Region}) { // nobody looked
				record.Found = append(record.Found, f)
				record.Problems++
			}
		}
		s.resume = p.at
		err = s.save(record)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Running = false
	if full {
		s.status.Passes, s.status.Finished, s.status.LeftOut, s.last = s.status.Passes+1, record.Finished, record.LeftOut, record.Problems
		s.found = record.Found
	}
	return err
}

func (s *scrubber) save(r scrubRecord) error {
	value, err := json.Marshal(r)
	if err == nil {
		_, err = s.v.KV().Apply([]store.KVEdit{{Bucket: scrubBucket, Key: scrubKey, Value: value}})
	}
	return err
}

// scrubPass is one pass.
type scrubPass struct {
	s      *scrubber
	c      checker
	number uint64
	cancel chan struct{}
	free   time.Time // when what was read so far is paid for
	left   []string  // see ScrubStatus.LeftOut

	// Counts are compared from first to at, around behind the last.
	first, at regionID
	around    bool
	whole     bool // all were
}

func (p *scrubPass) all() error {
	p.c.how.Found = p.found
	p.c.how.Progress = p.progress
	for _, step := range []func() error{p.c.tables, p.tree, p.chunks, p.counts} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// pace waits until n more bytes may be read: at most at the rate, and when it is the turn of
// background work.
func (p *scrubPass) pace(n int) error {
	v, rate := p.s.v, p.s.v.opt.Scrub.Rate
	if err := v.check(); err != nil {
		return err
	}
	v.takeTurn(n, p.cancel)
	if now := time.Now(); p.free.Before(now) {
		p.free = now
	}
	t := time.NewTimer(time.Until(p.free))
	defer t.Stop()
	if rate > 0 {
		if v.pressed() {
			rate = max(1, rate/hurried)
		}
		p.free = p.free.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	}
	select {
	case <-p.cancel:
	case <-v.dead:
	case <-t.C:
	}
	select {
	case <-p.cancel: // first of all, whatever else has come to pass
		return errScrubStopped
	default:
		return v.check()
	}
}

func (p *scrubPass) progress(done, _ int64) {
	s := p.s
	s.mu.Lock()
	s.status.Verified += uint64(done - s.status.Done)
	s.status.Done = done
	s.mu.Unlock()
}

// found takes a problem in. Only those that are kept are told of one by one: a lost disk is many.
func (p *scrubPass) found(x Problem) {
	s := p.s
	s.mu.Lock()
	s.count++
	at := slices.IndexFunc(s.found, func(f scrubFound) bool {
		f.Path = x.Path // it may have another name now
		return f.Problem == x
	})
	known := at >= 0 && s.found[at].pass == p.number || at < 0 && len(s.found) >= maxFound
	s.mu.Unlock()
	if known {
		return
	}
	if x.File != 0 {
		if path := s.v.pathOf(x.File); path != "" {
			x.Path = path
		}
	}
	s.v.out.Error("scrub found damage", "problem", x.String())
	s.mu.Lock()
	defer s.mu.Unlock()
	if at < 0 {
		at, s.found = len(s.found), append(s.found, scrubFound{})
	}
	s.found[at] = scrubFound{Problem: x, pass: p.number}
	if id := p.c.counted; id != nil {
		f := &s.found[at]
		f.Counts, f.Container, f.Region = true, id.container, id.region
	}
}

// twice returns step such that what it finds counts only if it finds the same in a later
// state again: in between, a change that it saw half of has come to its end.
func (p *scrubPass) twice(step func() error) func() error {
	return func() error {
		before := map[Problem]bool{}
		p.c.how.Found = func(x Problem) {
			if len(before) < maxTwice {
				before[x] = true
			}
		}
		defer func() { p.c.how.Found = p.found }()
		if err := step(); err != nil || len(before) == 0 {
			return err
		}
		p.c.how.Found = func(x Problem) {
			if before[x] {
				p.found(x)
			}
		}
		return step()
	}
}

// tree is checker.tree by slices, each in a state of its own.
func (p *scrubPass) tree() error {
	c := &p.c
	for from := []byte{treeKinds[0]}; from != nil; {
		var to []byte
		again := false
		err := p.twice(func() (err error) {
			c.hold(p.s.v.index.NewSnapshot())
			defer c.drop()
			if !again {
				again = true
				to, err = c.treeSlice(from, nil, p.s.limits.records)
				return err
			}
			for at := from; err == nil && at != nil && (to == nil || bytes.Compare(at, to) < 0); {
				at, err = c.treeSlice(at, to, 0)
			}
			return err
		})()
		if err != nil {
			return err
		}
		from = to
	}
	return nil
}

var errBatch = errors.New("enough for one state")

// chunks is checker.chunks, in many states.
func (p *scrubPass) chunks() error {
	for from := []byte{kChunk}; from != nil; {
		var err error
		if from, err = p.someChunks(from); err != nil {
			return err
		}
	}
	return nil
}

// someChunks looks at the chunks from a key on and returns where to go on.
func (p *scrubPass) someChunks(from []byte) (next []byte, err error) {
	c := &p.c
	c.hold(p.s.v.index.NewSnapshot())
	defer c.drop()
	// The index knows a change before its writer has copied the data, and the log's memory says nothing of
	// the disk: it is verified behind a sync.
	if err := p.s.v.Sync(); err != nil {
		return nil, err
	}
	walk, n := chunkWalk{c: c}, 0
	var rest []byte
	next, err = c.scanFrom(from, []byte{kChunk + 1}, func(key, value []byte) error {
		if n++; n > scrubBatch && !bytes.HasPrefix(key, walk.body) {
			rest = slices.Clone(key)
			return errBatch
		}
		return walk.visit(key, value)
	})
	if errors.Is(err, errBatch) {
		return rest, nil
	}
	return next, err
}

// counts compares windows of regions, each in a state of its own, from where the last pass stopped.
func (p *scrubPass) counts() error {
	s, c := p.s, &p.c
	p.first, p.at = s.resume, s.resume
	began, verified := c.indexed, c.sum.Bytes
	for windows := 0; !p.whole; windows++ {
		if windows >= s.limits.windows && c.indexed-began >= verified*s.limits.reads {
			p.left = []string{fmt.Sprintf("the reference counts of %d %% of the segments", p.uncompared())}
			return nil
		}
		var end regionID
		err := p.twice(func() error {
			c.take()
			defer c.drop()
			w, err := c.window(p.at)
			if err == nil {
				w.report(c)
				end = w.end
			}
			return err
		})()
		if err != nil {
			return err
		}
		p.at = end
		last := end == regionID{}
		p.whole = p.around && (last || !end.less(p.first)) || last && p.first == regionID{}
		p.around = p.around || last
	}
	p.at = regionID{}
	return nil
}

// compared reports whether the pass compared the counts of a region.
func (p *scrubPass) compared(id regionID) bool {
	if p.around {
		return p.whole || !id.less(p.first) || id.less(p.at)
	}
	return p.whole || !id.less(p.first) && id.less(p.at)
}

// uncompared returns how many of a hundred segments the pass did not compare the counts of, at least one.
func (p *scrubPass) uncompared() int {
	s := &p.s.v.space
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := 0
	for seq := range s.segs {
		if !p.compared(regionID{container: seq}) {
			n++
		}
	}
	return max(1, 100*n/max(1, len(s.segs)))
}

// pathOf returns the path of a live file below the root, "" when it has none.
func (v *Volume) pathOf(id store.FileID) string {
	path := ""
	for id != store.RootID {
		n, err := v.OpenID(store.Live, id)
		if err != nil {
			return ""
		}
		links, err := n.Names()
		n.Close()
		if err != nil || len(links) == 0 || len(path) > 1<<15 {
			return ""
		}
		path, id = `\`+links[0].Name+path, links[0].Parent
	}
	if path == "" {
		return `\`
	}
	return path
}
