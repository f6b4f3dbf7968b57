// Package servertest serves a volume in memory in the process of a test, for suites that
// otherwise play against a real binary or somebody else's server.
package servertest
