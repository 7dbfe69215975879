// X11 keysyms (RFC 6143 section 7.5.4): characters of Latin-1 are themselves,
// others have their Unicode number in the range from 0x01000000.

const control: ReadonlyMap<string, number> = new Map([
  ["\n", 0xff0d],
  ["\t", 0xff09],
]);

export const backspace = 0xff08;

/** Keys that give no text. */
export const namedKeys: ReadonlyMap<string, number> = new Map([
  ["Tab", 0xff09],
  ["Escape", 0xff1b],
  ["Home", 0xff50],
  ["ArrowLeft", 0xff51],
  ["ArrowUp", 0xff52],
  ["ArrowRight", 0xff53],
  ["ArrowDown", 0xff54],
  ["PageUp", 0xff55],
  ["PageDown", 0xff56],
  ["End", 0xff57],
  ["Delete", 0xffff],
]);

/** The keysym of a character; undefined for control characters that no key has. */
export function keysymOf(character: string): number | undefined {
  const code = character.codePointAt(0)!;
  if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return control.get(character);
  return code < 0x100 ? code : 0x01000000 + code;
}

/** The keys to press so that one text becomes another when it was typed at its end. */
export function keysBetween(before: string, after: string): number[] {
  const old = [...before];
  const now = [...after];
  let same = 0;
  while (same < old.length && old[same] === now[same]) same++;
  const typed = now.slice(same).map(keysymOf).filter((keysym) => keysym !== undefined);
  return [...old.slice(same).map(() => backspace), ...typed];
}
