/** Where a text stops being JSON: runtimes say it in words of their own, or not at all. */

/** The index of the first character that no JSON text could have there; the text's length where it ends too early. */
export function breakOf(text: string): number {
  const scan = new Scan(text);
  return scan.run();
}

/** "line 1, column 7" of an index; both count from 1. */
export function placeOf(text: string, index: number): string {
  let line = 1;
  let start = 0;
  for (let at = text.indexOf("\n"); at >= 0 && at < index; at = text.indexOf("\n", at + 1)) {
    line++;
    start = at + 1;
  }
  return `line ${line}, column ${index - start + 1}`;
}

/** What may come next. */
type Next = "value" | "value or ]" | "name or }" | "name" | "colon" | "comma or end" | "end";

const SPACES = " \t\n\r";
const WORDS = ["true", "false", "null"];

class Scan {
  private readonly text: string;
  private at = 0;
  /** `{` and `[` that are open. */
  private readonly open: string[] = [];

  constructor(text: string) {
    this.text = text;
  }

  run(): number {
    const { text } = this;
    let next: Next | undefined = "value";
    while (next !== undefined) {
      while (this.at < text.length && SPACES.includes(text[this.at] as string)) this.at++;
      if (this.at >= text.length) return this.at;
      next = this.step(next, text[this.at] as string);
    }
    return this.at;
  }

  /** Takes one token; `undefined`, at its place, when it does not fit. */
  private step(next: Next, first: string): Next | undefined {
    const { open } = this;
    switch (next) {
      case "value or ]":
        return first === "]" ? this.close() : this.value(first);
      case "value":
        return this.value(first);
      case "name or }":
        return first === "}" ? this.close() : this.step("name", first);
      case "name":
        return first === '"' && this.string() ? "colon" : undefined;
      case "colon":
        return first === ":" ? this.skip("value") : undefined;
      case "comma or end":
        if (first === ",") return this.skip(open.at(-1) === "{" ? "name" : "value");
        return first === (open.at(-1) === "{" ? "}" : "]") ? this.close() : undefined;
      default:
        return undefined;
    }
  }

  private skip(next: Next): Next {
    this.at++;
    return next;
  }

  private close(): Next {
    this.open.pop();
    return this.skip(this.behind());
  }

  private behind(): Next {
    return this.open.length === 0 ? "end" : "comma or end";
  }

  private value(first: string): Next | undefined {
    if (first === "{" || first === "[") {
      this.open.push(first);
      return this.skip(first === "{" ? "name or }" : "value or ]");
    }
    if (first === '"') return this.string() ? this.behind() : undefined;
    if (first === "-" || isDigit(first)) return this.number() ? this.behind() : undefined;
    const word = WORDS.find((known) => known[0] === first);
    if (word === undefined) return undefined;
    for (const letter of word) {
      if (this.text[this.at] !== letter) return undefined;
      this.at++;
    }
    return this.behind();
  }

  private string(): boolean {
    const { text } = this;
    for (this.at++; this.at < text.length; this.at++) {
      const unit = text.charCodeAt(this.at);
      if (unit === 0x22) {
        this.at++;
        return true;
      }
      if (unit < 0x20) return false;
      if (unit !== 0x5c) continue;
      this.at++;
      const escaped = text[this.at];
      if (escaped === undefined) return false;
      if (escaped === "u") {
        for (let i = 0; i < 4; i++) {
          this.at++;
          if (!isHex(text[this.at])) return false;
        }
      } else if (!'"\\/bfnrt'.includes(escaped)) return false;
    }
    return false;
  }

  private number(): boolean {
    const { text } = this;
    if (text[this.at] === "-") this.at++;
    if (text[this.at] === "0") this.at++;
    else if (!this.digits()) return false;
    if (text[this.at] === ".") {
      this.at++;
      if (!this.digits()) return false;
    }
    if (text[this.at] === "e" || text[this.at] === "E") {
      this.at++;
      if (text[this.at] === "+" || text[this.at] === "-") this.at++;
      if (!this.digits()) return false;
    }
    return true;
  }

  private digits(): boolean {
    const start = this.at;
    while (isDigit(this.text[this.at])) this.at++;
    return this.at > start;
  }
}

function isDigit(character: string | undefined): boolean {
  return character !== undefined && character >= "0" && character <= "9";
}

function isHex(character: string | undefined): boolean {
  return character !== undefined && "0123456789abcdefABCDEF".includes(character);
}
