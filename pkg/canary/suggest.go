package canary

import "strings"

// Suggest is the known name that was most likely meant by name, for "did you
// mean"; empty when none is near. Nearness is the number of letters to insert,
// delete, change or swap with the next, in any case; at most a third of the
// name's length, and at least one, may differ. Of equals the first wins.
func Suggest(name string, known []string) string {
	most := max(1, len(name)/3)
	best := ""
	for _, k := range known {
		if k == name {
			return k
		}
		if d := distance(strings.ToLower(name), strings.ToLower(k), most); d <= most && (best == "" || d < most) {
			best, most = k, d
		}
	}
	return best
}

// distance is the optimal string alignment distance of a and b, or something
// above limit once it is known to be more.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d > limit || -d > limit {
		return limit + 1
	}
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
