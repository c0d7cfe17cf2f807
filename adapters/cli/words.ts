/**
 * The words of a shell line.
 *
 * White space separates words. `'…'` is taken as it is. `"…"` is a JSON string, so that a key copied from `scan` means the
 * same. Quotes count only at the start of a word: `{"a":1}` needs none.
 */
import { CommandFailure, EXIT_BAD_USE } from "./failure.ts";

const SPACE = /\s/;

/** A word: where it begins in the line, what it stands for, and whether its closing quote is missing. */
export interface Word {
  start: number;
  text: string;
  isOpen: boolean;
}

/** The words of `line`. Throws `CommandFailure` for a quote that is open or badly closed. */
export function splitWords(line: string): string[] {
  return readWords(line).map((word) => {
    if (word.isOpen) throw new CommandFailure(`a quote is not closed: ${line.slice(word.start)}`, EXIT_BAD_USE);
    return word.text;
  });
}

/** The words of `line`, of which the last one may be open. */
export function readWords(line: string): Word[] {
  const words: Word[] = [];
  let at = 0;
  while (at < line.length) {
    if (SPACE.test(line.charAt(at))) {
      at += 1;
      continue;
    }
    const end = endOfWord(line, at);
    words.push(wordAt(line, at, end));
    at = end;
  }
  return words;
}

function endOfWord(line: string, start: number): number {
  const quote = line.charAt(start);
  let at = start;
  if (quote === '"' || quote === "'") {
    at += 1;
    while (at < line.length && line.charAt(at) !== quote) at += quote === '"' && line.charAt(at) === "\\" ? 2 : 1;
    at += 1;
  }
  while (at < line.length && !SPACE.test(line.charAt(at))) at += 1;
  return Math.min(at, line.length);
}

function wordAt(line: string, start: number, end: number): Word {
  const raw = line.slice(start, end);
  if (raw.startsWith("'")) {
    const close = raw.indexOf("'", 1);
    if (close < 0) return { start, text: raw.slice(1), isOpen: true };
    if (close !== raw.length - 1) throw new CommandFailure(`white space must follow the quote: ${raw}`, EXIT_BAD_USE);
    return { start, text: raw.slice(1, -1), isOpen: false };
  }
  if (!raw.startsWith('"')) return { start, text: raw, isOpen: false };
  const closed = jsonString(raw);
  if (closed !== undefined) return { start, text: closed, isOpen: false };
  const open = jsonString(`${raw}"`);
  if (open !== undefined) return { start, text: open, isOpen: true };
  throw new CommandFailure(`not a JSON string, nor closed by a quote and white space: ${raw}`, EXIT_BAD_USE);
}

function jsonString(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}
