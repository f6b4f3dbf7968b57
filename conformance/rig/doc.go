// Package rig builds and runs the real gabion binary for conformance tests: a
// process of its own on a loopback port of its own with a data directory of its
// own, as a user would start it. Whatever a test asserts, it asserts from outside.
package rig
