// Package logfile keeps log files within bounds: a full one is moved aside
// (name, name.1, name.2, …) and the oldest is removed. A reader sees all parts
// as one stream of bytes whose offsets stay the same over such moves, so that
// whoever follows a log neither loses nor repeats anything. Writer and reader
// may be different processes. Any package may import it.
package logfile
