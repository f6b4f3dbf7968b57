package shadow

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/fsrvp"
	"gabion/store"
)

// fake is a Backend that notes what it is told. "vms" and "sql" exist, "again" shows the folder
// of vms, "ro" cannot be snapshotted.
type fake struct {
	saved   map[dtyp.GUID]*Set
	ctx     Context
	exposed map[string]bool // to writable
	snaps   int
	fail    string        // the method that fails next
	hold    chan struct{} // jobs wait for it
	uses    int
}

func newFake() *fake { return &fake{saved: map[dtyp.GUID]*Set{}, exposed: map[string]bool{}} }

var errFake = errors.New("told to fail")

func (f *fake) step(what string) error {
	if f.hold != nil {
		<-f.hold
	}
	if f.fail == what {
		f.fail = ""
		return errFake
	}
	return nil
}

func (f *fake) Share(name string) (Folder, bool, bool) {
	id, ok := map[string]store.FileID{"vms": 2, "sql": 3, "again": 2, "ro": 4}[strings.ToLower(name)]
	return Folder{id}, ok, name != "ro"
}
func (f *fake) Prepare(*Set) error { return f.step("prepare") }
func (f *fake) Snapshot(s *Set) error {
	if err := f.step("snapshot"); err != nil {
		return err
	}
	f.snaps++
	for _, c := range s.Copies {
		c.View = 7
	}
	return nil
}
func (f *fake) Expose(c *Copy) error {
	if err := f.step("expose"); err != nil {
		return err
	}
	f.exposed[c.Exposed] = c.Writable
	return nil
}
func (f *fake) Freeze(c *Copy) error   { f.exposed[c.Exposed] = false; return nil }
func (f *fake) Unexpose(c *Copy) error { delete(f.exposed, c.Exposed); return nil }
func (f *fake) Delete(s *Set, gone []*Copy) error {
	if len(gone) > 0 && gone[0].View != 0 && len(s.Copies) == 0 {
		f.snaps--
	}
	return nil
}
func (f *fake) Uses(*Copy) int { return f.uses }
func (f *fake) Save(id dtyp.GUID, s *Set, ctx Context) error {
	f.ctx = ctx
	switch {
	case id.IsZero():
	case s == nil:
		delete(f.saved, id)
	default:
		f.saved[id] = s.clone()
	}
	return nil
}
func (f *fake) Load() (sets []*Set, ctx Context, err error) {
	for _, s := range f.saved {
		sets = append(sets, s.clone())
	}
	return sets, f.ctx, nil
}

// ticker is a Clock that stands still until it is advanced.
type ticker struct {
	mu     sync.Mutex
	now    time.Time
	timers []*event
}

type event struct {
	at  time.Time
	fn  func()
	off bool
}

func (c *ticker) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *ticker) After(d time.Duration, fn func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := &event{at: c.now.Add(d), fn: fn}
	c.timers = append(c.timers, e)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		e.off = true
		return true
	}
}

func (c *ticker) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.timers)
}

func (c *ticker) advance(d time.Duration) {
	end := c.Now().Add(d)
	for {
		c.mu.Lock()
		var next *event
		for _, e := range c.timers {
			if !e.off && !e.at.After(end) && (next == nil || e.at.Before(next.at)) {
				next = e
			}
		}
		if next == nil {
			c.now = end
			c.mu.Unlock()
			return
		}
		c.now, next.off = next.at, true
		c.mu.Unlock()
		next.fn()
	}
}

// play runs lines such as "commit => ZERO": a method with its arguments, and the result.
// $set and $copy are what Start and Add returned last; "wait" advances the clock,
// "restart" begins a new agent on what was saved.
type play struct {
	t     *testing.T
	f     *fake
	clock *ticker
	a     *Agent
	set   dtyp.GUID
	copy  dtyp.GUID
	map1  *fsrvp.Mapping
}

func newPlay(t *testing.T) *play {
	p := &play{t: t, f: newFake(), clock: &ticker{now: time.Unix(1_700_000_000, 0)}}
	p.open()
	return p
}

func (p *play) open() {
	a, err := Open(Options{Backend: p.f, Name: "ARRAY", Clock: p.clock})
	if err != nil {
		p.t.Fatal(err)
	}
	p.a = a
}

