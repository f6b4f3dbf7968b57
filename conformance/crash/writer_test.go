package crash

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"

	"github.com/hirochachacha/go-smb2"
)

const blocks = 64

// writer works in one file and one directory of its own, one request after the
// other, and notes what it was told.
type writer struct {
	id      uint32
	share   string
	through bool // every reply means durable
	rng     *rand.Rand

	seq      uint64
	history  [blocks][]uint64 // writes to each block since the last verification, in order
	base     [blocks]uint64   // what the last verification found
	durable  uint64           // every write up to here is durable
	inFlight uint64           // the write without a reply, if any
	ackedOps int
	acks     chan<- struct{} // takes one when something is durable

	names   map[string]bool // files in the directory, as acknowledged
	pending *rename         // the request without a reply
	made    bool            // file and directory exist for certain
}

// rename is a change of names: "" as from creates, "" as to removes.
type rename struct{ from, to string }

func newWriter(id uint32, share string, through bool, seed uint64, acks chan<- struct{}) *writer {
	return &writer{id: id, share: share, through: through, acks: acks, rng: rand.New(rand.NewPCG(seed, uint64(id))), names: map[string]bool{}}
}

func (w *writer) file() string { return fmt.Sprintf("file%d", w.id) }
func (w *writer) dir() string  { return fmt.Sprintf("dir%d", w.id) }

// work goes on until the server is killed; an error before that is a finding.
func (w *writer) work(s *smb2.Share, killed <-chan struct{}) error {
	err := w.requests(s)
	select {
	case <-killed: // closed ahead of the kill
		return nil
	default:
		return err
	}
}

// requests returns with the first error.
func (w *writer) requests(s *smb2.Share) error {
	if err := s.MkdirAll(w.dir(), 0o755); err != nil {
		return err
	}
	f, err := s.OpenFile(w.file(), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	w.made = true
	for {
		switch n := w.rng.IntN(10); {
		case n < 7:
			err = w.write(f)
		case n < 9:
			err = w.name(s)
		default:
			err = w.flush(f)
		}
		if err != nil {
			return err
		}
	}
}

func (w *writer) write(f *smb2.File) error {
	at := uint64(w.rng.IntN(blocks))
	n := min(uint64(1+w.rng.IntN(3)*w.rng.IntN(8)), blocks-at)
	w.seq++
	p := make([]byte, n*BlockSize)
	for i := range n {
		Stamp(p[i*BlockSize:(i+1)*BlockSize], w.id, at+i, w.seq)
		w.history[at+i] = append(w.history[at+i], w.seq)
	}
	w.inFlight = w.seq
	if _, err := f.WriteAt(p, int64(at*BlockSize)); err != nil {
		return fmt.Errorf("write %d: %w", w.seq, err)
	}
	w.inFlight = 0
	if w.through {
		w.durable = w.seq
		w.acked()
	}
	return nil
}

func (w *writer) acked() {
	w.ackedOps++
	select {
	case w.acks <- struct{}{}:
	default:
	}
}

func (w *writer) flush(f *smb2.File) error {
	if err := f.Sync(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	w.durable = w.seq
	w.acked()
	return nil
}

// name creates, renames or removes a file.
func (w *writer) name(s *smb2.Share) error {
	have := slices.Sorted(maps.Keys(w.names))
	fresh := fmt.Sprintf("n%d", w.rng.Uint64()>>40)
	r := rename{to: fresh}
	if len(have) > 0 {
		switch n := w.rng.IntN(6); {
		case n < 2:
			r.from = have[w.rng.IntN(len(have))]
		case n < 4 || len(have) > 30:
			r = rename{from: have[w.rng.IntN(len(have))]}
		}
	}
	w.pending = &r
	var err error
	switch {
	case r.from == "":
		var f *smb2.File
		if f, err = s.Create(w.dir() + `\` + r.to); err == nil {
			err = f.Close()
		}
	case r.to == "":
		err = s.Remove(w.dir() + `\` + r.from)
	default:
		err = s.Rename(w.dir()+`\`+r.from, w.dir()+`\`+r.to)
	}
	if err != nil {
		return fmt.Errorf("%+v: %w", r, err)
	}
	r.apply(w.names)
	w.pending = nil
	w.acked()
	return nil
}

func (r *rename) apply(names map[string]bool) {
	delete(names, r.from)
	if r.to != "" {
		names[r.to] = true
	}
}

// verify compares what is there with the notes, and starts new ones from it.
func (w *writer) verify(s *smb2.Share) error {
	if !w.made {
		return nil // it may be there or not
	}
	if err := w.verifyNames(s); err != nil {
		return err
	}
	f, err := s.Open(w.file())
	if err != nil {
		return fmt.Errorf("the file is gone: %w", err)
	}
	defer f.Close()
	p := make([]byte, blocks*BlockSize)
	n, err := io.ReadFull(f, p)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return fmt.Errorf("read: %w", err)
	}
	clear(p[n:])
	var found [blocks]uint64
	last := uint64(0)
	for b := range found {
		if found[b], err = Inspect(p[b*BlockSize:(b+1)*BlockSize], w.id, uint64(b)); err != nil {
			return fmt.Errorf("block %d: %w", b, err)
		}
		last = max(last, found[b])
	}
	for b := range found {
		if err := w.verifyBlock(b, found[b], last); err != nil {
			return fmt.Errorf("block %d: %w", b, err)
		}
	}
	w.base = found
	w.history = [blocks][]uint64{}
	w.inFlight, w.durable = 0, last
	return nil
}

// verifyBlock checks that a block shows a write that was sent, none older than the last
// durable one, and none that a later visible write came after.
func (w *writer) verifyBlock(b int, found, last uint64) error {
	if found != w.base[b] && !slices.Contains(w.history[b], found) {
		return fmt.Errorf("shows write %d, which is not one of %v", found, w.history[b])
	}
	for _, seq := range w.history[b] {
		switch {
		case seq <= found:
		case seq <= w.durable:
			return fmt.Errorf("lost write %d: shows %d, durable up to %d", seq, found, w.durable)
		case seq < last || seq == last && seq != w.inFlight:
			return fmt.Errorf("shows write %d without %d, but write %d is there", found, seq, last)
		}
	}
	return nil
}

func (w *writer) verifyNames(s *smb2.Share) error {
	es, err := s.ReadDir(w.dir())
	if err != nil {
		return fmt.Errorf("the directory is gone: %w", err)
	}
	got := map[string]bool{}
	for _, e := range es {
		got[e.Name()] = true
	}
	before := maps.Clone(w.names)
	after := maps.Clone(w.names)
	if w.pending != nil {
		w.pending.apply(after)
	}
	if !maps.Equal(got, before) && !maps.Equal(got, after) {
		return fmt.Errorf("names are %v, want %v or with %+v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(before)), w.pending)
	}
	w.names, w.pending = got, nil
	return nil
}
