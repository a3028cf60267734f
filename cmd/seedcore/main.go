// Command seedcore runs an organism of agents on a Ray cluster. See `seedcore --help`.
package main

import "github.com/seedcore/seedcore"

func main() { seedcore.Main() }
