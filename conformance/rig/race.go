//go:build race

package rig

// buildFlags builds the binary like the test: its races are found too.
var buildFlags = []string{"-race"}
