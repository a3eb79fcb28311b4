package compat

import "sync"

// fifo gives numbers back in the order in which they came.
type fifo struct {
	mu      sync.Mutex
	numbers []int64
}

func (f *fifo) push(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.numbers = append(f.numbers, n)
}

// pop takes the oldest number, or gives back instead when there is none.
func (f *fifo) pop(instead int64) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.numbers) == 0 {
		return instead
	}
	n := f.numbers[0]
	f.numbers = f.numbers[1:]
	return n
}
