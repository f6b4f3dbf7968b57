package odx

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"gabion/protocol/fscc"
	"gabion/store"
	"gabion/store/memvol"
)

func volume(t testing.TB) (store.Volume, store.Stream) {
	t.Helper()
	v := memvol.New(memvol.Options{})
	t.Cleanup(func() { v.Close() })
	root, err := v.Root(store.Live)
	if err != nil {
		t.Fatal(err)
	}
	n, _, err := v.Create(root, "f", store.Init{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := n.Data()
	if err == nil {
		_, err = s.WriteAt(bytes.Repeat([]byte("0123456789"), 1000), 0, store.Touch{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return v, s
}

func tokens(t testing.TB, v store.Volume) *Tokens {
	t.Helper()
	x, err := Open(v, ArrayID{1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func issue(t testing.TB, x *Tokens, s store.Stream, off, n int64, by string) (Token, Info) {
	t.Helper()
	tok, info, _, err := x.Issue(s, off, n, 0, Issuer{SID: by, User: by})
	if err != nil {
		t.Fatal(err)
	}
	return tok, info
}

func TestToken(t *testing.T) {
	v, s := volume(t)
	x := tokens(t, v)
	tok, info := issue(t, x, s, 512, 9728, "ann") // the last sector is not full
	src, err := x.Open(tok[:])
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	p := make([]byte, 9728)
	if err := src.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 10000)
	if _, err := s.ReadAt(want, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	want = append(want[512:], make([]byte, 240)...)
	if !bytes.Equal(p, want) || src.Length != 9728 || src.Info.ID != info.ID {
		t.Errorf("token of %+v", src.Info)
	}
	// Another start of the same array knows it; another array does not.
	if again, err := tokens(t, v).Open(tok[:]); err != nil {
		t.Error(err)
	} else {
		again.Close()
	}
	other, _ := volume(t)
	if _, err := tokens(t, other).Open(tok[:]); !errors.Is(err, ErrInvalid) {
		t.Errorf("another array: %v", err)
	}
	// Every flipped bit but those that the specification says to ignore.
	for i := range Size * 8 {
		bad := tok
		bad[i/8] ^= 1 << (i % 8)
		if _, err := x.Open(bad[:]); (err == nil) != (i/8 == 4 || i/8 == 5) {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
	if _, err := x.Open(tok[:Size-1]); !errors.Is(err, ErrInvalid) {
		t.Errorf("cut off: %v", err)
	}
	second, _ := issue(t, x, s, 512, 9728, "ann")
	if second == tok {
		t.Error("the same token twice")
	}
}

func TestRevoke(t *testing.T) {
	v, s := volume(t)
	x := tokens(t, v)
	a, info := issue(t, x, s, 0, 512, "ann")
	b, _ := issue(t, x, s, 0, 512, "bob")
	list, err := x.List()
	if err != nil || len(list) != 2 || list[0].ID != info.ID || list[1].User != "bob" {
		t.Fatalf("%+v, %v", list, err)
	}
	if n, err := x.Revoke(info.ID); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := x.Open(a[:]); !errors.Is(err, ErrInvalid) {
		t.Error("revoked, but honoured")
	}
	if _, err := x.Revoke(info.ID); !errors.Is(err, ErrNoToken) {
		t.Error(err)
	}
	if n, err := x.Revoke(""); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := x.Open(b[:]); !errors.Is(err, ErrInvalid) {
		t.Error("revoked with all, but honoured")
	}
}

// One user's tokens drive out that user's own.
func TestFairness(t *testing.T) {
	v, s := volume(t)
	x := tokens(t, v)
	first, _ := issue(t, x, s, 0, 512, "ann")
	var own []Token
	for range maxPerUser + 10 {
		tok, _ := issue(t, x, s, 0, 512, "eve")
		own = append(own, tok)
	}
	for i, tok := range append([]Token{first}, own...) {
		src, err := x.Open(tok[:])
		if gone := i >= 1 && i <= 10; gone != (err != nil) {
			t.Errorf("token %d: %v", i, err)
		}
		if err == nil {
			src.Close()
		}
	}
}

// Use keeps a token alive, time ends it.
func TestTime(t *testing.T) {
	at := time.Now()
	clock := func() time.Time { return at }
	v := memvol.New(memvol.Options{Now: clock})
	defer v.Close()
	root, _ := v.Root(store.Live)
	n, _, _ := v.Create(root, "f", store.Init{})
	s, _ := n.Data()
	s.WriteAt(make([]byte, 512), 0, store.Touch{})
	x := tokens(t, v)
	x.now = clock
	tok, _ := issue(t, x, s, 0, 512, "ann")
	for range 10 {
		at = at.Add(DefaultTTL * 2 / 3)
		src, err := x.Open(tok[:])
		if err != nil {
			t.Fatal(err)
		}
		src.Close()
	}
	at = at.Add(DefaultTTL)
	if _, err := x.Open(tok[:]); !errors.Is(err, ErrInvalid) {
		t.Errorf("unused for its time: %v", err)
	}
	tok, _ = issue(t, x, s, 0, 512, "ann")
	for end := at.Add(MaxLife); at.Before(end); at = at.Add(DefaultTTL / 2) {
		if src, err := x.Open(tok[:]); err == nil {
			src.Close()
		}
	}
	if _, err := x.Open(tok[:]); !errors.Is(err, ErrInvalid) {
		t.Errorf("beyond the longest life: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	var k key
	good := k.seal(&body{length: 512})
	zero := Zero()
	f.Add(good[:])
	f.Add(zero[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parse(b)
		if err != nil || p.zero {
			return
		}
		// What is accepted says all there is to say: sealing it again gives it back.
		again := k.seal(&p.body)
		if k.verify(p) && !bytes.Equal(again[6:], b[6:Size]) {
			t.Error("a token with another form")
		}
		if p.wire.TokenType == fscc.OffloadTokenZeroData {
			t.Error("the zero token has a body")
		}
	})
}
