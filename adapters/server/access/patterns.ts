/**
 * Regular expressions of tokens: JavaScript's syntax, without flags, found anywhere in a key, in time linear in the key.
 *
 * JavaScript's own engine takes exponential time for some patterns, and whoever has an API key may send one. So a pattern is
 * read here and put into the words of RE2, which runs it in linear time, with JavaScript's meaning: of `.`, of `\s`, of
 * escapes, of classes. What RE2 has no words for, as lookaheads and back-references, is refused and never guessed at. One
 * thing differs: a character is a code point, as with JavaScript's flag `u`.
 */
import { RE2JS } from "re2js";
import { ServerFailure } from "../failure.ts";

const PATTERN_SIZE_MAX = 512;
/** Steps of the compiled pattern. Each may cost time for each character of a key: 60 ms for a key of 2,000, at worst. */
const PROGRAM_SIZE_MAX = 128;
const CODE_POINT_MAX = 0x10ffff;

/** Code points from the first to the second, both included. */
type Span = readonly [number, number];

const DIGIT: Span[] = [[0x30, 0x39]];
const WORD: Span[] = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
];
const SPACE: Span[] = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];
const LINE_END: Span[] = [
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
];
const CLASS_ESCAPES: Record<string, Span[]> = {
  d: DIGIT,
  w: WORD,
  s: SPACE,
  D: complement(DIGIT),
  W: complement(WORD),
  S: complement(SPACE),
};
const CONTROL_ESCAPES: Record<string, number> = { t: 9, n: 10, v: 11, f: 12, r: 13 };

/** Whether a key holds what a pattern describes. */
export type KeyTest = (key: string) => boolean;

/** Whether a key holds what `pattern` describes. 400 for one that is none, or that no linear engine runs; `field` names it. */
export function compilePattern(pattern: string, field: string): KeyTest {
  const translation = translated(pattern, field);
  return whole(translation.isSimple ? native(translation.words) : linear(translation.words, field));
}

/**
 * The same for patterns that are held against every change of every key: 400 for any but simple ones, which begin with `^`
 * and have one repetition of a character, or one group of alternatives, at most.
 */
export function compileSimplePattern(pattern: string, field: string): KeyTest {
  const translation = translated(pattern, field);
  if (translation.isSimple) return whole(native(translation.words));
  throw new ServerFailure(
    400,
    `${field} takes regular expressions with one repetition, or one group of alternatives, as "^user:[0-9]+$" and "^(a|b)$".`,
  );
}

/** Half a character is stored as another one, so nothing is allowed for such a key. */
function whole(test: KeyTest): KeyTest {
  return (key) => test(key) && (key as string & { isWellFormed(): boolean }).isWellFormed();
}

/** By JavaScript's own engine, which is many times faster, and linear as well where it has but one thing to try. */
function native(words: string): KeyTest {
  const own = words.replaceAll("\\x{", "\\u{").replaceAll("\\A", "^").replaceAll("\\z", "$");
  const compiled = new RegExp(own, "u");
  return (key) => compiled.test(key);
}

function linear(words: string, field: string): KeyTest {
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(words);
  } catch (error) {
    throw unusable(field, (error as Error).message.replace(/^error parsing regexp: /, ""), error);
  }
  const size = compiled.programSize();
  if (size > PROGRAM_SIZE_MAX) {
    throw new ServerFailure(400, `${field} is too large: it has ${size} steps; ${PROGRAM_SIZE_MAX} are allowed.`);
  }
  return (key) => compiled.test(key);
}

function translated(pattern: string, field: string): { words: string; isSimple: boolean } {
  if (pattern.length > PATTERN_SIZE_MAX) {
    throw new ServerFailure(400, `${field} may have ${PATTERN_SIZE_MAX} characters; it has ${pattern.length}.`);
  }
  try {
    const translation = new Translation(pattern);
    const words = translation.words();
    // What is left to be found: the order of brackets, names of groups.
    new RegExp(pattern);
    return { words, isSimple: pattern.startsWith("^") && translation.isSimple };
  } catch (error) {
    if (error instanceof SyntaxError) throw unusable(field, error.message, error);
    throw error;
  }
}