var ops = map[string]uint16{
	"version": fsrvp.OpGetSupportedVersion, "context": fsrvp.OpSetContext, "start": fsrvp.OpStartShadowCopySet, "add": fsrvp.OpAddToShadowCopySet,
	"prepare": fsrvp.OpPrepareShadowCopySet, "commit": fsrvp.OpCommitShadowCopySet, "expose": fsrvp.OpExposeShadowCopySet,
	"complete": fsrvp.OpRecoveryCompleteShadowCopySet, "abort": fsrvp.OpAbortShadowCopySet, "supported": fsrvp.OpIsPathSupported,
	"copied": fsrvp.OpIsPathShadowCopied, "mapping": fsrvp.OpGetShareMapping, "delete": fsrvp.OpDeleteShareMapping,
}

func (p *play) line(line string) {
	p.t.Helper()
	words := strings.Fields(line)
	switch words[0] {
	case "wait":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			p.t.Fatal(err)
		}
		p.clock.advance(d)
		return
	case "restart":
		p.a.Close()
		p.f.exposed = map[string]bool{}
		p.open()
		return
	case "fail":
		p.f.fail = words[1]
		return
	case "snapshots":
		if n, _ := strconv.Atoi(words[1]); p.f.snaps != n {
			p.t.Errorf("%s: there are %d", line, p.f.snaps)
		}
		return
	case "exposed":
		var got []string
		for name, w := range p.f.exposed {
			base, _, _ := strings.Cut(name, "@")
			got = append(got, map[bool]string{true: "rw:", false: "ro:"}[w]+base)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != strings.Join(words[1:], " ") {
			p.t.Errorf("%s: exposed are %v", line, got)
		}
		return
	}
	q, client := p.request(words)
	r := p.a.Call(ops[words[0]], &q, client)
	want := words[slices.Index(words, "=>")+1:]
	got := []string{r.Result.String()}
	if words[0] == "copied" && r.Result == fsrvp.OK {
		got = append(got, fmt.Sprint(r.Present))
	}
	if !slices.Equal(got, want) {
		p.t.Fatalf("%s: got %v", line, got)
	}
	switch {
	case r.Result != fsrvp.OK:
		if !r.ID.IsZero() || r.Mapping != nil {
			p.t.Errorf("%s: a failed call returns %+v", line, r)
		}
	case words[0] == "start":
		p.set = r.ID
	case words[0] == "add":
		p.copy = r.ID
	case words[0] == "mapping":
		p.map1 = r.Mapping
	}
}

func (p *play) request(words []string) (q fsrvp.Request, client string) {
	client = "10.0.0.1"
	q = fsrvp.Request{SetID: p.set, CopyID: p.copy, ClientID: dtyp.NewGUID(), ShareName: `\\array\vms`, Level: 1, TimeoutMS: 60000}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "ctx":
			v, _ := strconv.ParseUint(value, 0, 32)
			q.Context = fsrvp.Context(v)
		case "from":
			client = value
		case "share":
			q.ShareName = value
		case "set":
			q.SetID = map[string]dtyp.GUID{"zero": {}, "other": dtyp.NewGUID()}[value]
		case "copy":
			q.CopyID = map[string]dtyp.GUID{"zero": {}, "other": dtyp.NewGUID()}[value]
		case "client":
			q.ClientID = dtyp.GUID{}
		case "level":
			q.Level = 2
		}
	}
	return q, client
}

const (
	inProgress = "FSRVP_E_SHADOW_COPY_SET_IN_PROGRESS"
	mismatch   = "FSRVP_E_SHADOWCOPYSET_ID_MISMATCH"
	badState   = "FSRVP_E_BAD_STATE"
	notFound   = "FSRVP_E_OBJECT_NOT_FOUND"
)

