package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxBody bounds a request's body; no operation needs more.
const maxBody = 1 << 20

type callerKey struct{}

// WithCaller marks a connection's context with who is at its other end; the
// listener calls it once per connection.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// Handler serves the whole table over HTTP.
func Handler(s *System) http.Handler {
	mux := http.NewServeMux()
	ops := Operations()
	for i := range ops {
		op := &ops[i]
		mux.HandleFunc(op.Method+" "+op.Path, func(w http.ResponseWriter, r *http.Request) {
			serve(s, op, w, r)
		})
	}
	mux.HandleFunc("GET /v1/openapi.json", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusOK, OpenAPI(ops))
	})
	if s.Metrics != nil {
		mux.Handle("GET /metrics", s.Metrics)
	}
	return mux
}

func serve(s *System, op *Operation, w http.ResponseWriter, r *http.Request) {
	caller, _ := r.Context().Value(callerKey{}).(Caller)
	values, err := parameters(op, r)
	if err != nil {
		fail(w, err)
		return
	}
	call, err := NewCall(op, caller, values)
	if err != nil {
		fail(w, err)
		return
	}
	call.Body, call.Out = r.Body, &Output{w: w}
	if op.Takes {
		// The answer may come before the stream has ended.
		_ = http.NewResponseController(w).EnableFullDuplex()
	}
	var result any
	if err = s.authorise(op, call); err == nil {
		result, err = op.Run(r.Context(), s, call)
	}
	if op.Mutates {
		s.audit(op, call, err)
	}
	switch {
	case err != nil && call.Out.begun:
		panic(http.ErrAbortHandler) // the client notices that the stream has no end
	case err != nil:
		fail(w, err)
		if op.Takes {
			drain(w, r.Body)
		}
	case !op.Sends:
		reply(w, http.StatusOK, result)
	}
}

// drain reads on for a while what a client still sends, so that it reads the answer rather than
// being cut off.
func drain(w http.ResponseWriter, body io.Reader) {
	c := http.NewResponseController(w)
	_ = c.Flush()
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, _ = io.Copy(io.Discard, body)
}

// Output is the stream that an operation sends.
type Output struct {
	w     http.ResponseWriter
	begun bool
}

// StreamType is the content type of the streams.
const StreamType = "application/x-gabion-export"

// totalHeader tells about how long a stream will be.
const totalHeader = "Gabion-Total"

// Announce tells about how many bytes will come; it is to be called ahead of Write.
func (o *Output) Announce(n int64) { o.w.Header().Set(totalHeader, strconv.FormatInt(n, 10)) }

func (o *Output) Write(p []byte) (int, error) {
	if !o.begun {
		o.begun = true
		o.w.Header().Set("Content-Type", StreamType)
		o.w.WriteHeader(http.StatusOK)
	}
	return o.w.Write(p)
}

// parameters collects what the path, the query and a JSON body name.
func parameters(op *Operation, r *http.Request) (map[string]any, error) {
	values := map[string]any{}
	if r.Body != nil && r.Method != http.MethodGet && !op.Takes {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		if err != nil {
			return nil, Errorf(http.StatusBadRequest, "reading the body: %v", err)
		}
		if len(body) > maxBody {
			return nil, Errorf(http.StatusRequestEntityTooLarge, "body larger than %d bytes", maxBody)
		}
		if len(body) > 0 {
			if err := json.Unmarshal(body, &values); err != nil {
				return nil, Errorf(http.StatusBadRequest, "body is not a JSON object: %v", err)
			}
		}
	}
	for name, v := range r.URL.Query() {
		if p := op.param(name); p != nil && p.Kind == List {
			values[name] = v
		} else {
			values[name] = v[0]
		}
	}
	for _, p := range op.Params {
		if strings.Contains(op.Path, "{"+p.Name+"}") {
			values[p.Name] = r.PathValue(p.Name)
		}
	}
	return values, nil
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if v == nil {
		v = struct{}{}
	}
	_ = json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = Errorf(http.StatusInternalServerError, "%v", err)
	}
	reply(w, e.Status, map[string]*Error{"error": e})
}

// audit writes one line per mutating call: who, from where, what, with which
// parameters (secrets left out) and the result.
func (s *System) audit(op *Operation, c *Call, err error) {
	args := make([]any, 0, len(op.Params))
	for _, p := range op.Params {
		if v, ok := c.values[p.Name]; ok && !p.Secret {
			args = append(args, slog.Any(p.Name, v))
		}
	}
	result := "ok"
	if err != nil {
		result = err.Error()
	}
	s.Audit.Info("admin", "operation", op.Name, "caller", c.Caller.Name, "from", c.Caller.From,
		slog.Group("parameters", args...), "result", result, "at", time.Now().UTC().Format(time.RFC3339Nano))
}