function unusable(field: string, reason: string, cause: unknown): ServerFailure {
  return new ServerFailure(400, `${field} cannot be used as a regular expression: ${reason}.`, undefined, { cause });
}

/** One pattern on its way from JavaScript's syntax to RE2's. Throws a `SyntaxError` for what has no way. */
class Translation {
  readonly #pattern: string[];
  #at = 0;
  #depth = 0;
  #groupCount = 0;
  #repetitionCount = 0;
  #hasChoice = false;

  constructor(pattern: string) {
    this.#pattern = [...pattern];
  }

  words(): string {
    let out = "";
    while (this.#at < this.#pattern.length) out += this.#next();
    return out;
  }

  /**
   * Whether backtracking has one thing to try at most: how often one character repeats, or which alternative it is. A second one
   * would make it quadratic, a repeated group exponential.
   */
  get isSimple(): boolean {
    return !this.#hasChoice && this.#groupCount + this.#repetitionCount <= 1;
  }

  #next(): string {
    const char = this.#take();
    switch (char) {
      case "\\":
        return this.#escape();
      case "[":
        return this.#class();
      case "(":
        return this.#group();
      case ".":
        return classOf(LINE_END, true);
      case "^":
        return "\\A";
      case "$":
        return "\\z";
      case ")":
        this.#depth -= 1;
        return char;
      case "|":
        this.#hasChoice ||= this.#depth === 0;
        return char;
      case "*":
      case "+":
      case "?":
        this.#repetitionCount += 1;
        return char;
      case "{":
        return this.#braces();
      default:
        return literal(codeOf(char));
    }
  }

