package sandbox

import (
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// RoundTripper returns a transport that runs the server in memory: no sockets, so
// that time under testing/synctest passes as it should. It differs from a real
// transport in this: every request arrives, whatever its host; nothing is
// compressed, decompressed or repeated by itself. A connection that is cut is a
// *net.OpError, as it is with a real one.
//
// Like with a real one, every response's body must be read to its end or closed.
func (s *Server) RoundTripper() http.RoundTripper { return memoryTransport{s} }

type memoryTransport struct{ server *Server }

func (t memoryTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	in := r.Clone(ctx)
	in.RequestURI, in.RemoteAddr, in.Host = r.URL.RequestURI(), "127.0.0.1:0", cmp.Or(in.Host, r.URL.Host)
	if in.Body == nil {
		in.Body = http.NoBody
	}
	if ctx.Err() != nil { // a transport owes it to its caller to close the body
		return nil, cmp.Or(in.Body.Close(), context.Cause(ctx))
	}
	body, pipe := io.Pipe()
	w := &memoryWriter{request: r, header: http.Header{}, answered: make(chan struct{}), pipe: pipe, body: body}
	stop := context.AfterFunc(ctx, func() { pipe.CloseWithError(context.Cause(ctx)) })
	go func() {
		defer stop()
		defer in.Body.Close()
		t.server.ServeHTTP(w, in)
		w.WriteHeader(http.StatusOK) // if nothing has answered
		w.pipe.Close()
	}()
	select {
	case <-w.answered:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return w.response, w.broken
}

// memoryWriter is the server's end of an exchange in memory. Only the server's
// goroutine touches it until answered is closed, and only response and broken are
// read after that.
type memoryWriter struct {
	request  *http.Request
	header   http.Header
	once     sync.Once
	answered chan struct{} // closed when response or broken is there
	response *http.Response
	broken   error
	body     *io.PipeReader
	pipe     *io.PipeWriter
}

func (w *memoryWriter) Header() http.Header { return w.header }

func (w *memoryWriter) WriteHeader(status int) {
	w.once.Do(func() {
		length, err := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64)
		if err != nil {
			length = -1
		}
		w.response = &http.Response{
			Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: w.header.Clone(), Body: w.body, ContentLength: length, Request: w.request,
		}
		close(w.answered)
	})
}

func (w *memoryWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if len(p) == 0 {
		return 0, nil
	}
	return w.pipe.Write(p)
}

// cut breaks the connection: before the answer the exchange fails, within it the
// body does.
func (w *memoryWriter) cut(reset bool) {
	err := io.ErrUnexpectedEOF
	if reset {
		err = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	}
	w.once.Do(func() {
		w.broken = err
		close(w.answered)
	})
	w.pipe.CloseWithError(err)
}
