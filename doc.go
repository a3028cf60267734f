// Package seedcore makes a program that is an organism's server, its command line and its actors at once.
//
// A program registers handlers for the tasks that its agents are to run and hands over:
//
//	func main() {
//		seedcore.Register("greet", func(ctx context.Context, task organism.Task) (organism.Outcome, error) {
//			return organism.Outcome{Success: true, Quality: 1, Output: "hello"}, nil
//		})
//		seedcore.Main()
//	}
//
// The same file is what Ray starts on its nodes as the actors: the server uploads the program that it is. Without any
// handler of its own a program simulates its tasks, as cmd/seedcore does.
package seedcore
