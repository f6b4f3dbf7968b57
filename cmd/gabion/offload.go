package main

import (
	"gabion/odx"
	"gabion/odx/peer"
)

// openTokens prepares offloaded copies.
func (a *array) openTokens() error {
	self, err := peer.OpenIdentity(a.volume)
	if err != nil {
		return err
	}
	a.tokens, err = odx.Open(a.volume, self.Fingerprint.Array(), nil)
	return err
}
