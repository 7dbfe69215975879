package demo

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// shakeHands speaks RFC 6143 section 7.1 to 7.3 up to and with ServerInit. A
// refusal is told to the client as far as its version can carry it.
func shakeHands(conn net.Conn, d *desktop, refusal string) error {
	version, err := greet(conn)
	if err != nil {
		return err
	}
	if refusal != "" {
		_, _ = conn.Write(refuse(version, refusal))
		return errors.New(refusal)
	}
	if err := secure(conn, version); err != nil {
		return err
	}
	// Whether the client wants to share the desktop does not matter: it is
	// there to be shared.
	var clientInit [rfb.ClientInitLen]byte
	if _, err := io.ReadFull(conn, clientInit[:]); err != nil {
		return fmt.Errorf("waiting for ClientInit: %w", err)
	}
	_, err = conn.Write(d.serverInit().Append(nil))
	return err
}

func greet(conn net.Conn) (rfb.Version, error) {
	offer := rfb.V38.Bytes()
	if _, err := conn.Write(offer[:]); err != nil {
		return 0, err
	}
	var line [12]byte
	if n, err := io.ReadFull(conn, line[:]); err != nil {
		if n == 0 && errors.Is(err, io.EOF) {
			return 0, errLeft // somebody looked whether the desktop is there
		}
		return 0, fmt.Errorf("waiting for the greeting, got %q: %w", line[:n], err)
	}
	version, err := rfb.ParseVersion(line)
	if err != nil {
		return 0, err
	}
	spoken, ok := version.Spoken()
	if !ok {
		return 0, fmt.Errorf("the viewer speaks RFB %v, which is older than 3.3", version)
	}
	return spoken, nil
}

func secure(conn net.Conn, version rfb.Version) error {
	if version == rfb.V33 {
		_, err := conn.Write(rfb.AppendSecurityType33(nil, rfb.SecurityNone))
		return err
	}
	if _, err := conn.Write(rfb.AppendSecurityTypes(nil, rfb.SecurityNone)); err != nil {
		return err
	}
	var choice [1]byte
	if _, err := io.ReadFull(conn, choice[:]); err != nil {
		return fmt.Errorf("waiting for the security type: %w", err)
	}
	if chosen := rfb.SecurityType(choice[0]); chosen != rfb.SecurityNone {
		err := fmt.Errorf("the viewer chose %v, which was not offered; offered is %v", chosen, rfb.SecurityNone)
		answer := rfb.AppendSecurityResult(nil, rfb.SecurityFailed)
		if version == rfb.V38 {
			answer = rfb.AppendReason(answer, err.Error())
		}
		_, _ = conn.Write(answer)
		return err
	}
	if version == rfb.V37 { // which sends no result for None
		return nil
	}
	_, err := conn.Write(rfb.AppendSecurityResult(nil, rfb.SecurityOK))
	return err
}

func refuse(version rfb.Version, reason string) []byte {
	if version == rfb.V33 {
		return rfb.AppendReason(rfb.AppendSecurityType33(nil, rfb.SecurityInvalid), reason)
	}
	return rfb.AppendReason(rfb.AppendSecurityTypes(nil), reason)
}
