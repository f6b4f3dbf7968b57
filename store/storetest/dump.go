package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
	"strings"

	"gabion/store"
)

// Dump is everything a volume shows, as text by place, in a form that is equal for
// any two volumes in the same state.
type Dump map[string]string

// Take dumps a volume: every view, every name, attribute, blob, stream and byte,
// and the side store. It fails when the volume contradicts itself.
func Take(v store.Volume) (Dump, error) {
	d := Dump{}
	ss, err := v.Snapshots().List(store.RootID)
	if err != nil {
		return nil, err
	}
	t := &taker{v: v, d: d, first: map[store.FileID]string{}}
	if err := t.walk("", store.Live, store.RootID, "", store.Entry{}); err != nil {
		return nil, err
	}
	names := ""
	for _, s := range ss {
		names += " " + s.Name
		for i, id := range s.Scope {
			t := &taker{v: v, d: d, first: map[store.FileID]string{}}
			at := fmt.Sprintf("@%s#%d", s.Name, i)
			if err := t.walk(at, s.View, id, "", store.Entry{}); err != nil {
				return nil, fmt.Errorf("snapshot %q: %w", s.Name, err)
			}
		}
	}
	d["snapshots"] = names
	if err := t.pins(); err != nil {
		return nil, err
	}
	for _, b := range buckets {
		err := v.KV().Scan(b, "", func(key string, value []byte) bool {
			d["kv "+b+"/"+key] = fmt.Sprintf("%d bytes %x", len(value), sum(value))
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	return d, nil
}

// pins dumps the pins and what they hold.
func (t *taker) pins() error {
	list, err := t.v.Pins().List()
	if err != nil {
		return err
	}
	for _, p := range list {
		place := "pin " + string(p.ID[:])
		if err := t.tolerate(place, t.pin(p, place)); err != nil {
			return fmt.Errorf("%s: %w", place, err)
		}
	}
	return nil
}

func (t *taker) pin(p store.Pin, place string) error {
	_, s, err := t.v.Pins().Use(p.ID)
	if err != nil {
		return err
	}
	defer s.Close()
	all, err := contents(s)
	if err != nil {
		return err
	}
	t.d[place] = fmt.Sprintf("%q %v of %d bytes, note %x,", p.Stream, p.Range, s.Sizes().Size, sum(p.Note))
	for _, k := range slices.Sorted(maps.Keys(all)) {
		t.d[place] += fmt.Sprintf(" %d:%x", k, all[k])
	}
	return nil
}

type taker struct {
	v     store.Volume
	d     Dump
	first map[store.FileID]string // place of the first name seen of each file

	goOn   bool // past errors, which are noted in failed by their place
	failed []string
}

// errContradiction: a volume says two different things.
var errContradiction = errors.New("contradiction")

func contradiction(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errContradiction, fmt.Sprintf(format, args...))
}

// tolerate returns err, or notes it.
func (t *taker) tolerate(place string, err error) error {
	if err != nil && t.goOn && !errors.Is(err, errContradiction) {
		t.failed = append(t.failed, place)
		return nil
	}
	return err
}

func attrText(a store.Attr) string {
	return fmt.Sprintf("dir %v attr %#x times %d %d %d %d size %d valid %d links %d tag %#x ea %d", a.Dir, a.FileAttributes,
		a.CreationTime, a.LastAccessTime, a.LastWriteTime, a.ChangeTime, a.Size, a.ValidData, a.Links, a.ReparseTag, a.EASize)
}

// walk dumps node id as place, and what is below it.
func (t *taker) walk(view string, v store.View, id store.FileID, path string, e store.Entry) error {
	place := view + path
	n, err := t.v.OpenID(v, id)
	if err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	defer n.Close()
	if at, ok := t.first[id]; ok {
		t.d[place] = "same as " + at
		if n.IsDir() {
			return contradiction("directory %s is %s as well", place, at)
		}
		return nil
	}
	t.first[id] = place
	a, err := n.Attr()
	if err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	if a.ID != id || n.ID() != id || a.Dir != n.IsDir() {
		return contradiction("%s: opened file %d, got %d, %+v", place, id, n.ID(), a)
	}
	if e.Name != "" && e.Attr != a {
		return contradiction("%s: listed as %+v, is %+v", place, e.Attr, a)
	}
	if id == store.RootID {
		a.Links = 0 // what a root has is open; its times are those of the volume's birth
		a.CreationTime, a.LastAccessTime, a.LastWriteTime, a.ChangeTime = 0, 0, 0, 0
	}
	t.d[place] = attrText(a)
	if err := t.tolerate(place, t.node(n, place, v == store.Live)); err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	if !a.Dir {
		return nil
	}
	return t.tolerate(place, t.children(view, v, n, path))
}

func (t *taker) children(view string, v store.View, n store.Node, path string) error {
	after := ""
	for {
		es, err := t.v.ReadDir(n, after, 7, nil)
		if err != nil {
			return fmt.Errorf("%s%s: %w", view, path, err)
		}
		for _, e := range es {
			after = e.Name
			l, err := t.v.Lookup(n, strings.ToUpper(e.Name))
			if err == nil && (l.Name != e.Name || l.ID != e.ID) || errors.Is(err, store.ErrNotFound) {
				err = contradiction("listed as file %d, looked up as %+v, %v", e.ID, l, err)
			}
			if err := t.tolerate(view+path+"/"+e.Name, err); err != nil {
				return fmt.Errorf("%s%s/%s: %w", view, path, e.Name, err)
			}
			below := path + "/" + e.Name
			if err := t.tolerate(view+below, t.walk(view, v, e.ID, below, e)); err != nil {
				return err
			}
		}
		if len(es) < 7 {
			return nil
		}
	}
}

// node dumps the blobs, the names and the streams of a node.
func (t *taker) node(n store.Node, place string, live bool) error {
	for k := store.BlobSecurity; k <= store.BlobObjectID; k++ {
		b, err := n.Blob(k)
		if err != nil {
			return err
		}
		if b != nil {
			t.d[fmt.Sprintf("%s blob %d", place, k)] = fmt.Sprintf("%d bytes %x", len(b), sum(b))
		}
	}
	links, err := n.Names()
	if err != nil {
		return err
	}
	var names []string
	for _, l := range links {
		names = append(names, l.Name)
		if live {
			d, err := t.v.OpenID(store.Live, l.Parent)
			if err != nil {
				return fmt.Errorf("parent %d: %w", l.Parent, err)
			}
			e, err := t.v.Lookup(d, l.Name)
			d.Close()
			if err == nil && (e.ID != n.ID() || e.Name != l.Name) {
				err = contradiction("link %+v leads to %+v", l, e)
			}
			if err != nil {
				return fmt.Errorf("link %+v: %w", l, err)
			}
		}
	}
	sort.Strings(names)
	t.d[place+" names"] = strings.Join(names, " ")
	streams, err := n.Streams()
	if err != nil {
		return err
	}
	if !n.IsDir() {
		streams = append(streams, store.StreamInfo{})
	}
	for _, i := range streams {
		if err := t.tolerate(place+":"+i.Name, t.stream(n, place, i)); err != nil {
			return fmt.Errorf("stream %q: %w", i.Name, err)
		}
	}
	return nil
}

func (t *taker) stream(n store.Node, place string, i store.StreamInfo) error {
	s, err := openStream(n, i.Name)
	if err != nil {
		return err
	}
	defer s.Close()
	z := s.Sizes()
	if i.Name != "" && (i.Sizes != z || s.Name() != i.Name) {
		return contradiction("listed as %+v, is %q %+v", i, s.Name(), z)
	}
	if z.ValidData > z.Size || z.Size < 0 || z.ValidData < 0 || z.Allocated < 0 {
		return contradiction("impossible %+v", z)
	}
	blocks, err := contents(s)
	if err != nil {
		return err
	}
	at := place + ":" + i.Name
	t.d[at] = fmt.Sprintf("size %d valid %d", z.Size, z.ValidData)
	for _, k := range slices.Sorted(maps.Keys(blocks)) {
		t.d[fmt.Sprintf("%s +%d", at, k*block)] = fmt.Sprintf("%x", blocks[k])
	}
	return nil
}

var zeros [block]byte

// readAll is how large a stream is read in full whatever its Allocated says.
const readAll = 256 << 10

// contents returns a hash of every block that is not zero, by block number.
func contents(s store.Stream) (map[int64]uint64, error) {
	size := s.Sizes().Size
	rs, err := s.Allocated(0, store.MaxSize, nil)
	if err != nil {
		return nil, err
	}
	if err := checkAllocated(s, 0, store.MaxSize, rs); err != nil {
		return nil, err
	}
	if size <= readAll {
		rs = []store.Range{{Off: 0, Len: size}}
	}
	out := map[int64]uint64{}
	buf := make([]byte, 64<<10)
	for _, r := range rs {
		lo := r.Off / block * block
		for lo < r.Off+r.Len {
			n, err := s.ReadAt(buf, lo)
			if err != nil && err != io.EOF {
				return nil, fmt.Errorf("read at %d: %w", lo, err)
			}
			if want := min(int64(len(buf)), size-lo); int64(n) != max(want, 0) {
				return nil, contradiction("read at %d of %d bytes gave %d", lo, size, n)
			}
			if n == 0 {
				break
			}
			for i := 0; i < n; i += block {
				b := buf[i:min(i+block, n)]
				if !bytes.Equal(b, zeros[:len(b)]) {
					out[(lo+int64(i))/block] = sum(b)
				}
			}
			lo += int64(n)
		}
	}
	return out, nil
}

// checkAllocated checks the form of an answer, and that holes read as zeros near
// their ends and in their middles.
func checkAllocated(s store.Stream, off, n int64, rs []store.Range) error {
	size := s.Sizes().Size
	end := min(size, off+min(n, store.MaxSize-off))
	last := off
	p := make([]byte, 100)
	zero := func(lo, hi int64) error {
		for _, at := range []int64{lo, (lo + hi) / 2, hi - int64(len(p))} {
			if at < lo || at >= hi {
				continue
			}
			b := p[:min(int64(len(p)), hi-at)]
			if _, err := s.ReadAt(b, at); err != nil {
				return fmt.Errorf("read of a hole at %d: %w", at, err)
			}
			if !bytes.Equal(b, zeros[:len(b)]) {
				return contradiction("hole [%d,%d) holds data at %d", lo, hi, at)
			}
		}
		return nil
	}
	for _, r := range rs {
		if r.Len <= 0 || r.Off < last || r.Off+r.Len > off+n && n < store.MaxSize {
			return contradiction("allocated ranges of [%d,+%d), size %d: %v", off, n, size, rs)
		}
		if err := zero(last, min(r.Off, end)); err != nil {
			return err
		}
		last = r.Off + r.Len
	}
	return zero(last, end)
}

// Compare lists up to ten differences.
func Compare(got, want Dump) []string {
	keys := map[string]bool{}
	for k := range got {
		keys[k] = true
	}
	for k := range want {
		keys[k] = true
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		g, inGot := got[k]
		w, inWant := want[k]
		switch {
		case g == w && inGot == inWant:
			continue
		case !inGot:
			g = "nothing"
		case !inWant:
			w = "nothing"
		}
		if out = append(out, fmt.Sprintf("%s: %s, want %s", k, g, w)); len(out) == 10 {
			break
		}
	}
	return out
}

// Equal reports whether two dumps are the same.
func Equal(a, b Dump) bool { return maps.Equal(a, b) }
