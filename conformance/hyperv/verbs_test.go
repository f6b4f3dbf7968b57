package hyperv

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"gabion/conformance/client"
	"gabion/conformance/transcript"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// verb is something a host does.
type verb struct {
	least int // arguments
	run   func(p *play, who string, args []string) string
}

// verbs: HANDLE names a handle of the transcript. Flags of open are those of transcript.Flag and
// persistent, lease=RWH, app=VERSION.
var verbs map[string]verb

func init() {
	verbs = map[string]verb{
		"mkdir":      {1, (*play).mkdir},      // PATH
		"open":       {2, (*play).open},       // HANDLE PATH FLAG…
		"start":      {2, (*play).start},      // open without waiting
		"wait":       {1, (*play).wait},       // HANDLE: for what start began
		"close":      {1, onFile(closing)},    // HANDLE
		"write":      {4, onFile(write)},      // HANDLE OFFSET LENGTH PATTERN
		"read":       {3, onFile(read)},       // HANDLE OFFSET LENGTH
		"flush":      {1, onFile(flush)},      // HANDLE
		"size":       {2, onFile(setSize)},    // HANDLE BYTES
		"zero":       {3, onFile(zero)},       // HANDLE OFFSET LENGTH
		"trim":       {3, onFile(trim)},       // HANDLE OFFSET LENGTH
		"ranges":     {3, onFile(ranges)},     // HANDLE OFFSET LENGTH: what is allocated
		"duplicate":  {5, onFile(duplicate)},  // HANDLE OFFSET LENGTH SOURCE-HANDLE OFFSET
		"stat":       {1, onFile(stat)},       // HANDLE
		"rename":     {2, onFile(rename)},     // HANDLE PATH [replace]
		"delete":     {1, onFile(remove)},     // HANDLE
		"acl":        {1, onFile(acl)},        // HANDLE
		"set-acl":    {2, onFile(setACL)},     // HANDLE SDDL
		"lock":       {3, onFile(lock)},       // HANDLE OFFSET LENGTH
		"unlock":     {3, onFile(unlock)},     // HANDLE OFFSET LENGTH
		"resilience": {2, onFile(resilience)}, // HANDLE MILLISECONDS
		"volume":     {1, onFile(volume)},     // HANDLE
		"list":       {1, (*play).list},       // PATH
		"break":      {1, (*play).broken},     // HANDLE: the break of its lease, which the host has acknowledged
		"hesitate":   {0, (*play).hesitate},   // from now on acknowledge what ack says
		"ack":        {2, (*play).ack},        // HANDLE STATE
		"lose":       {0, (*play).lose},       // the host's connection
		"reclaim":    {1, (*play).reclaim},    // HANDLE, on a new connection
	}
}

// handle is a handle of a transcript.
type handle struct {
	file    *client.File
	who     string
	path    string
	guid    dtyp.GUID
	lease   *smb2.Lease
	started *client.Pending
	began   time.Time
}

// onFile runs a verb on the handle that its first argument names, which must be who's.
func onFile(fn func(p *play, h *handle, args []string) (string, error)) func(*play, string, []string) string {
	return func(p *play, who string, args []string) string {
		h := p.handles[args[0]]
		if h == nil || h.file == nil || h.who != who {
			return "no such handle"
		}
		text, err := fn(p, h, args[1:])
		if err != nil || text == "" {
			return transcript.Outcome(err)
		}
		return text
	}
}

func (p *play) mkdir(who string, args []string) string {
	m := client.OpenDirectory(p.path(args[0]))
	m.CreateDisposition = smb2.DispositionCreate
	began := time.Now()
	f, err := p.host(who).Create(m)
	p.took("create", began)
	if err == nil {
		err = f.Close()
	}
	return transcript.Outcome(err)
}

