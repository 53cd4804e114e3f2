// Package gce is a stand-in for Google's Compute Engine, with the few calls of
// its identity and project services that a launcher makes: enough to be
// strict about what is asked, to take its time as the real one does, and to be
// told to refuse. It makes no machine; whoever wants one is told when an
// instance runs and when it ends. Only tests and the test bed import it.
package gce
