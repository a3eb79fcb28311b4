package authz_test

import (
	"testing"

	"github.com/etcdrest/etcdrest/internal/authz"
)

// TestEveryCallerFindsRoom: however many take all that they can get, one who has nothing gets something.
func TestEveryCallerFindsRoom(t *testing.T) {
	t.Parallel()
	const room = 2000
	for greedy := 1; greedy <= 20; greedy++ {
		callers := make([]*authz.Usage, greedy)
		for i := range callers {
			callers[i] = authz.NewUsage(authz.Limits{})
		}
		total := int64(0)
		for refused := 0; refused < greedy; { // in turn, until nobody gets any more
			refused = 0
			for _, c := range callers {
				if c.OpenRequest() != nil || c.RequestsLeaveRoom(total+1, room) != nil {
					c.CloseRequest()
					refused++
					continue
				}
				total++
			}
		}
		newcomer := authz.NewUsage(authz.Limits{})
		if err := newcomer.OpenRequest(); err != nil || total >= room || newcomer.RequestsLeaveRoom(total+1, room) != nil {
			t.Errorf("beside %d who have %d of %d: the newcomer is refused", greedy, total, room)
		}
		if alone := int64(room * 7 / 8); greedy == 1 && total != alone {
			t.Errorf("alone: got %d, want %d", total, alone)
		}
	}
	// What is a caller's only one is his, however small the room.
	small := authz.NewUsage(authz.Limits{})
	if err := small.Hold(1000); err != nil || small.BytesLeaveRoom(1000, 1000, 1000) != nil {
		t.Errorf("the only body, of all the room: refused")
	}
	if err := small.Hold(1); err != nil || small.BytesLeaveRoom(1, 1001, 1000) == nil {
		t.Errorf("a second one, of more: let in")
	}
}
