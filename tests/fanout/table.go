package fanout

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Print writes rows as a table; what a row takes of etcd's own is said of those with as many subscribers.
func Print(out io.Writer, rows []Row) error {
	own := map[int]Row{}
	for _, r := range rows {
		if r.Way == V3 {
			own[r.Subscribers] = r
		}
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "way\tsubscribers\tevents\ttook s\tetcd µs\tgateway µs\tservers µs\tof /v3\tidle KiB\tbusy KiB\tof /v3\t")
	for _, r := range rows {
		cpu, memory := "-", "-"
		if o, ok := own[r.Subscribers]; ok {
			cpu = fmt.Sprintf("%.3f", float64(r.Servers())/float64(o.Servers()))
			memory = fmt.Sprintf("%.3f", float64(r.Busy)/float64(o.Busy))
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%.1f\t%.2f\t%.2f\t%.2f\t%s\t%.1f\t%.1f\t%s\t\n", r.Way, r.Subscribers, r.Events, r.Took.Seconds(),
			float64(r.Etcd)/1e3, float64(r.Gateway)/1e3, float64(r.Servers())/1e3, cpu, float64(r.Idle)/1024, float64(r.Busy)/1024, memory)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nCPU is per delivered event, memory per subscriber, of etcd and gateway together.")
	return nil
}
