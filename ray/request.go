package ray

import "github.com/seedcore/seedcore/internal/wire/raypb"

type requestState uint8

const (
	stateNew      requestState = iota
	stateQueued                // waits for the sender; nothing of it left this process
	stateSent                  // has an id, and left or is leaving
	stateAnswered              // the answer is being taken in
	stateDone                  // answer and err are final, done is closed
)

// request is one request on the data channel, from the call that makes it to its answer.
type request struct {
	// target names the operation in errors.
	target string
	msg    *raypb.DataRequest
	// loan is what a put sends, where that is not in msg.
	loan *loan
	size int64
	// internal requests are made by the session itself: no bound refuses them, and Close does not wait for them.
	internal bool
	// ping requests may use the reserve beyond the bound.
	ping bool
	// actor is the id of the actor that the answer waits for; empty: none in particular.
	actor string
	// last tells the sender to end its side of the stream afterwards.
	last bool
	// uses are the refs that must not be released before the answer.
	uses []*tracked
	// object collects the chunks of the answer, for a get.
	object *assembler
	// fetches is the ref whose value a get asks for.
	fetches *tracked
	// shared: several callers read the bytes of the value, so that each needs a copy. Guarded by references.mu until done is
	// closed; nobody joins a get after that.
	shared bool
	// progress, when not nil, hears how far the transfer is.
	progress func(Progress)
	// options are those of a task, as Ray's keyword arguments; they are in msg, too.
	options map[string]any
	// promises is the object that a put is going to name, where nobody waits for the answer.
	promises *tracked
	// releases are what a release names.
	releases []*tracked
	// producesActor: the answer names an actor, which may be one that this session holds already.
	producesActor bool
	// moved is when a part of it, or of its answer, last got on.
	moved clock
	// probe is what a resumed stream begins with.
	probe bool
	// handles are what the answer handed over to this session; they are released if nobody waits. single is the room for one.
	handles []*handle
	single  [1]*handle

	done chan struct{} // closed when answer and err are final
	// What follows is written before done is closed. Of a get, a put or a task there are data (the object of a get) and
	// handles, or, if the server refused it, the exception that it gave for that; of all else there is the answer.
	answer  *raypb.DataResponse
	data    []byte
	listed  bool // data is the pickle of a list with the value in it
	refused bool
	refusal []byte
	err     error

	// The rest is guarded by outbox.mu.
	state   requestState
	waiters int
	// next and before are the neighbours in outbox.queue, while queued.
	next, before *request
}

// requestQueue is a list of requests, linked through them.
type requestQueue struct {
	front, back *request
	n           int
}

func (q *requestQueue) push(r *request) {
	r.before = q.back
	if q.back == nil {
		q.front = r
	} else {
		q.back.next = r
	}
	q.back = r
	q.n++
}

func (q *requestQueue) remove(r *request) {
	if r.before == nil {
		q.front = r.next
	} else {
		r.before.next = r.next
	}
	if r.next == nil {
		q.back = r.before
	} else {
		r.next.before = r.before
	}
	r.next, r.before = nil, nil
	q.n--
}

// cached reports whether the server remembers the answer until it is acknowledged. Only these requests are answered in
// the order of their ids.
func (r *request) cached() bool { return r.object == nil && !r.last }

// from is the first chunk of the answer that is still missing.
func (r *request) from() int32 {
	if r.object == nil {
		return 0
	}
	return r.object.next()
}

// answers reports whether resp is of the kind that answers req.
func answers(req *raypb.DataRequest, resp *raypb.DataResponse) bool {
	ok := false
	switch req.GetType().(type) {
	case *raypb.DataRequest_Init:
		_, ok = resp.GetType().(*raypb.DataResponse_Init)
	case *raypb.DataRequest_ConnectionInfo:
		_, ok = resp.GetType().(*raypb.DataResponse_ConnectionInfo)
	case *raypb.DataRequest_Put:
		_, ok = resp.GetType().(*raypb.DataResponse_Put)
	case *raypb.DataRequest_Get:
		_, ok = resp.GetType().(*raypb.DataResponse_Get)
	case *raypb.DataRequest_Task:
		_, ok = resp.GetType().(*raypb.DataResponse_TaskTicket)
	case *raypb.DataRequest_Release:
		_, ok = resp.GetType().(*raypb.DataResponse_Release)
	case *raypb.DataRequest_ListNamedActors:
		_, ok = resp.GetType().(*raypb.DataResponse_ListNamedActors)
	case *raypb.DataRequest_ConnectionCleanup:
		_, ok = resp.GetType().(*raypb.DataResponse_ConnectionCleanup)
	}
	return ok
}
