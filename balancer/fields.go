package balancer

import (
	"bytes"
	"math/bits"
)

// fields tells which of the headers that the balancer treats in a way of their
// own a message has. To ask for each of them, with fasthttp, costs more than a
// small request does otherwise.
type fields uint32

const (
	fieldConnection fields = 1 << iota
	fieldKeepAlive
	fieldProxyConnection
	fieldProxyAuthenticate
	fieldProxyAuthorization
	fieldUpgrade
	fieldTE
	fieldExpect
	fieldForwarded
	fieldForwardedFor
	fieldForwardedHost
	fieldForwardedPort
	fieldForwardedProto
	fieldRealIP
	fieldRequestID
	fieldHost
	fieldContentLength
	fieldTransferEncoding
)

// hopByHop are the headers of one connection (RFC 9110 section 7.6.1, and those
// that RFC 2616 knew), which a proxy does not pass on, besides Connection itself.
// Transfer-Encoding is fasthttp's, Trailer goes on with the trailers.
const hopByHop = fieldKeepAlive | fieldProxyConnection | fieldProxyAuthenticate | fieldProxyAuthorization | fieldUpgrade

type namedField struct {
	name string // canonical
	is   fields
}

// fieldsByLength are the names with as many bytes.
var fieldsByLength = [...][]namedField{
	2:  {{"Te", fieldTE}},
	4:  {{"Host", fieldHost}},
	6:  {{"Expect", fieldExpect}},
	7:  {{"Upgrade", fieldUpgrade}},
	9:  {{"Forwarded", fieldForwarded}, {"X-Real-Ip", fieldRealIP}},
	10: {{"Connection", fieldConnection}, {"Keep-Alive", fieldKeepAlive}},
	12: {{"X-Request-Id", fieldRequestID}},
	14: {{"Content-Length", fieldContentLength}},
	15: {{"X-Forwarded-For", fieldForwardedFor}},
	16: {{"X-Forwarded-Host", fieldForwardedHost}, {"X-Forwarded-Port", fieldForwardedPort}, {"Proxy-Connection", fieldProxyConnection}},
	17: {{"X-Forwarded-Proto", fieldForwardedProto}, {"Transfer-Encoding", fieldTransferEncoding}},
	18: {{"Proxy-Authenticate", fieldProxyAuthenticate}},
	19: {{"Proxy-Authorization", fieldProxyAuthorization}},
}

// fieldOf is 0 for a name that is not special, in any case.
func fieldOf(name []byte) fields {
	if len(name) >= len(fieldsByLength) {
		return 0
	}
	for _, one := range fieldsByLength[len(name)] {
		if name[0]|0x20 == one.name[0]|0x20 && bytes.EqualFold(name, []byte(one.name)) {
			return one.is
		}
	}
	return 0
}

// isDisguised tells a name that is special to servers which take _ for -, as those
// do that hand headers on as variables (CGI, WSGI): X_Forwarded_For.
func isDisguised(name []byte) bool {
	if len(name) >= len(fieldsByLength) || len(fieldsByLength[len(name)]) == 0 || bytes.IndexByte(name, '_') < 0 {
		return false
	}
	return fieldOf(bytes.ReplaceAll(name, []byte("_"), []byte("-"))) != 0
}

func (f fields) has(any fields) bool { return f&any != 0 }

// each calls do with each name in both.
func (f fields) each(of fields, do func(name string)) {
	for f &= of; f != 0; f &= f - 1 { // the lowest bit goes
		do(fieldNames[bits.TrailingZeros32(uint32(f))])
	}
}

// fieldNames are the names by bit.
var fieldNames = func() (names [bits.UintSize]string) {
	for _, sameLength := range fieldsByLength {
		for _, one := range sameLength {
			names[bits.TrailingZeros32(uint32(one.is))] = one.name
		}
	}
	return names
}()
