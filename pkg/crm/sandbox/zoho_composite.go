package sandbox

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// maxSubRequests is how many requests go in one composite request.
const maxSubRequests = 5

var subRequestID = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_]*$`)

// subRequest is a request in a composite one.
type subRequest struct {
	ID      string            `json:"sub_request_id"`
	Method  string            `json:"method"`
	URI     string            `json:"uri"`
	Params  map[string]string `json:"params"`
	Headers map[string]string `json:"headers"`
	Body    json.RawMessage   `json:"body"`
}

// composite answers several reads at once. Reads of shares and of users are all
// that the vendor allows there of what is served here.
func (z *zoho) composite(x *exchange, version zohoVersion) reply {
	if version < 3 {
		return (&zohoError{status: http.StatusBadRequest, Code: "API_NOT_SUPPORTED",
			Message: "The API is supported only in the latest versions"}).reply()
	}
	var body struct {
		Rollback bool         `json:"rollback_on_fail"`
		Parallel *bool        `json:"parallel_execution"`
		Requests []subRequest `json:"__composite_requests"`
	}
	if json.Unmarshal(x.body, &body) != nil || len(body.Requests) == 0 || len(body.Requests) > maxSubRequests {
		e := invalidBody("__composite_requests", "$.__composite_requests")
		e.Details["maximum_length"] = maxSubRequests
		return e.reply()
	}
	if body.Rollback && body.Parallel != nil && *body.Parallel {
		return (&zohoError{status: http.StatusBadRequest, Code: "NOT_ALLOWED",
			Message: "parallel_execution cannot be used with rollback_on_fail"}).reply()
	}
	triggered := 0
	answers := make([]zohoError, len(body.Requests))
	for i, sub := range body.Requests {
		rep, wrong := z.subRequest(x, sub, version)
		if wrong != nil {
			answers[i] = wrong.wire()
			continue
		}
		triggered++
		response := map[string]any{"status_code": rep.status, "headers": rep.header, "body": nil}
		if len(rep.body) > 0 {
			response["body"] = json.RawMessage(rep.body)
		}
		answers[i] = zohoError{Code: "SUCCESS", Status: "success", Message: "composite sub request executed successfully",
			Details: map[string]any{"response": response}}
	}
	if z.cfg.Backwards {
		slices.Reverse(answers)
	}
	status := http.StatusOK
	switch {
	case triggered == 0:
		status = http.StatusBadRequest
	case triggered < len(answers):
		status = http.StatusMultiStatus
	}
	return jsonReply(status, map[string]any{"__composite_requests": answers})
}

// subRequest answers one request of a composite one. The error says why it was not
// triggered.
func (z *zoho) subRequest(x *exchange, sub subRequest, version zohoVersion) (reply, *zohoError) {
	if !subRequestID.MatchString(sub.ID) {
		return reply{}, &zohoError{Code: "INVALID_DATA", Message: "invalid data", Details: map[string]any{"api_name": "sub_request_id"}}
	}
	for name := range sub.Headers {
		if strings.EqualFold(name, "authorization") || strings.EqualFold(name, "x-crm-org") {
			return reply{}, &zohoError{Code: "NOT_ALLOWED", Message: "the header is not allowed", Details: map[string]any{"api_name": name}}
		}
	}
	uri, err := url.Parse(sub.URI)
	if err != nil {
		return reply{}, &zohoError{Code: "INVALID_DATA", Message: "invalid data", Details: map[string]any{"api_name": "uri"}}
	}
	query := uri.Query()
	for name, value := range sub.Params {
		query.Set(name, value)
	}
	unsupported := &zohoError{Code: "NOT_SUPPORTED", Message: "the sub request is not supported",
		Details: map[string]any{"allowed_services": []string{"Get Shared Record Details", "Get Users"}}}
	if sub.Method != http.MethodGet {
		return reply{}, unsupported
	}
	if place, ok := parseZohoPlace(uri.Path); ok && place.version <= version {
		return z.subLook(x, place, query), nil
	}
	if m := zohoOtherPath.FindStringSubmatch(uri.Path); m != nil && strings.HasPrefix(m[2], "users") {
		if v, ok := parseZohoVersion(m[1]); ok && v <= version {
			return z.users(query, strings.TrimPrefix(m[2], "users")), nil
		}
	}
	return reply{}, unsupported
}

func (z *zoho) subLook(x *exchange, place zohoPlace, query url.Values) reply {
	z.server.mu.Lock()
	defer z.server.mu.Unlock()
	if wrong := z.exists(place); wrong != nil {
		return wrong.reply()
	}
	rep, looked := z.look(place, query.Get("view"), query.Get("sharedTo"))
	if looked && arrives(x.fault) {
		z.looked(x, place)
	}
	return rep
}
