package dashboard

import (
	"crypto/subtle"
	"net/http"
	"slices"
	"strings"
)

// cookieName is upstream's, so that its clients' cookies work.
const cookieName = "ray-authentication-token"

var openPaths = []string{
	"/", "/favicon.ico", "/api/authenticate", "/api/authentication_mode",
	"/api/healthz", "/api/gcs_healthz", "/api/local_raylet_healthz", "/-/healthz",
}

// guard lets requests through that carry the token, and keeps browsers from
// changing anything: a page of another origin must not be able to submit jobs
// (cross-site requests, DNS rebinding).
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		readOnly := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
		if isBrowser(r) && !readOnly && r.URL.Path != "/api/authenticate" {
			http.Error(w, "Method Not Allowed for browser traffic.", http.StatusMethodNotAllowed)
			return
		}
		if s.o.Token == "" || slices.Contains(openPaths, r.URL.Path) || strings.HasPrefix(r.URL.Path, "/static/") {
			next.ServeHTTP(w, r)
			return
		}
		given := tokenOf(r)
		switch {
		case given == "":
			http.Error(w, "Unauthorized: Missing authentication token", http.StatusUnauthorized)
		case !s.valid(given):
			http.Error(w, "Forbidden: Invalid authentication token", http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (s *Server) valid(token string) bool {
	return subtle.ConstantTimeCompare([]byte(token), []byte(s.o.Token)) == 1
}

func isBrowser(r *http.Request) bool {
	if strings.HasPrefix(r.UserAgent(), "Mozilla") {
		return true
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "Sec-Fetch-") {
			return true
		}
	}
	return false
}

func tokenOf(r *http.Request) string {
	for _, name := range []string{"Authorization", "X-Ray-Authorization"} {
		if v, ok := strings.CutPrefix(r.Header.Get(name), "Bearer "); ok {
			return strings.TrimSpace(v)
		}
	}
	if c, err := r.Cookie(cookieName); err == nil {
		return c.Value
	}
	return ""
}

// authenticate turns a token in the header into a cookie for the page.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request) {
	given := tokenOf(r)
	switch {
	case s.o.Token == "":
	case given == "":
		http.Error(w, "Unauthorized: Missing authentication token", http.StatusUnauthorized)
		return
	case !s.valid(given):
		http.Error(w, "Forbidden: Invalid authentication token", http.StatusForbidden)
		return
	default:
		http.SetCookie(w, &http.Cookie{
			Name: cookieName, Value: given, Path: "/", MaxAge: 30 * 24 * 3600, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		})
	}
	writeJSON(w, map[string]string{"status": "authenticated"})
}

func (s *Server) authenticationMode(w http.ResponseWriter, _ *http.Request) {
	mode := "token"
	if s.o.Token == "" {
		mode = "disabled"
	}
	writeJSON(w, map[string]string{"authentication_mode": mode})
}
