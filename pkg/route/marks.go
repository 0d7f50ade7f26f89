package route

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A mark remembers what we added to one route, so that Clean can take exactly
// that off again. Marks travel in the state annotation, which has little room:
// routes with the same kind of addition share one string,
//
//	+v2:<ids>     the destination v2 and the weight of its neighbour were added
//	+v2=50:<ids>  the destination v2 was added beside a lone one of weight 50
//	+v2=*:<ids>   the destination v2 was added and takes part of its neighbour's weight
//	~v2:<ids>     the destination v2 had no weight
//	^:<ids>       the lone destination had neither subset nor weight before it was pinned
//	^v2=50:<ids>  it had subset v2 and weight 50
//	^v2=*:<ids>   it had subset v2 and is one of several; its weight and the canary's are its own
//	^v2,=*:<ids>  the first destination that is the Service had subset v2, the second none
//
// and ids are of fixed length, one after the other. Two are of no route:
//
//	>v2=10:       copies of 10% of the requests are sent to v2
//	@serin-web:   destinations set the cookie serin-web
type mark struct {
	kind   byte   // added, unweighted or pinned
	subset string // of a pinned route what joinSubsets makes
	origin string // of the neighbour's weight: "" none, "*" the sum, or a number
}

const (
	added      = '+'
	unweighted = '~'
	pinned     = '^'
	kinds      = "+~^"

	idLength = 6 // 36 bits: one in ten million that two of 100 routes meet
)

func (m mark) String() string {
	s := string(m.kind) + m.subset
	if m.origin != "" {
		s += "=" + m.origin
	}
	return s
}

func (m mark) weight() (int, bool) {
	n, err := strconv.Atoi(m.origin)
	return n, err == nil
}

// parseMarks reads marks by route id. What it cannot read it leaves out: the
// price of a lost mark is a destination of weight 0 that stays.
func parseMarks(marks []string) map[string]mark {
	out := map[string]mark{}
	for _, s := range marks {
		head, ids, _ := strings.Cut(s, ":")
		if head == "" || !strings.ContainsRune(kinds, rune(head[0])) || len(head) < 2 && head[0] != pinned {
			continue
		}
		m := mark{kind: head[0]}
		m.subset, m.origin, _ = strings.Cut(head[1:], "=")
		for ; len(ids) >= idLength; ids = ids[idLength:] {
			out[ids[:idLength]] = m
		}
	}
	return out
}

// formatMarks is the inverse of parseMarks, always in the same order.
func formatMarks(marks map[string]mark) []string {
	groups := map[string]string{}
	for _, id := range slices.Sorted(maps.Keys(marks)) {
		groups[marks[id].String()] += id
	}
	var out []string
	for _, head := range slices.Sorted(maps.Keys(groups)) {
		out = append(out, head+":"+groups[head])
	}
	return out
}

// identities gives each route an id that survives what happens to routes in
// the middle of a release: other routes come and go, timeouts and weights
// change. A route is known by its name, or else by what it matches; of several
// with the same, by their order.
func identities(routes []any) []string {
	count := map[string]int{}
	out := make([]string, len(routes))
	for i, entry := range routes {
		key := "name " + text(object(entry)["name"])
		if key == "name " {
			match, err := json.Marshal(object(entry)["match"])
			if err != nil {
				match = fmt.Append(nil, object(entry)["match"]) // not JSON, still something to know it by
			}
			key = "match " + string(match)
		}
		out[i] = identity(key, count[key])
		count[key]++
	}
	return out
}

func identity(key string, n int) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s", n, key)
	sum := binary.BigEndian.AppendUint64(nil, h.Sum64())
	return base64.RawURLEncoding.EncodeToString(sum)[:idLength]
}
