package launcher

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"

	"ray/internal/sshx"
	"ray/providers"
)

// Entry is one line of a journal: the intent before a provider call or its
// outcome after.
type Entry struct {
	Time  time.Time `json:"time"`
	Call  string    `json:"call"`  // joins an intent and its outcome
	Phase string    `json:"phase"` // intent or outcome
	Op    string    `json:"op"`    // create or terminate
	Token string    `json:"token,omitempty"`
	Type  string    `json:"type,omitempty"`
	Kind  string    `json:"kind,omitempty"`
	Count int       `json:"count,omitempty"`
	IDs   []string  `json:"ids,omitempty"`
	Error string    `json:"error,omitempty"`
}

// journaled is a provider whose calls that change something are written down
// before they are made and after they were answered.
type journaled struct {
	providers.Provider
	path string
}

func (j journaled) write(e Entry) error {
	e.Time = time.Now()
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(j.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

// Create implements providers.Provider.
func (j journaled) Create(ctx context.Context, req providers.CreateRequest) ([]providers.Instance, error) {
	e := Entry{Call: newToken(), Phase: "intent", Op: "create", Token: req.Token, Type: req.Type, Kind: req.Kind, Count: req.Count}
	if err := j.write(e); err != nil {
		return nil, err
	}
	made, err := j.Provider.Create(ctx, req)
	e.Phase = "outcome"
	for _, i := range made {
		e.IDs = append(e.IDs, i.ID)
	}
	return made, j.outcome(e, err)
}

// Terminate implements providers.Provider.
func (j journaled) Terminate(ctx context.Context, ids []string) error {
	e := Entry{Call: newToken(), Phase: "intent", Op: "terminate", IDs: ids}
	if err := j.write(e); err != nil {
		return err
	}
	err := j.Provider.Terminate(ctx, ids)
	e.Phase = "outcome"
	return j.outcome(e, err)
}

func (j journaled) outcome(e Entry, err error) error {
	if err != nil {
		e.Error = err.Error()
	}
	return errors.Join(err, j.write(e))
}

// Host is passed through; it is named so that the embedded one is seen to be.
func (j journaled) Host(ctx context.Context, id string) (sshx.Host, error) {
	return j.Provider.Host(ctx, id)
}

// readJournal gives the entries; a last line that a crash cut off is left out.
func readJournal(path string) ([]Entry, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []Entry
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var e Entry
		if json.Unmarshal(s.Bytes(), &e) == nil {
			out = append(out, e)
		}
	}
	return out, s.Err()
}

// unfinished are the intents whose outcome is not known.
func unfinished(entries []Entry) []Entry {
	answered := map[string]bool{}
	for _, e := range entries {
		if e.Phase == "outcome" {
			answered[e.Call] = true
		}
	}
	var out []Entry
	for _, e := range entries {
		if e.Phase == "intent" && !answered[e.Call] {
			out = append(out, e)
		}
	}
	return out
}

// headToken is the token for making a head: that of a request whose answer was
// never seen, so that its machine is found and not made twice, or a new one.
func headToken(entries []Entry) string {
	for _, e := range unfinished(entries) {
		if e.Op == "create" && e.Kind == providers.Head {
			return e.Token
		}
	}
	return newToken()
}

// comesWithin is how long after the call a new machine may be missing in the
// provider's lists.
const comesWithin = 10 * time.Second

// onTheWay tells whether a request was made that may still bring a machine: its
// answer is not known, or it named machines that have not been ended since.
func onTheWay(entries []Entry, ended map[string]bool, now time.Time) bool {
	answers := map[string]Entry{}
	for _, e := range entries {
		if e.Phase == "outcome" {
			answers[e.Call] = e
		}
	}
	for _, e := range entries {
		if e.Phase != "intent" || e.Op != "create" || now.Sub(e.Time) > comesWithin {
			continue
		}
		answer, known := answers[e.Call]
		if !known && len(ended) == 0 {
			return true
		}
		for _, id := range answer.IDs {
			if !ended[id] {
				return true
			}
		}
	}
	return false
}

func newToken() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
