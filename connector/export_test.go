package connector

// SetState is what the owner does to change the state; it tells whether that was let through.
func (c *Connector) SetState(s State) bool {
	c.mu.Lock()
	defer c.unlock()
	return c.set(func(i *Info) { i.State = s })
}
