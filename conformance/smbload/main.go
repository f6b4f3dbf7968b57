package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type options struct {
	addr, share, user, password, domain string
	workload, kind                      string
	conns, qd, bs, files, batch, dirBuf int
	rate                                float64
	procs                               int
	size                                int64
	duration, warmup                    time.Duration
	security, cipher, signing           string
	ciphers, signAlgs                   []uint16
	maxDialect                          uint16
	writeThrough, wtFlag, noBuffering   bool
	verify, json, discard               bool
	allowRemote, sameGUID               bool
	guid                                [16]byte
	serverPID                           int
	seed                                uint64
	maxErrors                           int64
	dir, label                          string
	prepareOnly, noPrepare, cleanup     bool
}

// size accepts 4096, 4k, 1m, 2g (powers of two).
type sizeFlag int64

func (s *sizeFlag) String() string { return strconv.FormatInt(int64(*s), 10) }
func (s *sizeFlag) Set(v string) error {
	t := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(v), "b"), "i")
	shift := 0
	if t != "" {
		if i := strings.IndexByte("kmgt", t[len(t)-1]); i >= 0 {
			shift, t = 10*(i+1), t[:len(t)-1]
		}
	}
	n, err := strconv.ParseInt(t, 10, 64)
	if err != nil || n < 0 {
		return errors.New("want a size like 4096, 4k, 1m")
	}
	*s = sizeFlag(n << shift)
	return nil
}

var workloads = []string{"seqread", "seqwrite", "randread", "randwrite", "randrw", "mixed",
	"open-close", "create-delete", "listdir", "echo"}

func isData(kind string) bool {
	return strings.HasPrefix(kind, "seq") || strings.HasPrefix(kind, "rand")
}

func isWriting(kind string) bool { return isData(kind) && !strings.HasSuffix(kind, "read") }

