package authn

import (
	"fmt"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// refuse is a 401. The detail and the hint are for the caller and hold nothing of the credentials; the cause, if the detail
// does not say it all, is for the log.
func refuse(detail, hint string, cause error) *problem.Error {
	return problem.New(problem.Unauthenticated, "%s", detail).WithHint("%s", hint).Because(cause)
}

// expired is a 401 of credentials that were good once.
func expired(detail, hint string) *problem.Error {
	return problem.New(problem.AuthExpired, "%s", detail).WithHint("%s", hint)
}

// because is the cause of a refusal: quoted text in it is a caller's, and may be anything.
func because(format string, args ...any) error { return fmt.Errorf(format, args...) }