// request makes the CREATE of open.
func (p *play) request(h *handle, flags []string) (*smb2.CreateRequest, string) {
	m := transcript.Open(h.path)
	version := ""
	for _, f := range flags {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "persistent":
			h.guid = dtyp.NewGUID()
			m = client.WithContext(m, smb2.ContextDurableRequestV2,
				&smb2.DurableRequestV2{CreateGUID: h.guid, Flags: smb2.DurableFlagPersistent})
		case "lease":
			l := p.leaseOf(h)
			l.State = transcript.LeaseState(value)
			m = client.WithLease(m, *l)
		case "app":
			version = value
		default:
			if !transcript.Flag(m, f) {
				return nil, f
			}
		}
	}
	if version != "" {
		n, _ := strconv.ParseUint(version, 10, 64)
		m = client.WithContext(m, smb2.ContextAppInstanceID, &smb2.AppInstanceID{ID: dtyp.GUID{0xA9, 1}})
		m = client.WithContext(m, smb2.ContextAppInstanceVersion, &smb2.AppInstanceVersion{High: n})
	}
	return m, ""
}

// leaseOf gives the handle the lease that its host has on the file: one key for each.
func (p *play) leaseOf(h *handle) *smb2.Lease {
	for _, other := range p.handles {
		if other != h && other.lease != nil && other.who == h.who && other.path == h.path {
			h.lease = other.lease
			return h.lease
		}
	}
	g := dtyp.NewGUID()
	h.lease = &smb2.Lease{V2: true, Key: smb2.LeaseKey(g)}
	return h.lease
}

func (p *play) start(who string, args []string) string {
	h := &handle{who: who, path: p.path(args[1])}
	p.handles[args[0]] = h
	m, unknown := p.request(h, args[2:])
	if unknown != "" {
		return "what is " + unknown + "?"
	}
	var err error
	h.began = time.Now()
	if h.started, err = p.host(who).Start(m); err != nil {
		return transcript.Outcome(err)
	}
	_, final, err := h.started.Interim()
	switch {
	case err != nil:
		return transcript.Outcome(err)
	case final:
		return p.opened(h)
	}
	return "pending"
}

// opened is the result of a CREATE.
func (p *play) opened(h *handle) string {
	f, err := h.started.File()
	h.started = nil
	if err != nil {
		return transcript.Outcome(err)
	}
	h.file = f
	text := transcript.Action(f.Response.CreateAction)
	if l, ok := f.Lease(); ok {
		h.lease.State, h.lease.Epoch = l.State, l.Epoch
		text += " lease=" + l.State.String()
	}
	if data, ok := f.Context(smb2.ContextDurableRequestV2); ok {
		var d smb2.DurableResponseV2
		if err := d.Decode(data); err != nil {
			return err.Error()
		}
		text += map[bool]string{true: " persistent", false: " durable"}[d.Flags&smb2.DurableFlagPersistent != 0]
	}
	return text
}

func (p *play) open(who string, args []string) string {
	acks := p.acks.Load()
	text := p.start(who, args)
	h := p.handles[args[0]]
	if text == "pending" {
		text = p.opened(h)
	} else if p.acks.Load() == acks {
		if strings.HasPrefix(text, "created") {
			p.took("create", h.began)
		} else {
			p.took("open", h.began)
		}
		return text
	}
	// Where the acknowledgement was faster than the server's word that it waits, there is no such word.
	p.took("hand-over", h.began)
	return text + ", after a break"
}

func (p *play) wait(who string, args []string) string {
	h := p.handles[args[0]]
	if h == nil || h.started == nil || h.who != who {
		return "nothing to wait for"
	}
	return p.opened(h)
}

func closing(p *play, h *handle, _ []string) (string, error) {
	for name, other := range p.handles {
		if other == h {
			delete(p.handles, name)
		}
	}
	return "", h.file.Close()
}

// pattern fills b, which is at off, with what a name stands for.
func pattern(b []byte, name string, off int64) {
	h := fnv.New64a()
	io.WriteString(h, name)
	seed := h.Sum64() | 1
	for i := 0; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], seed*(uint64(off)+uint64(i)+1))
	}
}

// transfer is the largest single READ and WRITE of a transcript: hosts move up to 8 MiB, mostly 1 MiB.
const transfer = 1 << 20

