package block

import (
	"testing"

	"gabion/store/storetest"
)

func TestCorruption(t *testing.T) { storetest.Corrupt(t, engineOf, 200) }
