package ray

import (
	"context"

	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// The cluster's internal key-value store. Keys live in namespaces of their own, which have nothing to do with those of
// actors; "" is the one without a name, where Ray keeps packages. Reads are repeated over failures of the connection;
// writes too, and are carried out once. Everything is kept in the memory of the head node.

// kvNamespace is absent on the wire when empty.
func kvNamespace(namespace string) []byte {
	if namespace == "" {
		return nil
	}
	return []byte(namespace)
}

// KVGet returns the value of a key in the cluster's internal key-value store, and whether there is one. A namespace of keys
// has nothing to do with one of actors; "" is the one without a name, where Ray keeps packages. All of the store is in the
// memory of the head node.
func (s *Session) KVGet(ctx context.Context, namespace, key string) (value []byte, found bool, err error) {
	answer, err := ask(ctx, s, "kv get "+key, s.rpc.KVGet, &raypb.KVGetRequest{Key: []byte(key), Namespace: kvNamespace(namespace)})
	if err != nil {
		return nil, false, err
	}
	return answer.GetValue(), answer.Value != nil, nil
}

// KVPut sets the value of a key, if there is none yet or overwrite says so, and reports whether there was one. It is carried
// out once, whatever happens to the connection. See KVGet.
func (s *Session) KVPut(ctx context.Context, namespace, key string, value []byte, overwrite bool) (existed bool, err error) {
	answer, err := change(ctx, s, "kv put "+key, s.rpc.KVPut, &raypb.KVPutRequest{
		Key: []byte(key), Value: value, Overwrite: overwrite, Namespace: kvNamespace(namespace),
	})
	if err != nil {
		return false, err
	}
	return answer.GetAlreadyExists(), nil
}

// KVExists reports whether a key has a value.
func (s *Session) KVExists(ctx context.Context, namespace, key string) (bool, error) {
	answer, err := ask(ctx, s, "kv exists "+key, s.rpc.KVExists, &raypb.KVExistsRequest{Key: []byte(key), Namespace: kvNamespace(namespace)})
	if err != nil {
		return false, err
	}
	return answer.GetExists(), nil
}

// KVDel deletes a key and reports whether it had a value.
func (s *Session) KVDel(ctx context.Context, namespace, key string) (existed bool, err error) {
	answer, err := change(ctx, s, "kv del "+key, s.rpc.KVDel, &raypb.KVDelRequest{Key: []byte(key), Namespace: kvNamespace(namespace)})
	if err != nil {
		return false, err
	}
	return answer.GetDeletedNum() > 0, nil
}

// KVList returns the keys that begin with prefix, in no particular order.
func (s *Session) KVList(ctx context.Context, namespace, prefix string) ([]string, error) {
	answer, err := ask(ctx, s, "kv list "+prefix, s.rpc.KVList, &raypb.KVListRequest{Prefix: []byte(prefix), Namespace: kvNamespace(namespace)})
	if err != nil {
		return nil, err
	}
	keys := make([]string, len(answer.GetKeys()))
	for i, key := range answer.GetKeys() {
		keys[i] = string(key)
	}
	return keys, nil
}
