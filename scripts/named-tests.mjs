/**
 * Proves that the documents name tests that exist, and that each cell of a table of capabilities has a proof.
 *
 * A proof is a footnote: the path of a test file, then titles of its suites and tests, in quotes. Where a title in the
 * source holds a placeholder (`%s`, `$name`, `${kind}`), the document says what stands there. In docs/runtimes.md every cell
 * of a table that has a runtime in its head is "–", or has a footnote, and the test runs on that runtime.
 */
import { existsSync, readFileSync } from "node:fs";

const ROOT = new URL("../", import.meta.url);
const DOCUMENTS = ["docs/runtimes.md", "docs/bundlers.md", "docs/testing.md"];

/** Which test files prove something about a runtime: those that run on it, and those that start it. */
const SHARED = /^test\/(store|hosts|crash|adapters)\//;
/** @type {Record<string, (file: string, text: string) => boolean>} */
const COLUMNS = {
  "Node 20": () => true,
  "Node 24": (file, text) => SHARED.test(file) || text.includes('"node-lts"') || text.includes('peer("node")'),
  Bun: (file, text) => SHARED.test(file) || /"bun"/.test(text),
  Deno: (file, text) => SHARED.test(file) || /"deno"/.test(text),
  Chromium: (file, text) =>
    /^test\/(browser|sandbox|(store|adapters)(?=\/(?!node-)))\//.test(file) || /chromium/i.test(text),
  Firefox: (file, text) => file.startsWith("test/browser/") || /firefox/i.test(text),
  "WASI component": (file) => file.startsWith("test/component/"),
  workerd: (file, text) => /workerd/.test(text) || file === "test/hosts/memory-host.test.ts",
};

/** Literals that stand where a title does: first in the brackets of `test`, `it`, `describe`, or of what these return. */
const TITLE = /(?:\b(?:test|it|describe)(?:\.\w+)*|[)\]])\(\s*(?:"((?:[^"\\]|\\.)*)"|`((?:[^`\\]|\\.)*)`)/g;
const PLACEHOLDER = /%[sdifjo]|\$\{[^}]*\}|\$[\w.]+/;

/** @type {string[]} */
const faults = [];
let proofCount = 0;

/**
 * @param {string} text source of a test file
 * @returns {RegExp[]} its titles
 */
function titlesOf(text) {
  return [...text.matchAll(TITLE)].map((match) => {
    const parts = (match[1] ?? match[2] ?? "").replaceAll('\\"', '"').split(PLACEHOLDER);
    return new RegExp(`^${parts.map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join(".+")}$`);
  });
}

/**
 * Looks for what a footnote names.
 *
 * @param {string} place
 * @param {string} note
 * @returns {{ file: string, text: string }[]}
 */
function proofsOf(place, note) {
  const proofs = [];
  for (const [, file = "", quoted = ""] of note.matchAll(/`(test\/[^`]+)`((?:[ ,›]*"[^"]+")*)/g)) {
    if (!existsSync(new URL(file, ROOT))) {
      faults.push(`${place}: there is no ${file}`);
      continue;
    }
    const text = readFileSync(new URL(file, ROOT), "utf8");
    const known = titlesOf(text);
    const titles = [...quoted.matchAll(/"([^"]+)"/g)].map((match) => match[1] ?? "");
    if (titles.length === 0) faults.push(`${place}: no test of ${file} is named`);
    for (const title of titles) {
      if (!known.some((pattern) => pattern.test(title))) faults.push(`${place}: ${file} has no test "${title}"`);
      proofCount++;
    }
    proofs.push({ file, text });
  }
  if (proofs.length === 0) faults.push(`${place}: it names no test file`);
  return proofs;
}

for (const document of DOCUMENTS) {
  const lines = readFileSync(new URL(document, ROOT), "utf8").split("\n");
  /** @type {Map<string, { file: string, text: string }[]>} */
  const notes = new Map();
  for (const line of lines) {
    const [, name = "", note = ""] = /^\[\^([\w-]+)\]: (.*)$/.exec(line) ?? [];
    if (name !== "") notes.set(name, proofsOf(`${document} [^${name}]`, note));
  }
  const used = new Set();
  /** @type {string[]} */
  let head = [];
  for (const [index, line] of lines.entries()) {
    const place = `${document}:${index + 1}`;
    if (/^\[\^[\w-]+\]: /.test(line)) continue;
    const namesIn = (/** @type {string} */ text) =>
      [...text.matchAll(/\[\^([\w-]+)\]/g)].map((match) => match[1] ?? "");
    for (const name of namesIn(line)) {
      if (!notes.has(name)) faults.push(`${place}: there is no footnote ${name}`);
      used.add(name);
    }
    if (!line.startsWith("|")) {
      head = [];
      continue;
    }
    const cells = line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
    if (head.length === 0) head = cells;
    else if (!/^[-: |]+$/.test(line)) {
      for (const [column, cell] of cells.entries()) {
        const runsOn = COLUMNS[head[column] ?? ""];
        if (runsOn === undefined || cell === "–") continue;
        const proofs = namesIn(cell).flatMap((name) => notes.get(name) ?? []);
        if (!proofs.some(({ file, text }) => runsOn(file, text))) {
          faults.push(`${place}: no test that runs on ${head[column]} is named for "${cells[0]}"`);
        }
      }
    }
  }
  for (const name of notes.keys()) if (!used.has(name)) faults.push(`${document}: footnote ${name} is not used`);
}

for (const fault of faults) console.error(fault);
console.log(`named tests: ${proofCount} named, ${faults.length} faults`);
if (faults.length > 0) process.exitCode = 1;
