// Package orderedmap is a stand-in; see ../../README.md.
package orderedmap

// Map remembers its entries in the order they were set. Keys are not looked
// up, so one that is set twice is there twice.
type Map[K comparable, V any] struct{ entries []entry[K, V] }

type entry[K comparable, V any] struct {
	key   K
	value V
}

// New returns an empty map.
func New[K comparable, V any]() *Map[K, V] { return &Map[K, V]{} }

// Set adds an entry.
func (m *Map[K, V]) Set(key K, value V) { m.entries = append(m.entries, entry[K, V]{key, value}) }

// First returns the first entry, nil if there is none.
func (m *Map[K, V]) First() *Pair[K, V] { return pair(m.entries) }

// Pair is an entry and those after it.
type Pair[K comparable, V any] struct{ entries []entry[K, V] }

func pair[K comparable, V any](entries []entry[K, V]) *Pair[K, V] {
	if len(entries) == 0 {
		return nil
	}
	return &Pair[K, V]{entries}
}

// Key returns the entry's key.
func (p *Pair[K, V]) Key() K { return p.entries[0].key }

// Value returns the entry's value.
func (p *Pair[K, V]) Value() V { return p.entries[0].value }

// Next returns the next entry, nil after the last.
func (p *Pair[K, V]) Next() *Pair[K, V] { return pair(p.entries[1:]) }
