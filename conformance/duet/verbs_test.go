package duet

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"gabion/conformance/client"
	"gabion/conformance/transcript"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/smb2"
)

// verb is something a player does.
type verb struct {
	least int // arguments
	run   func(p *play, who string, args []string) string
}

// verbs: HANDLE names an open of the transcript, REQUEST a request on its way. Flags of open are
// those of transcript.Flag and lease=RWH, parent=HANDLE (whose lease is the folder's),
// oplock=II, X or B.
var verbs map[string]verb

func init() {
	verbs = map[string]verb{
		"open":   {2, (*play).open},          // HANDLE PATH FLAG…
		"start":  {2, (*play).start},         // open, without waiting
		"lock":   {4, on(1, (*play).lock)},   // REQUEST HANDLE OFFSET LENGTH [shared] [now]
		"unlock": {3, on(0, (*play).unlock)}, // HANDLE OFFSET LENGTH
		"watch":  {2, on(1, (*play).watch)},  // REQUEST HANDLE [tree] [BYTES]
		"wait":   {1, (*play).wait},          // REQUEST: what came of it
		"cancel": {1, (*play).cancel},        // REQUEST
		"break":  {1, (*play).broken},        // HANDLE: the break of its lease or oplock
		"ack":    {2, (*play).ack},           // HANDLE STATE
		"close":  {1, on(0, (*play).close)},  // HANDLE
		"read":   {3, on(0, (*play).read)},   // HANDLE OFFSET LENGTH
		"write":  {3, on(0, (*play).write)},  // HANDLE OFFSET TEXT
		"size":   {2, on(0, (*play).size)},   // HANDLE BYTES
		"rename": {3, on(1, (*play).rename)}, // REQUEST HANDLE PATH [replace]
		"delete": {2, on(1, (*play).delete)}, // REQUEST HANDLE
		"leave":  {0, (*play).leave},         // the connection is lost
		"logoff": {0, (*play).logoff},
	}
}

// on runs a verb on the open that one of its arguments names, which must be who's.
func on(i int, fn func(p *play, f *client.File, args []string) string) func(*play, string, []string) string {
	return func(p *play, who string, args []string) string {
		h := p.handles[args[i]]
		if h == nil || h.file == nil || h.who != who {
			return "no such open"
		}
		return fn(p, h.file, args)
	}
}

// begin sends a request and says "pending", or what came of it at once.
func (p *play) begin(h *handle, m smb2.Message) string {
	var err error
	if h.on, err = p.player(h.who).Start(m); err != nil {
		return transcript.Outcome(err)
	}
	r, final, err := h.on.Interim()
	switch {
	case err != nil:
		return transcript.Outcome(err)
	case final:
		return h.end()
	}
	h.async = r.Header.AsyncID()
	return "pending"
}

func (p *play) wait(_ string, args []string) string { return p.handles[args[0]].end() }

func (p *play) cancel(_ string, args []string) string {
	h := p.handles[args[0]]
	if err := h.on.Cancel(h.async); err != nil {
		return transcript.Outcome(err)
	}
	return h.end()
}

func (p *play) start(who string, args []string) string {
	h := &handle{who: who, path: p.path(args[1])}
	p.handles[args[0]] = h
	h.end = func() string { return p.opened(h) }
	m := transcript.Open(h.path)
	lease := smb2.Lease{V2: true}
	for _, f := range args[2:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "lease":
			h.leased, lease.State = true, transcript.LeaseState(value)
		case "parent":
			lease.Flags, lease.ParentLeaseKey = smb2.LeaseFlagParentLeaseKeySet, p.handles[value].key
		case "oplock":
			m.RequestedOplockLevel = map[string]smb2.OplockLevel{"II": smb2.OplockLevelII, "X": smb2.OplockLevelExclusive, "B": smb2.OplockLevelBatch}[value]
		default:
			if !transcript.Flag(m, f) {
				return "what is " + f + "?"
			}
		}
	}
	if h.leased {
		lease.Key = p.leaseKey(h)
		m = client.WithLease(m, lease)
	}
	return p.begin(h, m)
}

// leaseKey is one for each player and path.
func (p *play) leaseKey(h *handle) smb2.LeaseKey {
	for _, other := range p.handles {
		if other != h && other.leased && other.who == h.who && other.path == h.path {
			h.key = other.key
			return h.key
		}
	}
	h.key = smb2.LeaseKey(dtyp.NewGUID())
	return h.key
}

// opened is what came of a CREATE.
func (p *play) opened(h *handle) string {
	f, err := h.on.File()
	if err != nil {
		return transcript.Outcome(err)
	}
	h.file = f
	text := transcript.Action(f.Response.CreateAction)
	if l, ok := f.Lease(); ok {
		text += " lease=" + l.State.String()
	} else if f.Response.OplockLevel != smb2.OplockLevelNone {
		text += " oplock=" + f.Response.OplockLevel.String()
	}
	return text
}

func (p *play) open(who string, args []string) string {
	text := p.start(who, args)
	if text == "pending" {
		return p.handles[args[0]].end() + ", after waiting"
	}
	return text
}

func (p *play) lock(f *client.File, args []string) string {
	l := smb2.LockElement{Offset: p.number(args[2]), Length: p.number(args[3]), Flags: smb2.LockFlagExclusiveLock}
	if slices.Contains(args, "shared") {
		l.Flags = smb2.LockFlagSharedLock
	}
	if slices.Contains(args, "now") {
		l.Flags |= smb2.LockFlagFailImmediately
	}
	h := &handle{who: p.handles[args[1]].who}
	p.handles[args[0]] = h
	h.end = func() string { return transcript.Outcome(h.on.Done()) }
	return p.begin(h, &smb2.LockRequest{FileID: f.ID, Locks: []smb2.LockElement{l}})
}

