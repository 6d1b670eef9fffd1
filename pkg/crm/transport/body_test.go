package transport

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

// TestLongRepliesAreCapped measures memory, so it is not parallel: what a server
// sends, or a few bytes inflate to, never makes more than the cap.
func TestLongRepliesAreCapped(t *testing.T) {
	zeros := make([]byte, 1<<16)
	pour := func(w io.Writer) {
		for range 1 << 30 / len(zeros) {
			if _, err := w.Write(zeros); err != nil {
				return
			}
		}
	}
	tests := map[string]http.HandlerFunc{
		"1 GiB": func(w http.ResponseWriter, r *http.Request) { pour(w) },
		"1 GiB announced": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(1<<30))
			pour(w)
		},
		"gzip bomb": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
			pour(z)
			_ = z.Close()
		},
	}
	for name, handler := range tests {
		t.Run(name, func(t *testing.T) {
			c := newTestClient(t, serve(t, handler), Config{})
			for _, size := range []int64{0, 4 << 20} {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				reply, err := c.Send(t.Context(), Request{Op: "op", Method: "GET", MaxBody: size})
				runtime.ReadMemStats(&after)
				if err != nil {
					t.Fatal(err)
				}
				want := max(size, defaultMaxBody)
				if int64(len(reply.Body)) != want || !reply.Truncated {
					t.Errorf("got %d bytes, cut off %v, want the first %d", len(reply.Body), reply.Truncated, want)
				}
				// Reading n bytes into a growing buffer allocates some five times n in all.
				if got, most := after.TotalAlloc-before.TotalAlloc, uint64(8*want+8<<20); got > most {
					t.Errorf("allocated %d bytes, want at most %d", got, most)
				}
			}
		})
	}
}

func TestBodyOfExactlyTheCap(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "12345") }), Config{})
	for size, want := range map[int64]string{4: "1234", 5: "12345", 6: "12345"} {
		reply, err := c.Send(t.Context(), Request{Op: "op", Method: "GET", MaxBody: size})
		if err != nil || string(reply.Body) != want || reply.Truncated != (size < 5) {
			t.Errorf("cap %d: got %q, cut off %v, error %v", size, reply.Body, reply.Truncated, err)
		}
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 10_000)
	own := errors.New("not a list")
	all := func(got *string) func(io.Reader) error {
		return func(r io.Reader) error {
			b, err := io.ReadAll(r)
			*got = string(b)
			return err
		}
	}
	tests := map[string]struct {
		text    string
		status  int
		broken  bool // the body ends before it should
		max     int64
		stream  func(got *string) func(io.Reader) error
		calls   int32
		wantErr error
	}{
		"short":             {"[]", 200, false, 0, all, 1, nil},
		"long":              {long, 200, false, 1 << 20, all, 1, nil},
		"as long as may be": {long, 200, false, int64(len(long)), all, 1, nil},
		"too long":          {long, 200, false, int64(len(long)) - 1, all, 1, errTooLong},
		"too long, short":   {"12345", 200, false, 4, all, 1, errTooLong},
		"breaks off":        {long, 200, true, 1 << 20, all, 3, io.ErrUnexpectedEOF},
		"breaks off early":  {"[", 200, true, 1 << 20, all, 3, io.ErrUnexpectedEOF},
		"breaks off, unnoticed": {long, 200, true, 1 << 20, func(got *string) func(io.Reader) error {
			return func(r io.Reader) error { _ = all(got)(r); return nil }
		}, 3, io.ErrUnexpectedEOF},
		"refused by its reader":    {long, 200, false, 1 << 20, func(*string) func(io.Reader) error { return func(io.Reader) error { return own } }, 1, own},
		"an error is not streamed": {`{"m":1}`, 500, false, 0, all, 1, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			c := newTestClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				if tt.broken {
					w.Header().Set("Content-Length", fmt.Sprint(len(tt.text)+1))
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.text)
			}), Config{})
			var got string
			reply, err := c.Read(t.Context(), Request{Op: "op", Method: "GET", MaxBody: tt.max, Stream: tt.stream(&got)})
			if n := calls.Load(); n != tt.calls {
				t.Errorf("asked %d times, want %d", n, tt.calls)
			}
			if !errors.Is(err, tt.wantErr) {
				t.Fatalf("got error %v, want %v", err, tt.wantErr)
			}
			if tt.wantErr != nil {
				wantError(t, err, true)
				return
			}
			if tt.status == 200 && (got != tt.text || reply.Body != nil) || tt.status != 200 && (got != "" || string(reply.Body) != tt.text) {
				t.Errorf("got %d bytes by the stream and %d in the body", len(got), len(reply.Body))
			}
		})
	}
}
