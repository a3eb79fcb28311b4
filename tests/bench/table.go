package bench

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// AuthCost is how many times the servers' CPU an operation takes when the gateway asks who calls: the median over the pairs of
// rounds that were run one after the other, which share whatever else the machine did. It is false when not both were measured.
func AuthCost(rows []Row, o Operation) (ratio float64, ok bool) {
	rounds := map[Way][]Result{}
	for _, r := range rows {
		if r.Operation == o {
			rounds[r.Way] = r.rounds
		}
	}
	with, without := rounds[V1Auth], rounds[V1]
	if len(with) == 0 || len(with) != len(without) {
		return 0, false
	}
	ratios := make([]float64, len(with))
	for i := range with {
		ratios[i] = float64(with[i].servers()) / float64(without[i].servers())
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2], true
}

// Print writes rows as a table; the last column compares the servers' CPU time with that of etcd's own JSON gateway.
func Print(out io.Writer, rows []Row) error {
	own := map[Operation]time.Duration{}
	for _, r := range rows {
		if r.Way == V3 {
			own[r.Operation] = r.Servers()
		}
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "operation\tway\trequests/s\tp50 ms\tp99 ms\tetcd µs\tgateway µs\tclient µs\tservers µs\tof /v3\t")
	for _, r := range rows {
		ratio := "-"
		if own[r.Operation] > 0 {
			ratio = fmt.Sprintf("%.2f", float64(r.Servers())/float64(own[r.Operation]))
		}
		fmt.Fprintf(table, "%s\t%s\t%.0f\t%.2f\t%.2f\t%d\t%d\t%d\t%d\t%s\t\n", r.Operation, r.Way, r.PerSecond,
			r.P50.Seconds()*1000, r.P99.Seconds()*1000,
			r.Etcd.Microseconds(), r.Gateway.Microseconds(), r.Client.Microseconds(), r.Servers().Microseconds(), ratio)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, r := range rows {
		if ratio, ok := AuthCost(rows, r.Operation); ok && r.Way == V1Auth {
			fmt.Fprintf(out, "%s: with authentication %.2f times the CPU of the servers without.\n", r.Operation, ratio)
		}
	}
	if len(rows) > 0 {
		last := rows[len(rows)-1]
		fmt.Fprintf(out, "\nCPU is per request. Resident at the end: etcd %d MiB, gateway %d MiB.\n", last.EtcdRSS>>20, last.GatewayRSS>>20)
	}
	return nil
}