func parse(args []string) (*options, error) {
	o := &options{}
	bs, size, dirBuf := sizeFlag(0), sizeFlag(64<<20), sizeFlag(64<<10)
	var maxDialect string
	fs := flag.NewFlagSet("smbload", flag.ContinueOnError)
	fs.StringVar(&o.addr, "addr", "127.0.0.1:445", "server `host:port`")
	fs.StringVar(&o.share, "share", "", "share name")
	fs.StringVar(&o.user, "user", "", "user")
	fs.StringVar(&o.password, "password", os.Getenv("SMBLOAD_PASSWORD"), "password (default $SMBLOAD_PASSWORD)")
	fs.StringVar(&o.domain, "domain", "", "domain")
	fs.StringVar(&o.workload, "workload", "seqread", strings.Join(workloads, ", "))
	fs.IntVar(&o.conns, "conns", 1, "connections, each with its own session")
	fs.IntVar(&o.qd, "qd", 8, "operations in flight per connection")
	fs.Float64Var(&o.rate, "rate", 0, "operations a second and connection at most (0: as many as there can be)")
	fs.Var(&bs, "bs", "block `size` (default 1m for seq*, 4k for rand*, 8k for mixed)")
	fs.Var(&size, "size", "file `size`")
	fs.IntVar(&o.files, "files", 0, "files per connection (default 1; 100 for open-close, 1000 for listdir)")
	fs.DurationVar(&o.duration, "duration", 5*time.Second, "measured time")
	fs.DurationVar(&o.warmup, "warmup", time.Second, "time before measuring")
	fs.StringVar(&o.security, "security", "none", "none, sign or encrypt")
	fs.StringVar(&o.cipher, "cipher", "auto", "aes128gcm, aes256gcm or auto (both offered, 128 first)")
	fs.StringVar(&o.signing, "signing", "auto", "gmac, cmac or auto (both offered, GMAC first)")
	fs.StringVar(&maxDialect, "max-dialect", "3.1.1", "highest dialect offered: 2.1, 3.0, 3.0.2, 3.1.1")
	fs.BoolVar(&o.writeThrough, "write-through", false, "CREATE with FILE_WRITE_THROUGH")
	fs.BoolVar(&o.wtFlag, "wt-flag", false, "set SMB2_WRITEFLAG_WRITE_THROUGH on every WRITE")
	fs.BoolVar(&o.noBuffering, "no-buffering", false, "CREATE with FILE_NO_INTERMEDIATE_BUFFERING, UNBUFFERED flag on reads and writes")
	fs.BoolVar(&o.verify, "verify", false, "write a checkable pattern and check every read; exit 2 on a mismatch")
	fs.BoolVar(&o.json, "json", false, "print the result as one line of JSON")
	fs.BoolVar(&o.discard, "discard", false, "drop the payload of large plain reads in the kernel (cheaper client)")
	fs.IntVar(&o.serverPID, "server-pid", 0, "also report the CPU time of this process and its children")
	fs.IntVar(&o.batch, "batch", 1, "most small requests put in one send")
	fs.IntVar(&o.procs, "procs", 0, "CPUs the client may use at a time (GOMAXPROCS; default half the machine, at most one per connection)")
	fs.Var(&dirBuf, "dirbuf", "QUERY_DIRECTORY buffer `size`")
	fs.Uint64Var(&o.seed, "seed", 1, "seed of offsets and of the -verify pattern")
	fs.Int64Var(&o.maxErrors, "max-errors", 1000, "give a connection up after this many failed operations")
	fs.StringVar(&o.dir, "dir", "smbload", "directory on the share to work in")
	fs.StringVar(&o.label, "label", "", "name put into the output")
	fs.BoolVar(&o.prepareOnly, "prepare-only", false, "lay the files out and stop")
	fs.BoolVar(&o.noPrepare, "no-prepare", false, "trust that the files are there")
	fs.BoolVar(&o.cleanup, "cleanup", false, "delete this workload's files afterwards")
	fs.BoolVar(&o.allowRemote, "allow-remote", false, "allow a server outside 127.0.0.0/8 and ::1")
	fs.BoolVar(&o.sameGUID, "same-guid", false, "one ClientGuid for all connections (smbd then serves all from one process)")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	o.bs, o.size, o.dirBuf = int(bs), int64(size), int(dirBuf)
	o.kind = o.workload
	rand.Read(o.guid[:])
	if !slices.Contains(workloads, o.workload) {
		return nil, fmt.Errorf("unknown workload %q", o.workload)
	}
	if o.workload == "mixed" {
		o.kind = "randrw"
		if o.bs == 0 {
			o.bs = 8 << 10
		}
	}
	if o.bs == 0 {
		o.bs = 4 << 10
		if strings.HasPrefix(o.kind, "seq") {
			o.bs = 1 << 20
		}
	}
	if o.files == 0 {
		o.files = map[string]int{"open-close": 100, "listdir": 1000}[o.kind]
		o.files = max(o.files, 1)
	}
	switch {
	case o.share == "":
		return nil, errors.New("-share is required")
	case o.conns < 1 || o.qd < 1 || o.qd > 4096 || o.files < 1 || o.batch < 1:
		return nil, errors.New("-conns, -qd (up to 4096), -files and -batch must be at least 1")
	case o.bs < 1 || o.bs > 8<<20:
		return nil, errors.New("-bs must be 1 byte to 8m")
	case isData(o.kind) && o.size < int64(o.bs):
		return nil, errors.New("-size is less than -bs")
	case o.verify && o.bs%8 != 0:
		return nil, errors.New("-verify needs a -bs that is a multiple of 8")
	case o.verify && isWriting(o.kind) && o.size/int64(o.bs) <= int64(o.qd):
		return nil, errors.New("-verify with writes needs more blocks per file than -qd")
	case o.noPrepare && o.verify && isWriting(o.kind):
		return nil, errors.New("-verify with writes lays its files out anew: no -no-prepare")
	case o.dirBuf < 1024 || o.dirBuf > 1<<20:
		return nil, errors.New("-dirbuf must be 1k to 1m")
	}
	o.discard = o.discard && !o.verify
	var ok bool
	if o.maxDialect, ok = map[string]uint16{"2.1": dialect210, "3.0": dialect300, "3.0.2": dialect302, "3.1.1": dialect311}[maxDialect]; !ok {
		return nil, fmt.Errorf("unknown dialect %q", maxDialect)
	}
	if o.ciphers, ok = map[string][]uint16{"auto": {cipherAES128GCM, cipherAES256GCM},
		"aes128gcm": {cipherAES128GCM}, "aes256gcm": {cipherAES256GCM}}[strings.ToLower(o.cipher)]; !ok {
		return nil, fmt.Errorf("unknown cipher %q", o.cipher)
	}
	if o.signAlgs, ok = map[string][]uint16{"auto": {signAESGMAC, signAESCMAC},
		"gmac": {signAESGMAC}, "cmac": {signAESCMAC}}[strings.ToLower(o.signing)]; !ok {
		return nil, fmt.Errorf("unknown signing algorithm %q", o.signing)
	}
	if !slices.Contains([]string{"none", "sign", "encrypt"}, o.security) {
		return nil, fmt.Errorf("unknown security mode %q", o.security)
	}
	return o, nil
}

