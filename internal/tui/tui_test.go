package tui

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"ray/internal/spec"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)

func res(pairs ...any) spec.Resources {
	r := spec.Resources{}
	for i := 0; i < len(pairs); i += 2 {
		switch v := pairs[i+1].(type) {
		case int:
			r[pairs[i].(string)] = spec.ToFixed(float64(v))
		case float64:
			r[pairs[i].(string)] = spec.ToFixed(v)
		}
	}
	return r
}

func nodeID(b byte) spec.NodeID { return spec.NodeID{b, b, b} }

func node(b byte, typ, instance string, total, available spec.Resources, idle int64) spec.Node {
	return spec.Node{
		NodeInfo: spec.NodeInfo{ID: nodeID(b), NodeType: typ, Instance: instance, IP: fmt.Sprintf("10.0.0.%d", b), Total: total, Head: typ == "head"},
		State:    spec.NodeAlive, Available: available, IdleMS: idle,
	}
}

// sample is a cluster in the middle of its work.
func sample() spec.Status {
	ms := start.UnixMilli()
	s := spec.Status{
		ClusterName: "demo", Address: "10.0.0.1:6379", Dashboard: "http://127.0.0.1:8265", TimeMS: ms, Autoscaling: true,
		NodeTypes: []spec.NodeTypeStatus{
			{Name: "head", Resources: res("CPU", 2), Max: 0},
			{Name: "cpu_worker", Resources: res("CPU", 4), Max: 4},
			{Name: "gpu_worker", Resources: res("CPU", 4, "GPU", 1), Max: 2},
		},
		Nodes: []spec.Node{
			node(1, "head", "", res("CPU", 2, "memory", 8<<30, "object_store_memory", 2<<30), res("CPU", 1.5, "memory", 8<<30, "object_store_memory", 1<<30), 0),
			node(2, "cpu_worker", "i-0a1b2c3d4e", res("CPU", 4, "memory", 16<<30), res("memory", 16<<30), 0),
			node(3, "cpu_worker", "i-1f2e3d4c5b", res("CPU", 4, "memory", 16<<30), res("CPU", 4, "memory", 16<<30), 42000),
			node(4, "gpu_worker", "i-9f8e7d6c5b", res("CPU", 4, "GPU", 1), res("CPU", 3), 0),
		},
		Pending: []spec.PendingInstance{
			{NodeType: "cpu_worker", State: "REQUESTED", Since: ms - 3000, Reason: "pending tasks and actors: {'CPU': 4.0} * 2"},
			{ID: "i-5c4b3a2918", NodeType: "gpu_worker", State: "RAY_INSTALLING", Since: ms - 12000, Reason: "pending tasks and actors: {'GPU': 1.0} * 1"},
		},
		Demands: []spec.Demand{
			{Resources: res("CPU", 4), Count: 2, Kind: "task", Name: "square", Reason: "waits for the new machine of type cpu_worker"},
			{Resources: res("GPU", 8), Count: 1, Kind: "task", Name: "train"},
		},
		Infeasible:    []spec.Demand{{Resources: res("GPU", 8), Count: 1, Name: "train", Reason: "the nearest node type, gpu_worker, has only 1 of the 8 GPU"}},
		Groups:        []spec.PlacementGroup{{Name: "ring", Strategy: spec.StrictSpread, Bundles: []spec.Resources{res("CPU", 1), res("CPU", 1)}, Reason: "2 bundles need a node each"}},
		Constraints:   []spec.Demand{{Resources: res("CPU", 1), Count: 4}},
		GroupReserved: res("CPU", 2), GroupUsed: res("CPU", 1),
		Events: []spec.Event{
			{TimeMS: ms - 60000, Severity: "INFO", Message: "Adding 2 node(s) of type cpu_worker."},
			{TimeMS: ms - 50000, Severity: "INFO", Message: "Resized to 14 CPUs, 1 GPUs."},
			{TimeMS: ms - 5000, Severity: "WARNING", Message: "No available node types can fulfill resource requests {'GPU': 8.0}*1. Add suitable node types to this cluster to resolve this issue."},
			{TimeMS: ms - 1000, Severity: "ERROR", Message: "Setting up i-77 (gpu_worker) failed: command 3 of 5 ended with status 1."},
		},
	}
	for range 5 {
		s.Tasks = append(s.Tasks, spec.TaskInfo{Name: "square", State: "RUNNING", NodeID: nodeID(2)})
	}
	s.Tasks = append(s.Tasks, spec.TaskInfo{Name: "square", State: "PENDING_NODE_ASSIGNMENT"}, spec.TaskInfo{Name: "load_batch", State: "RUNNING", NodeID: nodeID(1)})
	s.Actors = []spec.ActorInfo{
		{Options: spec.ActorOptions{ClassName: "Counter", Name: "clicks"}, State: spec.ActorAlive, NodeID: nodeID(1)},
		{Options: spec.ActorOptions{ClassName: "Trainer"}, State: spec.ActorRestarting, Restarts: 2, Reason: "waits for GPU"},
	}
	s.Nodes[1].Activity = []string{"4 tasks are running."}
	return s
}

