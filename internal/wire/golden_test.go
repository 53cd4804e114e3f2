package wire

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"ray/internal/spec"
)

var update = flag.Bool("update", false, "rewrite testdata/frames.txt")

// fill makes an id whose bytes count up from first, so that the Python test
// can make the same.
func fill(b []byte, first byte) {
	for i := range b {
		b[i] = first + byte(i)
	}
}

func object(first byte) (id spec.ObjectID) { fill(id[:], first); return id }
func task(first byte) (id spec.TaskID)     { fill(id[:], first); return id }
func ref(first byte) (r spec.Ref)          { fill(r.ID[:], first); fill(r.Owner[:], first+0x80); return r }

type golden struct {
	name, note string
	frame      []byte
}

func goldenFrames() []golden {
	blob := []byte("\x00\x01\x00\x00\x03\x00\x00\x00abc")
	inline := Value{Blob: blob, Refs: []spec.Ref{ref(0x40)}}
	arena := Value{Where: Arena, Offset: 4096, Size: 1 << 20, Refs: []spec.Ref{}}
	info := &spec.ErrorInfo{Type: "ObjectStoreFullError", Message: "full"}
	export := Export{Code: []byte("code")}
	fill(export.ID[:], 1)
	return []golden{
		{"template", "number 7, JSON {}", (&Template{7, []byte("{}")}).Append(nil)},
		{"export", "id from 01, code 'code'", export.Append(nil)},
		{"submit", "kind 2, flags 1, template 7, nreturns 3, task from 10, parent from 20, deps: refs 01 and 02, refs: ref 03, payload 'payload'",
			(&Submit{2, 1, 7, 3, task(0x10), task(0x20), []spec.Ref{ref(1), ref(2)}, []spec.Ref{ref(3)}, []byte("payload")}).Append(nil)},
		{"put_inline", "object from 05, value: inline blob of kind 0 with pickle 'abc', refs: ref 40", (&Put{object(5), inline}).Append(nil)},
		{"put_arena", "object from 05, value: arena offset 4096 size 1048576", (&Put{object(5), arena}).Append(nil)},
		{"release", "object from 05 twice, object from 06 once", AppendCounts(nil, TRelease, Counts(nil).Add(object(5), 2).Add(object(6), 1))},
		{"get", "flags 1, request 9, refs 01 and 02", (&Get{1, 9, []spec.Ref{ref(1), ref(2)}}).AppendAs(nil, TGet)},
		{"wait", "flags 5, request 10, ref 01", (&Get{5, 10, []spec.Ref{ref(1)}}).AppendAs(nil, TWait)},
		{"forget", "request 9", AppendU32(nil, TForget, 9)},
		{"unpin", "object from 05, count 1", AppendCounts(nil, TUnpin, Counts(nil).Add(object(5), 1))},
		{"create", "request 11, object from 05, size 200000", (&Create{11, object(5), 200000}).Append(nil)},
		{"abort", "object from 05", AppendID(nil, TAbort, object(5))},
		{"done", "status 1, seq 12, epoch 3, items 0, 1500 microseconds, task from 10, returns: 1 the inline value, 2 the arena value",
			(&Done{1, 12, 3, 0, 1500, task(0x10), []IndexedValue{{1, inline}, {2, arena}}}).Append(nil)},
		{"yield", "seq 12, epoch 3, index 2, task from 10, the inline value", (&Yield{12, 3, 2, task(0x10), inline}).Append(nil)},
		{"blocked", "seq 12, epoch 3", AppendPair(nil, TBlocked, 12, 3)},
		{"consumed", "task from 10, 4 items", AppendConsumed(nil, TConsumed, task(0x10), 4)},
		{"push", "flags 1, items 2, task from 10, returns: 2 elsewhere", (&Push{1, 2, task(0x10), []IndexedValue{{2, Value{Where: Elsewhere, Refs: []spec.Ref{}}}}}).Append(nil)},
		{"obj", "request 9, index 1, the arena value", (&Obj{9, 1, arena}).Append(nil)},
		{"ready", "request 10, indices 0 and 2", (&Ready{10, []uint32{0, 2}}).Append(nil)},
		{"created", "warm, request 11, offset 4096", (&Created{true, 11, 4096, nil}).Append(nil)},
		{"created_full", "request 11, error ObjectStoreFullError 'full'", (&Created{false, 11, 0, info}).Append(nil)},
		{"lent", "warm, number 3, offset 4096, size 1048576", (&Lent{true, 3, 4096, 1048576}).Append(nil)},
		{"return", "number 3", AppendU32(nil, TReturn, 3)},
		{"exec", "kind 0, flags 2, seq 12, epoch 3, template 7, nreturns 1, attempt 2, task from 10, parent from 20, deps: ref 01 with the inline value, ref 02 with the arena value, refs: ref 03, payload 'payload'",
			(&Exec{0, 2, 12, 3, 7, 1, 2, task(0x10), task(0x20), spec.NodeID{}, []Dep{{ref(1), inline}, {ref(2), arena}}, []spec.Ref{ref(3)}, []byte("payload")}).Append(nil)},
		{"exec_dynamic", "kind 0, flags 0, seq 13, epoch 3, template 8, nreturns 1, attempt 0, task from 10, parent from 20, items owned by the node from 30, no deps, no refs, payload 'payload'",
			(&Exec{0, 0, 13, 3, 8, 1, 0, task(0x10), task(0x20), ref(0xb0).Owner, nil, nil, []byte("payload")}).Append(nil)},
		{"recall", "epoch 3", AppendU32(nil, TRecall, 3)},
		{"recalled", "epoch 3, seq 12", AppendPair(nil, TRecalled, 3, 12)},
		{"cancel", "task from 10, recursive", AppendCancel(nil, task(0x10), true)},
		{"call", "id 5, method kv.get, JSON {\"ns\":\"a\"}, tail 'tail'", (&Call{5, []byte("kv.get"), []byte(`{"ns":"a"}`), []byte("tail")}).Append(nil)},
		{"note", "method stack, JSON null, tail 'text'", (&Call{0, []byte("stack"), []byte("null"), []byte("text")}).Append(nil)},
		{"reply", "id 5, JSON {\"found\":true}, tail 'value'", (&Reply{5, false, []byte(`{"found":true}`), []byte("value")}).Append(nil)},
		{"reply_error", "id 5, error ObjectStoreFullError 'full'", (&Reply{5, true, mustJSON(info), nil}).Append(nil)},
		{"fatal", "error ObjectStoreFullError 'full'", AppendJSON(nil, TFatal, info)},
	}
}

