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
}

// composite answers several reads at once. Reads of shares and of users are all
// that the vendor allows there of what is served here.
func (z *zoho) composite(x *exchange, version int) *reply {
	if version < 3 {
		return zohoProblem(http.StatusBadRequest, "API_NOT_SUPPORTED", "The API is supported only in the latest versions").reply()
	}
	var body struct {
		Rollback bool         `json:"rollback_on_fail"`
		Parallel *bool        `json:"parallel_execution"`
		Requests []subRequest `json:"__composite_requests"`
	}
	if json.Unmarshal(x.body, &body) != nil || len(body.Requests) == 0 || len(body.Requests) > maxSubRequests {
		return invalidBody("__composite_requests", "$.__composite_requests", "maximum_length", maxSubRequests).reply()
	}
	if body.Rollback && body.Parallel != nil && *body.Parallel {
		return zohoProblem(http.StatusBadRequest, "NOT_ALLOWED", "parallel_execution cannot be used with rollback_on_fail").reply()
	}
	triggered := 0
	answers := make([]*zohoAnswer, len(body.Requests))
	for i, sub := range body.Requests {
		rep, wrong := z.subRequest(x, sub, version)
		if wrong != nil {
			answers[i] = wrong
			continue
		}
		triggered++
		response := map[string]any{"status_code": rep.status, "headers": rep.header, "body": nil}
		if len(rep.body) > 0 {
			response["body"] = json.RawMessage(rep.body)
		}
		answers[i] = zohoSuccess("composite sub request executed successfully", "response", response)
	}
	if z.cfg.SubRequestIDs {
		for i, sub := range body.Requests {
			answers[i].SubRequest = sub.ID
		}
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
func (z *zoho) subRequest(x *exchange, sub subRequest, version int) (*reply, *zohoAnswer) {
	if !subRequestID.MatchString(sub.ID) {
		return nil, zohoProblem(0, "INVALID_DATA", "invalid data", "api_name", "sub_request_id")
	}
	for name := range sub.Headers {
		if strings.EqualFold(name, "authorization") || strings.EqualFold(name, "x-crm-org") {
			return nil, zohoProblem(0, "NOT_ALLOWED", "the header is not allowed", "api_name", name)
		}
	}
	uri, err := url.Parse(sub.URI)
	if err != nil {
		return nil, zohoProblem(0, "INVALID_DATA", "invalid data", "api_name", "uri")
	}
	query := uri.Query()
	for name, value := range sub.Params {
		query.Set(name, value)
	}
	place, ok := parseZohoPath(uri.Path)
	switch {
	case !ok || sub.Method != http.MethodGet || place.version > version:
	case place.rest == "":
		return z.read(x, place, query), nil
	case place.rest == "users" && !place.groups:
		return z.users(query, place.user), nil
	}
	return nil, zohoProblem(0, "NOT_SUPPORTED", "the sub request is not supported",
		"allowed_services", []string{"Get Shared Record Details", "Get Users"})
}
