// Package transcript plays conversations that can be read: a list of lines and, indented
// below each, what came of it.
//
//	A open f disk.vhdx create rw lease=RWH
//	  created lease=RHW
//
// Empty lines and those that begin with # say nothing to the player. With -rewrite the results
// are written into the transcript; what changed is then to be judged by reading.
package transcript