func TestGoldenFrames(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("# One frame a line: name, hex. Go and Python are both tested against this file.\n" +
		"# 'task from 10' is a task id of bytes 10 11 12 …; 'ref 01' is an object id from 01 and a node id from 81.\n" +
		"# 'the inline value': blob 00 01 0000 03000000 'abc', refs: ref 40. 'the arena value': offset 4096, size 1048576, no refs.\n")
	for _, g := range goldenFrames() {
		fmt.Fprintf(&b, "# %s\n%s %s\n", g.note, g.name, hex.EncodeToString(g.frame))
	}
	if *update {
		if err := os.WriteFile("testdata/frames.txt", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/frames.txt")
	if err != nil {
		t.Fatal(err)
	}
	wantLines, gotLines := strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")
	for i := range max(len(wantLines), len(gotLines)) {
		if i >= len(wantLines) || i >= len(gotLines) || wantLines[i] != gotLines[i] {
			t.Fatalf("line %d differs from testdata/frames.txt; the wire format must not change", i+1)
		}
	}
}

// codec is a body that can be read and written again.
type codec interface{ Decode([]byte) error }

// reencode decodes a frame into m and encodes it again.
func reencode(f Frame) ([]byte, error) {
	type appender interface {
		codec
		Append([]byte) []byte
	}
	byType := map[Type]appender{
		TTemplate: &Template{}, TExport: &Export{}, TSubmit: &Submit{}, TPut: &Put{}, TCreate: &Create{}, TDone: &Done{},
		TYield: &Yield{}, TPush: &Push{}, TObj: &Obj{}, TReady: &Ready{}, TCreated: &Created{}, TLent: &Lent{}, TExec: &Exec{}, TCall: &Call{}, TNote: &Call{},
	}
	switch f.Type {
	case TGet, TWait:
		var g Get
		err := g.Decode(f.Body)
		return g.AppendAs(nil, f.Type), err
	case TRelease, TUnpin:
		c, err := DecodeCounts(f.Type, f.Body)
		var again Counts
		for i := range c.Len() {
			again = again.Add(c.At(i))
		}
		return AppendCounts(nil, f.Type, again), err
	case TForget, TRecall, TReturn:
		v, err := DecodeU32(f.Type, f.Body)
		return AppendU32(nil, f.Type, v), err
	case TBlocked, TUnblocked, TRecalled:
		x, y, err := DecodePair(f.Type, f.Body)
		return AppendPair(nil, f.Type, x, y), err
	case TConsumed, TGenConsumed:
		id, n, err := DecodeConsumed(f.Type, f.Body)
		return AppendConsumed(nil, f.Type, id, n), err
	case TCancel:
		id, r, err := DecodeCancel(f.Body)
		return AppendCancel(nil, id, r), err
	case TAbort:
		id, err := DecodeID(f.Type, f.Body)
		return AppendID(nil, f.Type, id), err
	case TReply:
		var r Reply
		err := r.Decode(f)
		return r.Append(nil), err
	}
	m, ok := byType[f.Type]
	if !ok {
		return AppendFrame(nil, f), nil
	}
	err := m.Decode(f.Body)
	return m.Append(nil), err
}

func TestDecodeIsTheInverseOfAppend(t *testing.T) {
	for _, g := range goldenFrames() {
		f, n, err := ParseFrame(g.frame, MaxFrame)
		if err != nil || n != len(g.frame) {
			t.Fatalf("%s: %d %v", g.name, n, err)
		}
		again, err := reencode(f)
		if err != nil || !bytes.Equal(again, g.frame) {
			t.Errorf("%s: %v\n got %x\nwant %x", g.name, err, again, g.frame)
		}
		for cut := range len(f.Body) { // no prefix may panic
			_, _ = reencode(Frame{Type: f.Type, Flags: f.Flags, Body: f.Body[:cut]})
		}
	}
}

func TestLongerFixedPartIsSkipped(t *testing.T) {
	b := (&Create{11, object(5), 200000}).Append(nil)
	f, _, _ := ParseFrame(b, MaxFrame)
	longer := append(bytes.Clone(f.Body), 1, 2, 3)
	longer[0] += 3
	var m, want Create
	if err := m.Decode(longer); err != nil {
		t.Fatal(err)
	}
	_ = want.Decode(f.Body)
	if m != want {
		t.Errorf("got %+v", m)
	}
}

func TestErrorBlob(t *testing.T) {
	info := &spec.ErrorInfo{Type: "ActorDiedError", Message: "m", Fields: map[string]any{"pid": 5.0}}
	blob := ErrorBlob(info)
	if !IsError(blob) || !reflect.DeepEqual(ErrorOf(blob), info) {
		t.Errorf("%+v", ErrorOf(blob))
	}
	for cut := range len(blob) {
		if ErrorOf(blob[:cut]) != nil {
			t.Fatalf("a blob cut off at %d was read", cut)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, g := range goldenFrames() {
		f.Add(g.frame)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b), 1<<20)
		for {
			fr, err := r.Next()
			if err != nil {
				return
			}
			_, _ = reencode(fr)
		}
	})
}

func TestReaderKeepsABatchValid(t *testing.T) {
	var stream []byte
	for i := range 3000 {
		stream = AppendFrame(stream, Frame{Type: TNote, Body: bytes.Repeat([]byte{byte(i)}, i%700)})
	}
	stream = AppendFrame(stream, Frame{Type: TNote, Body: bytes.Repeat([]byte{byte(3000 % 256)}, 5<<20)})
	r := NewReader(bytes.NewReader(stream), 0)
	for i := 0; i <= 3000; {
		var batch [][]byte
		first := i
		for ok := true; ok && i <= 3000; ok = r.Buffered() {
			f, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			batch = append(batch, f.Body)
			i++
		}
		for j, body := range batch {
			for _, c := range body {
				if c != byte(first+j) {
					t.Fatalf("frame %d was overwritten", first+j)
				}
			}
		}
	}
}

func BenchmarkSubmit(b *testing.B) {
	frame := (&Submit{Template: 7, NReturns: 1, Payload: make([]byte, 60), Deps: []spec.Ref{ref(1)}}).Append(nil)
	out := make([]byte, 0, 1024)
	var m Submit
	b.ReportAllocs()
	for b.Loop() {
		f, _, _ := ParseFrame(frame, MaxFrame)
		if m.Decode(f.Body) != nil {
			b.Fatal()
		}
		out = m.Append(out[:0])
	}
}
