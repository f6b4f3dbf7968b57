//go:build race

package mclock

// many flows; the race detector has nothing to find in a simulation of one thread.
const many = 1000

// thorough: every case of every device.
const thorough = false
