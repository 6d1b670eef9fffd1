//go:build fleet

package main

import (
	"bytes"
	"io"
	"log"
	"net"
	"regexp"
	"sync"
	"testing"
	"time"
)

var discardedLog = log.New(io.Discard, "", 0)

// network is how the network between a process and the database is.
type network int

const (
	networkGood    network = iota
	networkReset           // connections are ended, and new ones refused
	networkSilent          // nothing passes, and nobody is told; what was sent arrives later
	networkNoBeats         // as silent, but only for the questions of heartbeats
)

// dbProxy is the network between one process and the database.
type dbProxy struct {
	listener net.Listener
	socket   string // the database's

	mu        sync.Mutex // guards everything below
	changed   *sync.Cond
	state     network
	silenced  bool          // it was so that connections outlived the process's interest in them
	slowBeats time.Duration // how long the answers to heartbeats are under way
	conns     map[*dbConn]bool
	lose      func() lostCommit // says what becomes of a COMMIT
	lost      int               // commits that had a bad end
	most      int               // connections at one time
	closed    bool
}

// lostCommit is what becomes of a COMMIT.
type lostCommit int

const (
	commitArrives lostCommit = iota
	commitAnswerLost
	commitLost
)

// dbConn is one connection. Its fields are guarded by the proxy's lock.
type dbConn struct {
	client, server net.Conn
	beats          bool // it is that of the heartbeats
	drop           bool // the next answer is lost
}

func newDBProxy(t *testing.T, socket string) *dbProxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &dbProxy{listener: l, socket: socket, conns: map[*dbConn]bool{}}
	p.changed = sync.NewCond(&p.mu)
	t.Cleanup(p.close)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(client)
		}
	}()
	return p
}

func (p *dbProxy) close() {
	p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for c := range p.conns {
		c.hangUp()
	}
	p.changed.Broadcast()
}

func (p *dbProxy) address() string { return p.listener.Addr().String() }

// become changes how the network is.
func (p *dbProxy) become(state network) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = state
	p.silenced = p.silenced || state == networkSilent || state == networkNoBeats
	if state == networkReset {
		for c := range p.conns {
			c.hangUp()
		}
	}
	p.changed.Broadcast()
}

// hangUp ends a connection so that both ends are told.
func (c *dbConn) hangUp() {
	if tcp, ok := c.client.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.client.Close()
	c.server.Close()
}

func (p *dbProxy) serve(client net.Conn) {
	p.mu.Lock()
	for p.state == networkSilent && !p.closed {
		p.changed.Wait()
	}
	refused := p.state == networkReset || p.closed
	p.mu.Unlock()
	if refused {
		_ = client.(*net.TCPConn).SetLinger(0)
		client.Close()
		return
	}
	server, err := net.Dial("unix", p.socket)
	if err != nil {
		client.Close()
		return
	}
	c := &dbConn{client: client, server: server}
	p.mu.Lock()
	p.conns[c] = true
	if !p.silenced {
		p.most = max(p.most, len(p.conns)) // those that the process has given up do not count
	}
	p.mu.Unlock()
	done := make(chan struct{})
	go func() {
		p.answers(c)
		close(done)
	}()
	p.questions(c)
	<-done
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

// passes waits until a question or an answer may pass on a connection.
func (p *dbProxy) passes(c *dbConn, question bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed && (p.state == networkSilent || p.state == networkNoBeats && c.beats && question) {
		p.changed.Wait()
	}
}

var (
	beatSaid   = []byte("UPDATE bulkrevoke.fleet_host SET seen = clock_timestamp() WHERE")
	commitSaid = regexp.MustCompile(`(?is)^[QP].{4}\x00?commit\x00`)
)

func (p *dbProxy) questions(c *dbConn) {
	defer c.server.Close()
	defer c.client.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := c.client.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		c.beats = c.beats || bytes.Contains(buf[:n], beatSaid)
		fate := commitArrives
		if p.lose != nil && commitSaid.Match(buf[:n]) {
			if fate = p.lose(); fate != commitArrives {
				p.lost++
			}
			c.drop = fate == commitAnswerLost
		}
		p.mu.Unlock()
		if fate == commitLost {
			return
		}
		p.passes(c, true)
		if _, err := c.server.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *dbProxy) answers(c *dbConn) {
	defer c.server.Close()
	defer c.client.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := c.server.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		drop, slow := c.drop, p.slowBeats
		if !c.beats {
			slow = 0
		}
		p.mu.Unlock()
		if drop {
			return
		}
		time.Sleep(slow)
		p.passes(c, false)
		if _, err := c.client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// figures returns how many commits had a bad end, and the most connections at one time.
func (p *dbProxy) figures() (lost, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost, p.most
}

// slowAnswers has the answers to heartbeats be under way for so long.
func (p *dbProxy) slowAnswers(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slowBeats = d
}
