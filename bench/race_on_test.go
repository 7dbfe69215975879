//go:build race

package bench

// buildFlags make the program under test watch for data races when its tests do.
var buildFlags = []string{"-race"}
