package stream

// Feeds is how many feeds are found.
func (h *Hub) Feeds() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.feeds)
}

// Texts is how many texts the logs hold, and of how many revisions.
func (h *Hub) Texts() (texts, revisions int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.feeds {
		f.mu.Lock()
		for _, e := range f.log.entries {
			e.mu.Lock()
			texts, revisions = texts+len(e.texts), revisions+1
			e.mu.Unlock()
		}
		f.mu.Unlock()
	}
	return texts, revisions
}

// LogBytes is what all logs hold.
func (h *Hub) LogBytes() int64 { return h.logs.bytes.Load() }

// Catchups is how many catch-ups there are.
func (h *Hub) Catchups() int {
	h.slots.mu.Lock()
	defer h.slots.mu.Unlock()
	return h.slots.all
}
