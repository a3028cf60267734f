package worker

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// creationFields are the numbers of the fields of ActorCreationTaskSpec that a worker reads. Ray 2.54 gave them others.
type creationFields struct {
	actorID, maxConcurrency, name, namespace, groups, outOfOrder protowire.Number
}

var (
	creationTo253   = creationFields{actorID: 2, maxConcurrency: 6, name: 8, namespace: 9, groups: 13, outOfOrder: 14}
	creationFrom254 = creationFields{actorID: 1, maxConcurrency: 5, name: 7, namespace: 8, groups: 12, outOfOrder: 13}
)

// creationSpec is what a worker has to know of the actor that it is to host.
type creationSpec struct {
	actorID         []byte
	name, namespace string
	maxConcurrency  int
	groups          []creationGroup
	// outOfOrder: drivers set it for asyncio actors and where max_concurrency is above 1.
	outOfOrder bool
}

type creationGroup struct {
	name           string
	maxConcurrency int
	methods        []string
}

// parseCreation reads the specification by the numbers of the version, whatever the generated message calls them.
func parseCreation(m *corepb.ActorCreationTaskSpec, n creationFields) (creationSpec, error) {
	raw, err := proto.Marshal(m)
	if err != nil {
		return creationSpec{}, fmt.Errorf("the creation of the actor: %w", err)
	}
	var c creationSpec
	err = eachField(raw, func(field protowire.Number, data []byte, number uint64) error {
		switch field {
		case n.actorID:
			c.actorID = data
		case n.maxConcurrency:
			c.maxConcurrency = int(int32(number))
		case n.name:
			c.name = string(data)
		case n.namespace:
			c.namespace = string(data)
		case n.outOfOrder:
			c.outOfOrder = number != 0
		case n.groups:
			g, err := parseGroup(data)
			c.groups = append(c.groups, g)
			return err
		}
		return nil
	})
	if err == nil && len(c.actorID) != actorIDSize {
		err = fmt.Errorf("an actor id has %d bytes, not %d", actorIDSize, len(c.actorID))
	}
	if err != nil {
		return c, fmt.Errorf("the creation of the actor: %w", err)
	}
	return c, nil
}

// parseGroup reads a ConcurrencyGroup, whose numbers have not changed.
func parseGroup(raw []byte) (creationGroup, error) {
	var g creationGroup
	err := eachField(raw, func(field protowire.Number, data []byte, number uint64) error {
		switch field {
		case 1:
			g.name = string(data)
		case 2:
			g.maxConcurrency = int(int32(number))
		case 3:
			var f corepb.FunctionDescriptor
			if err := proto.Unmarshal(data, &f); err != nil {
				return err
			}
			g.methods = append(g.methods, f.GetPythonFunctionDescriptor().GetFunctionName())
		}
		return nil
	})
	return g, err
}

// eachField calls f for the fields of a message: with the bytes of one that is a message or text, else with its number.
func eachField(raw []byte, f func(field protowire.Number, data []byte, number uint64) error) error {
	for len(raw) > 0 {
		field, wireType, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return protowire.ParseError(n)
		}
		raw = raw[n:]
		var data []byte
		var number uint64
		switch wireType {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(raw)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(raw)
		default:
			n = protowire.ConsumeFieldValue(field, wireType, raw)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := f(field, data, number); err != nil {
			return err
		}
		raw = raw[n:]
	}
	return nil
}
