// Package audit writes down what an administrator must be able to find later: opens
// that a privilege made possible, logons by a service for somebody else, and changes
// by administrators.
//
// The log is a file of JSON lines, audit.log. When it has reached its size it becomes
// audit.log.1, what was audit.log.1 becomes audit.log.2, and the oldest goes:
//
//	audit.log ─▶ audit.log.1 ─▶ … ─▶ audit.log.N ─▶ removed
//
// Every line has "time", "level" and "msg", the kind of the record:
//
//	open       user, from, share, path, intent, asked, granted, gained, by, result
//	delegated  user, from, through
//	offload    user, from, what (issued, used, refused), token (its id), issuer, source, target, bytes
//	admin      operation, caller, from, parameters, result
//	override   operation, caller, from, snapshot, immutable_until, reason
//
// "by" lists each privilege that was used with the grants that gave it. Passwords, keys
// and tickets never get as far as here.
//
// Lines are written at once but not synced: they outlive the process, not the machine. An
// override is synced before what it allows is done.
package audit
