/**
 * The checks of the simulation's oracle, each with a name: every place in test/simulation where a `Violation` is made.
 *
 * A check is called after its file and what it says, with `…` for what differs from case to case. The build with the planted
 * bugs gives each violation the name of its check, so that a hunt can tell which of them a bug has shown red.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export const CHECKS_FOLDER = "test/simulation";
const MAKING = "new Violation(";
/** Says what a violation is, and makes none of its own. */
const VIOLATION = "violation.ts";
/** Checks whose text is put together elsewhere. */
const MEANINGS: Readonly<Record<string, string>> = {
  "where + what": "an image is refused, or a check throws",
  "timeline.explain(found, least, issued)": "the state is none of … to …",
  "this.timeline.explain(found, least, this.issued)": "the state is none of … to …",
};

/** Names of all checks of the oracle; `root` is the repository. */
export function checksOf(root: string): string[] {
  const files = readdirSync(join(root, CHECKS_FOLDER)).filter(
    (name) => name.endsWith(".ts") && name !== "violation.ts",
  );
  return files.sort().flatMap((name) => named(name, readFileSync(join(root, CHECKS_FOLDER, name), "utf8")).names);
}

/** A source of the simulation in which every violation says which check it comes from. */
export function withNamedChecks(name: string, text: string): string {
  return name === VIOLATION ? text : named(name, text).text;
}

function named(file: string, text: string): { names: string[]; text: string } {
  const names: string[] = [];
  const parts = text.split(MAKING);
  let changed = parts.shift() as string;
  for (const part of parts) {
    const argument = firstArgument(part.trimStart());
    const meaning = MEANINGS[argument] ?? argument.replace(/^["`](.*)["`]$/s, "$1");
    const name = `${file}: ${meaning.replace(/\$\{(?:[^{}]|\{[^{}]*\})*\}/g, "…")}`;
    const before = names.filter((other) => other === name || other.startsWith(`${name} (`)).length;
    names.push(before === 0 ? name : `${name} (${before + 1})`);
    changed += `Violation.of(${JSON.stringify(names.at(-1))}, ${part}`;
  }
  return { names, text: changed };
}

/** The first argument of a call, of which `text` is what follows the bracket. */
function firstArgument(text: string): string {
  let depth = 0;
  let quote = "";
  for (let i = 0; i < text.length; i++) {
    const letter = text[i] as string;
    if (quote !== "") {
      if (letter === quote) quote = "";
    } else if (letter === '"' || letter === "`") quote = letter;
    else if (letter === "(" || letter === "[" || letter === "{") depth++;
    else if (depth === 0 && (letter === "," || letter === ")")) return text.slice(0, i).trim();
    else if (letter === ")" || letter === "]" || letter === "}") depth--;
  }
  throw new Error(`a violation is made in a way that cannot be read: ${text.slice(0, 80)}`);
}
