interface Key {
  key: string;
  ctrlKey: boolean;
  altKey: boolean;
  shiftKey: boolean;
}

/**
 * Recognises Ctrl+Alt+Shift, pressed together and let go with no other key in
 * between: the way out of a desktop that takes every key. Acting on the release
 * means that the desktop sees the modifiers go up and none stays held there.
 */
export class Chord {
  private armed = false;

  down({ key, ctrlKey, altKey, shiftKey }: Key): void {
    // Shift turns Alt into Meta on some keyboards.
    const modifier = key === "Control" || key === "Alt" || key === "Shift" || key === "Meta";
    this.armed = modifier && (this.armed || (ctrlKey && altKey && shiftKey));
  }

  /** Tells whether this release completes the chord. */
  up({ ctrlKey, altKey, shiftKey }: Key): boolean {
    const complete = this.armed && !ctrlKey && !altKey && !shiftKey;
    if (complete) this.armed = false;
    return complete;
  }
}
