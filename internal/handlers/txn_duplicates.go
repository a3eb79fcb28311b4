package handlers

import (
	"errors"

	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// written are the keys that a branch writes: those it puts, and the ranges it deletes.
type written struct {
	puts    map[string]string // the key, and the pointer of the put
	deletes []*wire.DeleteRequest
}

// checkDuplicates refuses a branch that writes one key twice, as etcd does, but says where. The branches of a nested
// transaction may put the same key, since only one of them runs; and deletes may overlap one another. etcd overlooks a
// put behind the start of a delete without an end (its "\x00" compares as the lowest key); here that is refused too.
func checkDuplicates(branch []operation) (w written, err error) {
	w.puts = make(map[string]string)
	for i := range branch {
		if branch[i].del != nil {
			w.deletes = append(w.deletes, branch[i].del)
		}
	}
	for i := range branch {
		if branch[i].txn == nil {
			continue
		}
		then, err1 := checkDuplicates(branch[i].txn.then)
		otherwise, err2 := checkDuplicates(branch[i].txn.otherwise)
		if err := errors.Join(err1, err2); err != nil {
			return w, err
		}
		both := then.puts
		for key, pointer := range otherwise.puts {
			if _, ok := both[key]; !ok {
				both[key] = pointer
			}
		}
		for key, pointer := range both {
			if err := w.add(key, pointer); err != nil {
				return w, err
			}
		}
		w.deletes = append(append(w.deletes, then.deletes...), otherwise.deletes...)
	}
	for i := range branch {
		if p := branch[i].put; p != nil {
			if err := w.add(string(p.request.Key), branch[i].pointer+"/put/key"); err != nil {
				return w, err
			}
		}
	}
	return w, nil
}

func (w *written) add(key, pointer string) error {
	_, twice := w.puts[key]
	for _, d := range w.deletes {
		twice = twice || deletes(d, key)
	}
	if twice {
		return problem.New(problem.DuplicateKey, "the transaction writes this key more than once").AtPointer(pointer)
	}
	w.puts[key] = pointer
	return nil
}

func deletes(d *wire.DeleteRequest, key string) bool {
	if d.End == nil {
		return key == string(d.Key)
	}
	return key >= string(d.Key) && (string(d.End) == keyrange.OpenEnd || key < string(d.End))
}
