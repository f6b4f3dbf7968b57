package block

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A volume that is closed leaves no timer behind, whatever it waited for.
func TestCloseStopsAlarms(t *testing.T) {
	v := openMem(t, vfs.NewMem())
	for reason := range numAlarms {
		v.work.pokeIn(reason, time.Hour)
		v.work.pokeIn(reason, time.Hour)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for reason := range numAlarms {
		v.work.pokeIn(reason, time.Hour)
		if a := &v.work.alarms[reason]; a.timer.Stop() {
			t.Errorf("alarm %d is still set", reason)
		}
	}
}
