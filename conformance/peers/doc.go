// Package peers holds Gabion to what real clients expect of it: smbclient,
// hirochachacha/go-smb2, qemu-img and our load generator, each against the real
// binary on loopback. Everything is in its tests.
package peers
