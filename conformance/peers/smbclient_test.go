package peers

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gabion/conformance/rig"
)

// modes are the ways in which smbclient connects.
var modes = []struct{ name, protection string }{
	{"sign", "sign"},
	{"encrypt", "encrypt"},
}

type smbclient struct {
	t          *testing.T
	s          *rig.Server
	protection string
	dir        string // local working directory
}

// try runs commands on //HOST/vms and returns smbclient's whole output.
func (c *smbclient) try(commands string) (string, error) {
	cmd := exec.Command("smbclient", "//"+c.s.Host+"/vms", "-p", c.s.Port, "-m", "SMB3_11", "--timeout=300",
		"-U", rig.User+"%"+rig.Password, "--client-protection="+c.protection, "-c", commands)
	cmd.Dir = c.dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *smbclient) run(commands string) string {
	c.t.Helper()
	out, err := c.try(commands)
	if err != nil || strings.Contains(out, "NT_STATUS_") {
		c.t.Fatalf("smbclient %q: %v\n%s", commands, err, out)
	}
	return out
}

func eachMode(t *testing.T, test func(t *testing.T, c *smbclient)) {
	rig.Need(t, "smbclient")
	s := rig.Start(t)
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			c := &smbclient{t: t, s: s, protection: m.protection, dir: t.TempDir()}
			c.run("mkdir " + m.name)
			test(t, c)
		})
	}
}

// localFile makes a local file of n bytes of incompressible data and returns its SHA-256.
func localFile(t *testing.T, path string, n int64) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, h), rand.NewChaCha8([32]byte{1}), n); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func sum(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func TestSmbclientListsShares(t *testing.T) {
	rig.Need(t, "smbclient")
	s := rig.Start(t, "--share", "vms,ca", "--share", "iso,readonly")
	for _, m := range modes {
		cmd := exec.Command("smbclient", "-L", s.Host, "-p", s.Port, "-U", rig.User+"%"+rig.Password, "--client-protection="+m.protection)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, want := range []string{"vms", "iso", "IPC$"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: share %s is not listed:\n%s", m.name, want, out)
			}
		}
	}
}

// The size a user would try first: 2 GiB where CI runs, less by default.
func bigSize() int64 {
	if os.Getenv("GABION_CI") != "" {
		return 2 << 30
	}
	return 64 << 20
}

func TestSmbclientBigFile(t *testing.T) {
	eachMode(t, func(t *testing.T, c *smbclient) {
		want := localFile(t, filepath.Join(c.dir, "big"), bigSize())
		c.run("cd " + c.protection + "; put big; get big back; del big")
		if got := sum(t, filepath.Join(c.dir, "back")); got != want {
			t.Errorf("SHA-256 %s, want %s", got, want)
		}
	})
}

func TestSmbclientFilesAndFolders(t *testing.T) {
	eachMode(t, func(t *testing.T, c *smbclient) {
		localFile(t, filepath.Join(c.dir, "f"), 100_000)
		top := c.protection + `\tree`
		c.run(fmt.Sprintf(`mkdir %[1]s; mkdir %[1]s\a; mkdir %[1]s\a\b; put f %[1]s\a\b\f; rename %[1]s\a\b\f %[1]s\a\g`, top))
		info := c.run(`allinfo ` + top + `\a\g`)
		for _, want := range []string{"create_time:", "attributes:", "100000 bytes"} {
			if !strings.Contains(info, want) {
				t.Errorf("allinfo lacks %q:\n%s", want, info)
			}
		}
		c.run("deltree " + top)
		if out, _ := c.try("ls " + top); !strings.Contains(out, "NT_STATUS_NO_SUCH_FILE") && !strings.Contains(out, "NT_STATUS_OBJECT_NAME_NOT_FOUND") {
			t.Errorf("after deltree: %s", out)
		}
	})
}

// Thousands of names, listed in every mode. smbclient uploads a part of them: each is on the disk before
// it begins the next, which on a slow one takes a minute a thousand; ours makes many at a time.
func TestSmbclientBigDirectory(t *testing.T) {
	rig.Need(t, "smbclient")
	const uploaded, n, atOnce = 500, 5000, 32
	s := rig.Start(t)
	c := &smbclient{t: t, s: s, protection: "sign", dir: t.TempDir()}
	check(t, os.Mkdir(filepath.Join(c.dir, "many"), 0o755))
	name := func(i int) string { return fmt.Sprintf("file-%05d.txt", i) }
	for i := range uploaded {
		check(t, os.WriteFile(filepath.Join(c.dir, "many", name(i)), nil, 0o644))
	}
	c.run("prompt off; recurse on; mput many")
	tree := mount(t, s, "vms")
	var wg sync.WaitGroup
	for first := range atOnce {
		wg.Go(func() {
			for i := uploaded + first; i < n; i += atOnce {
				if err := tree.WriteFile(`many\`+name(i), nil, 0o666); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, m := range modes {
		c.protection = m.protection
		out := c.run(`ls many\*`)
		if got := strings.Count(out, ".txt "); got != n {
			t.Errorf("%s: %d entries listed, want %d", m.name, got, n)
		}
		if !strings.Contains(out, name(n-1)) {
			t.Errorf("%s: the last entry is missing", m.name)
		}
	}
	c.run("deltree many")
}

func TestSmbclientNames(t *testing.T) {
	eachMode(t, func(t *testing.T, c *smbclient) {
		want := []byte("named")
		if err := os.WriteFile(filepath.Join(c.dir, "f"), want, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"Grüße-€-日本語-🪨", strings.Repeat("n", 255), strings.Repeat("ä", 255)} {
			c.run(fmt.Sprintf(`cd %s; put f "%s"; get "%s" back`, c.protection, name, strings.ToUpper(name)))
			if got, _ := os.ReadFile(filepath.Join(c.dir, "back")); !bytes.Equal(got, want) {
				t.Errorf("%q reads %q", name, got)
			}
			if out := c.run("ls " + c.protection + `\*`); !strings.Contains(out, name) {
				t.Errorf("%q is not listed as given:\n%s", name, out)
			}
		}
		if out, err := c.try(fmt.Sprintf(`cd %s; put f "%s"`, c.protection, strings.Repeat("n", 256))); err == nil && !strings.Contains(out, "NT_STATUS_OBJECT_NAME_INVALID") {
			t.Errorf("a name of 256 characters was taken:\n%s", out)
		}
	})
}

func TestSmbclientStreams(t *testing.T) {
	eachMode(t, func(t *testing.T, c *smbclient) {
		want := localFile(t, filepath.Join(c.dir, "s"), 300_000)
		if err := os.WriteFile(filepath.Join(c.dir, "f"), []byte("main"), 0o644); err != nil {
			t.Fatal(err)
		}
		c.run("cd " + c.protection + "; put f file; put s file:stream; get file:STREAM back; get file main")
		if got := sum(t, filepath.Join(c.dir, "back")); got != want {
			t.Error("the stream reads back differently")
		}
		if got, _ := os.ReadFile(filepath.Join(c.dir, "main")); string(got) != "main" {
			t.Errorf("the unnamed stream reads %q", got)
		}
		if out := c.run("allinfo " + c.protection + `\file`); !strings.Contains(out, ":stream:$DATA") {
			t.Errorf("allinfo does not list the stream:\n%s", out)
		}
	})
}
