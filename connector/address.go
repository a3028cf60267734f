package connector

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// endpoints is where an address leads: the session's server, and the GCS where the address names it.
type endpoints struct {
	asked   string // the element of Config.Address
	session string // host:port of the Ray Client server
	gcs     string // host:port; empty: ask the session
	auto    bool   // look up on each attempt what this machine's cluster is
}

// parseAddresses checks the form of Config.Address, which is one address or several. It does not resolve names. Its error
// reads on from the text.
func parseAddresses(list string, clientPort int) ([]endpoints, error) {
	elements := strings.Split(list, ",")
	if len(elements) == 1 {
		e, err := parseAddress(list, clientPort)
		return []endpoints{e}, err
	}
	var all []endpoints
	var problems []error
	for i, element := range elements {
		element = strings.TrimSpace(element)
		e, err := parseAddress(element, clientPort)
		switch {
		case err == nil && e.auto:
			err = errors.New("stands for one cluster and cannot be in a list")
		case element == "":
			err = errors.New("is empty")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("its element %d, %q, %w", i+1, element, err))
		}
		all = append(all, e)
	}
	return all, errors.Join(problems...)
}

// parseAddress checks the form of one address.
func parseAddress(address string, clientPort int) (endpoints, error) {
	scheme, rest, hasScheme := strings.Cut(address, "://")
	switch {
	case address == AddressAuto:
		return endpoints{asked: address, auto: true}, nil
	case !hasScheme:
		host, err := hostOf(address)
		if err != nil {
			return endpoints{}, err
		}
		return endpoints{asked: address, session: net.JoinHostPort(host, strconv.Itoa(clientPort)), gcs: address}, nil
	case scheme == "ray":
		if isIPv6 := strings.HasPrefix(rest, "[") && strings.HasSuffix(rest, "]"); isIPv6 || !strings.Contains(rest, ":") {
			rest += ":" + strconv.Itoa(clientPort)
		}
		if _, err := hostOf(rest); err != nil {
			return endpoints{}, err
		}
		return endpoints{asked: address, session: rest}, nil
	case scheme == "http" || scheme == "https":
		host, _, _ := strings.Cut(strings.TrimSuffix(rest, "/"), ":")
		return endpoints{}, fmt.Errorf("is the address of Ray's dashboard and jobs API; the Ray Client server is what is needed, usually ray://%s:%d", host, clientPort)
	default:
		return endpoints{}, fmt.Errorf("has the unknown scheme %q: use ray://host:port, host:port of the GCS, or auto", scheme)
	}
}

// hostOf checks host:port and returns the host.
func hostOf(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return "", errors.New("is not of the form host:port")
	}
	if _, err := parsePort(port); err != nil {
		return "", fmt.Errorf("has the port %q, which %w", port, err)
	}
	return host, nil
}

// parsePort is the one place that knows what a port is. Its error reads on from the text.
func parsePort(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 65535 {
		return 0, errors.New("is not a port number from 1 to 65535")
	}
	return n, nil
}

// currentClusterFile is where `ray start` notes the GCS address of this machine's newest cluster.
const currentClusterFile = "/tmp/ray/ray_current_cluster"

// ClientServers returns host:port of the Ray Client servers that the address leads to now, without asking anybody but this
// machine: one for each element, in order.
func (c Config) ClientServers() ([]string, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	where, err := c.resolve()
	servers := make([]string, len(where))
	for i, e := range where {
		servers[i] = e.session
	}
	return servers, err
}

// resolve turns the configured address into endpoints to dial now.
func (c Config) resolve() ([]endpoints, error) {
	all, err := parseAddresses(c.Address, c.ClientPort)
	if err != nil || !all[0].auto {
		return all, err
	}
	gcs := net.JoinHostPort("127.0.0.1", strconv.Itoa(DefaultGCSPort))
	if noted, err := os.ReadFile(currentClusterFile); err == nil && len(strings.TrimSpace(string(noted))) > 0 {
		gcs = strings.TrimSpace(string(noted))
	}
	e, err := parseAddress(gcs, c.ClientPort)
	return []endpoints{e}, err
}
