package reactor

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
)

// What is moved, and what is written before, between and after the moves, comes
// in the order of the calls, at a reader that stalls the writer all the time.
func TestMovedBytesKeepTheirPlace(t *testing.T) {
	r, err := New(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fromNear, fromFar := tcpPair(t)
	toNear, toFar := tcpPair(t)
	defer fromFar.Close()
	defer toFar.Close()
	_ = toNear.SetWriteBuffer(16 << 10)
	_ = toFar.SetReadBuffer(16 << 10)

	const moved, note = 'm', 'n'
	l := r.Loop()
	from, to, notes, portable := newTestEnd(), newTestEnd(), 0, false
	onLoop(l, func() {
		to.conn, from.conn = l.Add(toNear, to), l.Add(fromNear, from)
		portable = !from.conn.Moves(to.conn)
		to.flushed = func() { from.conn.Resume() }
		to.readable = func() { to.conn.Close() }
		from.readable = func() {
			header := func(n int) []byte { return binary.BigEndian.AppendUint32([]byte{moved}, uint32(n)) }
			limit := MaxMove
			if notes%2 == 1 {
				limit = 10_000
			}
			n, err := from.conn.Move(to.conn, limit, header)
			if n > limit {
				t.Errorf("%d bytes were moved, %d allowed", n, limit)
			}
			switch err {
			case nil:
				notes++
				if err := to.conn.Write([]byte{note}); err != nil {
					t.Error(err)
				}
				if to.conn.Pending() {
					from.conn.Pause()
				}
			case io.EOF:
				from.conn.Close()
				to.conn.CloseWrite()
			}
		}
	})
	if portable {
		return // this system copies
	}
	sent := random(24 << 20)
	go func() {
		_, _ = (&net.Buffers{sent[:100], sent[100 : 8<<20], sent[8<<20:]}).WriteTo(fromFar)
		_ = fromFar.CloseWrite()
	}()
	var got bytes.Buffer
	heard, in := 0, bufio.NewReaderSize(toFar, 5000)
	for {
		kind, err := in.ReadByte()
		if err == io.EOF {
			break
		}
		var size uint32
		switch {
		case err != nil:
			t.Fatal(err)
		case kind == note:
			heard++
			continue
		case kind != moved:
			t.Fatalf("%q where a record begins, after %d bytes", kind, got.Len())
		}
		if err := binary.Read(in, binary.BigEndian, &size); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(&got, in, int64(size)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got.Bytes(), sent) {
		t.Errorf("%d bytes of %d, or not the same", got.Len(), len(sent))
	}
	onLoop(l, func() {
		if heard != notes || notes == 0 {
			t.Errorf("%d notes of %d", heard, notes)
		}
	})
}
