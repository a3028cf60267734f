package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/ray"
)

const (
	hungGCS  = "look at gcs_server.out in the head's log directory, and restart the head: without its GCS it starts no session, and no actor"
	noneToGo = "only a session tells where it is"
)

// saysNothing tells the failures behind which the whole cluster may be.
func saysNothing(kind connector.Kind) bool {
	return kind == connector.KindSilent || kind == connector.KindTimeout || kind == connector.KindOther
}

// gcsAlone asks the GCS where no session came up, which would have told where it is: at the address that names it, or at its
// usual port. It tells a Ray Client server that is gone from a cluster that is gone.
func (e *examination) gcsAlone(ctx context.Context) {
	address, named := e.gcsAddress()
	ctx, cancel := context.WithTimeout(ctx, networkTimeout)
	defer cancel()
	gcs, err := ray.DialGCS(ctx, address, ray.GCSOptions{Credentials: e.cfg.Credentials, Dial: e.cfg.Dial})
	switch {
	case err == nil:
		e.add("GCS", OK, fmt.Sprintf("%s answers, cluster %s, Ray %s: the cluster is up, what is missing is its Ray Client server", address, gcs.ClusterID(), gcs.RayVersion()), "")
		_ = gcs.Close()
	case errors.Is(err, context.DeadlineExceeded):
		e.add("GCS", Failed, fmt.Sprintf("%s accepts connections, or swallows packets, and does not answer: %v", address, err), hungGCS)
	case named:
		e.add("GCS", Failed, err.Error(), "start the head, or look at gcs_server.out in its log directory")
	default:
		e.add("GCS", Skipped, fmt.Sprintf("%s, and none answers at the usual place %s", noneToGo, address), "")
	}
}

// gcsAddress is that of the configuration where it names one, else the usual one beside the Ray Client server.
func (e *examination) gcsAddress() (address string, named bool) {
	first, _, _ := strings.Cut(e.cfg.Address, ",")
	if first != "" && first != connector.AddressAuto && !strings.Contains(first, "://") {
		return first, true
	}
	host, _, _ := net.SplitHostPort(e.open[0])
	return net.JoinHostPort(host, strconv.Itoa(connector.DefaultGCSPort)), false
}
