/** Sources of store and hosts as builds with the planted bugs have them. */
import { type Bug, plantedSource } from "./bug.ts";
import { BUGS } from "./bugs.ts";

/** Where the core is given what it imports: in a test, nobody else gives it the number of the bug. */
const IMPORTING = {
  file: "store/core.ts",
  find: "WebAssembly.instantiate(host.module, imports)",
  replace:
    "WebAssembly.instantiate(host.module, { ...imports, env: { ...imports.env, planted: (globalThis as { planted?: number }).planted ?? 0 } })",
};

/** A source of store or hosts, by its name relative to the root, with all of its bugs. */
export function hostSource(file: string, text: string, bugs: readonly Bug[] = BUGS): string {
  const condition = (number: number): string => `((globalThis as { planted?: number }).planted === ${number})`;
  return plantedSource(file, text, bugs, condition);
}

/** The same for tests, whose hosts know nothing of the bug: the core imports its number from the global object. */
export function testedSource(file: string, text: string): string {
  const changed = hostSource(file, text);
  if (file !== IMPORTING.file) return changed;
  const parts = changed.split(IMPORTING.find);
  if (parts.length !== 2) throw new Error(`${file} instantiates the core in another way than this build knows`);
  return parts.join(IMPORTING.replace);
}
