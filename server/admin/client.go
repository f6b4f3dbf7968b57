package admin

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Client calls operations of a running server.
type Client struct {
	http  *http.Client
	base  string
	token string // "" on the socket
}

// DialURL finds the server at https://HOST:PORT, to which token is shown. Its certificate must be
// signed by one in the file ca, or with "" by one that the system trusts.
func DialURL(server, token, ca string) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("--server: %q is not https://HOST:PORT", server)
	}
	if token == "" {
		return nil, errors.New("a remote server wants a token: --token-file FILE, or GABION_TOKEN_FILE")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca-file: there is no certificate in %s", ca)
		}
	}
	t := &http.Transport{TLSClientConfig: config, Proxy: http.ProxyFromEnvironment, DisableCompression: true}
	return &Client{http: &http.Client{Transport: t}, base: "https://" + u.Host, token: token}, nil
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
	res, err := c.call(ctx, op, values, nil)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return answer(res)
}

// Send calls an operation that takes a stream.
func (c *Client) Send(ctx context.Context, op *Operation, values map[string]any, body io.Reader) (json.RawMessage, error) {
	res, err := c.call(ctx, op, values, body)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return answer(res)
}

// Receive calls an operation that sends a stream, of about total bytes (0: unknown). The caller closes it.
func (c *Client) Receive(ctx context.Context, op *Operation, values map[string]any) (stream io.ReadCloser, total int64, err error) {
	res, err := c.call(ctx, op, values, nil)
	if err != nil {
		return nil, 0, err
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		_, err := answer(res)
		return nil, 0, err
	}
	total, _ = strconv.ParseInt(res.Header.Get(totalHeader), 10, 64)
	return res.Body, total, nil
}

// call sends a request: parameters go into the path, the query or, with a stream as the body, all the rest
// into the query.
func (c *Client) call(ctx context.Context, op *Operation, values map[string]any, stream io.Reader) (*http.Response, error) {
	path, rest := op.Path, map[string]any{}
	for name, v := range values {
		if w := "{" + name + "}"; strings.Contains(path, w) {
			path = strings.ReplaceAll(path, w, url.PathEscape(fmt.Sprint(v)))
		} else {
			rest[name] = v
		}
	}
	body := stream
	if op.Method == http.MethodGet || op.Takes {
		path += query(rest)
	} else {
		b, err := json.Marshal(rest)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, op.Method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if op.Takes {
		req.Header.Set("Content-Type", StreamType)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return c.http.Do(req)
}

// answer reads a JSON answer, which may be an error.
func answer(res *http.Response) (json.RawMessage, error) {
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