  /** Groups capture nothing: only whether there is a match is asked. */
  #group(): string {
    this.#depth += 1;
    this.#groupCount += 1;
    if (this.#peek() !== "?") return "(?:";
    const after = this.#pattern.slice(this.#at, this.#at + 3).join("");
    if (after.startsWith("?:")) {
      this.#at += 2;
      return "(?:";
    }
    if (after.startsWith("?=") || after.startsWith("?!")) throw unsupported("lookaheads as (?=…) and (?!…)");
    if (after === "?<=" || after === "?<!") throw unsupported("lookbehinds as (?<=…) and (?<!…)");
    if (!after.startsWith("?<")) throw unsupported("flags in groups as (?i:…)");
    while (this.#peek() !== undefined && this.#peek() !== ">") this.#at += 1;
    this.#at += 1;
    return "(?:";
  }

  /** A repetition, or a brace that stands for itself. */
  #braces(): string {
    const rest = this.#pattern.slice(this.#at, this.#at + 24).join("");
    const [text = ""] = /^\d+(,\d*)?\}/.exec(rest) ?? [];
    if (text === "") return literal(codeOf("{"));
    this.#at += text.length;
    this.#repetitionCount += 1;
    return `{${text}`;
  }

  #escape(): string {
    const char = this.#take();
    if (char === "b" || char === "B") return `\\${char}`;
    const spans = CLASS_ESCAPES[char];
    return spans === undefined ? literal(this.#code(char)) : classOf(spans, false);
  }

  /** The character that an escape stands for, its backslash and first character taken. */
  #code(char: string): number {
    const control = CONTROL_ESCAPES[char];
    if (control !== undefined) return control;
    if (char === "") throw new SyntaxError("it ends with \\");
    if (char === "0" && !/\d/.test(this.#peek() ?? "")) return 0;
    if (/\d/.test(char)) throw unsupported("back-references and octal escapes as \\1");
    if (char === "k") throw unsupported("back-references as \\k<name>");
    if (char === "p" || char === "P") throw unsupported("\\p{…}, which needs the flag u");
    if (char === "c") {
      const letter = this.#take();
      if (!/^[A-Za-z]$/.test(letter)) throw unsupported("\\c without a letter");
      return codeOf(letter) % 32;
    }
    if (char === "x") return this.#hex(2) ?? codeOf("x");
    if (char !== "u") return codeOf(char);
    if (this.#peek() === "{") throw unsupported("\\u{…}, which needs the flag u");
    const unit = this.#hex(4);
    if (unit === undefined) return codeOf("u");
    if (unit < 0xd800 || unit > 0xdbff || this.#pattern.slice(this.#at, this.#at + 2).join("") !== "\\u") return unit;
    const back = this.#at;
    this.#at += 2;
    const low = this.#hex(4);
    if (low !== undefined && low >= 0xdc00 && low <= 0xdfff) return (unit - 0xd800) * 0x400 + (low - 0xdc00) + 0x10000;
    this.#at = back;
    return unit;
  }

  #hex(size: number): number | undefined {
    const digits = this.#pattern.slice(this.#at, this.#at + size).join("");
    if (digits.length !== size || !/^[0-9A-Fa-f]+$/.test(digits)) return undefined;
    this.#at += size;
    return Number.parseInt(digits, 16);
  }

  #class(): string {
    const isNegated = this.#peek() === "^";
    if (isNegated) this.#at += 1;
    const spans: Span[] = [];
    for (;;) {
      if (this.#peek() === undefined) throw new SyntaxError("a class has no ]");
      if (this.#peek() === "]") break;
      const first = this.#classItem();
      const after = this.#pattern[this.#at + 1];
      if (this.#peek() !== "-" || after === "]" || after === undefined) {
        spans.push(...first);
        continue;
      }
      this.#at += 1;
      const last = this.#classItem();
      const from = codeOfItem(first);
      const to = codeOfItem(last);
      // A class at either end of a hyphen: the hyphen stands for itself.
      if (from === undefined || to === undefined) spans.push(...first, [0x2d, 0x2d], ...last);
      else if (from > to) throw new SyntaxError("a class has a range out of order");
      else spans.push([from, to]);
    }
    this.#at += 1;
    return classOf(spans, isNegated);
  }

  #classItem(): Span[] {
    const char = this.#take();
    if (char !== "\\") return [[codeOf(char), codeOf(char)]];
    const escaped = this.#take();
    const spans = CLASS_ESCAPES[escaped];
    if (spans !== undefined) return spans;
    const code = escaped === "b" ? 8 : this.#code(escaped);
    return [[code, code]];
  }

  #peek(): string | undefined {
    return this.#pattern[this.#at];
  }

  /** The next character; "" at the end. */
  #take(): string {
    const char = this.#pattern[this.#at] ?? "";
    this.#at += 1;
    return char;
  }
}

function unsupported(what: string): SyntaxError {
  return new SyntaxError(`the engine, which takes linear time for every key, has no ${what}`);
}

/** The character of a class' item; none when that is itself a class. Those have more than one, and none is its own range. */
function codeOfItem(spans: readonly Span[]): number | undefined {
  const [span] = spans;
  return spans.length === 1 && span !== undefined && span[0] === span[1] ? span[0] : undefined;
}

function codeOf(char: string): number {
  return char.codePointAt(0) ?? 0;
}

function literal(code: number): string {
  return isPlain(code) ? String.fromCodePoint(code) : `\\x{${code.toString(16)}}`;
}

function isPlain(code: number): boolean {
  return WORD.some(([from, to]) => code >= from && code <= to);
}

/** A class of RE2; of nothing, too, and of everything. */
function classOf(spans: readonly Span[], isNegated: boolean): string {
  if (spans.length === 0) return classOf([[0, CODE_POINT_MAX]], !isNegated);
  const items = spans.map(([from, to]) => `\\x{${from.toString(16)}}-\\x{${to.toString(16)}}`);
  return `[${isNegated ? "^" : ""}${items.join("")}]`;
}

/** Everything else. The spans are in order and apart. */
function complement(spans: readonly Span[]): Span[] {
  const others: Span[] = [];
  let from = 0;
  for (const [first, last] of spans) {
    if (first > from) others.push([from, first - 1]);
    from = last + 1;
  }
  others.push([from, CODE_POINT_MAX]);
  return others;
}
