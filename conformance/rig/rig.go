package rig

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// User and Password are the account every rig's server knows.
const (
	User     = "rig"
	Password = "Rig-Password-1"
)

// readyWithin bounds the wait for the ready line; a loaded CI machine is slow.
const readyWithin = 60 * time.Second

// Server is one running gabion process.
type Server struct {
	Addr, Host, Port string // where it serves SMB
	Data             string
	Binary           string

	args   []string
	cmd    *exec.Cmd
	stderr *os.File // a file and no pipe: what a process has written is there before anything that it does next
	exited chan error
}

var built struct {
	sync.Mutex
	tags map[string]string // build tags → path of the binary
}

// Binary builds cmd/gabion once per test process, with optional build tags.
func Binary(t testing.TB, tags string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if path := built.tags[tags]; path != "" {
		return path
	}
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "gabion-rig-")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "gabion")
	args := append([]string{"build", "-tags", tags, "-o", path}, buildFlags...)
	cmd := exec.Command("go", append(args, "./cmd/gabion")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building gabion: %v\n%s", err, out)
	}
	if built.tags == nil {
		built.tags = map[string]string{}
	}
	built.tags[tags] = path
	return path
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = up
	}
}

// Start runs `gabion serve` in a fresh data directory with the rig's user and
// one share "vms" (ca) unless args name shares. It is stopped when the test ends.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return StartIn(t, t.TempDir(), args...)
}

// StartIn is Start on a data directory of the caller's.
func StartIn(t testing.TB, data string, args ...string) *Server {
	t.Helper()
	log, err := os.CreateTemp("", "gabion-rig-stderr-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(log.Name()); err != nil { // it lasts as long as it is open
		t.Fatal(err)
	}
	s := &Server{Data: data, Binary: Binary(t, ""), args: args, stderr: log}
	t.Cleanup(func() {
		s.Kill()
		log.Close()
	})
	if err := s.Run(); err != nil {
		t.Fatalf("%v\n%s", err, s.Stderr())
	}
	return s
}

// Run starts the process and waits for its ready line; after Kill or Stop it
// may be called again. The port is kept across restarts.
func (s *Server) Run() error {
	listen := s.Addr
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	args := append([]string{"serve", "--data", s.Data, "--listen", listen, "--user", User + ":" + Password}, s.args...)
	s.cmd = exec.Command(s.Binary, args...)
	s.cmd.Stderr = s.stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ready, exited := make(chan string, 1), make(chan error, 1)
	s.exited = exited
	go func() {
		r := bufio.NewReader(out)
		line, _ := r.ReadString('\n')
		ready <- line
		_, _ = io.Copy(io.Discard, r)
		exited <- s.cmd.Wait()
	}()
	select {
	case line := <-ready:
		return s.parseReady(line)
	case <-time.After(readyWithin):
		s.Kill()
		return fmt.Errorf("no ready line within %v", readyWithin)
	}
}

func (s *Server) parseReady(line string) error {
	for _, word := range strings.Fields(line) {
		if addr, ok := strings.CutPrefix(word, "smb="); ok {
			s.Addr = addr
			i := strings.LastIndexByte(addr, ':')
			s.Host, s.Port = addr[:i], addr[i+1:]
			return nil
		}
	}
	err := <-s.exited
	s.exited <- err
	return fmt.Errorf("gabion printed %q instead of its ready line (%v)", line, err)
}

// Kill ends the process as kill -9 does and waits until it is gone.
func (s *Server) Kill() { _ = s.end(syscall.SIGKILL) }

// Stop sends SIGTERM and returns how the process ended.
func (s *Server) Stop() error { return s.end(syscall.SIGTERM) }

func (s *Server) end(sig syscall.Signal) error {
	if s.cmd == nil || s.cmd.Process == nil {
		return nil
	}
	_ = s.cmd.Process.Signal(sig)
	err := <-s.exited
	s.cmd = nil
	return err
}

// PID of the running process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Stderr is what the processes of this rig wrote to standard error so far.
func (s *Server) Stderr() string {
	info, err := s.stderr.Stat()
	if err != nil {
		return err.Error()
	}
	text, err := io.ReadAll(io.NewSectionReader(s.stderr, 0, info.Size()))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Command runs another verb of the binary against this server.
func (s *Server) Command(args ...string) (stdout, stderr string, err error) {
	cmd := exec.Command(s.Binary, append(args, "--data", s.Data)...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	return o.String(), e.String(), err
}

// Need skips the test when a program is absent, except where .ci/run should have
// installed it.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("GABION_CI") != "" {
				t.Fatalf("%s is missing although .ci/run installs it", p)
			}
			t.Skipf("%s is not installed", p)
		}
	}
}
