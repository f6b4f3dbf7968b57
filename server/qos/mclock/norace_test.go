//go:build !race

package mclock

// many flows at once.
const many = 10_000

// thorough: every case of every device.
const thorough = true
