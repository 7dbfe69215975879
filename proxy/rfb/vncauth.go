package rfb

import (
	"crypto/des"
	"math/bits"
)

// Sizes in bytes of VNC authentication (RFC 6143 section 7.2.2).
const (
	ChallengeLen = 16
	MaxPassword  = des.BlockSize // what follows is not looked at
)

// VNCAuthResponse is what a client that knows password answers to challenge. It
// proves no more than eight bytes of it and hides nothing that follows: fit for
// a wire that is private already.
func VNCAuthResponse(challenge [ChallengeLen]byte, password string) [ChallengeLen]byte {
	var response [ChallengeLen]byte
	vncEncrypt(response[:], challenge[:], password)
	return response
}

// vncEncrypt is DES in blocks of 8 bytes, with the password as the key and each
// of the key's bytes mirrored, as the first VNC did it.
func vncEncrypt(dst, src []byte, password string) {
	var key [des.BlockSize]byte
	copy(key[:], password)
	for i, b := range key {
		key[i] = bits.Reverse8(b)
	}
	block, err := des.NewCipher(key[:])
	if err != nil {
		panic(err) // of the key's size, which is right
	}
	for i := 0; i < len(src); i += des.BlockSize {
		block.Encrypt(dst[i:], src[i:])
	}
}
