/**
 * Proves that the release binary, and the core of the component, hold no garbage-collected object, from their text forms
 * and from the sources:
 *
 *   1. no function, global or inlined body of the AssemblyScript runtime, and no growing of the memory;
 *   2. no import but the memory, the device contract and the component's own resources, so no call out for an abort;
 *   3. no mutable global: state lives in linear memory, where a second instance sees it;
 *   4. no `throw` in the sources, which the compiler turns into a silent trap.
 */
import { readFileSync } from "node:fs";
import { lineOf, sourceFiles, withoutComments } from "./sources.mjs";

const ROOT = new URL("../", import.meta.url);
const TEXT_FORMS = ["build/cairn.wat", "build/component-core.wat"];

const FORBIDDEN = [
  {
    pattern: /~lib\/(rt|array|staticarray|string|map|set|arraybuffer|typedarray|error|date|function)\b[^\s)]*/,
    why: "a runtime symbol",
  },
  { pattern: /\$?__(new|renew|link|collect|visit|pin|unpin|alloc|realloc|free)\b[^\s)]*/, why: "a runtime symbol" },
  { pattern: /\bmemory\.grow\b/, why: "the memory grows" },
  { pattern: /\(global \S+ \(mut [^)]*\)/, why: "a mutable global" },
  { pattern: /\bcall_indirect\b|\bcall_ref\b/, why: "a call through a table, hence a closure or a virtual method" },
  { pattern: /\((?:throw|rethrow|throw_ref)\b|^\s*(?:throw|rethrow|throw_ref)\b/, why: "a throw" },
  { pattern: /\babort\b/, why: "an abort" },
];

/** Modules that a binary may import from. */
const IMPORT = /\(import "([^"]*)" "([^"]*)"/;

/**
 * @param {string} module
 * @param {string} name
 */
function importIsAllowed(module, name) {
  if (module.startsWith("[export]")) return /^\[resource-(new|rep|drop)\]/.test(name);
  return (module === "env" && name === "memory") || module.startsWith("wasi:");
}

const faults = [];
let functionCount = 0;

/** @param {string} form */
function checkText(form) {
  const functionCountBefore = functionCount;
  const text = readFileSync(new URL(form, ROOT), "utf8");
  for (const [index, line] of text.split("\n").entries()) {
    const place = `${form}:${index + 1}`;
    if (/^\s*\(func /.test(line)) functionCount++;
    if (/^\s*\(data /.test(line)) continue;
    const imported = IMPORT.exec(line);
    if (imported) {
      const [, module = "", name = ""] = imported;
      if (!importIsAllowed(module, name)) faults.push(`${place}: imports "${name}" of "${module}"`);
      continue;
    }
    for (const { pattern, why } of FORBIDDEN) {
      const found = pattern.exec(line);
      if (found) faults.push(`${place}: ${why}: ${found[0].trim()}`);
    }
  }
  if (functionCount === functionCountBefore) faults.push(`${form} holds no function`);
}

for (const form of TEXT_FORMS) checkText(form);

for (const file of sourceFiles(ROOT, ["assembly"])) {
  const source = withoutComments(readFileSync(new URL(file, ROOT), "utf8"), { literals: "blank" });
  for (const match of source.matchAll(/\bthrow\b/g)) faults.push(`${file}:${lineOf(source, match.index)}: a throw`);
}

for (const fault of faults.slice(0, 40)) console.error(fault);
if (faults.length > 40) console.error(`… and ${faults.length - 40} more`);
console.log(`no-gc: ${functionCount} functions, ${faults.length} faults`);
if (faults.length > 0) process.exitCode = 1;