// worker is one connection with its files.
type worker struct {
	no    int
	o     *options
	c     *conn
	files []*file
	dir   string
	p     *pipe
	st    stats // of the side phases (prepare, readback)
}

func newFile(name string) *file { return &file{name: name, uname: utf16le(name)} }

// sidePipe runs a bounded workload over files outside the measurement.
func (w *worker) sidePipe(kind string, files []*file, bs, qd int, size, total int64) error {
	var phase atomic.Int32
	p := &pipe{c: w.c, o: w.o, no: w.no, phase: &phase, files: files, kind: kind, bs: bs,
		nblocks: int((size + int64(bs) - 1) / int64(max(bs, 1))), size: size, total: total}
	p.init(qd)
	if err := w.c.gather(int64(qd*charge(bs) + 16)); err != nil {
		return err
	}
	err := p.run()
	w.st.checked += p.st.checked
	w.st.mismatches += p.st.mismatches
	if err == nil && len(p.st.errs) > 0 {
		err = fmt.Errorf("%s: %v", kind, p.st.errs)
	}
	return err
}

// prepare makes and opens what the workload needs.
func (w *worker) prepare() error {
	o, c := w.o, w.c
	if err := c.mkdir(o.dir); err != nil {
		return err
	}
	switch o.kind {
	case "echo":
		return nil
	case "create-delete":
		w.dir = fmt.Sprintf(`%s\cd_c%d`, o.dir, w.no)
		w.files = []*file{newFile(w.dir + `\t`)}
		return c.mkdir(w.dir)
	case "open-close", "listdir":
		w.dir = fmt.Sprintf(`%s\n%d_c%d`, o.dir, o.files, w.no)
		if err := c.mkdir(w.dir); err != nil {
			return err
		}
		for i := range o.files {
			w.files = append(w.files, newFile(fmt.Sprintf(`%s\file%07d.dat`, w.dir, i)))
		}
		n, err := c.countDir(w.dir)
		if err != nil {
			return err
		}
		if n != o.files && n != o.files+2 && !o.noPrepare {
			if err := w.sidePipe("mkfiles", w.files, 0, 8, 0, int64(o.files)); err != nil {
				return err
			}
			if n, err = c.countDir(w.dir); err != nil {
				return err
			}
		}
		if n != o.files && n != o.files+2 {
			return fmt.Errorf("%s holds %d entries, expected %d (or %d with . and ..)", w.dir, n, o.files, o.files+2)
		}
		if o.kind == "listdir" {
			w.files = append([]*file{newFile(w.dir)}, w.files...)
		}
		return nil
	}

	if o.bs > c.maxRead || o.bs > c.maxWrite {
		return fmt.Errorf("-bs %d is more than the server takes (read %d, write %d)", o.bs, c.maxRead, c.maxWrite)
	}
	prefix := "d"
	if o.verify {
		if prefix = "vr"; isWriting(o.kind) {
			prefix = "vw"
		}
		prefix += strconv.FormatUint(o.seed, 16)
	}
	for i := range o.files {
		f := newFile(fmt.Sprintf(`%s\%s_%d_c%d_f%d.dat`, o.dir, prefix, o.size, w.no, i))
		f.seed = mix(o.seed + uint64(w.no)<<40 + uint64(i))
		if o.verify {
			f.v = newBlocks(int(o.size / int64(o.bs)))
		}
		w.files = append(w.files, f)
		if !o.noPrepare {
			if err := w.layOut(f); err != nil {
				return fmt.Errorf("prepare %s: %w", f.name, err)
			}
		}
	}
	if o.prepareOnly {
		return nil
	}
	opts := uint32(optNonDirectory)
	if o.writeThrough {
		opts |= optWriteThrough
	}
	if o.noBuffering {
		opts |= optNoBuffering
	}
	access := uint32(accessRead)
	if isWriting(o.kind) {
		access = accessReadWrite
	}
	for _, f := range w.files {
		id, size, err := c.create(f.name, access, dispOpen, opts)
		if err != nil {
			return err
		}
		if size < o.size {
			return fmt.Errorf("%s has %d bytes, expected %d", f.name, size, o.size)
		}
		f.id = id
	}
	return nil
}

