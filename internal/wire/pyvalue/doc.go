// Package pyvalue turns Go values into the parts that package pickle writes, and what package pickle read into Go values:
// the forms that packages ray and ray/python document. It knows the classes of Python's standard library and of numpy that
// have such a form by their names and arguments; it executes nothing, and what it does not know becomes a python.Object.
package pyvalue
