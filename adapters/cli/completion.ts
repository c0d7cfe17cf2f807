/** What Tab offers in the shell: commands, options, and keys of the store. */
import type { ByteStore } from "./byte-store.ts";
import { bytesOf, textOf } from "./text.ts";
import { readWords } from "./words.ts";

/** So many keys are offered at a time. */
const KEY_COUNT_MAX = 50;

/** What the shell tells about a command: its options, and which of them take a key. */
export interface CompletableCommand {
  name: string;
  takesKey: boolean;
  options: string[];
  keyOptions: string[];
}

/** Completions of the last word of `line`, and that word as it stands in the line. */
export function complete(line: string, commands: CompletableCommand[], store: ByteStore): [string[], string] {
  let words: ReturnType<typeof readWords>;
  try {
    words = readWords(line);
  } catch {
    return [[], line];
  }
  const last = words.at(-1);
  const isInWord = last !== undefined && (last.isOpen || !/\s$/.test(line));
  const raw = isInWord ? line.slice(last.start) : "";
  const text = isInWord ? last.text : "";
  const before = (isInWord ? words.slice(0, -1) : words).map((word) => word.text);

  if (before.length === 0) return [commands.map(({ name }) => `${name} `).filter((name) => name.startsWith(raw)), raw];
  const command = commands.find(({ name }) => name === before[0]);
  if (!command) return [[], raw];
  const isKey = command.keyOptions.includes(before.at(-1) as string) || (command.takesKey && before.length === 1);
  if (raw.startsWith("-")) return [command.options.filter((option) => option.startsWith(raw)), raw];
  return [isKey ? keysLike(text, raw.charAt(0), store) : [], raw];
}

/**
 * Keys that begin with `prefix`, quoted where they must be. The last such key is always among them: then what all offered
 * keys have in common is what all keys of the prefix have in common, and Tab completes no further than that.
 */
function keysLike(prefix: string, quote: string, store: ByteStore): string[] {
  const bytes = bytesOf(prefix);
  if (!bytes) return [];
  const range = bytes.length > 0 ? { prefix: bytes } : {};
  const keys = [
    ...store.keys({ ...range, limit: KEY_COUNT_MAX }),
    ...store.keys({ ...range, limit: 1, reverse: true }),
  ];
  const texts = new Set(keys.map((key) => textOf(key)).filter((key) => key !== undefined));
  const isQuoted = quote === '"' || quote === "'";
  return [...texts]
    .filter((key) => quote !== "'" || !/['\p{Cc}]/u.test(key))
    .map((key) => {
      if (quote === "'") return `'${key}'`;
      return isQuoted || /^["'-]|[\s\p{Cc}]/u.test(key) ? JSON.stringify(key) : key;
    });
}