// layOut writes the file in full unless it is there with the right size.
func (w *worker) layOut(f *file) error {
	o, c := w.o, w.c
	id, size, err := c.create(f.name, accessReadWrite, dispOpenIf, optNonDirectory)
	if err != nil {
		return err
	}
	if size == o.size && !(o.verify && isWriting(o.kind)) {
		return c.close(id)
	}
	if size != 0 && size != o.size {
		if err := c.close(id); err != nil {
			return err
		}
		if id, _, err = c.create(f.name, accessReadWrite, dispOverwriteIf, optNonDirectory); err != nil {
			return err
		}
	}
	f.id = id
	bs := min(1<<20, c.maxWrite)
	if err := w.sidePipe("fill", []*file{f}, bs, 4, o.size, (o.size+int64(bs)-1)/int64(bs)); err != nil {
		return err
	}
	if err := c.fsync(id); err != nil {
		return err
	}
	return c.close(id)
}

func (w *worker) newPipe(phase *atomic.Int32) {
	o := w.o
	p := &pipe{c: w.c, o: o, no: w.no, phase: phase, files: w.files, kind: o.kind, bs: o.bs,
		nblocks: int(o.size / int64(o.bs)), total: -1}
	if o.noBuffering {
		p.readFlag, p.writeFlag = 1, 2
	}
	if o.wtFlag {
		p.writeFlag |= 1
	}
	p.init(o.qd)
	w.p = p
}

func (w *worker) cost() int {
	switch {
	case isData(w.o.kind):
		return charge(w.o.bs)
	case w.o.kind == "listdir":
		return charge(w.o.dirBuf)
	}
	return 1
}

func (w *worker) finish() error {
	o, c := w.o, w.c
	c.fr.discard = false
	if isData(o.kind) {
		if o.verify && isWriting(o.kind) {
			n := int64(len(w.files)) * (o.size / int64(o.bs))
			if err := w.sidePipe("readback", w.files, o.bs, min(o.qd, 8), o.size/int64(o.bs)*int64(o.bs), n); err != nil {
				return fmt.Errorf("readback: %w", err)
			}
		}
		for _, f := range w.files {
			if err := c.close(f.id); err != nil {
				return err
			}
		}
	}
	if o.cleanup {
		if err := w.clean(); err != nil {
			return fmt.Errorf("cleanup: %w", err)
		}
	}
	c.logoff()
	return nil
}

