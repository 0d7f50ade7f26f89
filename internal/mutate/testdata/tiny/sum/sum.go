// Package sum is there to be mutated.
package sum

// Of is the sum of all numbers.
func Of(numbers ...int) int {
	sum := 0
	for _, n := range numbers {
		sum += n
	}
	return sum
}

// Twice is double the number. No test of this package looks at it.
func Twice(n int) int { return 2 * n }

// Untested is looked at by nobody.
func Untested() int { return 1 }
