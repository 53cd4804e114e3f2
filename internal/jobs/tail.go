package jobs

import (
	"net/http"
	"strconv"

	"github.com/coder/websocket"

	"ray/internal/wire"
)

// tail sends output as text messages until the job has ended; only then it
// closes the connection normally.
func (s *Service) tail(w http.ResponseWriter, r *http.Request) {
	j, ok := s.find(w, r, "tail logs of")
	if !ok {
		return
	}
	offset, err := strconv.ParseInt(r.URL.Query().Get(wire.JobOffsetQuery), 10, 64)
	tell := err == nil && offset >= 0
	if !tell {
		offset = 0
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // the guard has looked at the origin
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }()
	ctx := conn.CloseRead(r.Context())
	send := func(text []byte, next int64) error {
		err := conn.Write(ctx, websocket.MessageText, text)
		if err == nil && tell {
			err = conn.Write(ctx, websocket.MessageBinary, strconv.AppendInt(nil, next, 10))
		}
		return err
	}
	var rest []byte
	end := offset
	err = s.Follow(ctx, j.SubmissionID, offset, func(data []byte, next int64) error {
		var text []byte
		text, rest = splitUTF8(append(rest, data...))
		end = next
		if len(text) == 0 {
			return nil
		}
		return send(text, next-int64(len(rest)))
	})
	if err == nil && len(rest) > 0 {
		err = send([]byte(string([]rune(string(rest)))), end)
	}
	if err != nil {
		_ = conn.Close(websocket.StatusInternalError, "the output could not be followed to its end")
		return
	}
	_ = conn.Close(websocket.StatusNormalClosure, "")
}
