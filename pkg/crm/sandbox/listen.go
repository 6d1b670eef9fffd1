package sandbox

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Listen serves s on addr until stop is called, and returns the URL to reach it,
// without a slash at its end. An address without a host is on loopback; an empty
// one also has a port of the system's choice. Whoever opens it to other machines
// should know that the sandbox's own paths need no keys.
//
// stop breaks the connections that are open and returns when no more are taken. It
// does not close s and may be called again.
func Listen(addr string, s *Server) (base string, stop func(), err error) {
	host, port := "", "0"
	if addr != "" {
		if host, port, err = net.SplitHostPort(addr); err != nil {
			return "", nil, fmt.Errorf("read address: %w", err)
		}
	}
	if host == "" {
		host = "127.0.0.1"
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: 30 * time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		// Its error says that the listener is closed, which is what is wanted.
		_ = server.Serve(listener)
	}()
	stop = func() {
		// Its error says that the listener was closed before.
		_ = server.Close()
		<-served
	}
	reached := listener.Addr().String()
	if at, ok := listener.Addr().(*net.TCPAddr); ok && at.IP.IsUnspecified() {
		reached = net.JoinHostPort("127.0.0.1", strconv.Itoa(at.Port)) // from this machine; others know its name
	}
	return "http://" + reached, stop, nil
}