func write(p *play, h *handle, args []string) (string, error) {
	off, n := p.bytes(args[0]), p.bytes(args[1])
	p.tags[args[2]] = true
	b := make([]byte, min(n, transfer))
	for end := off + n; off < end; off += int64(len(b)) {
		b = b[:min(int64(len(b)), end-off)]
		pattern(b, args[2], off)
		if _, err := h.file.WriteAt(b, off); err != nil {
			return "", err
		}
	}
	return "", nil
}

func read(p *play, h *handle, args []string) (string, error) {
	const sector = 512
	off, n := p.bytes(args[0]), p.bytes(args[1])
	b, want := make([]byte, min(n, transfer)), make([]byte, sector)
	var names []string
	for end := off + n; off < end; off += int64(len(b)) {
		b = b[:min(int64(len(b)), end-off)]
		got, err := h.file.ReadAt(b, off)
		if err != nil && err != io.EOF {
			return "", err
		}
		for i := 0; i+sector <= got; i += sector {
			names = append(names, p.recognise(b[i:i+sector], want, off+int64(i)))
		}
		if got < len(b) {
			break
		}
	}
	var runs []string
	for len(names) > 0 {
		n := 1
		for n < len(names) && names[n] == names[0] {
			n++
		}
		runs, names = append(runs, size(int64(n)*sector)+" "+names[0]), names[n:]
	}
	return strings.Join(append(runs, map[bool][]string{true: {"end of file"}}[len(runs) == 0]...), ", "), nil
}

// recognise says what a sector shows.
func (p *play) recognise(b, want []byte, off int64) string {
	if len(bytes.Trim(b, "\x00")) == 0 {
		return "zeros"
	}
	for tag := range p.tags {
		if pattern(want, tag, off); bytes.Equal(b, want) {
			return tag
		}
		// A copy has the pattern of where it comes from.
		step := binary.LittleEndian.Uint64(b[8:]) - binary.LittleEndian.Uint64(b)
		if pattern(want, tag, 0); step == binary.LittleEndian.Uint64(want[8:])-binary.LittleEndian.Uint64(want) {
			return tag + " of elsewhere"
		}
	}
	return "something else"
}

func flush(_ *play, h *handle, _ []string) (string, error) { return "", h.file.Flush() }

func setSize(p *play, h *handle, args []string) (string, error) {
	return "", h.file.SetInfo(smb2.InfoFile, uint8(fscc.FileEndOfFileInformation), 0, binary.LittleEndian.AppendUint64(nil, uint64(p.bytes(args[0]))))
}

func zero(p *play, h *handle, args []string) (string, error) {
	off := p.bytes(args[0])
	_, err := h.file.Ioctl(uint32(fscc.FsctlSetZeroData), (&fscc.ZeroData{FileOffset: off, BeyondFinalZero: off + p.bytes(args[1])}).Append(nil), 0)
	return "", err
}

func trim(p *play, h *handle, args []string) (string, error) {
	x := fscc.FileLevelTrim{Ranges: []fscc.LevelTrimRange{{Offset: uint64(p.bytes(args[0])), Length: uint64(p.bytes(args[1]))}}}
	_, err := h.file.Ioctl(uint32(fscc.FsctlFileLevelTrim), x.Append(nil), 4)
	return "", err
}

func ranges(p *play, h *handle, args []string) (string, error) {
	out, err := h.file.Ioctl(uint32(fscc.FsctlQueryAllocatedRanges), (&fscc.AllocatedRange{FileOffset: p.bytes(args[0]), Length: p.bytes(args[1])}).Append(nil), 1<<16)
	if err != nil {
		return "", err
	}
	list, err := fscc.DecodeAllocatedRanges(out)
	if len(list) == 0 {
		return "none", err
	}
	var words []string
	for _, r := range list {
		words = append(words, size(r.FileOffset)+"+"+size(r.Length))
	}
	return strings.Join(words, ", "), err
}

