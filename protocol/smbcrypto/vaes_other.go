//go:build !amd64

package smbcrypto

import "crypto/cipher"

// newGCM returns AES-GCM under a key, of which block is the cipher.
func newGCM(_ []byte, block cipher.Block) (cipher.AEAD, error) { return cipher.NewGCM(block) }
