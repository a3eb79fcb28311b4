// Command etcd is etcd's own server, built from its module: the real thing that the tests and the benchmark run.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
