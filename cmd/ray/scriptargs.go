package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ray/internal/launcher"
)

// scriptOptions puts what belongs to the script of `ray submit` behind a --:
// everything after the script that is no option of ours, as upstream has it.
// An unknown option before the script stays, and is reported.
func scriptOptions(root *cobra.Command, args []string) []string {
	if len(args) == 0 || args[0] != "submit" {
		return args
	}
	cmd, _, err := root.Find(args[:1])
	if err != nil {
		return args
	}
	cmd.InitDefaultHelpFlag()
	var ours, words, script []string
	need := 1 // words before the script's own
	for i := 1; i < len(args); i++ {
		a := args[i]
		option := len(a) > 1 && a[0] == '-'
		switch more, known := takes(cmd, a); {
		case a == "--":
			script = append(script, args[i+1:]...)
			i = len(args)
		case option && known:
			ours = append(ours, a)
			if more && i+1 < len(args) {
				i++
				ours = append(ours, args[i])
			}
		case len(words) == need:
			script = append(script, a)
		case option:
			return args
		default:
			if words = append(words, a); len(words) == 1 && launcher.IsFile(a) {
				need = 2
			}
		}
	}
	out := slices.Concat(args[:1], ours, words)
	if len(script) > 0 {
		out = append(append(out, "--"), script...)
	}
	return out
}

// takes tells whether an argument is an option of the command, and whether the
// next one is its value.
func takes(cmd *cobra.Command, arg string) (next, known bool) {
	if name, long := strings.CutPrefix(arg, "--"); long {
		name, _, given := strings.Cut(name, "=")
		f := cmd.Flags().Lookup(name)
		if f == nil {
			f = cmd.Root().PersistentFlags().Lookup(name)
		}
		return f != nil && f.NoOptDefVal == "" && !given, f != nil
	}
	for i := 1; i < len(arg); i++ {
		f := shorthand(cmd.Flags(), arg[i])
		if f == nil {
			return false, i > 1 && arg[i] == '='
		}
		if f.NoOptDefVal == "" { // the rest of the argument is its value
			return i == len(arg)-1, true
		}
	}
	return false, len(arg) > 1
}

// shorthand is ShorthandLookup for any byte.
func shorthand(flags *pflag.FlagSet, letter byte) *pflag.Flag {
	if letter >= 0x80 || letter == '=' {
		return nil
	}
	return flags.ShorthandLookup(string(letter))
}
