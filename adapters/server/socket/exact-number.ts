/** Numbers as their sender wrote them: what `JSON.parse` makes of them has 53 bits. */

const NAME_END = /[\t\n\r ]*:[\t\n\r ]*/y;
const NUMBER = /-?[0-9][0-9.eE+-]*/y;

/**
 * The text of a number in the object that `text`, which is valid JSON, holds: that of its own member `name`, of several the last, as
 * `JSON.parse` takes it. "0" when the member is there and no number. Reads the whole text: for numbers that need it.
 */
export function exactNumber(text: string, name: string): string {
  let found = "0";
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit === 0x7b || unit === 0x5b) depth++;
    else if (unit === 0x7d || unit === 0x5d) depth--;
    else if (unit === 0x22) {
      const start = at;
      at = endOfString(text, at);
      if (depth !== 1) continue;
      NAME_END.lastIndex = at + 1;
      if (!NAME_END.test(text) || JSON.parse(text.slice(start, at + 1)) !== name) continue;
      NUMBER.lastIndex = NAME_END.lastIndex;
      found = NUMBER.exec(text)?.[0] ?? "0";
    }
  }
  return found;
}

/** Where the string that begins at `start` ends: at its closing quote. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  for (; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit === 0x5c) at++;
    else if (unit === 0x22) break;
  }
  return at;
}
