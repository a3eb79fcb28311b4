package compat

// Observers is how many observers of elections are looked after.
func (g *Gateway) Observers() (n int) {
	for _, h := range g.watchmen.list() {
		if _, is := h.(*observer); is {
			n++
		}
	}
	return n
}
