package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"gabion/odx"
	"gabion/odx/peer"
)

// openTokens prepares offloaded copies, also those between arrays.
func (a *array) openTokens(r prometheus.Registerer) (err error) {
	if a.peers, err = peer.Open(a.volume, a.log, r); err != nil {
		return err
	}
	if a.tokens, err = odx.Open(a.volume, a.peers.Fingerprint().Array(), a.peers.Book); err != nil || a.PeerListen == "" {
		return err
	}
	l, err := listen(a.PeerListen)
	if err != nil {
		return err
	}
	a.peers.Serve(l, a.tokens)
	return nil
}
