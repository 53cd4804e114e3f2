package dashboard

import (
	_ "embed" // for the page
	"net/http"
)

//go:embed page.html
var pageHTML []byte

// page is the one page: it reads /api/v1/status and shows it.
func (s *Server) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(pageHTML) // the client is gone if this fails
}
