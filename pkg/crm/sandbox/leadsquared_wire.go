package sandbox

// The replies of LeadSquared, in the vendor's order of keys.

// acceptedReply answers a share or revoke that was taken.
type acceptedReply struct {
	Status  string
	Message struct {
		Id string `json:",omitzero"`
	}
}

// statusReply answers the question what became of a request.
type statusReply struct {
	Status  string
	Message struct {
		ResponseText string
	}
	ShareStatus  int
	ErrorMessage *string
}

// exceptionReply is how an error is reported, whatever the status code.
type exceptionReply struct {
	Status           string
	ExceptionType    string
	ExceptionMessage string
}

// userEntry is an element of the user list.
type userEntry struct {
	ID               string
	FirstName        string
	LastName         string
	EmailAddress     *string // null where there is none
	Role             string
	StatusCode       int // 0 active, 1 inactive
	Tag              *string
	IsPhoneCallAgent bool
}

// whoAmIReply answers the question whose keys a request came with.
type whoAmIReply struct {
	Id           string
	Name         string
	Role         string
	EmailAddress *string
	OrgId        string
	OrgShortCode string
	TimeZone     string
	UserType     int

	LSQCommonServiceURLs struct {
		API string `json:"api"`
		Web string `json:"web"`
	}
}

func accepted(id string) acceptedReply {
	rep := acceptedReply{Status: "Success"}
	rep.Message.Id = id
	return rep
}
