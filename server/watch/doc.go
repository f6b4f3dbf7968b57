// Package watch looks at the array now and then, and says what an administrator should hear of:
// that the volume fills up, when it will be full and which files grow most; and that a file is
// overwritten much faster than it used to be, or with data that does not compress any more, as an
// encrypting intruder does.
//
// The object layer counts what is written to each file (object.Activity). Every Interval the Watcher
// takes the differences, compares them with what is usual for the file, and moves what is usual
// a little towards them. Two pure functions decide: judge, whether a file's interval is out
// of the ordinary, and fullIn, when the volume is full at the pace of the last hour. One
// goroutine, Watcher.Run, owns the doing.
package watch
