package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gabion/server/admin"
)

// Every operation has a man page with its example, and its help says the same; what is generated is
// written where it was asked for.
func TestManPagesAndHelp(t *testing.T) {
	dir := t.TempDir()
	for _, what := range []string{"man", "openapi", "powershell"} {
		if out, err := verbOf(t, nil, "generate", what, filepath.Join(dir, what)); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for _, op := range admin.Operations() {
		page, err := os.ReadFile(filepath.Join(dir, "man", "gabion-"+strings.ReplaceAll(op.Name, " ", "-")+".1"))
		if err != nil {
			t.Error(err)
			continue
		}
		help, err := verbOf(t, nil, append(strings.Fields(op.Name), "--help")...)
		if err != nil {
			t.Error(err)
		}
		plain := strings.NewReplacer(`\-`, "-", `\e`, `\`, `\&`, "").Replace(string(page))
		for _, text := range append(strings.Split(op.Example, "\n"), op.Summary) {
			text = strings.TrimSpace(text)
			if !strings.Contains(plain, text) || !strings.Contains(help, text) {
				t.Errorf("%s: %q is missing in the page or the help", op.Name, text)
			}
		}
		if !strings.HasPrefix(op.Example, "gabion "+op.Name) && !strings.Contains(op.Example, "gabion check") {
			t.Errorf("%s: the example is of something else: %s", op.Name, op.Example)
		}
	}
	for _, file := range []string{"openapi/openapi.json", "powershell/Gabion.psm1", "powershell/Gabion.psd1"} {
		if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Size() < 500 {
			t.Errorf("%s: %v", file, err)
		}
	}
	if groff, err := exec.LookPath("groff"); err == nil {
		out, err := exec.Command(groff, "-man", "-Tascii", "-ww", filepath.Join(dir, "man", "gabion-sync.1")).CombinedOutput()
		if err != nil || strings.Contains(string(out), "warning") || !strings.Contains(string(out), "GABION-SYNC(1)") {
			t.Errorf("groff: %v\n%s", err, out)
		}
	}
	if _, err := verbOf(t, nil, "generate", "man"); err == nil {
		t.Error("generated into nowhere")
	}
}
