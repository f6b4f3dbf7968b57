package memvol

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gabion/store"
)

type kv struct{ v *Volume }

func (v *Volume) KV() store.KV { return kv{v} }

func (k kv) Get(bucket, key string) ([]byte, error) {
	if err := k.v.enter("KV.Get"); err != nil {
		return nil, err
	}
	defer k.v.mu.Unlock()
	b, ok := k.v.kv[bucket][key]
	if !ok {
		return nil, fmt.Errorf("%s/%s: %w", bucket, key, store.ErrNotFound)
	}
	return slices.Clone(b), nil
}

func (k kv) Scan(bucket, prefix string, fn func(string, []byte) bool) error {
	if err := k.v.enter("KV.Scan"); err != nil {
		return err
	}
	m := maps.Clone(k.v.kv[bucket]) // values are never changed in place
	k.v.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if strings.HasPrefix(key, prefix) && !fn(key, m[key]) {
			break
		}
	}
	return nil
}

func (k kv) Apply(edits []store.KVEdit) (store.Pos, error) {
	if err := k.v.enter("KV.Apply"); err != nil {
		return 0, err
	}
	defer k.v.mu.Unlock()
	k.v.edit(edits)
	return k.v.done(), nil
}

// edit changes the side store. Caller holds mu.
func (v *Volume) edit(edits []store.KVEdit) {
	for _, e := range edits {
		if e.Value == nil {
			delete(v.kv[e.Bucket], e.Key)
			continue
		}
		if v.kv[e.Bucket] == nil {
			v.kv[e.Bucket] = map[string][]byte{}
		}
		v.kv[e.Bucket][e.Key] = append([]byte{}, e.Value...)
	}
}
