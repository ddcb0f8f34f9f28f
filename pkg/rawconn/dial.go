package rawconn

import (
	"context"
	"net"
)

// Dialer makes connections of this package; those that are not TCP are left as they are.
type Dialer net.Dialer

// DialContext is as [net.Dialer.DialContext].
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (*net.Dialer)(d).DialContext(ctx, network, address)
	if tcp, ok := c.(*net.TCPConn); ok {
		return New(tcp), nil
	}
	return c, err
}
