package block

import (
	"fmt"
	"strings"

	"gabion/store"
)

// kv is the side store; it implements store.KV.
type kv struct{ v *Volume }

// KV implements store.Volume.
func (v *Volume) KV() store.KV { return kv{v} }

func checkKV(bucket string) error {
	if strings.IndexByte(bucket, 0) >= 0 {
		return fmt.Errorf("bucket %q: %w", bucket, store.ErrName)
	}
	return nil
}

// Get implements store.KV.
func (k kv) Get(bucket, key string) ([]byte, error) {
	err := k.v.check()
	if err == nil {
		err = checkKV(bucket)
	}
	if err != nil {
		return nil, err
	}
	b, err := k.v.get(kvKey(nil, bucket, key))
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, fmt.Errorf("%s/%s: %w", bucket, key, store.ErrNotFound)
	}
	return b, nil
}

// Scan implements store.KV.
func (k kv) Scan(bucket, prefix string, fn func(string, []byte) bool) error {
	err := k.v.check()
	if err == nil {
		err = checkKV(bucket)
	}
	if err != nil {
		return err
	}
	skip := len(kvKey(nil, bucket, ""))
	return k.v.scan(kvKey(nil, bucket, prefix), nil, func(key, value []byte) (bool, error) {
		return fn(string(key[skip:]), value), nil
	})
}

// Apply implements store.KV.
func (k kv) Apply(edits []store.KVEdit) (store.Pos, error) {
	if err := k.v.admit(0); err != nil {
		return 0, err
	}
	c := newChange()
	defer c.free()
	for i := range edits {
		if err := c.sideEdits(edits[i : i+1]); err != nil {
			return 0, err
		}
		c.room(k.v.log.MaxPayload(), 0)
	}
	return k.v.commit(c)
}

// sideEdits adds edits of the side store to a change.
func (c *change) sideEdits(edits []store.KVEdit) error {
	for _, e := range edits {
		if err := checkKV(e.Bucket); err != nil {
			return err
		}
		key := kvKey(nil, e.Bucket, e.Key)
		if e.Value == nil {
			c.del(key)
		} else {
			c.set(key, e.Value)
		}
	}
	return nil
}
