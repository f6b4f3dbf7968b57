package storetest

import (
	"testing"

	"gabion/store"
	"gabion/store/memvol"
)

func TestModelKeepsTheContract(t *testing.T) {
	Run(t, func(testing.TB) store.Volume { return memvol.New(memvol.Options{}) })
}
