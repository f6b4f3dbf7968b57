package block

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
	"gabion/store/storetest"
)

var engine = storetest.Engine{
	Open: func(fs vfs.FS) (store.Volume, error) {
		v, err := Open(Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, CacheSize: 8 << 20, Manual: true})
		if err != nil {
			return nil, err
		}
		return v, nil
	},
	Idle: func(v store.Volume) { settle(v.(*Volume), 20) },
}

// settle lets background work run for some steps.
func settle(v *Volume, steps int) {
	for range steps {
		if more, err := v.Step(); err != nil || !more {
			return
		}
	}
}

func TestMetamorphic(t *testing.T) { storetest.Metamorphic(t, engine, 3000) }
func TestCrash(t *testing.T)       { storetest.Crash(t, engine, 100) }
func TestFaults(t *testing.T)      { storetest.Faults(t, engine, 50) }
