package providers

import "fmt"

// Mismatch says that a value of a cluster file is not of the shape that was
// expected, as in "expected a list; got the number 3".
func Mismatch(want string, got any) string {
	what := "a mapping"
	switch x := got.(type) {
	case []any:
		what = "a list"
	case string:
		what = fmt.Sprintf("the text %q", x)
	case bool:
		what = fmt.Sprintf("the truth value %t", x)
	case int64, float64:
		what = fmt.Sprintf("the number %v", x)
	}
	return "expected " + want + "; got " + what
}
