package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	t.Parallel()
	const ok = `{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}` + "\n" + `{"Action":"pass","Package":"p"}` + "\n"
	for _, test := range []struct {
		name, events    string
		prints, refuses string
		again           string
	}{
		{
			name: "a pass is one line",
			events: `{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: noise\n"}` + "\n" +
				`{"Action":"pass","Package":"p","Test":"TestA"}` + "\n" + ok,
			prints: "ok  \tp\t0.1s\n1 passed, 0 failed, 0 skipped\n",
		},
		{
			name: "a failure says everything",
			events: `{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: got 1, want 2\n"}` + "\n" +
				`{"Action":"fail","Package":"p","Test":"TestA"}` + "\n" +
				`{"Action":"output","Package":"p","Output":"-test.shuffle 7\n"}` + "\n" +
				`{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}` + "\n" + `{"Action":"fail","Package":"p"}` + "\n",
			prints: "    a_test.go:1: got 1, want 2\nFAIL\tp\t0.1s\n-test.shuffle 7\n0 passed, 1 failed, 0 skipped\n",
			again:  "TestA",
		},
		{
			name: "of a failed part the whole test is run again",
			events: `{"Action":"fail","Package":"p","Test":"TestA/part"}` + "\n" + `{"Action":"fail","Package":"p","Test":"TestA"}` + "\n" +
				`{"Action":"fail","Package":"p"}` + "\n",
			prints: "0 passed, 2 failed, 0 skipped\n",
			again:  "TestA",
		},
		{
			name: "a data race has no second attempt",
			events: `{"Action":"output","Package":"p","Test":"TestA","Output":"WARNING: DATA RACE\n"}` + "\n" +
				`{"Action":"fail","Package":"p","Test":"TestA"}` + "\n" + `{"Action":"fail","Package":"p"}` + "\n",
			prints: "WARNING: DATA RACE\n0 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "what a test that passed wrote does not matter",
			events: `{"Action":"output","Package":"p","Test":"TestB","Output":"panic: as it should\n"}` + "\n" +
				`{"Action":"pass","Package":"p","Test":"TestB"}` + "\n" + `{"Action":"fail","Package":"p","Test":"TestA"}` + "\n" +
				`{"Action":"fail","Package":"p"}` + "\n",
			prints: "1 passed, 1 failed, 0 skipped\n",
			again:  "TestA",
		},
		{
			name: "nor has a package that fails by itself, for a leak or what does not build, beside a test of another",
			events: `{"Action":"fail","Package":"p","Test":"TestA"}` + "\n" + `{"Action":"fail","Package":"p"}` + "\n" +
				`{"Action":"fail","Package":"q"}` + "\n",
			prints: "0 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "a test cut off by the end of its process is not forgotten",
			events: `{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}` + "\n" +
				`{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: waiting\n"}` + "\n" +
				`{"Action":"output","Package":"p","Output":"panic: test timed out\n"}` + "\n" +
				`{"Action":"output","Package":"p","Output":"FAIL\tp\t9s\n"}` + "\n" + `{"Action":"fail","Package":"p"}` + "\n",
			prints:  "FAIL\tp\t9s\npanic: test timed out\n    a_test.go:1: waiting\n0 passed, 0 failed, 0 skipped\n",
			refuses: "no test ran",
		},
		{
			name: "the time-out is told though it stands under a test that passed",
			events: `{"Action":"output","Package":"p","Test":"TestA","Output":"noise\n"}` + "\n" +
				`{"Action":"output","Package":"p","Test":"TestA","Output":"--- PASS: TestA (0.00s)\n"}` + "\n" +
				`{"Action":"output","Package":"p","Test":"TestA","Output":"panic: test timed out\n"}` + "\n" +
				`{"Action":"pass","Package":"p","Test":"TestA"}` + "\n" +
				`{"Action":"output","Package":"p","Output":"FAIL\tp\t9s\n"}` + "\n" + `{"Action":"fail","Package":"p"}` + "\n",
			prints: "FAIL\tp\t9s\npanic: test timed out\n1 passed, 0 failed, 0 skipped\n",
		},
		{
			name: "a skip is refused",
			events: `{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: no engine\n"}` + "\n" +
				`{"Action":"skip","Package":"p","Test":"TestA"}` + "\n" + ok,
			prints:  "    a_test.go:1: no engine\nok  \tp\t0.1s\n0 passed, 0 failed, 1 skipped\n",
			refuses: "a skipped test is a failed test: p TestA",
		},
		{
			name: "a skipped seed is refused",
			events: `{"Action":"skip","Package":"p","Test":"FuzzA/seed#0"}` + "\n" +
				`{"Action":"pass","Package":"p","Test":"FuzzA"}` + "\n" + ok,
			prints:  "ok  \tp\t0.1s\n1 passed, 0 failed, 1 skipped\n",
			refuses: "a skipped test is a failed test: p FuzzA/seed#0",
		},
		{
			name:    "a fuzz target without seeds is refused",
			events:  `{"Action":"pass","Package":"p","Test":"FuzzA"}` + "\n" + ok,
			prints:  "ok  \tp\t0.1s\n1 passed, 0 failed, 0 skipped\n",
			refuses: "a fuzz target without seeds tests nothing: p FuzzA",
		},
		{
			name: "a fuzz target with seeds is fine",
			events: `{"Action":"pass","Package":"p","Test":"FuzzA/seed#0"}` + "\n" +
				`{"Action":"pass","Package":"p","Test":"FuzzA"}` + "\n" + ok,
			prints: "ok  \tp\t0.1s\n2 passed, 0 failed, 0 skipped\n",
		},
		{
			name: "packages without test files are no skipped tests, but no test is no success",
			events: `{"Action":"output","Package":"p","Output":"?   \tp\t[no test files]\n"}` + "\n" +
				`{"Action":"skip","Package":"p"}` + "\n",
			prints:  "0 passed, 0 failed, 0 skipped\n",
			refuses: "no test ran",
		},
		{
			name: "what does not build is shown",
			events: `{"ImportPath":"p","Action":"build-output","Output":"p/a.go:3:1: undefined: x\n"}` + "\n" +
				`{"ImportPath":"p","Action":"build-fail"}` + "\n" +
				`{"Action":"output","Package":"p","Output":"FAIL\tp [build failed]\n"}` + "\n" +
				`{"Action":"fail","Package":"p","FailedBuild":"p"}` + "\n",
			prints:  "p/a.go:3:1: undefined: x\nFAIL\tp [build failed]\n0 passed, 0 failed, 0 skipped\n",
			refuses: "no test ran",
		},
		{
			name:    "a line that is no event is printed",
			events:  "go: warning\n",
			prints:  "go: warning\n0 passed, 0 failed, 0 skipped\n",
			refuses: "no test ran",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			r := newReport(&out)
			if err := r.read(strings.NewReader(test.events)); err != nil {
				t.Fatal(err)
			}
			refused := ""
			if err := r.verdict(); err != nil {
				refused = err.Error()
			}
			again := ""
			for _, id := range r.mayPassAlone() {
				again += id.name
			}
			if again != test.again {
				t.Errorf("to be run again: %q, want %q", again, test.again)
			}
			if out.String() != test.prints {
				t.Errorf("printed\n%q\nwant\n%q", out.String(), test.prints)
			}
			if refused != test.refuses {
				t.Errorf("refused %q, want %q", refused, test.refuses)
			}
		})
	}
}