// The rows of the methods' tables in MS-FSRVP 3.1.4, and of its timer.
func TestStateMachine(t *testing.T) {
	const upToExposed = "context ctx=0x400000 => ZERO; start => ZERO; add => ZERO; prepare => ZERO; commit => ZERO; expose => ZERO"
	for name, script := range map[string]string{
		"backup of one share": upToExposed + "; exposed rw:vms; mapping => ZERO; copied => ZERO true; complete => ZERO; exposed ro:vms; copied => ZERO true;" +
			"abort => " + badState + "; delete => ZERO; exposed; snapshots 0; copied => ZERO false",
		"read-only from the start": "context ctx=0x2 => ZERO; start => ZERO; add => ZERO; commit => ZERO; expose => ZERO; exposed ro:vms",
		"contexts": "context ctx=0x400002 => FSRVP_E_UNSUPPORTED_CONTEXT; context ctx=0x80 => FSRVP_E_UNSUPPORTED_CONTEXT; context ctx=0x19 => ZERO;" +
			"context ctx=0x9 => ZERO; context ctx=0x10 => ZERO",
		"another client waits its turn": "context => ZERO; context from=10.0.0.2 => " + inProgress + "; start => ZERO; start => " + inProgress +
			"; abort => ZERO; context from=10.0.0.2 => ZERO",
		"beginning again drops the set": upToExposed + "; context => ZERO; exposed; snapshots 0; commit => " + mismatch + "; start => ZERO",
		"five times at most": "context => ZERO; context => ZERO; context => ZERO; context => ZERO; context => ZERO; context => ZERO; context => " + inProgress +
			"; context => ZERO",
		"start": "start => " + badState + "; context => ZERO; start client=zero => E_INVALIDARG; start => ZERO",
		"add": "context => ZERO; start => ZERO; add share=vms => E_INVALIDARG; add share=\\\\a\\none => " + notFound + "; add share=\\\\a\\ro => FSRVP_E_NOT_SUPPORTED;" +
			"add set=other => " + mismatch + "; add set=zero => E_INVALIDARG; add share=\\\\other\\VMS\\ => ZERO; add => FSRVP_E_OBJECT_ALREADY_EXISTS;" +
			"add share=\\\\a\\again => FSRVP_E_OBJECT_ALREADY_EXISTS; add share=\\\\a\\sql => ZERO; commit => ZERO; add share=\\\\a\\sql => " + badState,
		"order of calls": "context => ZERO; start => ZERO; prepare => " + badState + "; commit => " + badState + "; expose => " + badState + "; complete => " + badState +
			"; mapping => " + badState + "; add => ZERO; delete => " + badState + "; expose => " + badState + "; commit => ZERO; prepare => " + badState +
			"; commit => " + badState + "; complete => " + badState + "; expose => ZERO; expose => " + badState,
		"mapping": upToExposed + "; mapping level=2 => E_INVALIDARG; mapping set=other => " + mismatch + "; mapping copy=other => E_INVALIDARG;" +
			"mapping share=\\\\a\\sql => E_INVALIDARG; mapping share=\\\\A\\VMS\\ => ZERO; complete => ZERO; mapping => " + badState,
		"deleting": upToExposed + "; delete set=other => " + notFound + "; delete copy=other => " + notFound + "; delete share=\\\\a\\sql => " + notFound +
			"; delete set=zero => E_INVALIDARG; delete copy=zero => E_INVALIDARG; delete => ZERO; delete => " + notFound + "; context from=10.0.0.2 => ZERO",
		"two shares are one snapshot": "context => ZERO; start => ZERO; add share=\\\\a\\sql => ZERO; add => ZERO; commit => ZERO; expose => ZERO; snapshots 1;" +
			"exposed ro:sql ro:vms; delete => ZERO; snapshots 1; exposed ro:sql",
		"abort": "context => ZERO; start => ZERO; abort set=zero => E_INVALIDARG; abort set=other => " + mismatch + "; abort => ZERO; abort => " + mismatch + "; start => " + badState,
		"timer": "context => ZERO; wait 181s; start => " + badState + "; context => ZERO; start => ZERO; wait 179s; add => ZERO; wait 1799s; prepare => ZERO; wait 1799s;" +
			"commit => ZERO; wait 179s; expose => ZERO; wait 179s; mapping => ZERO; wait 1799s; complete => ZERO; wait 23h; exposed ro:vms",
		"abandoned":                       upToExposed + "; wait 181s; exposed; snapshots 0; mapping => " + mismatch + "; context from=10.0.0.2 => ZERO",
		"refused calls leave the timer":   "context => ZERO; start => ZERO; wait 170s; commit => " + badState + "; wait 11s; abort => " + mismatch,
		"a backup that does not clean up": upToExposed + "; complete => ZERO; wait 26h; exposed; snapshots 0",
		"persistent copies stay":          "context ctx=0x19 => ZERO; start => ZERO; add => ZERO; commit => ZERO; expose => ZERO; complete => ZERO; wait 1000h; exposed ro:vms",
		"errors": "context => ZERO; start => ZERO; add => ZERO; fail prepare; prepare => E_FAIL; prepare => ZERO; fail snapshot; commit => E_FAIL; commit => ZERO;" +
			"fail expose; expose => E_FAIL; expose => ZERO; exposed ro:vms",
		"restart anywhere": "context ctx=0x400000 => ZERO; restart; start => ZERO; restart; context from=10.0.0.2 => " + inProgress + "; add => ZERO; restart; commit => ZERO;" +
			"restart; expose => ZERO; restart; exposed rw:vms; mapping => ZERO; complete => ZERO; restart; exposed ro:vms; delete => ZERO; snapshots 0",
		"restart and nobody comes": upToExposed + "; restart; wait 181s; exposed; snapshots 0",
		"supported":                "supported => ZERO; supported share=\\\\a\\none => " + notFound + "; supported share=\\\\a\\ro => FSRVP_E_NOT_SUPPORTED; copied share=x => E_INVALIDARG",
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlay(t)
			for line := range strings.SplitSeq(script, ";") {
				p.line(strings.TrimSpace(line))
			}
			p.a.Close()
		})
	}
}

