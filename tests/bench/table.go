package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

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
	if len(rows) > 0 {
		last := rows[len(rows)-1]
		fmt.Fprintf(out, "\nCPU is per request. Resident at the end: etcd %d MiB, gateway %d MiB.\n", last.EtcdRSS>>20, last.GatewayRSS>>20)
	}
	return nil
}
