package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"gabion/store"
)

func (k *kit) apply(edits ...store.KVEdit) store.Pos {
	k.Helper()
	pos, err := k.v.KV().Apply(edits)
	k.ok(err)
	return pos
}

func (k *kit) scan(bucket, prefix string) (keys []string) {
	k.Helper()
	k.ok(k.v.KV().Scan(bucket, prefix, func(key string, v []byte) bool {
		keys = append(keys, key+"="+string(v))
		return true
	}))
	return keys
}

func testKV(k *kit) {
	kv := k.v.KV()
	_, err := kv.Get("b", "k")
	k.fails(err, store.ErrNotFound)
	big := pattern(1, 100_000)
	k.apply(store.KVEdit{Bucket: "b", Key: "k1", Value: []byte("v1")}, store.KVEdit{Bucket: "b", Key: "k2", Value: []byte{}},
		store.KVEdit{Bucket: "b", Key: "big", Value: big}, store.KVEdit{Bucket: "bb", Key: "k1", Value: []byte("other")},
		store.KVEdit{Bucket: "b", Key: "k\x00\xff", Value: []byte("odd")}, store.KVEdit{Bucket: "b", Key: "", Value: []byte("empty key")})
	got, err := kv.Get("b", "k2")
	k.ok(err)
	if got == nil || len(got) != 0 {
		k.Errorf("empty value came back as %v", got)
	}
	got, err = kv.Get("b", "big")
	k.ok(err)
	if !bytes.Equal(got, big) {
		k.Errorf("big value: %d bytes", len(got))
	}
	if got := k.scan("b", "k"); !slices.Equal(got, []string{"k\x00\xff=odd", "k1=v1", "k2="}) {
		k.Errorf("scan %q", got)
	}
	if got := k.scan("bb", ""); !slices.Equal(got, []string{"k1=other"}) {
		k.Errorf("scan %q", got)
	}
	n := 0
	k.ok(kv.Scan("b", "", func(string, []byte) bool { n++; return n < 2 }))
	if n != 2 {
		k.Errorf("%d calls, want 2", n)
	}
	// The last edit of a key counts; a nil value deletes, an absent key too.
	k.apply(store.KVEdit{Bucket: "b", Key: "k1"}, store.KVEdit{Bucket: "b", Key: "k2", Value: []byte("a")},
		store.KVEdit{Bucket: "b", Key: "k2", Value: []byte("b")}, store.KVEdit{Bucket: "b", Key: "never"},
		store.KVEdit{Bucket: "b", Key: "big"}, store.KVEdit{Bucket: "b", Key: ""}, store.KVEdit{Bucket: "b", Key: "k\x00\xff"})
	if got := k.scan("b", ""); !slices.Equal(got, []string{"k2=b"}) {
		k.Errorf("scan %q", got)
	}
	k.apply()

	// Records are made with a file, and only with it.
	record := func(id store.FileID) []store.KVEdit {
		return []store.KVEdit{{Bucket: "made", Key: "id", Value: []byte(fmt.Sprint(id))}, {Bucket: "b", Key: "k2"}}
	}
	f, pos, err := k.v.Create(k.root, "recorded", store.Init{Records: record})
	k.ok(err)
	k.ok(k.v.Wait(pos))
	if made, left := k.scan("made", ""), k.scan("b", ""); !slices.Equal(made, []string{fmt.Sprint("id=", f.ID())}) || len(left) != 0 {
		k.Errorf("recorded %q, left %q", made, left)
	}
	f.Close()
	_, _, err = k.v.Create(k.root, "RECORDED", store.Init{Records: func(store.FileID) []store.KVEdit {
		return []store.KVEdit{{Bucket: "made", Key: "id"}}
	}})
	k.fails(err, store.ErrExist)
	if made := k.scan("made", ""); len(made) != 1 {
		k.Errorf("a create that failed changed the records: %q", made)
	}

	// A batch is seen whole or not at all.
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 200 {
			v := []byte{byte(i)}
			if _, err := kv.Apply([]store.KVEdit{{Bucket: "p", Key: "x", Value: v}, {Bucket: "p", Key: "y", Value: v}}); err != nil {
				k.Error(err)
			}
		}
	})
	for range 200 {
		var vs []byte
		if err := kv.Scan("p", "", func(_ string, v []byte) bool { vs = append(vs, v...); return true }); err != nil {
			k.Error(err)
		}
		if len(vs) == 1 || len(vs) == 2 && vs[0] != vs[1] {
			k.Errorf("half a batch: %v", vs)
		}
	}
	wg.Wait()
}

func testKVUnversioned(k *kit) {
	n := k.file(k.root, "f")
	k.apply(store.KVEdit{Bucket: "b", Key: "k", Value: []byte("1")})
	v := k.snap("s")
	k.apply(store.KVEdit{Bucket: "b", Key: "k", Value: []byte("2")})
	_, err := k.v.Snapshots().Restore([]store.FileID{n.ID()}, v)
	k.ok(err)
	if got := k.scan("b", ""); !slices.Equal(got, []string{"k=2"}) {
		k.Errorf("restore touched the side store: %q", got)
	}
}
