package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/fleet"
)

// health answers whoever watches a worker.
type health struct {
	db   *database
	host atomic.Pointer[fleet.Host] // nil while the worker is none
}

// answerTime is how long an answer to whoever watches may take.
const answerTime = 10 * time.Second

// listen serves /metrics, /healthz and /readyz until stop is called.
func (h *health) listen(address string, log *slog.Logger) (stop func() error, err error) {
	if host, port, err := net.SplitHostPort(address); err == nil && host == "" {
		address = net.JoinHostPort("127.0.0.1", port)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, refusef("Name another address, such as 127.0.0.1:9464.", "--listen %s: %s", address, whyNotListening(err))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", h.metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.HandleFunc("GET /readyz", h.ready)
	s := &http.Server{Handler: mux, ReadTimeout: answerTime, WriteTimeout: 2 * answerTime, IdleTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics and health are not served any more", "address", address, "error", err)
		}
	}()
	log.Info("metrics and health are served", "url", "http://"+l.Addr().String()+"/metrics")
	return func() error {
		err := s.Close()
		<-done
		return err
	}, nil
}

// whyNotListening says why nobody can listen on an address.
func whyNotListening(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return "this machine has no address that is called " + dns.Name
	}
	if address, ok := errors.AsType[*net.AddrError](err); ok {
		return address.Err // such as a missing port
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	return "it is no address of this machine with a port"
}

// ready says whether sheets are taken: the database is there, and nobody has taken this host for
// dead.
func (h *health) ready(w http.ResponseWriter, _ *http.Request) {
	host := h.host.Load()
	if host == nil {
		http.Error(w, "no sheets are taken", http.StatusServiceUnavailable)
		return
	}
	if err := host.May(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

// metrics tells how the queue stands, in Prometheus' text format.
func (h *health) metrics(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	host := h.host.Load()
	var q queueMetrics
	if host != nil {
		q.host, q.maySend = host.ID(), host.May() == nil
	}
	var err error
	if q.sheets, err = h.db.fleet.Sheets(ctx); err == nil {
		q.hosts, err = h.db.fleet.Hosts(ctx)
	}
	q.up = err == nil
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	fmt.Fprint(w, q.text())
}

// queueMetrics is what is told of a worker and of the queue that it works on.
type queueMetrics struct {
	host    string // this host's id; "" while the worker is none
	maySend bool
	up      bool // the database has answered; without it nothing below is known
	sheets  []fleet.Sheet
	hosts   []fleet.HostInfo
}

// text returns the metrics in Prometheus' text format.
func (q queueMetrics) text() string {
	var b strings.Builder
	gauge := func(name, help string, value float64, labels ...string) {
		if !strings.Contains(b.String(), "# HELP "+name+" ") {
			fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
		}
		b.WriteString(name)
		if len(labels) > 0 {
			fmt.Fprintf(&b, "{%s=%q}", labels[0], labels[1])
		}
		fmt.Fprintf(&b, " %g\n", value)
	}
	one := map[bool]float64{true: 1}
	gauge("bulkrevoke_worker_may_send", "1 while this host may send: the database answers, and nobody has taken it for dead.", one[q.maySend])
	gauge("bulkrevoke_build_info", "Always 1; the version is in the label.", 1, "version", programVersion())
	gauge("bulkrevoke_database_up", "1 if the database has answered just now.", one[q.up])
	if !q.up {
		return b.String()
	}
	states, rows, alarms := map[fleet.State]int{}, map[string]int64{}, int64(0)
	for _, s := range q.sheets {
		states[s.State]++
		alarms += s.Counts[fleet.KeptCount]
		for result, n := range s.Counts {
			rows[result] += n
		}
	}
	for _, state := range []fleet.State{fleet.Queued, fleet.Running, fleet.Waiting, fleet.Stopped, fleet.Refused, fleet.Done, fleet.Cancelled} {
		gauge("bulkrevoke_sheets", "Submitted sheets by state; stopped and refused ones need somebody.", float64(states[state]), "state", string(state))
	}
	for _, result := range []string{"done", "unchanged", "accepted", "failed", "in_doubt", "invalid", "not_attempted", "not_due"} {
		gauge("bulkrevoke_sheet_rows", "Rows of the submitted sheets by result, as their last runs have left them.", float64(rows[result]), "result", result)
	}
	gauge("bulkrevoke_sheet_alarms",
		"Rows of the submitted sheets by which a bystander, whom no row is about, lost a record and was not given it back.", float64(alarms))
	gauge("bulkrevoke_hosts", "Hosts that live.", float64(len(q.hosts)))
	if i := slices.IndexFunc(q.hosts, func(one fleet.HostInfo) bool { return q.host != "" && one.ID == q.host }); i >= 0 {
		gauge("bulkrevoke_worker_sheets", "Sheets that this host works on.", float64(len(q.hosts[i].Sheets)))
		gauge("bulkrevoke_worker_silent_seconds", "How long ago the database has seen this host's last heartbeat.", q.hosts[i].Silent.Seconds())
	}
	return b.String()
}
