package ray

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// The few parts of RFC 6455 that reading logs from Ray's dashboard takes: one upgrade, frames of the server, and answers
// to its pings.

const (
	frameContinuation = 0x0
	frameText         = 0x1
	frameBinary       = 0x2
	frameClose        = 0x8
	framePing         = 0x9
	framePong         = 0xa
	// maxControl is the most that a control frame carries.
	maxControl = 125
)

// errFrame: the server sent something that is no frame.
var errFrame = errors.New("ray: malformed web socket frame")

// askWebSocket makes a request one for an upgrade and returns its key.
func askWebSocket(r *http.Request) (key string) {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	key = base64.StdEncoding.EncodeToString(random[:])
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", key)
	return key
}

// isWebSocket reports whether the server understood the key.
func isWebSocket(r *http.Response, key string) bool {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket") && r.Header.Get("Sec-WebSocket-Accept") == base64.StdEncoding.EncodeToString(sum[:])
}

// webSocket reads the messages of a server as one stream of bytes, which ends with the server's close frame.
type webSocket struct {
	reader *bufio.Reader
	writer io.Writer
	left   uint64 // of the data frame that is being read
	ended  bool
}

func (s *webSocket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for s.left == 0 {
		if s.ended {
			return 0, io.EOF
		}
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n, err := s.reader.Read(p[:min(uint64(len(p)), s.left)])
	s.left -= uint64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// next reads the head of a frame, and all of a control frame.
func (s *webSocket) next() error {
	var head [2]byte
	if _, err := io.ReadFull(s.reader, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	if head[0]&0x70 != 0 || head[1]&0x80 != 0 {
		return fmt.Errorf("%w: reserved bits or a mask", errFrame)
	}
	length := uint64(head[1] & 0x7f)
	kind := head[0] & 0x0f
	switch length {
	case 126:
		var n [2]byte
		if _, err := io.ReadFull(s.reader, n[:]); err != nil {
			return err
		}
		length = uint64(binary.BigEndian.Uint16(n[:]))
	case 127:
		var n [8]byte
		if _, err := io.ReadFull(s.reader, n[:]); err != nil {
			return err
		}
		length = binary.BigEndian.Uint64(n[:])
	}
	switch kind {
	case frameContinuation, frameText, frameBinary:
		s.left = length
		return nil
	case frameClose, framePing, framePong:
	default:
		return fmt.Errorf("%w: kind %d", errFrame, kind)
	}
	if length > maxControl {
		return fmt.Errorf("%w: a control frame of %d bytes", errFrame, length)
	}
	payload := make([]byte, length)
	if _, err := io.ReadFull(s.reader, payload); err != nil {
		return err
	}
	switch kind {
	case frameClose:
		s.ended = true
		return s.send(frameClose, payload)
	case framePing:
		return s.send(framePong, payload)
	}
	return nil
}

// send writes a control frame, masked as the client's must be.
func (s *webSocket) send(kind byte, payload []byte) error {
	frame := make([]byte, 6, 6+len(payload))
	frame[0], frame[1] = 0x80|kind, 0x80|byte(len(payload))
	_, _ = rand.Read(frame[2:6]) // never fails
	for i, b := range payload {
		frame = append(frame, b^frame[2+i%4])
	}
	_, err := s.writer.Write(frame)
	if kind == frameClose {
		return nil // the server may be gone already
	}
	return err
}
