package torture

import "flag"

var (
	verbose = flag.Bool("log", false, "log what the controllers say")
	replay  = flag.String("replay", "", "a `case` to play, as a failing run prints it")
	all     = flag.Bool("all", false, "play every fault at every write of every scenario")
	pairsOf = flag.Int("pairs", 0, "play so many pairs of faults, by the seed")
	seed    = flag.Uint64("seed", 1, "for what is left to chance")
	part    = flag.Int("part", 100, "how many of all cases are played without -all")
	from    = flag.Int("from", 0, "leave out so many cases of the plan, which an earlier run with the same flags has played")
	only    = flag.String("only", "", "play only cases that match this `expression`")
	long    = flag.Bool("long", false, "play two days of releases, too")
)
