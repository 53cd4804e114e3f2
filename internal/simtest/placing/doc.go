// Package placing measures the global scheduler in virtual time: how fast it
// decides and what it costs on clusters far larger than a test can start (the
// real scheduler and the real tables of the head, nodes made up), and how good
// its choices are on random task graphs, beside other policies and a bound that
// no policy can beat. Only tests and bench import it.
package placing
