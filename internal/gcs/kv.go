package gcs

import (
	"slices"
	"strings"
)

func (t *Tables) kvSpace(ns string) map[string][]byte {
	if t.kv[ns] == nil {
		t.kv[ns] = map[string][]byte{}
	}
	return t.kv[ns]
}

// KVGet reads a key.
func (t *Tables) KVGet(ns, key string) (value []byte, found bool) {
	value, found = t.kv[ns][key]
	return value, found
}

// KVPut writes a key; added tells that it was not there. Without overwrite a
// key that is there stays as it is.
func (t *Tables) KVPut(ns, key string, value []byte, overwrite bool) (added bool, c Change) {
	_, there := t.kv[ns][key]
	if there && !overwrite {
		return false, c
	}
	if value == nil {
		value = []byte{}
	}
	t.kvSpace(ns)[key] = value
	return !there, Change{Sync: true, Writes: []Write{{tableKV, ns + "\x00" + key, value}}}
}

// KVDelete removes a key, or all keys that begin with it.
func (t *Tables) KVDelete(ns, key string, prefix bool) (count int, c Change) {
	keys := []string{key}
	if prefix {
		keys = t.KVList(ns, key)
	}
	for _, k := range keys {
		if _, there := t.kv[ns][k]; there {
			delete(t.kv[ns], k)
			c.remove(tableKV, ns+"\x00"+k)
			count++
		}
	}
	c.Sync = count > 0
	return count, c
}

// KVList gives the keys that begin with prefix, sorted.
func (t *Tables) KVList(ns, prefix string) []string {
	keys := []string{}
	for k := range t.kv[ns] {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}
