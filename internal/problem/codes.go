package problem

// Code is the stable, machine-readable name of a problem: the `code` member of the answer and the last segment of its
// type URI. The set is closed; Codes lists it.
type Code string

// The codes, in the order of the table in the contract.
const (
	InvalidArgument        Code = "invalid_argument"
	InvalidJSON            Code = "invalid_json"
	UnknownField           Code = "unknown_field"
	UnknownParameter       Code = "unknown_parameter"
	InvalidParameter       Code = "invalid_parameter"
	InvalidCursor          Code = "invalid_cursor"
	Unauthenticated        Code = "unauthenticated"
	AuthExpired            Code = "auth_expired"
	PermissionDenied       Code = "permission_denied"
	CrossSite              Code = "cross_site"
	Reserved               Code = "reserved"
	KeyNotFound            Code = "key_not_found"
	LeaseNotFound          Code = "lease_not_found"
	UserNotFound           Code = "user_not_found"
	RoleNotFound           Code = "role_not_found"
	PermissionNotFound     Code = "permission_not_found"
	MemberNotFound         Code = "member_not_found"
	StreamNotFound         Code = "stream_not_found"
	RouteNotFound          Code = "route_not_found"
	MethodNotAllowed       Code = "method_not_allowed"
	NotAcceptable          Code = "not_acceptable"
	LengthRequired         Code = "length_required"
	RequestTooLarge        Code = "request_too_large"
	ResultTooLarge         Code = "result_too_large"
	UnsupportedMediaType   Code = "unsupported_media_type"
	MisdirectedHost        Code = "misdirected_host"
	HeaderTooLarge         Code = "header_too_large"
	AlreadyExists          Code = "already_exists"
	Conflict               Code = "conflict"
	LockHeld               Code = "lock_held"
	LockLost               Code = "lock_lost"
	AlreadyWaiting         Code = "already_waiting"
	AuthNotEnabled         Code = "auth_not_enabled"
	FutureRevision         Code = "future_revision"
	EpochChanged           Code = "epoch_changed"
	IdempotencyInProgress  Code = "idempotency_in_progress"
	FailedPrecondition     Code = "failed_precondition"
	Compacted              Code = "compacted"
	PreconditionFailed     Code = "precondition_failed"
	TooManyDeletes         Code = "too_many_deletes"
	DuplicateKey           Code = "duplicate_key"
	TooManyOperations      Code = "too_many_operations"
	NotJSON                Code = "not_json"
	PatchFailed            Code = "patch_failed"
	Truncated              Code = "truncated"
	IdempotencyKeyReused   Code = "idempotency_key_reused"
	RateLimited            Code = "rate_limited"
	Unavailable            Code = "unavailable"
	Overloaded             Code = "overloaded"
	Draining               Code = "draining"
	Internal               Code = "internal"
	NotSupported           Code = "not_supported"
	IdempotencyUnknown     Code = "idempotency_unknown"
	IdempotencyUnavailable Code = "idempotency_unavailable"
	UpstreamCorrupt        Code = "upstream_corrupt"
	DeadlineExceeded       Code = "deadline_exceeded"
	NoSpace                Code = "no_space"
	ClientGone             Code = "client_gone"
	DuplicateID            Code = "duplicate_id"
	SlowConsumer           Code = "slow_consumer"
	TooFarBehind           Code = "too_far_behind"
	RevisionTooLarge       Code = "revision_too_large"
)

// Info is what a code means on each surface.
type Info struct {
	Code Code
	// Status is the HTTP status.
	Status int
	// Close is the WebSocket close code, where a socket ends for this reason.
	Close int
	// Title is the same for every occurrence of the code (RFC 9457).
	Title string
	// Retryable says whether the same request can succeed later without being changed.
	Retryable bool
	// Outcome is what a write that fails with this code did, unless the error says otherwise.
	Outcome Outcome
	// About is the text of the code's page: what happened and what to do.
	About string
}

