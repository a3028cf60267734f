package connector

// State is where the connection stands. It speaks of the links, not of what runs on them.
type State string

const (
	// StateDisconnected means: nothing was asked for yet, or an attempt failed and no other is due.
	StateDisconnected State = "disconnected"
	// StateConnecting means: a session is being opened.
	StateConnecting State = "connecting"
	// StateConnected means: the session answers, and so does the GCS where direct calls are in use.
	StateConnected State = "connected"
	// StateDegraded means: the session answers, the GCS does not.
	StateDegraded State = "degraded"
	// StateReconnecting means: the session does not answer, but its grace period lasts: it may resume with nothing lost.
	StateReconnecting State = "reconnecting"
	// StateLost means: the session is gone; a new one is due.
	StateLost State = "lost"
	// StateClosing means: Close was called and waits for calls to end.
	StateClosing State = "closing"
	// StateClosed means: the end.
	StateClosed State = "closed"
)

// Answers tells whether the session answered when it was last looked at.
func (s State) Answers() bool { return s == StateConnected || s == StateDegraded }

// ends tells whether Close was called.
func (s State) ends() bool { return s == StateClosing || s == StateClosed }

// transitions lists, for each state, the states that may follow it.
var transitions = map[State][]State{
	StateDisconnected: {StateConnecting, StateClosing},
	StateConnecting:   {StateConnected, StateDegraded, StateDisconnected, StateClosing},
	StateConnected:    {StateDegraded, StateReconnecting, StateLost, StateClosing},
	StateDegraded:     {StateConnected, StateReconnecting, StateLost, StateClosing},
	StateReconnecting: {StateConnected, StateDegraded, StateLost, StateClosing},
	StateLost:         {StateConnecting, StateClosing},
	StateClosing:      {StateClosed},
	StateClosed:       {},
}
