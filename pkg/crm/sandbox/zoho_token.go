package sandbox

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// zohoToken is an access token that lives. It and the refresh token that it was
// given for are kept as digests, so that a journal holds no secrets.
type zohoToken struct {
	Access  string    `json:"access"`
	Refresh string    `json:"refresh"`
	At      time.Time `json:"at"`
	Until   time.Time `json:"until"`

	calls int
}

// zohoGrantee is what the token endpoint knows of a refresh token.
type zohoGrantee struct {
	window window
	live   []string // digests of access tokens, oldest first
}

// digest stands for a token.
func digest(token string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(token))) }

// token answers at the token endpoint. What is wrong with a request is told in a
// body with status 200, as the vendor does.
func (z *zoho) token(x *exchange) *reply {
	if x.r.Method != http.MethodPost {
		return htmlReply(http.StatusMethodNotAllowed, "Method not allowed")
	}
	media, _, _ := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	form, err := url.ParseQuery(string(x.body))
	if err != nil || len(x.body) > 0 && media != "application/x-www-form-urlencoded" {
		return tokenError("general_error")
	}
	for name, values := range x.query { // where the parameters may stand too
		form[name] = append(form[name], values...)
	}
	if form.Get("grant_type") != "refresh_token" {
		return tokenError("unsupported_grant_type")
	}
	for _, check := range []struct{ name, want, code string }{
		{"client_id", z.cfg.ClientID, "invalid_client"},
		{"client_secret", z.cfg.ClientSecret, "invalid_client_secret"},
		{"refresh_token", z.cfg.RefreshToken, "invalid_code"},
	} {
		if got := form.Get(check.name); got == "" || got != cmp.Or(check.want, got) {
			return tokenError(check.code)
		}
	}
	if owner, _ := z.people.find(z.cfg.Owner.ID); !owner.live() {
		return tokenError("invalid_code")
	}
	if !x.fault.carriedOut() {
		return nil
	}
	now, refresh := z.server.cfg.Now(), digest(form.Get("refresh_token"))
	if !z.grantee(refresh).window.admit(now) {
		return jsonReply(z.cfg.TokenThrottleStatus, map[string]string{"error": "Access Denied",
			"error_description": "You have made too many requests continuously. Please try again after some time."})
	}
	var id [16]byte
	rand.Read(id[:])
	access := fmt.Sprintf("1000.%x.%x", id[:8], id[8:])
	token := &zohoToken{Access: digest(access), Refresh: refresh, At: now, Until: now.Add(z.cfg.TokenLife)}
	if err := z.server.write(record{Zoho: &zohoEvent{Token: token}}); err != nil {
		return notWritten(err)
	}
	z.issue(token)
	domain := "http://" + x.r.Host
	if x.r.TLS != nil || x.r.URL.Scheme == "https" {
		domain = "https://" + x.r.Host
	}
	life := int64(z.cfg.TokenLife / time.Second)
	body := map[string]any{
		"access_token": access, "api_domain": cmp.Or(z.cfg.APIDomain, domain), "token_type": "Bearer", "expires_in": life,
		"scope": z.scopes(),
	}
	if z.cfg.LegacyExpiry {
		body["expires_in"], body["expires_in_sec"] = z.cfg.TokenLife.Milliseconds(), life
	}
	return jsonReply(http.StatusOK, body)
}

// scopes are those that a token has.
func (z *zoho) scopes() string {
	scopes := []string{"ZohoCRM.share.ALL", "ZohoCRM.modules.READ"}
	for _, scope := range slices.Sorted(maps.Values(zohoScopes)) {
		if !slices.Contains(z.cfg.Lacks, scope) {
			scopes = append(scopes, scope)
		}
	}
	return strings.Join(scopes, " ")
}

func tokenError(code string) *reply {
	return jsonReply(http.StatusOK, map[string]string{"error": code})
}

// grantee returns what is known of a refresh token.
func (z *zoho) grantee(refresh string) *zohoGrantee {
	g, ok := z.grants[refresh]
	if !ok {
		g = &zohoGrantee{window: window{limit: z.cfg.TokenLimit, length: 10 * time.Minute}}
		z.grants[refresh] = g
	}
	return g
}

// issue makes a token live, now or again after a restart.
func (z *zoho) issue(token *zohoToken) {
	z.tokens[token.Access] = token
	g := z.grantee(token.Refresh)
	g.live = append(g.live, token.Access)
	if len(g.live) > z.cfg.LiveTokens {
		delete(z.tokens, g.live[0])
		g.live = g.live[1:]
	}
}

// authenticate checks a call's access token, counts its use, and returns when it
// ends.
func (z *zoho) authenticate(r *http.Request) (until time.Time, wrong *zohoAnswer) {
	header, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Zoho-oauthtoken ")
	if !ok || header == "" {
		return until, zohoProblem(http.StatusUnauthorized, "AUTHENTICATION_FAILURE", "Authentication failed")
	}
	owner, _ := z.people.find(z.cfg.Owner.ID)
	token := z.tokens[digest(header)]
	if token != nil && z.server.cfg.Now().Before(token.Until) && owner.live() {
		if token.calls++; z.cfg.TokenCalls <= 0 || token.calls <= z.cfg.TokenCalls {
			return token.Until, nil
		}
		delete(z.tokens, token.Access)
	}
	return until, zohoProblem(http.StatusUnauthorized, "INVALID_TOKEN", "invalid oauth token")
}
