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

// liveRefreshTokens of one user and client live at once, the oldest dying first.
const liveRefreshTokens = 20

// zohoGrant is a refresh token that was given out, and what for, as digests.
type zohoGrant struct {
	Code    string    `json:"code"`
	Refresh string    `json:"refresh"`
	At      time.Time `json:"at"`
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
	kind, code, refresh := form.Get("grant_type"), form.Get("code"), form.Get("refresh_token")
	if kind != "refresh_token" && kind != "authorization_code" {
		return tokenError("unsupported_grant_type")
	}
	for _, check := range []struct{ name, want, code string }{
		{"client_id", z.cfg.ClientID, "invalid_client"},
		{"client_secret", z.cfg.ClientSecret, "invalid_client_secret"},
	} {
		if got := form.Get(check.name); got == "" || got != cmp.Or(check.want, got) {
			return tokenError(check.code)
		}
	}
	byCode := kind == "authorization_code"
	owner, _ := z.people.find(z.cfg.Owner.ID)
	if byCode && !z.takesCode(code) || !byCode && !z.takesRefresh(refresh) || !owner.live() {
		return tokenError("invalid_code")
	}
	if !x.fault.carriedOut() {
		return nil
	}
	now, body := z.server.cfg.Now(), map[string]any{}
	if byCode {
		if !z.client.admit(now) {
			return z.tooMany()
		}
		refresh = randomToken()
		grant := &zohoGrant{Code: digest(code), Refresh: digest(refresh), At: now}
		if err := z.server.write(record{Zoho: &zohoEvent{Grant: grant}}); err != nil {
			return notWritten(err)
		}
		z.grant(grant)
		body["refresh_token"] = refresh
	}
	if !z.grantee(digest(refresh)).window.admit(now) {
		return z.tooMany()
	}
	access := randomToken()
	token := &zohoToken{Access: digest(access), Refresh: digest(refresh), At: now, Until: now.Add(z.cfg.TokenLife)}
	if err := z.server.write(record{Zoho: &zohoEvent{Token: token}}); err != nil {
		return notWritten(err)
	}
	z.issue(token)
	domain := "http://" + x.r.Host
	if x.r.TLS != nil || x.r.URL.Scheme == "https" {
		domain = "https://" + x.r.Host
	}
	life := int64(z.cfg.TokenLife / time.Second)
	maps.Copy(body, map[string]any{
		"access_token": access, "api_domain": cmp.Or(z.cfg.APIDomain, domain), "token_type": "Bearer", "expires_in": life,
		"scope": z.scopes(),
	})
	if z.cfg.LegacyExpiry {
		body["expires_in"], body["expires_in_sec"] = z.cfg.TokenLife.Milliseconds(), life
	}
	return jsonReply(http.StatusOK, body)
}

// takesRefresh says whether a refresh token is right: the configured one, or one that was
// given out and was not pushed out since.
func (z *zoho) takesRefresh(token string) bool {
	known := token == cmp.Or(z.cfg.RefreshToken, token) || slices.Contains(z.refreshes, digest(token))
	return token != "" && known && !z.pushedOut[digest(token)]
}

// takesCode says whether a grant token is right. One is good once.
func (z *zoho) takesCode(code string) bool {
	return code != "" && code == cmp.Or(z.cfg.GrantToken, code) && !z.codes[digest(code)]
}

// grant makes a refresh token live, now or again after a restart. The oldest of too many
// dies, and its access tokens with it.
func (z *zoho) grant(g *zohoGrant) {
	z.codes[g.Code] = true
	z.refreshes = append(z.refreshes, g.Refresh)
	if len(z.refreshes) <= liveRefreshTokens {
		return
	}
	oldest := z.refreshes[0]
	z.refreshes, z.pushedOut[oldest] = z.refreshes[1:], true
	maps.DeleteFunc(z.tokens, func(_ string, t *zohoToken) bool { return t.Refresh == oldest })
}

// randomToken returns a token in the vendor's form.
func randomToken() string {
	var id [16]byte
	rand.Read(id[:])
	return fmt.Sprintf("1000.%x.%x", id[:8], id[8:])
}

// tooMany refuses a request for one token more.
func (z *zoho) tooMany() *reply {
	return jsonReply(z.cfg.TokenThrottleStatus, map[string]string{"error": "Access Denied",
		"error_description": "You have made too many requests continuously. Please try again after some time."})
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
