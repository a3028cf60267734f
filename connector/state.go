package connector

import "slices"

// State is where the connection stands. It speaks of the two links, the session and the GCS, not of what runs on them.
type State string

const (
	// StateDisconnected means: nothing was asked for yet, or an attempt failed; another one may be due.
	StateDisconnected State = "disconnected"
	// StateConnecting means: a session is being opened.
	StateConnecting State = "connecting"
	// StateConnected means: the session answers, and so does the GCS. A GCS that could not be reached since the connector
	// started is no link: without one, connected speaks of the session alone, and Info.NoDirect says why.
	StateConnected State = "connected"
	// StateDegraded means: exactly one of the two links answers, and Info says which. With the session alone everything
	// goes on but the look-up of actors that direct calls do not know yet; with the GCS alone direct calls go on and
	// nothing can be created.
	StateDegraded State = "degraded"
	// StateReconnecting means: neither link answers, but the session's grace period lasts: it may resume with nothing lost.
	StateReconnecting State = "reconnecting"
	// StateLost means: the session is gone; a new one is due. It says nothing about the actors, which direct calls may well
	// reach.
	StateLost State = "lost"
	// StateClosing means: Close was called and waits for calls to end.
	StateClosing State = "closing"
	// StateClosed means: the end.
	StateClosed State = "closed"
)

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

// CanBecome tells whether next may follow s.
func (s State) CanBecome(next State) bool { return slices.Contains(transitions[s], next) }

// ends tells whether Close was called.
func (s State) ends() bool { return s == StateClosing || s == StateClosed }

// stateOf draws the state from what the links do while there is a session; used tells whether there is a second link.
func stateOf(session, used, gcs bool) State {
	switch {
	case session && (gcs || !used):
		return StateConnected
	case session || used && gcs:
		return StateDegraded
	default:
		return StateReconnecting
	}
}
