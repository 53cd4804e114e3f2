package main

import (
	"strings"
	"testing"
)

func TestScriptOptions(t *testing.T) {
	for in, want := range map[string]string{
		"submit job.py":                                        "submit job.py",
		"submit c.yaml job.py --rounds 3":                      "submit c.yaml job.py -- --rounds 3",
		"submit c.yaml job.py a -- --b":                        "submit c.yaml job.py -- a --b",
		"submit job.py -x=1 --env A=b y":                       "submit --env A=b job.py -- -x=1 y",
		"submit --start -vn other c.yaml job.py --stop --help": "submit --start -vn other --stop --help c.yaml job.py",
		"submit c.yaml --strat job.py":                         "submit c.yaml --strat job.py",
		"submit c.yaml job.py -- -n x --stop":                  "submit c.yaml job.py -- -n x --stop",
		"submit --logging-level debug job.py -5":               "submit --logging-level debug job.py -- -5",
		"submit":                                               "submit",
		"exec c.yaml ls --color":                               "exec c.yaml ls --color",
	} {
		if got := strings.Join(scriptOptions(rootCmd(), strings.Fields(in)), " "); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}

func TestLongOptions(t *testing.T) {
	for in, want := range map[string]string{
		"logs cluster -ip 10.0.0.1 -id=ab x": "logs cluster --node-ip 10.0.0.1 --node-id=ab x",
		"logs worker -pid 3 -f":              "logs worker --pid 3 -f",
		"exec c.yaml -ip":                    "exec c.yaml -ip",
	} {
		if got := strings.Join(longOptions(strings.Fields(in)), " "); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