func (w *worker) clean() error {
	o, c := w.o, w.c
	files := w.files
	switch o.kind {
	case "create-delete":
		files = nil
	case "listdir":
		files = files[1:]
	}
	for _, f := range files {
		if err := c.remove(f.name, false); err != nil {
			return err
		}
	}
	if w.dir != "" {
		return c.remove(w.dir, true)
	}
	return nil
}

type latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

type result struct {
	Label      string           `json:"label,omitempty"`
	Row        string           `json:"row,omitempty"`
	Addr       string           `json:"addr"`
	Share      string           `json:"share"`
	Workload   string           `json:"workload"`
	Dialect    string           `json:"dialect"`
	Security   string           `json:"security"`
	Conns      int              `json:"conns"`
	QD         int              `json:"qd"`
	BS         int              `json:"bs,omitempty"`
	Size       int64            `json:"size,omitempty"`
	Files      int              `json:"files"`
	Options    string           `json:"options,omitempty"`
	Seconds    float64          `json:"seconds"`
	Ops        int64            `json:"ops"`
	Reads      int64            `json:"reads"`
	Writes     int64            `json:"writes"`
	Entries    int64            `json:"entries,omitempty"`
	Requests   int64            `json:"requests"`
	IOPS       float64          `json:"iops"`
	MiBs       float64          `json:"mib_s"`
	LatUS      latency          `json:"lat_us"`
	Errors     map[string]int64 `json:"errors"`
	Failed     string           `json:"failed,omitempty"`
	Interim    int64            `json:"interim"`
	Stray      int64            `json:"stray,omitempty"`
	CreditWait int64            `json:"credit_waits"`
	Checked    int64            `json:"verified_bytes,omitempty"`
	Mismatches int64            `json:"mismatches"`
	ClientCPU  float64          `json:"client_cpu_s"`
	ServerCPU  float64          `json:"server_cpu_s"`
	HaveServer bool             `json:"have_server_cpu"`
	OtherCPU   float64          `json:"other_cpu_s"`
	StealCPU   float64          `json:"steal_s"`
	CPUs       int              `json:"cpus"`
	ClientUS   float64          `json:"client_us_per_op"`
	ServerUS   float64          `json:"server_us_per_op"`
	PrepareS   float64          `json:"prepare_s"`
}

