// Command hello is what the test of BuildGo builds.
package main

import "fmt"

func main() { fmt.Println("hello") }
