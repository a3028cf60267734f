// Package xlang encodes and decodes Ray's cross-language values, the form in which arguments and results travel to and
// from a worker: bytes as they are (metadata RAW), anything else as msgpack behind a nine-byte length header (metadata
// XLANG), and values that only Python has as a pickle beside the msgpack (metadata PYTHON, read only).
package xlang
