package route_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"serin.dev/serin/pkg/route"
)

func TestTreesAreEqualWhenTheirTextIs(t *testing.T) {
	var none map[string]any
	var empty []any
	for name, c := range map[string]struct {
		a, b any
		want bool
	}{
		"a number in two of Go's types":     {map[string]any{"weight": int64(5)}, map[string]any{"weight": 5.0}, true},
		"two numbers":                       {map[string]any{"weight": int64(5)}, map[string]any{"weight": 5.5}, false},
		"a number and its text":             {int64(5), "5", false},
		"a number as it was written":        {json.Number("5"), int64(5), true},
		"nothing in three of Go's types":    {none, nil, true},
		"no list and no object":             {empty, none, true},
		"no list and an empty one":          {empty, []any{}, false},
		"no object and an empty one":        {none, map[string]any{}, false},
		"an empty object and an empty list": {map[string]any{}, []any{}, false},
		"a member that is null and none":    {map[string]any{"a": nil}, map[string]any{}, false},
		"a member that is null and another": {map[string]any{"a": nil}, map[string]any{"b": nil}, false},
		"the same in another order":         {[]any{"a", "b"}, []any{"b", "a"}, false},
		"a longer list":                     {[]any{"a"}, []any{"a", "a"}, false},
		"true and its text":                 {true, "true", false},
		"true and false":                    {true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if a, b := route.Equal(c.a, c.b), route.Equal(c.b, c.a); a != c.want || b != c.want {
				t.Errorf("equal is %v, and the other way round %v, want %v", a, b, c.want)
			}
		})
	}
}

func TestRandomTreesAreEqualWhenTheirTextIs(t *testing.T) {
	dice, same := rand.New(rand.NewPCG(1, 2)), 0
	for range 20_000 {
		a, b := randomTree(dice, 3), randomTree(dice, 3)
		x, errX := json.Marshal(a)
		y, errY := json.Marshal(b)
		if errX != nil || errY != nil {
			t.Fatal(errX, errY)
		}
		want := string(x) == string(y)
		if want {
			same++
		}
		if got := route.Equal(a, b); got != want {
			t.Fatalf("%s and %s: equal is %v", x, y, got)
		}
		var again any
		if err := json.Unmarshal(x, &again); err != nil || !route.Equal(a, again) {
			t.Fatalf("%s is not what is read of it (%v)", x, err)
		}
	}
	if same < 100 {
		t.Errorf("only %d of the pairs were the same", same)
	}
}

// randomTree is a small tree of few values, so that two are often the same.
func randomTree(dice *rand.Rand, depth int) any {
	n := dice.IntN(8)
	if depth == 0 {
		n = dice.IntN(5)
	}
	switch n {
	case 0:
		return nil
	case 1:
		return dice.IntN(2) == 0
	case 2:
		return fmt.Sprint(dice.IntN(2))
	case 3:
		return int64(dice.IntN(2))
	case 4:
		return float64(dice.IntN(3)) / 2
	case 5:
		list := make([]any, dice.IntN(3))
		for i := range list {
			list[i] = randomTree(dice, depth-1)
		}
		return list
	}
	object := map[string]any{}
	for range dice.IntN(3) {
		object[fmt.Sprint(dice.IntN(2))] = randomTree(dice, depth-1)
	}
	return object
}
