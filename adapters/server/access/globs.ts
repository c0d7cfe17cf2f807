/** Globs of subscriptions: `*` stands for any run of characters, none included; everything else for itself; the whole key matches. */

/** Whether a key matches one of `globs`. What is no glob is looked up; each glob takes time linear in the key. */
export function globMatcher(globs: readonly string[]): (key: string) => boolean {
  const exact = new Set<string>();
  const patterns: string[][] = [];
  for (const glob of globs) {
    if (glob.includes("*")) patterns.push(glob.split("*"));
    else exact.add(glob);
  }
  if (patterns.length === 0) return (key) => exact.has(key);
  return (key) => exact.has(key) || patterns.some((pieces) => matches(key, pieces));
}

/** The pieces between the stars, each at the first place behind the one before: no other choice finds more. */
function matches(key: string, pieces: readonly string[]): boolean {
  const first = pieces[0] as string;
  const last = pieces[pieces.length - 1] as string;
  if (key.length < first.length + last.length || !key.startsWith(first) || !key.endsWith(last)) return false;
  const end = key.length - last.length;
  let at = first.length;
  for (let index = 1; index < pieces.length - 1; index++) {
    const piece = pieces[index] as string;
    const found = key.indexOf(piece, at);
    if (found < 0 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return true;
}
