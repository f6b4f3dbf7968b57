package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gabion/server/admin"
	"gabion/server/transfer"
)

// receive writes the stream of an operation to the output file, or to standard output.
func receive(c *cobra.Command, client *admin.Client, op *admin.Operation, values map[string]any) error {
	name, _ := c.Flags().GetString("output")
	goOn, _ := c.Flags().GetBool("continue")
	var out io.Writer = c.OutOrStdout()
	had := int64(0)
	switch {
	case name != "" && goOn:
		f, err := continued(name, values)
		if err != nil || f == nil {
			return err
		}
		defer f.Close()
		out = f
		had, _ = f.Seek(0, io.SeekCurrent)
	case name != "":
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		out = f
	case goOn:
		return errors.New("--continue needs the --output file that it is about")
	case out == os.Stdout && term.IsTerminal(int(os.Stdout.Fd())):
		return errors.New("the stream is not for a terminal: name a file with --output, or use a pipe")
	}
	stream, total, err := client.Receive(c.Context(), op, values)
	if err != nil {
		if name != "" && !goOn {
			os.Remove(name)
		}
		return err
	}
	defer stream.Close()
	p := newProgress(c, had, total)
	defer p.end()
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, p.reading(stream), make([]byte, 1<<20))
	if err != nil {
		err = fmt.Errorf("the stream broke off: %w", err)
		if name != "" {
			err = fmt.Errorf("%w; go on with --continue", err)
		}
		return err
	}
	if f, ok := out.(*os.File); ok && name != "" {
		return f.Sync()
	}
	return nil
}

// continued opens an output file for appending behind its last whole frame, and sets the
// parameters with which the stream goes on there. Nil: the stream is complete.
func continued(name string, values map[string]any) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	r := transfer.NewReader(f)
	for {
		if _, err = r.Next(); err != nil {
			break
		}
	}
	if err == io.EOF {
		fmt.Fprintf(os.Stderr, "%s is complete\n", name)
		return nil, f.Close()
	}
	b := r.Begin()
	if b.ID == "" {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	values["snapshot"], values["resume"] = b.Snapshot, r.Mark().String()
	if b.Base != "" {
		values["base"] = b.Base
	}
	if err = f.Truncate(r.Position()); err == nil {
		_, err = f.Seek(0, io.SeekEnd)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// send reads a stream for an operation from the input file, or from standard input.
func send(c *cobra.Command, client *admin.Client, op *admin.Operation, values map[string]any) (json.RawMessage, error) {
	name, _ := c.Flags().GetString("input")
	in := c.InOrStdin()
	total := int64(0)
	if name != "" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil {
			total = info.Size()
		}
		in = f
	} else if in == os.Stdin && term.IsTerminal(int(os.Stdin.Fd())) {
		return nil, errors.New("the stream does not come from a terminal: name a file with --input, or use a pipe")
	}
	p := newProgress(c, 0, total)
	defer p.end()
	return client.Send(c.Context(), op, values, p.reading(in))
}

// progress draws a bar on standard error.
//
//	[##########          ]  50%  5.0 GiB of 10.0 GiB  1.1 GiB/s  4s
type progress struct {
	done  atomic.Int64
	total int64
	had   int64 // bytes of done that were there before
	began time.Time
	stop  chan struct{}
	gone  chan struct{}
}

func newProgress(c *cobra.Command, had, total int64) *progress {
	p := &progress{total: total, had: had, began: time.Now(), stop: make(chan struct{}), gone: make(chan struct{})}
	p.done.Store(had)
	always, _ := c.Flags().GetBool("progress")
	if !always && !term.IsTerminal(int(os.Stderr.Fd())) {
		close(p.gone)
		return p
	}
	go p.draw(c.ErrOrStderr())
	return p
}

// draw redraws until end.
func (p *progress) draw(w io.Writer) {
	defer close(p.gone)
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			fmt.Fprintf(w, "\r%s\x1b[K", p.line(time.Since(p.began)))
		case <-p.stop:
			fmt.Fprintf(w, "\r%s\x1b[K\n", p.line(time.Since(p.began)))
			return
		}
	}
}

func (p *progress) line(took time.Duration) string {
	done := p.done.Load()
	rate := float64(done-p.had) / max(took.Seconds(), 0.001)
	text := fmt.Sprintf("%s  %s/s", size(done), size(int64(rate)))
	if p.total > 0 {
		part := min(float64(done)/float64(p.total), 1)
		text = fmt.Sprintf("[%-20s] %3.0f%%  %s of %s  %s/s", strings.Repeat("#", int(part*20)), part*100, size(done), size(p.total), size(int64(rate)))
		if rate > 0 && done < p.total {
			text += "  " + time.Duration(float64(p.total-done)/rate*1e9).Round(time.Second).String()
		}
	}
	return text
}

func size(n int64) string {
	f := float64(n)
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if f < 1024 {
			return fmt.Sprintf("%.1f %s", f, unit)
		}
		f /= 1024
	}
	return fmt.Sprintf("%.1f TiB", f)
}

// reading counts what is read from r.
func (p *progress) reading(r io.Reader) io.Reader { return &counted{r, p} }

type counted struct {
	io.Reader
	p *progress
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.p.done.Add(int64(n))
	return n, err
}

// end draws the last line and ends.
func (p *progress) end() {
	close(p.stop)
	<-p.gone
}
