/** What a document shows in a language, as a program that proves what the document says of each line. */

/** A block of a document, with the line of the document that its first line is. */
export interface Block {
  text: string;
  line: number;
}

/** `code; // → value`, `code; // throws CODE`, `code; // rejects CODE`. */
const CLAIM = /^(\s*)(\S.*?);\s*\/\/ (?:→ (.+)|(?:throws|rejects) (\w+))$/;
const CLOSING = /^[)\]}]/;
const DECLARATION = /^(?:const|let)\s+(\w+)\s*=/;

/** The blocks of a document whose first line is ``` and `language`. */
export function blocksOf(document: string, language: string): Block[] {
  const blocks: Block[] = [];
  let text: string[] | undefined;
  for (const [index, line] of document.split("\n").entries()) {
    if (text === undefined) {
      if (line === `\`\`\`${language}`) text = [];
    } else if (line === "```") {
      blocks.push({ text: `${text.join("\n")}\n`, line: index - text.length + 1 });
      text = undefined;
    } else text.push(line);
  }
  return blocks;
}

/** How many things a document says of its program: each has to be reached when it runs. */
export function countOfClaims(document: string, language: string): number {
  return blocksOf(document, language).reduce(
    (count, { text }) => count + (text.match(/\/\/ (→|throws|rejects) /g)?.length ?? 0),
    0,
  );
}

/**
 * All blocks of a language as one module. It imports `same(found, claimed, line)` and `refuses(body, code, line)` from
 * `./claims.mjs`, with the document's line.
 */
export function checkedProgram(document: string, language: string): string {
  const program = ['import { refuses, same } from "./claims.mjs";'];
  for (const { text, line } of blocksOf(document, language)) {
    const lines = text.split("\n");
    for (const [index, source] of lines.entries()) check(lines, index, source, line + index);
    program.push(...lines);
  }
  return program.join("\n");
}

/** Puts the proof of a line's claim around its statement, which may have begun on an earlier line. */
function check(lines: string[], index: number, source: string, line: number): void {
  const [, indent = "", code = "", claimed, thrown] = CLAIM.exec(source) ?? [];
  const declared = DECLARATION.exec(code)?.[1];
  if (declared !== undefined && claimed !== undefined) {
    lines[index] = `${indent}${code}; same(${declared}, ${claimed}, ${line});`;
    return;
  }
  if (claimed === undefined && thrown === undefined) return;
  let begin = index;
  if (CLOSING.test(code)) {
    do begin -= 1;
    while (begin > 0 && !isAt(lines[begin] as string, indent));
  }
  const [before, after] =
    thrown === undefined
      ? ["same(", `, ${claimed}, ${line});`]
      : ["await refuses(async () => (", `), "${thrown}", ${line});`];
  lines[index] = `${indent}${code}${after}`;
  lines[begin] = `${indent}${before}${(lines[begin] as string).slice(indent.length)}`;
}

/** Whether a statement begins on a line, at an indentation. */
function isAt(line: string, indent: string): boolean {
  return line.startsWith(indent) && /^[^\s)\]}]/.test(line.slice(indent.length));
}
