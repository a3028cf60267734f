package unary

// The bounds that tests reach.
const (
	MaxHeaders = maxHeaders
	MaxOwed    = maxOwed
	LastStream = lastStream
)

// SkipTo has the next call take the stream of this id.
func (c *Conn) SkipTo(stream uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = stream
}
