package rfb

import (
	"encoding/binary"
	"fmt"
)

// SecurityType is how a client proves who it is.
type SecurityType uint8

// Security types: RFC 6143 section 7.1.2 and the registry of RFC 6143 section 8.
const (
	SecurityInvalid  SecurityType = 0 // a refusal: a reason follows instead
	SecurityNone     SecurityType = 1
	SecurityVNCAuth  SecurityType = 2
	SecurityRA2      SecurityType = 5
	SecurityRA2ne    SecurityType = 6
	SecurityTight    SecurityType = 16
	SecurityUltra    SecurityType = 17
	SecurityTLS      SecurityType = 18
	SecurityVeNCrypt SecurityType = 19
	SecuritySASL     SecurityType = 20
	SecurityMD5      SecurityType = 21
	SecurityXVP      SecurityType = 22
	SecurityApple    SecurityType = 30
)

func (t SecurityType) String() string {
	switch t {
	case SecurityInvalid:
		return "invalid"
	case SecurityNone:
		return "None"
	case SecurityVNCAuth:
		return "VNC authentication"
	case SecurityRA2:
		return "RA2"
	case SecurityRA2ne:
		return "RA2ne"
	case SecurityTight:
		return "Tight"
	case SecurityUltra:
		return "Ultra"
	case SecurityTLS:
		return "TLS"
	case SecurityVeNCrypt:
		return "VeNCrypt"
	case SecuritySASL:
		return "SASL"
	case SecurityMD5:
		return "MD5"
	case SecurityXVP:
		return "XVP"
	case SecurityApple:
		return "Apple Remote Desktop"
	default:
		return fmt.Sprintf("security type %d", uint8(t))
	}
}

// SecurityResult ends the security handshake (RFC 6143 section 7.1.3).
type SecurityResult uint32

const (
	SecurityOK      SecurityResult = 0
	SecurityFailed  SecurityResult = 1 // V38: a reason follows
	SecurityTooMany SecurityResult = 2 // too many attempts; the Tight extension's
)

// AppendSecurityTypes offers types to a client that speaks V37 or V38; none at
// all means that a reason follows. At most 255.
func AppendSecurityTypes(b []byte, types ...SecurityType) []byte {
	b = append(b, byte(len(types)))
	for _, t := range types {
		b = append(b, byte(t))
	}
	return b
}

// AppendSecurityType33 tells a client that speaks V33 which type it has to use.
func AppendSecurityType33(b []byte, t SecurityType) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(t))
}

// AppendSecurityResult adds r; after SecurityFailed a V38 client waits for a reason.
func AppendSecurityResult(b []byte, r SecurityResult) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(r))
}

// AppendReason adds the words that follow a refusal (RFC 6143 section 7.1.2).
func AppendReason(b []byte, reason string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(reason)))
	return append(b, reason...)
}