// table is the one place where a code meets its meanings; the contract's table and the pages under /problems/ are held
// against it by tests.
var table = []Info{
	{InvalidArgument, 400, 4400, "The request is not valid", false, NotApplied, "A part of the request has a value that cannot be used. The detail says which, and what would be right. Nothing was done."},
	{InvalidJSON, 400, 4400, "The body is not the JSON this call takes", false, NotApplied, "The body is not well-formed JSON, or holds a wrong type, a duplicate member, invalid UTF-8, a lone surrogate, a number beyond 64 bits, or data after the end. `errors[].pointer` says where. Nothing was done."},
	{UnknownField, 400, 4400, "The body has a member that this call does not know", false, NotApplied, "The gateway refuses unknown members, because a typo in an optional one would otherwise be lost silently. The detail names the nearest known member. Nothing was done."},
	{UnknownParameter, 400, 4400, "The query has a parameter that this call does not know", false, NotApplied, "The gateway refuses unknown query parameters, because a typo in an optional one would otherwise be lost silently. The detail names the nearest known parameter. Nothing was done."},
	{InvalidParameter, 400, 4400, "A parameter has a value that cannot be used", false, NotApplied, "A query, path or header parameter is malformed, out of range, given twice, or contradicts another one. `errors[].parameter` names it. Nothing was done."},
	{InvalidCursor, 400, 4400, "The cursor does not belong to this request", false, NotApplied, "A cursor continues exactly the list that gave it: same range, same filters, same cluster. Start the list again without the cursor."},
	{Unauthenticated, 401, 4401, "The caller is not known", false, NotApplied, "No credentials were given, or they are not valid; the `WWW-Authenticate` header says what is accepted. When it is etcd that refuses, the gateway's own user or password (`--etcd-user`) is wrong; `grpc_message` has etcd's words."},
	{AuthExpired, 401, 4401, "The credentials have expired", false, NotApplied, "The token was valid once and is not any more. Get a new one and send the request again."},
	{PermissionDenied, 403, 4403, "The caller may not do this", false, NotApplied, "The caller is known, but its rights do not cover this call or these keys. When it is etcd that refuses, the roles of the user that the gateway calls etcd with do not cover them."},
	{CrossSite, 403, 4403, "Another site's page may not make this request", false, NotApplied, "A browser said that the request comes from a page of another origin that the operator has not listed. List it with `--allowed-origins` when it should be allowed."},
	{Reserved, 403, 4403, "The key is reserved for the gateway", false, NotApplied, "Keys that begin with a NUL byte hold the gateway's own state. Choose another key."},
	{KeyNotFound, 404, 4404, "The key does not exist", false, NotApplied, "There is no such key at the revision that was read (`Etcd-Revision`). Keys are compared byte for byte: `app` and `/app` are two keys, and a proxy that cleans paths changes keys on their way (`key_encoding=base64url` is safe from that)."},
	{LeaseNotFound, 404, 4404, "The lease does not exist", false, NotApplied, "The lease was never granted, was revoked, or has expired; keys that were attached to it are gone. Grant a new one, or use `ttl`."},
	{UserNotFound, 404, 4404, "The user does not exist", false, NotApplied, "etcd has no user of that name."},
	{RoleNotFound, 404, 4404, "There is no such role", false, NotApplied, "etcd has no role of that name; or, where a role is taken from a user, the user does not have it, which the detail says. Nothing was changed."},
	{PermissionNotFound, 404, 4404, "The role has no such permission", false, NotApplied, "The role exists, but has no permission for exactly this range; one for a larger range is another permission. `GET /v1/roles/{role}` lists them. Nothing was changed."},
	{MemberNotFound, 404, 4404, "The member does not exist", false, NotApplied, "The cluster has no member with that id."},
	{StreamNotFound, 404, 4404, "The stream does not exist", false, NotApplied, "No connection of that id watches at this gateway: it has ended, or it is one of another gateway's. `GET /v1/gateway/streams` lists those there are."},
	{RouteNotFound, 404, 4404, "There is nothing at this path", false, NotApplied, "No route of the gateway matches the path. The detail names the nearest one. `/openapi.yaml` lists all."},
	{MethodNotAllowed, 405, 4400, "The path does not take this method", false, NotApplied, "The `Allow` header lists the methods that this path takes."},
	{NotAcceptable, 406, 4400, "The answer cannot have this media type", false, NotApplied, "The `Accept` header excludes every media type that this call can answer with. The detail lists them."},
	{LengthRequired, 411, 4400, "The request needs a Content-Length", false, NotApplied, "A body must announce its length or be chunked, so that a cut upload is never taken for a whole one."},
	{RequestTooLarge, 413, 1009, "The request is too large", false, NotApplied, "The body, a value or the transaction exceeds a limit, given in `limit` in bytes. Nothing was done."},
	{ResultTooLarge, 413, 1009, "The result would be too large", false, "", "The range holds more keys than this order or filter works on (`limit`), or the answer is larger than can be sent. Narrow the range, or list by key in pages."},
	{UnsupportedMediaType, 415, 1003, "The body's media type is not supported", false, NotApplied, "The call takes JSON (`application/json`, `+json`, none, or the form type that curl sends by default), raw calls take any bytes, PATCH takes `application/merge-patch+json` or `application/json-patch+json`. Bodies with a `Content-Encoding` are not accepted."},
	{MisdirectedHost, 421, 4400, "The Host header names another server", false, NotApplied, "The gateway answers only to the names it was told (`--allowed-hosts`), so that a foreign name that was rebound to its address reaches nothing."},
	{HeaderTooLarge, 431, 4400, "The request's headers are too large", false, NotApplied, "The request line and headers together exceed the server's limit."},
	{AlreadyExists, 409, 4409, "It exists already", false, NotApplied, "A thing with that id or name exists already. Choose another one, or change the one that exists."},
	{Conflict, 409, 4409, "Others kept changing it", true, NotApplied, "The gateway tried several times to apply the change to the newest state, and others changed it each time. Nothing was written. Send the request again."},
	{LockHeld, 409, 4409, "The lock is held by another", true, NotApplied, "Another owner has the lock, or leads; `holder` names it. Wait with `wait`, or try again later."},
	{LockLost, 409, 4409, "The lock is not the caller's any more", false, NotApplied, "The key that proves ownership is gone or has another fencing token: the lease ended or somebody released it."},
	{AlreadyWaiting, 409, 4409, "This lease is in the queue already", false, NotApplied, "Another request waits here with the same lease. If that request is gone, DELETE with the lease leaves the queue."},
	{AuthNotEnabled, 409, 4409, "etcd's authentication is off", false, NotApplied, "The call makes sense only once authentication is enabled in etcd."},
	{FutureRevision, 409, 4409, "The revision lies in the future", true, NotApplied, "The store has not reached that revision; `revision` tells where it is. A revision that was seen before and is in the future now was seen in another store, or in this one before a restore."},
	{EpochChanged, 409, 4409, "The store's history was replaced", false, NotApplied, "The store was restored from a backup, say: revisions and cursors from before do not name the same states any more. Read the state anew, without them."},
	{IdempotencyInProgress, 409, 4409, "The first request with this Idempotency-Key is not finished", true, NotApplied, "Send the request again a little later to get the first one's outcome."},
	{IdempotencyUnknown, 409, 4409, "What the first request did is not known", false, Unknown, "The first request with this Idempotency-Key was sent to etcd, and its answer was lost. What it asked for cannot be part of a transaction, so that nothing tells whether etcd did it; it is not asked for again. Look whether it is there; if not, send it with a new key."},
	{FailedPrecondition, 409, 4409, "The cluster is not in a state for this", false, NotApplied, "etcd refused because of the state that the cluster is in; `grpc_message` has its words. Change that state first."},
	{Compacted, 410, 4410, "The revision has been compacted", false, NotApplied, "The history before the compaction is gone. Read the present state, or start at `compact_revision` or later."},
	{PreconditionFailed, 412, 4412, "The condition does not hold", false, NotApplied, "The key is not in the state that the request demands; `current` shows it (`null`: absent). Nothing was written."},
	{TooManyDeletes, 412, 4412, "More keys would be deleted than allowed", false, NotApplied, "The range holds more keys than `max_deleted`, or than the policy lets the caller delete by one request. Nothing was deleted."},
	{DuplicateKey, 422, 4422, "The transaction writes one key twice", false, NotApplied, "etcd allows one write per key in each branch of a transaction. Nothing was done."},
	{TooManyOperations, 422, 4422, "The transaction has too many operations", false, NotApplied, "etcd allows `limit` operations in a transaction. Split it. Nothing was done."},
	{NotJSON, 422, 4422, "The stored value is not JSON", false, NotApplied, "A patch needs a stored value that is one JSON document. Nothing was written."},
	{PatchFailed, 422, 4422, "The patch does not fit the stored value", false, NotApplied, "A `test` failed, or a path does not exist in the stored document; `errors[].pointer` names the operation. Nothing was written."},
	{Truncated, 422, 4422, "The upload has no end line", false, "", "An export ends with a line of type `end` that counts its lines; without it the file was cut. `partial=true` takes what there is."},
	{IdempotencyKeyReused, 422, 4422, "The Idempotency-Key was used for another request", false, NotApplied, "Use a new key for a new request. Nothing was done."},
	{RateLimited, 429, 4429, "Too many requests", true, NotApplied, "The caller is over a limit. Wait for the time in `Retry-After`."},
	{Unavailable, 503, 1013, "etcd cannot be reached", true, Unknown, "No member of the cluster could answer. Reads can be repeated. A write whose `outcome` is `unknown` may have happened: read before you send it again, or send it with an `Idempotency-Key` from the start."},
	{Overloaded, 503, 1013, "The gateway is at its limit", true, NotApplied, "The gateway, or etcd behind it, refuses early rather than letting requests pile up; or the audit log could not record a write. Nothing was done. Wait for the time in `Retry-After`."},
	{Draining, 503, 1001, "The gateway is going away", true, NotApplied, "This gateway is stopping. Send the request to another one, or again after `Retry-After`."},
	{Internal, 500, 1011, "The gateway has a fault", false, Unknown, "This is a fault of the gateway. The log has the cause under the `request_id`."},
	{NotSupported, 501, 4501, "The cluster does not support this", false, NotApplied, "The etcd version behind the gateway lacks this. The detail says which version has it."},
	{IdempotencyUnavailable, 501, 4501, "Idempotency keys cannot be kept here", false, NotApplied, "The user of etcd that the request is made as (the gateway's, the caller's own, or the one that the policy gives the caller) may not write the gateway's state under the reserved prefix, so the promise could not be kept. Nothing was written."},
	{UpstreamCorrupt, 502, 1011, "etcd reports or sent corrupt data", false, Unknown, "A member raised the corrupt alarm, or sent an answer that cannot be read. An operator must look at the cluster; its members may hold different data."},
	{DeadlineExceeded, 504, 4504, "The time ran out", true, Unknown, "The request's time (`timeout`, else the operator's `--request-timeout`) ran out before etcd answered. Reads can be repeated. A write whose `outcome` is `unknown` may have happened: read before you send it again."},
	{NoSpace, 507, 4507, "etcd's database is full", false, Unknown, "The space quota is used up, and etcd takes no writes but deletions: compact the history, defragment every member, then disarm the alarm. The write that met this may have been applied, since etcd checks the quota after applying."},
	{ClientGone, 499, 1001, "The client went away", false, Unknown, "The caller closed the connection before the answer. It shows in logs and metrics only."},
	{DuplicateID, 409, 4409, "The id is in use on this socket", false, NotApplied, "Choose another `id` for the new watch or lease, or cancel the former first."},
	{SlowConsumer, 429, 4490, "The subscriber reads too slowly", true, "", "The stream ended because the subscriber fell too far behind. Resume after `revision`."},
	{TooFarBehind, 410, 4410, "The start lies too far in the past", false, "", "Catching up from there would cost the cluster too much. Read the present state (`snapshot=true`) and follow from there."},
	{RevisionTooLarge, 413, 1009, "One revision is larger than the limit", false, "", "A single revision holds more bytes than `--max-revision-bytes`. Read the keys instead, then resume after it."},
}

var byCode = func() map[Code]*Info {
	m := make(map[Code]*Info, len(table))
	for i := range table {
		m[table[i].Code] = &table[i]
	}
	return m
}()

// Codes lists every code with its meanings, in the order of the contract.
func Codes() []Info { return table }

// Info gives what the code means. A code outside the closed set, which only a programming fault can make, means Internal.
func (c Code) Info() Info {
	if info := byCode[c]; info != nil {
		return *info
	}
	return *byCode[Internal]
}

// Lookup finds a code by its name, for the problem pages.
func Lookup(name string) (Info, bool) {
	info := byCode[Code(name)]
	if info == nil {
		return Info{}, false
	}
	return *info, true
}