type fakeSource struct {
	status spec.Status
	err    error
}

func (f *fakeSource) Status(context.Context) (spec.Status, error) { return f.status, f.err }
func (f *fakeSource) Logs(_ context.Context, id spec.NodeID, lines int) ([]string, error) {
	var out []string
	for i := range 60 {
		out = append(out, fmt.Sprintf("line %d of node %s", i, id.String()[:4]))
	}
	return out[max(0, len(out)-lines):], nil
}

// opened is a model that has had its first answer.
func opened(t *testing.T, s spec.Status, width, height int) Model {
	t.Helper()
	m := New(t.Context(), &fakeSource{status: s}, start)
	return send(m, tea.WindowSizeMsg{Width: width, Height: height}, statusMsg{status: s, at: start})
}

// send gives messages to the model, and what the commands of key presses
// answer at once.
func send(m Model, msgs ...tea.Msg) Model {
	for _, msg := range msgs {
		next, cmd := m.Update(msg)
		m = next.(Model)
		if _, isKey := msg.(tea.KeyMsg); isKey && cmd != nil {
			next, _ := m.Update(cmd())
			m = next.(Model)
		}
	}
	return m
}

func press(key string) tea.Msg {
	switch key {
	case "enter":
		return tea.KeyMsg{Type: tea.KeyEnter}
	case "esc":
		return tea.KeyMsg{Type: tea.KeyEsc}
	case "down":
		return tea.KeyMsg{Type: tea.KeyDown}
	case "up":
		return tea.KeyMsg{Type: tea.KeyUp}
	case "pgup":
		return tea.KeyMsg{Type: tea.KeyPgUp}
	}
	return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(key)}
}

func plain(m Model) string { return ansi.Strip(m.View()) }

func wantText(t *testing.T, m Model, texts ...string) {
	t.Helper()
	view := plain(m)
	for _, text := range texts {
		if !strings.Contains(view, text) {
			t.Errorf("the screen lacks %q:\n%s", text, view)
		}
	}
}

// The screen fills the window exactly, whatever its size and content.
func TestScreenFitsEveryWindow(t *testing.T) {
	many := sample()
	for i := range 120 {
		many.Nodes = append(many.Nodes, node(byte(i), "cpu_worker", fmt.Sprintf("i-%08x", i), res("CPU", 4), res("CPU", 1), 0))
	}
	for name, status := range map[string]spec.Status{"empty": {}, "sample": sample(), "many": many} {
		for width := leastWidth; width <= 200; width += 20 {
			for height := leastRows; height <= 70; height += 9 {
				m := opened(t, status, width, height)
				for _, keys := range [][]tea.Msg{nil, {press("enter")}, {press("?")}, {press("G")}} {
					checkSize(t, name, send(m, keys...), width, height)
				}
			}
		}
	}
}

func checkSize(t *testing.T, name string, m Model, width, height int) {
	t.Helper()
	lines := strings.Split(m.View(), "\n")
	if len(lines) != height {
		t.Fatalf("%s at %d×%d: %d lines", name, width, height, len(lines))
	}
	for i, line := range lines {
		if w := ansi.StringWidth(line); w != width {
			t.Fatalf("%s at %d×%d: line %d is %d wide: %q", name, width, height, i, w, ansi.Strip(line))
		}
	}
}

func TestScreenShowsTheCluster(t *testing.T) {
	for _, width := range []int{120, 160, 200} {
		m := opened(t, sample(), width, 45)
		wantText(t, m, "ray · demo", "4 nodes", "1 idle", "2 starting", "cpu_worker", "gpu_worker", "i-0a1b2c3d4e", "launching", "setting up",
			"CPU", "can never run: 1 × 8 GPU (train)", "the nearest node type, gpu_worker", "2 × 4 CPU (square)", "group ring", "request_resources",
			"square", "5 running", "1 waiting", "Counter “clicks”", "2 restarts", "Adding 2 node(s)", "q quit", "live")
	}
	wantText(t, opened(t, sample(), 70, 50), "Nodes", "Waiting", "Tasks and actors", "Events", "i-0a1b2c3d4e")
}

