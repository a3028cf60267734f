package ray

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// absentTimeout bounds the search for what is wrong with an address at which no server was found.
const absentTimeout = 3 * time.Second

// absent opens a connection and closes it: gRPC tells failures of the network in words only. It returns ErrUnresolvable
// or ErrNotListening with the cause, or nil when somebody accepts connections.
func absent(ctx context.Context, dial Dialer, address string) error {
	ctx, cancel := context.WithTimeout(ctx, absentTimeout)
	defer cancel()
	conn, err := dial.open(ctx, address)
	if err == nil {
		return conn.Close()
	}
	if errors.Is(err, syscall.ECONNRESET) { // accepted, and thrown out at once
		return nil
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("%w: %w", ErrUnresolvable, err)
	}
	return fmt.Errorf("%w: %w", ErrNotListening, err)
}
