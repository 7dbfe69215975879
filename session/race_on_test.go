//go:build race

package session

// processors is how many goroutines run at the same instant. With more than one the
// race detector of Go 1.26 now and then crashes in virtual time (golang/go#78156; one
// run of these tests in forty). What races is found by what happens before what, which
// one processor shows as well.
const processors = 1
