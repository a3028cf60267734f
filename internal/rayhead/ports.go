package rayhead

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ray's own ports.
const (
	rayGCSPort       = 6379
	rayClientPort    = 10001
	rayDashboardPort = 8265
	rayAgentPort     = 52365
)

// Where other ports are taken from: above the ports that Ray hands to workers (10002-19999), below those of its Ray
// Client processes (23000-24000), and below the ones that the kernel hands to connections, so that a head can come
// back at the same port.
const (
	otherPortsFrom = 20000
	otherPortsTo   = 23000
	otherPortTries = 200
)

// reservePorts chooses the ports of a head. Until release is called, no other head that this package starts on this
// machine gets them, even if Ray does not listen yet.
func reservePorts(wanted Ports, dashboard bool) (ports Ports, release func(), err error) {
	var locks []net.PacketConn
	release = func() {
		for _, lock := range locks {
			_ = lock.Close()
		}
	}
	defer func() {
		if err != nil {
			release()
		}
	}()
	choose := func(field string, wanted, usual int) int {
		if err != nil {
			return 0
		}
		var port int
		var lock net.PacketConn
		if port, lock, err = choosePort(wanted, usual); err != nil {
			err = fmt.Errorf("%w: Config.Ports.%s: %w", ErrPortTaken, field, err)
			return 0
		}
		locks = append(locks, lock)
		return port
	}
	ports.GCS = choose("GCS", wanted.GCS, rayGCSPort)
	ports.Client = choose("Client", wanted.Client, rayClientPort)
	if dashboard {
		ports.Dashboard = choose("Dashboard", wanted.Dashboard, rayDashboardPort)
		ports.agent = choose("agent", 0, rayAgentPort)
	}
	return ports, release, err
}

func choosePort(wanted, usual int) (int, net.PacketConn, error) {
	if wanted != 0 {
		lock, err := reservePort(wanted)
		return wanted, lock, err
	}
	port := usual
	for range otherPortTries {
		if lock, err := reservePort(port); err == nil {
			return port, lock, nil
		}
		port = otherPortsFrom + rand.IntN(otherPortsTo-otherPortsFrom)
	}
	return 0, nil, fmt.Errorf("neither %d is free nor any of %d others that were tried", usual, otherPortTries)
}

// reservePort fails if anything listens on the port, or if another head has reserved it. The reservation is an abstract
// unix socket: it lives in the network namespace, as ports do, and goes with the process.
func reservePort(port int) (net.PacketConn, error) {
	lock, err := net.ListenPacket("unixgram", "@seedcore-ray-port-"+strconv.Itoa(port))
	if err != nil {
		return nil, fmt.Errorf("port %d is taken by another Ray head: %w", port, err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err == nil {
		err = listener.Close()
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}
