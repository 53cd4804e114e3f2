package runtimeenv

import "strings"

// variables expands ${VAR} by the environment base (as os.Environ) and sorts
// the variables by who reads them.
func variables(vars map[string]string, base []string, out *Env) {
	known := map[string]string{}
	for _, kv := range base {
		if k, v, ok := strings.Cut(kv, "="); ok {
			known[k] = v
		}
	}
	for k, v := range vars {
		v = expand(v, known)
		if readAtStart(k) {
			out.ServerVars[k] = v
		} else {
			out.Vars[k] = v
		}
	}
}

// expand replaces ${NAME}; an unknown name becomes nothing. A bare $NAME stays.
func expand(s string, known map[string]string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			break
		}
		j := strings.IndexByte(s[i:], '}')
		if j < 0 {
			break
		}
		b.WriteString(s[:i])
		b.WriteString(known[s[i+2:i+j]])
		s = s[i+j+1:]
	}
	b.WriteString(s)
	return b.String()
}

// readAtStart tells whether an interpreter or its loader reads the variable
// before any Python code runs, so that a forked worker would be too late.
func readAtStart(name string) bool {
	return strings.HasPrefix(name, "LD_") || strings.HasPrefix(name, "PYTHON") || strings.HasPrefix(name, "MALLOC_")
}

// forInstaller tells whether an installer reads the variable: such variables
// of the request reach it, and are part of what is made.
func forInstaller(name string) bool {
	for _, prefix := range []string{"PIP_", "UV_", "CONDA_", "MAMBA_", "SSL_", "REQUESTS_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return strings.HasSuffix(strings.ToUpper(name), "_PROXY")
}
