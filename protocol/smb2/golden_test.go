package smb2

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// golden returns the messages of testdata/golden: what Samba's client, torture
// suite and server said to each other, one file for each transport frame.
func golden(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/golden/*.hex")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden captures", err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
		if err != nil {
			t.Fatal(f, err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".hex")] = b
	}
	return all
}

func reencode(h Header, m Message) []byte {
	f := h.Fields()
	return m.AppendTo(AppendHeader(nil, &f))
}

// What a real peer sent is decoded, and encoded again means the same.
func TestGolden(t *testing.T) {
	same := 0
	frames := golden(t)
	for name, frame := range frames {
		t.Run(name, func(t *testing.T) {
			for rest := frame; rest != nil; {
				var msg []byte
				var err error
				msg, rest, err = Split(rest)
				if err != nil {
					t.Fatal(err)
				}
				h, m, err := DecodeMessage(msg)
				if err != nil {
					t.Fatalf("%s: %v", h, err)
				}
				if s := m.String(); s == "" {
					t.Error("prints nothing")
				}
				if _, isError := m.(*ErrorResponse); strings.HasSuffix(strings.TrimRight(name, "0123456789"), "error_") && !isError {
					t.Errorf("decoded as %T", m)
				}
				out := reencode(h, m)
				if bytes.Equal(out, msg) {
					same++
				}
				_, again, err := DecodeMessage(out)
				if err != nil {
					t.Fatalf("own encoding of %s: %v", m, err)
				}
				if !reflect.DeepEqual(m, again) {
					t.Errorf("got %#v\nwant %#v", again, m)
				}
			}
		})
	}
	// The rest differs in what means nothing: offsets of empty regions, the byte an
	// error's empty data has, padding behind the last field.
	if same < 75 {
		t.Errorf("only %d messages of %d frames are byte for byte what the peer sent", same, len(frames))
	}
}
