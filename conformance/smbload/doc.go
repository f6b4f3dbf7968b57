// Command smbload loads an SMB server and reports throughput, latency and CPU
// cost per operation. See README.md.
package main
