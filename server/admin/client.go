package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Client calls operations of a running server.
type Client struct {
	http *http.Client
	base string
}

// Dial finds the server whose data directory is data. The error names the place
// that was looked at.
func Dial(data string) (*Client, error) {
	path := filepath.Join(data, SocketName)
	c, err := net.Dial("unix", path)
	if err != nil {
		why := err.Error()
		if os.IsNotExist(err) || strings.Contains(why, "refused") {
			why = "no server is running there"
		}
		return nil, fmt.Errorf("no running server found: looked at %s (%s); name its data directory with --data or GABION_DATA", path, why)
	}
	c.Close()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	return &Client{http: &http.Client{Transport: &http.Transport{DialContext: dial}}, base: "http://gabion"}, nil
}

// Do calls op and returns the raw JSON result.
func (c *Client) Do(ctx context.Context, op *Operation, values map[string]any) (json.RawMessage, error) {
	path, rest := op.Path, map[string]any{}
	for name, v := range values {
		if w := "{" + name + "}"; strings.Contains(path, w) {
			path = strings.ReplaceAll(path, w, url.PathEscape(fmt.Sprint(v)))
		} else {
			rest[name] = v
		}
	}
	var body []byte
	if op.Method == http.MethodGet {
		path += query(rest)
	} else {
		body, _ = json.Marshal(rest)
	}
	req, err := http.NewRequestWithContext(ctx, op.Method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var out json.RawMessage
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		return nil, fmt.Errorf("the server's answer is not JSON: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		var e struct{ Error *Error }
		if json.Unmarshal(out, &e) == nil && e.Error != nil {
			return nil, e.Error
		}
		return nil, fmt.Errorf("the server answered %s", res.Status)
	}
	return out, nil
}

func query(values map[string]any) string {
	q := url.Values{}
	for name, v := range values {
		if l, ok := v.([]string); ok {
			q[name] = l
		} else {
			q.Set(name, fmt.Sprint(v))
		}
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}