func duplicate(p *play, h *handle, args []string) (string, error) {
	source := p.handles[args[2]]
	if source == nil || source.file == nil {
		return "no such source", nil
	}
	x := fscc.DuplicateExtentsData{TargetFileOffset: p.bytes(args[0]), ByteCount: p.bytes(args[1]), SourceFileOffset: p.bytes(args[3])}
	binary.LittleEndian.PutUint64(x.SourceFileID[:], source.file.ID.Persistent)
	binary.LittleEndian.PutUint64(x.SourceFileID[8:], source.file.ID.Volatile)
	_, err := h.file.Ioctl(uint32(fscc.FsctlDuplicateExtentsToFile), x.Append(nil), 0)
	return "", err
}

// stat shows what Hyper-V looks at before it takes a file for a disk: size and attributes.
func stat(_ *play, h *handle, _ []string) (string, error) {
	b, err := h.file.QueryInfo(smb2.InfoFile, uint8(fscc.FileNetworkOpenInformation), 0, 56)
	if err != nil {
		return "", err
	}
	var i fscc.NetworkOpenInformation
	if err := i.Decode(b); err != nil {
		return "", err
	}
	text := "size " + size(i.EndOfFile)
	for _, a := range []struct {
		bit  uint32
		name string
	}{{0x10, "directory"}, {0x20, "archive"}, {0x200, "SPARSE"}, {0x800, "COMPRESSED"}, {0x4000, "ENCRYPTED"}} {
		if i.FileAttributes&a.bit != 0 {
			text += ", " + a.name
		}
	}
	return text, nil
}

func rename(p *play, h *handle, args []string) (string, error) {
	name := dtyp.EncodeUTF16(p.path(args[0]))
	b := make([]byte, 20, 24+len(name))
	if len(args) > 1 && args[1] == "replace" {
		b[0] = 1
	}
	binary.LittleEndian.PutUint32(b[16:], uint32(len(name)))
	began := time.Now()
	err := h.file.SetInfo(smb2.InfoFile, uint8(fscc.FileRenameInformation), 0, append(b, name...))
	p.took("rename", began)
	if err == nil {
		h.path = p.path(args[0])
	}
	return "", err
}

func remove(_ *play, h *handle, _ []string) (string, error) {
	return "", h.file.SetInfo(smb2.InfoFile, uint8(fscc.FileDispositionInformation), 0, []byte{1})
}

func acl(_ *play, h *handle, _ []string) (string, error) {
	b, err := h.file.QueryInfo(smb2.InfoSecurity, 0, uint32(dtyp.DACLSecurityInformation), 1<<16)
	if err != nil {
		return "", err
	}
	sd, err := dtyp.DecodeSecurityDescriptor(b)
	if err != nil {
		return "", err
	}
	return strings.ReplaceAll(sd.SDDL(), ")(", ")\n("), nil
}

func setACL(_ *play, h *handle, args []string) (string, error) {
	sd, err := dtyp.ParseSDDL(strings.Join(args, ""), dtyp.SID{})
	if err != nil {
		return "", err
	}
	return "", h.file.SetInfo(smb2.InfoSecurity, 0, uint32(dtyp.DACLSecurityInformation), sd.Encode())
}

func lock(p *play, h *handle, args []string) (string, error) {
	return "", h.file.Lock(smb2.LockElement{Offset: uint64(p.bytes(args[0])), Length: uint64(p.bytes(args[1])),
		Flags: smb2.LockFlagExclusiveLock | smb2.LockFlagFailImmediately})
}

func unlock(p *play, h *handle, args []string) (string, error) {
	return "", h.file.Lock(smb2.LockElement{Offset: uint64(p.bytes(args[0])), Length: uint64(p.bytes(args[1])), Flags: smb2.LockFlagUnlock})
}

func resilience(_ *play, h *handle, args []string) (string, error) {
	ms, _ := strconv.ParseUint(args[0], 10, 32)
	_, err := h.file.Ioctl(uint32(fscc.FsctlLMRRequestResiliency), (&smb2.NetworkResiliencyRequest{Timeout: uint32(ms)}).AppendTo(nil), 0)
	return "", err
}

