package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process has taken from the machine.
type Usage struct {
	CPU time.Duration // user and system, all threads, since its start; steps of 10 ms
	RSS int64         // resident bytes now
}

// clockTick is the unit of CPU time in /proc: USER_HZ, 100 on every Linux.
const clockTick = 10 * time.Millisecond

// Usage reads what a running process has taken; Linux only.
func (p *Process) Usage() (Usage, error) { return UsageOf(p.PID()) }

// UsageOf reads what any running process has taken; Linux only.
func UsageOf(pid int) (Usage, error) {
	folder := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(folder, "stat"))
	if err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	statm, err := os.ReadFile(filepath.Join(folder, "statm"))
	if err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	u, err := parseUsage(string(stat), string(statm))
	if err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	return u, nil
}

// parseUsage reads proc(5)'s stat and statm. The program's name, in parentheses, may itself hold spaces and parentheses.
func parseUsage(stat, statm string) (Usage, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	pages := strings.Fields(statm)
	if len(fields) < 13 || len(pages) < 2 {
		return Usage{}, fmt.Errorf("unknown format: %q, %q", stat, statm)
	}
	var numbers [3]int64
	for i, text := range []string{fields[11], fields[12], pages[1]} { // utime, stime, resident
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("unknown format: %w", err)
		}
		numbers[i] = n
	}
	return Usage{
		CPU: time.Duration(numbers[0]+numbers[1]) * clockTick,
		RSS: numbers[2] * int64(os.Getpagesize()),
	}, nil
}