func TestSelectionAndLog(t *testing.T) {
	m := opened(t, sample(), 120, 40)
	if row, ok := m.selectedRow(); !ok || row.node.ID != nodeID(1) {
		t.Fatalf("selected %+v at first, want the head", row)
	}
	m = send(m, press("down"), press("enter"))
	wantText(t, m, "Log of i-0a1b2c3d4e", "line 59 of node 0202", "close log")
	m = send(m, press("pgup"))
	wantText(t, m, "lines from the end", "line 49 of node 0202")
	m = send(m, press("down"))
	wantText(t, m, "Log of i-1f2e3d4c5b", "line 59 of node 0303")
	m = send(m, press("esc"))
	if strings.Contains(plain(m), "Log of") {
		t.Error("esc did not close the log")
	}
	// A machine that is on its way has no log yet.
	m = send(m, press("down"))
	for range 3 {
		m = send(m, press("down"))
	}
	m = send(m, press("enter"))
	if strings.Contains(plain(m), "Log of new machine") {
		t.Error("opened a log of a machine that has none")
	}
}

// An answer for a log that was closed meanwhile is dropped.
func TestLateLogIsDropped(t *testing.T) {
	m := opened(t, sample(), 120, 40)
	m = send(m, logMsg{node: nodeID(2), lines: []string{"late"}})
	if m.log != nil || strings.Contains(plain(m), "late") {
		t.Error("a late log opened itself")
	}
}

func TestSelectionSurvivesTheNode(t *testing.T) {
	m := opened(t, sample(), 120, 40)
	m = send(m, press("down"))
	s := sample()
	s.Nodes[1].State = spec.NodeDead
	m = send(m, statusMsg{status: s, at: start})
	if row, ok := m.selectedRow(); !ok || row.node == nil || row.node.State != spec.NodeAlive {
		t.Errorf("selected %+v after the selected node died", row)
	}
}

func TestOldDataIsShownAsOld(t *testing.T) {
	m := opened(t, sample(), 120, 40)
	m = send(m, tickMsg(start.Add(5*time.Second)))
	wantText(t, m, "data is 5s old")
	m = send(m, statusMsg{err: errors.New("connection refused"), at: start.Add(12 * time.Second)}, tickMsg(start.Add(12*time.Second)))
	wantText(t, m, "no answer, data is 12s old", "i-0a1b2c3d4e")
	first := send(New(t.Context(), &fakeSource{}, start), tea.WindowSizeMsg{Width: 80, Height: 24}, statusMsg{err: errors.New("connection refused")})
	wantText(t, first, "does not answer", "connection refused")
}

func TestPauseStopsFetching(t *testing.T) {
	m := opened(t, sample(), 120, 40)
	m = send(m, press("p"))
	next, _ := m.Update(tickMsg(start.Add(time.Second)))
	if next.(Model).fetching {
		t.Error("fetched while paused")
	}
	wantText(t, m, "paused")
}

func TestQuitKeys(t *testing.T) {
	for _, key := range []string{"q", "ctrl+c"} {
		msg := press(key)
		if key == "ctrl+c" {
			msg = tea.KeyMsg{Type: tea.KeyCtrlC}
		}
		_, cmd := opened(t, sample(), 80, 24).Update(msg)
		if cmd == nil {
			t.Fatalf("%s does nothing", key)
		}
		if _, ok := cmd().(tea.QuitMsg); !ok {
			t.Errorf("%s does not quit", key)
		}
	}
}

func TestLogLinesCannotControlTheTerminal(t *testing.T) {
	m := opened(t, sample(), 120, 40)
	m = send(m, press("enter"), logMsg{node: nodeID(1), lines: []string{"a\x1b[2Jb\tc\r\x07"}})
	if strings.Contains(m.View(), "\x1b[2J") {
		t.Error("an escape sequence of a log reached the screen")
	}
	wantText(t, m, "b c")
}

// TestDemo shows the sample on the terminal; it is for looking at the view.
func TestDemo(t *testing.T) {
	if os.Getenv("RAY_TUI_DEMO") == "" {
		t.Skip("set RAY_TUI_DEMO=1 and run the test binary on a terminal to look at the view")
	}
	s := sample()
	start = time.Now()
	if err := Run(t.Context(), &fakeSource{status: s}, os.Stdin, os.Stdout); err != nil {
		t.Fatal(err)
	}
}
