// Package raytest gives tests a real Ray.
//
// A package that uses it has a TestMain; the first test that asks for the head starts it, and all tests of the package
// share it. Tests keep apart by namespace.
//
//	func TestMain(m *testing.M) { raytest.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		head := raytest.Head(t)
//		session, err := ray.Open(t.Context(), ray.Config{Address: head.ClientAddress(), Namespace: raytest.Namespace(t)})
//		...
//	}
//
// Without the Python environment that `make setup` makes, the tests fail: they do not skip. Python code on the head
// can import the module seedtest (pymod/seedtest.py).
package raytest
