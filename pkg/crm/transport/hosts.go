package transport

import "net"

// Loopback says whether a host, in lower case and without its port, is this machine.
func Loopback(name string) bool {
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}
