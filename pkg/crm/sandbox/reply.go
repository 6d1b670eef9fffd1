package sandbox

import (
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// reply is an answer before it is sent.
type reply struct {
	status int
	header map[string]string
	body   []byte
	stream func(io.Writer) error // writes the body instead, where it is too large to hold
}

func newReply(status int, media string, body []byte) *reply {
	return &reply{status: status, header: map[string]string{"Content-Type": media + "; charset=utf-8"}, body: body}
}

// jsonReply answers with v, which must be something that has a JSON form.
func jsonReply(status int, v any) *reply {
	body, err := json.Marshal(v)
	if err != nil {
		return textReply(http.StatusInternalServerError, "sandbox: "+err.Error())
	}
	return newReply(status, "application/json", body)
}

func textReply(status int, text string) *reply {
	return newReply(status, "text/plain", []byte(text+"\n"))
}

func htmlReply(status int, title string) *reply {
	page := "<!DOCTYPE html>\n<html><head><title>" + title + "</title></head><body><h1>" + title + "</h1></body></html>\n"
	return newReply(status, "text/html", []byte(page))
}

// replacement is what a fault answers instead of the truth. Its caller has seen to
// it that the fault replaces the answer.
func replacement(v vendor, f *Fault) *reply {
	switch f.Kind {
	case FaultEmpty500:
		return &reply{status: http.StatusInternalServerError}
	case FaultHTML:
		return htmlReply(http.StatusOK, "Service temporarily unavailable")
	case FaultEmptyObject:
		return jsonReply(http.StatusOK, struct{}{})
	case FaultHuge:
		return &reply{status: http.StatusOK, stream: func(w io.Writer) error { return writeHuge(w, cmp.Or(f.Bytes, 16<<20)) }}
	case FaultGzipBomb:
		return &reply{status: http.StatusOK, header: map[string]string{"Content-Encoding": "gzip"}, stream: func(w io.Writer) error {
			zip := gzip.NewWriter(w)
			return cmp.Or(writeHuge(zip, cmp.Or(f.Bytes, 64<<20)), zip.Close())
		}}
	case FaultVerbatim:
		return &reply{status: cmp.Or(f.Status, http.StatusOK), body: []byte(f.Body)}
	case FaultRedirect:
		return &reply{status: cmp.Or(f.Status, http.StatusFound), header: map[string]string{"Location": f.URL}}
	case FaultThrottle:
		return v.refuse()
	case FaultNoID, FaultException, FaultWrongHost:
		return v.faulty(f)
	}
	return textReply(http.StatusNotImplemented, "sandbox: no fault of kind "+strconv.Quote(string(f.Kind)))
}

// writeHuge writes size bytes of a JSON object that begins as a success does.
func writeHuge(w io.Writer, size int64) error {
	const head, tail = `{"Status":"Success","Message":{"Id":"`, `"}}`
	if _, err := io.WriteString(w, head); err != nil {
		return err
	}
	chunk := strings.Repeat("0", 32<<10)
	for left := size - int64(len(head)+len(tail)); left > 0; left -= int64(len(chunk)) {
		if _, err := io.WriteString(w, chunk[:min(int64(len(chunk)), left)]); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, tail)
	return err
}

// send gives the reply to the client as the fault wants it, and says whether the
// client can have got all of it.
func send(ctx context.Context, w http.ResponseWriter, rep *reply, f *Fault) bool {
	if f.silent() {
		cut(w, true)
		return false
	}
	for name, value := range rep.header {
		w.Header().Set(name, value)
	}
	if f != nil {
		for name, value := range f.Header {
			w.Header().Set(name, value)
		}
	}
	if rep.stream != nil {
		w.WriteHeader(rep.status)
		return rep.stream(w) == nil
	}
	if rep.status != http.StatusNoContent {
		w.Header().Set("Content-Length", strconv.Itoa(len(rep.body)))
	}
	w.WriteHeader(rep.status)
	switch {
	case f.is(FaultTruncate):
		_, _ = w.Write(rep.body[:len(rep.body)/2]) // a client that is gone already is as good
		_ = http.NewResponseController(w).Flush()
		cut(w, false)
		return false
	case f.is(FaultTrickle):
		for i := range rep.body {
			if !sleep(ctx, cmp.Or(f.Delay, 100*time.Millisecond)) {
				return false
			}
			if _, err := w.Write(rep.body[i : i+1]); err != nil {
				return false
			}
			_ = http.NewResponseController(w).Flush() // a writer that can not do so sends it at the end
		}
		return true
	}
	_, err := w.Write(rep.body)
	return err == nil
}

// sleep waits for d and says whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// cut breaks the connection under w, with a reset or in the middle of things. With
// a writer that offers no other way it panics with http.ErrAbortHandler, which
// makes a server do the same.
func cut(w http.ResponseWriter, reset bool) {
	if m, ok := w.(*memoryWriter); ok {
		m.cut(reset)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		err = tcp.SetLinger(0)
	}
	if err != nil || conn.Close() != nil {
		panic(http.ErrAbortHandler)
	}
}