func each(ws []*worker, f func(*worker) error) error {
	errs := make([]error, len(ws))
	var wg sync.WaitGroup
	for i, w := range ws {
		wg.Go(func() {
			if err := f(w); err != nil {
				errs[i] = fmt.Errorf("connection %d: %w", w.no, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func load(o *options) (*result, error) {
	ws := make([]*worker, o.conns)
	for i := range ws {
		ws[i] = &worker{no: i, o: o}
	}
	started := time.Now()
	if err := each(ws, func(w *worker) (err error) {
		w.c, err = dial(o)
		return err
	}); err != nil {
		return nil, err
	}
	// The first one alone, so that only one connection creates the directory.
	if err := each(ws[:1], (*worker).prepare); err != nil {
		return nil, err
	}
	if err := each(ws[1:], (*worker).prepare); err != nil {
		return nil, err
	}
	c := ws[0].c
	r := &result{Label: o.label, Row: os.Getenv("SMBLOAD_ROW"), Addr: o.addr, Share: o.share, Workload: o.workload,
		Dialect: fmt.Sprintf("%d.%d.%d", c.dialect>>8, c.dialect>>4&15, c.dialect&15), Security: c.mode(),
		Conns: o.conns, QD: o.qd, Files: o.files, CPUs: runtime.NumCPU(), Errors: map[string]int64{}, PrepareS: time.Since(started).Seconds()}
	if isData(o.kind) {
		r.BS, r.Size = o.bs, o.size
	}
	var opts []string
	for _, f := range []struct {
		on   bool
		name string
	}{{o.writeThrough, "write-through"}, {o.wtFlag, "wt-flag"}, {o.noBuffering, "no-buffering"}, {o.verify, "verify"},
		{o.discard, "discard"}, {o.batch > 1, fmt.Sprintf("batch=%d", o.batch)}} {
		if f.on {
			opts = append(opts, f.name)
		}
	}
	r.Options = strings.Join(opts, ",")
	if o.prepareOnly {
		return r, each(ws, func(w *worker) error { w.c.logoff(); return nil })
	}

	var phase atomic.Int32
	for _, w := range ws {
		w.newPipe(&phase)
		if isData(o.kind) {
			w.c.fr.grow(o.bs + 4096)
		} else {
			w.c.fr.grow(o.dirBuf + 4096)
		}
		cost := w.cost()
		if err := w.c.gather(int64(o.qd*cost + o.qd*cost/4 + 16)); err != nil {
			return nil, err
		}
		w.c.fr.discard = o.discard && !w.c.encrypt && !w.c.signing
	}
	failed := make(chan error, 1)
	finished := make(chan error, 1)
	go func() {
		finished <- each(ws, func(w *worker) error {
			err := w.p.run()
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
			return err
		})
	}()
	// wait sleeps; it ends early when a connection fails.
	wait := func(d time.Duration) {
		select {
		case err := <-failed:
			failed <- err
		case <-time.After(d):
		}
	}
	wait(o.warmup)
	var s0, s1 float64
	var cpuErr error
	if o.serverPID > 0 {
		s0, cpuErr = treeCPU(o.serverPID)
	}
	b0, st0 := machineCPU()
	c0 := ownCPU()
	t0 := time.Now()
	phase.Store(phaseMeasure)
	wait(o.duration)
	phase.Store(phaseStop)
	r.Seconds = time.Since(t0).Seconds()
	c1 := ownCPU()
	b1, st1 := machineCPU()
	if o.serverPID > 0 && cpuErr == nil {
		s1, cpuErr = treeCPU(o.serverPID)
		r.HaveServer = cpuErr == nil
	}
	runErr := <-finished

	var lat hist
	for _, w := range ws {
		st := &w.p.st
		lat.merge(&st.lat)
		r.Ops += st.ops
		r.Reads += st.reads
		r.Writes += st.writes
		r.Entries += st.entries
		r.Requests += st.requests
		r.MiBs += float64(st.bytes) / (1 << 20) / r.Seconds
		r.CreditWait += st.creditWait
		r.Checked += st.checked
		r.Mismatches += st.mismatches
		r.Interim += w.c.interim.Load()
		r.Stray += w.c.stray.Load()
		for k, v := range st.errs {
			r.Errors[k] += v
		}
	}
	r.IOPS = float64(r.Ops) / r.Seconds
	us := func(q float64) float64 { return float64(lat.quantile(q)) / 1e3 }
	r.LatUS = latency{lat.mean() / 1e3, us(.5), us(.95), us(.99), us(.999), float64(lat.max) / 1e3}
	r.ClientCPU, r.ServerCPU = c1-c0, s1-s0
	r.StealCPU = st1 - st0
	r.OtherCPU = max(0, b1-b0-r.ClientCPU-r.ServerCPU)
	if r.Ops > 0 {
		r.ClientUS = r.ClientCPU / float64(r.Ops) * 1e6
		r.ServerUS = r.ServerCPU / float64(r.Ops) * 1e6
	}
	if runErr == nil {
		runErr = each(ws, (*worker).finish)
		for _, w := range ws {
			r.Checked += w.st.checked
			r.Mismatches += w.st.mismatches
		}
	}
	if runErr == nil && cpuErr != nil {
		runErr = fmt.Errorf("-server-pid: %w", cpuErr)
	}
	if runErr != nil {
		r.Failed = runErr.Error()
	}
	return r, nil
}

func (r *result) print(out io.Writer) {
	fmt.Fprintf(out, "%s  %s %s  SMB %s  %s  conns %d  qd %d", r.Workload, r.Addr, r.Share, r.Dialect, r.Security, r.Conns, r.QD)
	if r.BS > 0 {
		fmt.Fprintf(out, "  bs %d  size %d", r.BS, r.Size)
	}
	fmt.Fprintf(out, "  files %d  %s\n", r.Files, r.Options)
	fmt.Fprintf(out, "  %.0f IOPS  %.1f MiB/s  (%d ops, %d reads, %d writes, %d requests in %.2f s)\n",
		r.IOPS, r.MiBs, r.Ops, r.Reads, r.Writes, r.Requests, r.Seconds)
	if r.Entries > 0 {
		fmt.Fprintf(out, "  %.0f directory entries/s\n", float64(r.Entries)/r.Seconds)
	}
	l := r.LatUS
	fmt.Fprintf(out, "  latency us: mean %.1f  p50 %.1f  p95 %.1f  p99 %.1f  p99.9 %.1f  max %.1f\n", l.Mean, l.P50, l.P95, l.P99, l.P999, l.Max)
	fmt.Fprintf(out, "  client CPU %.2f s (%.2f us/op)", r.ClientCPU, r.ClientUS)
	if r.HaveServer {
		fmt.Fprintf(out, "  server CPU %.2f s (%.2f us/op)", r.ServerCPU, r.ServerUS)
	}
	fmt.Fprintf(out, "  other CPU %.2f s  steal %.2f s\n", r.OtherCPU, r.StealCPU)
	if r.Interim > 0 || r.CreditWait > 0 || r.Stray > 0 {
		fmt.Fprintf(out, "  interim responses %d  credit waits %d  stray %d\n", r.Interim, r.CreditWait, r.Stray)
	}
	if r.Checked > 0 {
		fmt.Fprintf(out, "  verified %.1f MiB, %d mismatches\n", float64(r.Checked)/(1<<20), r.Mismatches)
	}
	for _, k := range slices.Sorted(mapKeys(r.Errors)) {
		fmt.Fprintf(out, "  errors: %s %d\n", k, r.Errors[k])
	}
	if r.Failed != "" {
		fmt.Fprintf(out, "  FAILED: %s\n", r.Failed)
	}
}

func mapKeys(m map[string]int64) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func main() {
	if len(os.Args) == 5 && os.Args[1] == "table" {
		if err := table(os.Stdout, os.Args[2], os.Args[3], os.Args[4]); err != nil {
			fmt.Fprintln(os.Stderr, "smbload:", err)
			os.Exit(1)
		}
		return
	}
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "smbload:", err)
		os.Exit(64)
	}
	if o.procs == 0 {
		// On one P the two goroutines of a connection hand over without waking
		// another thread, which costs about a third less CPU.
		o.procs = max(1, min(o.conns, runtime.NumCPU()/2))
	}
	runtime.GOMAXPROCS(o.procs)
	r, err := load(o)
	if err != nil {
		var ne *net.OpError
		if errors.As(err, &ne) || o.json {
			err = fmt.Errorf("%s: %w", o.addr, err)
		}
		fmt.Fprintln(os.Stderr, "smbload:", err)
		os.Exit(1)
	}
	if o.json {
		b, _ := json.Marshal(r)
		fmt.Println(string(b))
		if r.Failed != "" {
			fmt.Fprintln(os.Stderr, "smbload:", r.Failed)
		}
	} else {
		r.print(os.Stdout)
	}
	switch {
	case r.Mismatches > 0:
		os.Exit(2)
	case r.Failed != "" || len(r.Errors) > 0:
		os.Exit(1)
	}
}
