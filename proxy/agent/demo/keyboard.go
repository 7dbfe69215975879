package demo

// X11 keysyms (keysymdef.h) that are not characters.
const (
	keyBackspace = 0xff08
	keyTab       = 0xff09
	keyReturn    = 0xff0d

	keypadSpace  = 0xff80 // the keypad's characters are ASCII above this
	keypadEnter  = 0xff8d
	keypadFirst  = 0xffaa // *
	keypadLast   = 0xffb9 // 9
	keypadEquals = 0xffbd

	modifierFirst = 0xffe1 // Shift_L
	modifierLast  = 0xffee // Hyper_R
	controlLeft   = 0xffe3
	controlRight  = 0xffe4
	metaLeft      = 0xffe7
	metaRight     = 0xffe8
	altLeft       = 0xffe9
	superLeft     = 0xffeb
	superRight    = 0xffec

	unicodeFirst = 0x01000100 // U+0100; below it Latin-1 stands for itself
	unicodeLast  = 0x0110ffff
)

// keyboard is the state of one viewer's modifier keys.
type keyboard struct {
	held uint16 // bit n is modifierFirst + n
}

// press turns a key that goes down into what it types: a character, '\n', '\b'
// or, with ok false, nothing.
func (k *keyboard) press(key uint32) (typed rune, ok bool) {
	if key >= modifierFirst && key <= modifierLast {
		k.held |= 1 << (key - modifierFirst)
		return 0, false
	}
	if k.command() {
		return 0, false
	}
	switch {
	case key == keyBackspace:
		return '\b', true
	case key == keyReturn || key == keypadEnter:
		return '\n', true
	case key == keyTab:
		return ' ', true
	case key >= ' ' && key <= '~', key >= 0xa0 && key <= 0xff:
		return rune(key), true
	case key >= keypadFirst && key <= keypadLast, key == keypadEquals:
		return rune(key - keypadSpace), true
	case key >= unicodeFirst && key <= unicodeLast:
		return rune(key - 0x01000000), true
	default:
		return 0, false
	}
}

func (k *keyboard) release(key uint32) {
	if key >= modifierFirst && key <= modifierLast {
		k.held &^= 1 << (key - modifierFirst)
	}
}

// command tells whether keys are commands now, not text. Alt on the right is
// AltGr on many keyboards, which makes characters.
func (k *keyboard) command() bool {
	for _, key := range [...]uint32{controlLeft, controlRight, metaLeft, metaRight, altLeft, superLeft, superRight} {
		if k.held&(1<<(key-modifierFirst)) != 0 {
			return true
		}
	}
	return false
}