func (p *play) unlock(f *client.File, args []string) string {
	return transcript.Outcome(f.Lock(smb2.LockElement{Offset: p.number(args[1]), Length: p.number(args[2]), Flags: smb2.LockFlagUnlock}))
}

func (p *play) watch(f *client.File, args []string) string {
	h := &handle{who: p.handles[args[1]].who}
	p.handles[args[0]] = h
	h.end = func() string { return changes(h.on) }
	m := &smb2.ChangeNotifyRequest{FileID: f.ID, CompletionFilter: 0xFFF, OutputBufferLength: 4096}
	for _, a := range args[2:] {
		if a == "tree" {
			m.Flags = smb2.WatchTree
		} else {
			m.OutputBufferLength = uint32(p.number(a))
		}
	}
	return p.begin(h, m)
}

var actions = map[uint32]string{1: "added", 2: "removed", 3: "modified", 4: "renamed from", 5: "renamed to",
	6: "stream added", 7: "stream removed", 8: "stream modified"}

// changes is what came of a CHANGE_NOTIFY.
func changes(on *client.Pending) string {
	b, err := on.Changes()
	if err != nil {
		return transcript.Outcome(err)
	}
	list, err := fscc.DecodeNotify(b)
	if err != nil {
		return err.Error()
	}
	var lines []string
	for _, e := range list {
		lines = append(lines, actions[e.Action]+" "+e.FileName)
	}
	return strings.Join(lines, "\n")
}

func (p *play) broken(who string, args []string) string {
	h := p.handles[args[0]]
	switch {
	case h == nil || h.file == nil:
		return "no such open"
	case !h.leased:
		r, err := p.told(who, func(r *client.Response) bool {
			m, err := r.OplockBreak()
			return err == nil && m.FileID == h.file.ID
		})
		if err != nil {
			return err.Error()
		}
		m, _ := r.OplockBreak()
		return "to " + m.OplockLevel.String()
	}
	r, err := p.told(who, func(r *client.Response) bool {
		m, err := r.LeaseBreak()
		return err == nil && m.LeaseKey == h.key
	})
	if err != nil {
		return err.Error()
	}
	m, _ := r.LeaseBreak()
	text := fmt.Sprintf("%v to %v", m.CurrentLeaseState, m.NewLeaseState)
	if m.Flags&smb2.NotifyBreakLeaseAckRequired != 0 {
		text += ", to be acknowledged"
	}
	return text
}

func (p *play) ack(who string, args []string) string {
	h := p.handles[args[0]]
	if h.leased {
		_, err := p.player(who).AcknowledgeLease(h.key, transcript.LeaseState(args[1]))
		return transcript.Outcome(err)
	}
	if h.file == nil {
		return "no such open"
	}
	_, err := h.file.AcknowledgeOplock(map[string]smb2.OplockLevel{"II": smb2.OplockLevelII}[args[1]])
	return transcript.Outcome(err)
}

func (p *play) close(f *client.File, args []string) string {
	p.handles[args[0]].file = nil
	return transcript.Outcome(f.Close())
}

func (p *play) read(f *client.File, args []string) string {
	b := make([]byte, p.number(args[2]))
	n, err := f.ReadAt(b, int64(p.number(args[1])))
	if err != nil && err != io.EOF {
		return transcript.Outcome(err)
	}
	return fmt.Sprintf("%q", b[:n])
}

func (p *play) write(f *client.File, args []string) string {
	_, err := f.WriteAt([]byte(args[2]), int64(p.number(args[1])))
	return transcript.Outcome(err)
}

func (p *play) size(f *client.File, args []string) string {
	x := fscc.EndOfFileInformation{EndOfFile: int64(p.number(args[1]))}
	return transcript.Outcome(f.SetInfo(smb2.InfoFile, uint8(fscc.FileEndOfFileInformation), 0, x.Append(nil)))
}

func (p *play) rename(_ *client.File, args []string) string {
	x := fscc.RenameInformation{FileName: p.path(args[2])}
	if len(args) > 3 {
		x.Flags = 1
	}
	return p.set(args, fscc.FileRenameInformation, x.AppendRename(nil, fscc.FileRenameInformation))
}

func (p *play) delete(_ *client.File, args []string) string {
	x := fscc.DispositionInformation{DeletePending: true}
	return p.set(args, fscc.FileDispositionInformation, x.Append(nil))
}

// set begins a SET_INFO, which may have to wait for a break.
func (p *play) set(args []string, class fscc.FileInformationClass, buffer []byte) string {
	of := p.handles[args[1]]
	h := &handle{who: of.who}
	p.handles[args[0]] = h
	h.end = func() string { return transcript.Outcome(h.on.Done()) }
	return p.begin(h, &smb2.SetInfoRequest{InfoType: smb2.InfoFile, FileInfoClass: uint8(class), FileID: of.file.ID, Buffer: buffer})
}

func (p *play) leave(who string, _ []string) string {
	err := p.player(who).Session.Conn.Close()
	delete(p.players, who)
	if err != nil {
		return err.Error()
	}
	return "ok"
}

func (p *play) logoff(who string, _ []string) string {
	err := p.player(who).Session.Logoff()
	delete(p.players, who)
	return transcript.Outcome(err)
}