// volume shows the flags of the file system that Hyper-V acts upon.
func volume(_ *play, h *handle, _ []string) (string, error) {
	b, err := h.file.QueryInfo(smb2.InfoFileSystem, uint8(fscc.FileFsAttributeInformation), 0, 256)
	if err != nil {
		return "", err
	}
	flags := binary.LittleEndian.Uint32(b)
	var words []string
	for _, f := range []struct {
		bit  uint32
		name string
	}{{fscc.FsPersistentACLs, "ACLs"}, {fscc.FsSupportsSparseFiles, "sparse files"}, {fscc.FsSupportsBlockRefcounting, "block refcounting"},
		{fscc.FsSupportsSparseVDL, "sparse VDL"}} {
		if flags&f.bit != 0 {
			words = append(words, f.name)
		}
	}
	return strings.Join(words, ", "), nil
}

func (p *play) list(who string, args []string) string {
	m := client.OpenDirectory(p.path(args[0]))
	m.CreateDisposition, m.DesiredAccess = smb2.DispositionOpen, dtyp.FileGenericRead
	f, err := p.host(who).Create(m)
	if err != nil {
		return transcript.Outcome(err)
	}
	defer f.Close()
	var names []string
	for {
		b, err := f.QueryDirectory(uint8(fscc.FileNamesInformation), 0, "*", 1<<16)
		if err == ntstatus.NoMoreFiles {
			break
		}
		if err != nil {
			return transcript.Outcome(err)
		}
		for {
			next, n := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[8:])
			if name := dtyp.DecodeUTF16(b[12 : 12+n]); name != "." && name != ".." {
				names = append(names, name)
			}
			if next == 0 {
				break
			}
			b = b[next:]
		}
	}
	slices.Sort(names)
	if names == nil {
		return "nothing"
	}
	return strings.Join(names, "\n")
}

func (p *play) broken(who string, args []string) string {
	h := p.handles[args[0]]
	if h == nil || h.lease == nil || h.who != who {
		return "no such lease"
	}
	select {
	case n := <-p.seen[who]:
		if n.LeaseKey != h.lease.Key {
			return "a break of another lease"
		}
		h.lease.Epoch = n.NewEpoch
		text := fmt.Sprintf("%v to %v", n.CurrentLeaseState, n.NewLeaseState)
		if _, slow := p.slow.Load(who); slow && n.Flags&smb2.NotifyBreakLeaseAckRequired != 0 {
			return text + ", to be acknowledged"
		}
		h.lease.State = n.NewLeaseState
		return text
	case <-time.After(2 * time.Minute):
		return "no break"
	}
}

// hesitate ends a host's habit of acknowledging breaks at once.
func (p *play) hesitate(who string, _ []string) string {
	p.slow.Store(who, true)
	return "ok"
}

func (p *play) ack(who string, args []string) string {
	h := p.handles[args[0]]
	if h == nil || h.lease == nil || h.who != who {
		return "no such lease"
	}
	began := time.Now()
	out, err := p.host(who).AcknowledgeLease(h.lease.Key, transcript.LeaseState(strings.TrimPrefix(args[1], "none")))
	p.took("acknowledgement", began)
	if err != nil {
		return transcript.Outcome(err)
	}
	h.lease.State = out.LeaseState
	return "lease=" + out.LeaseState.String()
}

func (p *play) lose(who string, _ []string) string {
	old := p.host(who)
	old.Session.Conn.Close()
	tree, err := p.dial(who, old.Session.ID)
	if err != nil {
		return transcript.Outcome(err)
	}
	p.connected(who, tree)
	return "connected anew"
}

func (p *play) reclaim(who string, args []string) string {
	h := p.handles[args[0]]
	if h == nil || h.file == nil || h.who != who {
		return "no such handle"
	}
	m := client.OpenFile(h.path)
	if h.lease != nil {
		m = client.WithLease(m, *h.lease)
	}
	m = client.WithContext(m, smb2.ContextDurableReconnectV2,
		&smb2.DurableReconnectV2{FileID: h.file.ID, CreateGUID: h.guid, Flags: smb2.DurableFlagPersistent})
	var err error
	h.began = time.Now()
	if h.started, err = p.host(who).Start(m); err != nil {
		return transcript.Outcome(err)
	}
	defer p.took("reclaim", h.began)
	return p.opened(h)
}