func TestMappingNamesTheExposedShare(t *testing.T) {
	p := newPlay(t)
	for _, l := range []string{"context => ZERO", "start => ZERO", `add share=\\array\vms\ => ZERO`, "commit => ZERO", "expose => ZERO", "mapping => ZERO"} {
		p.line(l)
	}
	m := p.map1
	if want := "vms@{" + strings.ToLower(p.copy.String()) + "}"; m.ExposedShare != want || m.ShareUNC != `\\array\vms\` || m.SetID != p.set || m.CopyID != p.copy {
		t.Errorf("%+v, want share %s", m, want)
	}
	p.f.uses = 1
	p.line("complete => ZERO")
	p.line("wait 48h")
	if len(p.f.exposed) != 1 {
		t.Error("a share in use was taken away")
	}
	p.f.uses = 0
	p.line("wait 2h")
	if len(p.f.exposed) != 0 {
		t.Error("the share stays although nobody uses it")
	}
}

// Work that takes longer than its caller waits is gone on with, not begun again.
func TestSlowWork(t *testing.T) {
	p := newPlay(t)
	for _, l := range []string{"context => ZERO", "start => ZERO", "add => ZERO"} {
		p.line(l)
	}
	p.f.hold = make(chan struct{})
	call := func(method string) chan string {
		q, client := p.request([]string{method})
		out := make(chan string, 1)
		timers := p.clock.count()
		go func() { r := p.a.Call(ops[method], &q, client); out <- r.Result.String() }()
		for { // until the call waits
			p.a.turn <- struct{}{}
			waits := p.clock.count() > timers
			<-p.a.turn
			if waits {
				return out
			}
		}
	}
	first := call("commit")
	p.clock.advance(61 * time.Second)
	if r := <-first; r != "FSSAGENT_E_TIMEOUT" {
		t.Fatalf("first commit: %s", r)
	}
	p.line("add => " + badState)
	second := call("commit")
	close(p.f.hold)
	if r := <-second; r != "ZERO" || p.f.snaps != 1 {
		t.Errorf("second commit: %s, %d snapshots", r, p.f.snaps)
	}
	p.f.hold = make(chan struct{})
	third := call("expose")
	p.clock.advance(61 * time.Second)
	if r := <-third; r != "FSRVP_E_WAIT_TIMEOUT" {
		t.Fatalf("expose: %s", r)
	}
	p.line("abort => ZERO")
	close(p.f.hold)
	p.a.Close()
	if len(p.f.exposed) != 0 || p.f.snaps != 0 {
		t.Errorf("an aborted set leaves %v and %d snapshots", p.f.exposed, p.f.snaps)
	}
}
