/**
 * Writes the tables of `docs/format.md` from `assembly/format/*.ts`: offsets and sizes from the views, meanings from
 * the diagram at each file's head. With `--check` nothing is written; it fails when the document differs.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = new URL("..", import.meta.url).pathname;
const FORMATS = join(ROOT, "assembly/format");
const DOCUMENT = join(ROOT, "docs/format.md");
/** @type {Record<string, number>} */
const SIZES = { u8: 1, u16: 2, u32: 4, u64: 8 };

/** @typedef {{ name: string, type: string, offset: number, size: number, remark: string | undefined }} Field */
/** @typedef {{ name: string, fields: Field[], size: number }} View */

/**
 * The `@unmanaged` views of a source file, with their fields.
 * @param {string} source
 * @returns {View[]}
 */
function viewsOf(source) {
  /** @type {View[]} */
  const views = [];
  for (const [, name = "", body = ""] of source.matchAll(/@unmanaged\s+export class (\w+) \{([\s\S]*?)\n\}/g)) {
    let offset = 0;
    /** @type {Field[]} */
    const fields = [];
    for (const [, remark, field = "", type = ""] of body.matchAll(
      /(?:^ {2}\/\*\* (.*?) \*\/\n)?^ {2}(\w+): (\w+);/gm,
    )) {
      const size = SIZES[type];
      if (size === undefined)
        throw new Error(`${name}.${field} has the type ${type}, which this script does not know.`);
      offset = Math.ceil(offset / size) * size;
      fields.push({ name: field, type, offset, size, remark });
      offset += size;
    }
    views.push({ name, fields, size: offset });
  }
  return views;
}

/**
 * Meanings by offset, from lines such as ` *    40  used   bytes of ...` of the head's diagram; later lines go on.
 * @param {string} source
 * @returns {Map<number, string>}
 */
function meaningsOf(source) {
  const head = source.slice(0, source.indexOf("*/"));
  const meanings = new Map();
  /** @type {number | undefined} */
  let current;
  let inside = false;
  for (const line of head.split("\n")) {
    if (line.includes("```")) {
      inside = !inside;
      continue;
    }
    if (!inside) continue;
    const cells = [...line.matchAll(/(?:^ \*|\s{2,})\s*(\d+) {2}([a-z0-9][^\n]*?)(?=\s{3,}\d+ {2}|$)/gi)];
    if (cells.length > 0) {
      for (const [, offset, text = ""] of cells) {
        current = Number(offset);
        meanings.set(current, text.trim().replace(/^.*?\s{2,}/, ""));
      }
    } else if (current !== undefined) {
      meanings.set(current, `${meanings.get(current)} ${line.replace(/^ \*\s*/, "").trim()}`.trim());
    }
  }
  return meanings;
}

/**
 * @param {View} view
 * @param {Map<number, string>} meanings
 * @param {boolean} describe whether the diagram is of this view
 */
function tableOf(view, meanings, describe) {
  const rows = ["| offset | bytes | field | meaning |", "|---:|---:|---|---|"];
  for (const field of view.fields) {
    const meaning = (describe ? meanings.get(field.offset) : field.remark) ?? "";
    if (describe && meaning === "" && !field.name.startsWith("reserved") && !/High$/.test(field.name)) {
      throw new Error(`${view.name}.${field.name} at ${field.offset} is missing in the diagram of its file.`);
    }
    rows.push(`| ${field.offset} | ${field.size} | \`${field.name}\` | ${meaning.replaceAll("|", "\\|")} |`);
  }
  return `${rows.join("\n")}\n\n${view.size} bytes.`;
}

const files = readdirSync(FORMATS).filter((name) => name.endsWith(".ts"));
const tables = new Map();
for (const file of files) {
  const source = readFileSync(join(FORMATS, file), "utf8");
  const views = viewsOf(source);
  views.forEach((view, index) => {
    tables.set(view.name, tableOf(view, meaningsOf(source), index === 0));
  });
}

const before = readFileSync(DOCUMENT, "utf8");
const used = new Set();
const after = before.replace(/<!-- table (\w+) -->[\s\S]*?<!-- end -->/g, (_, name) => {
  const table = tables.get(name);
  if (table === undefined) throw new Error(`docs/format.md asks for the view ${name}, which does not exist.`);
  used.add(name);
  return `<!-- table ${name} -->\n\n${table}\n\n<!-- end -->`;
});
for (const name of tables.keys()) {
  if (!used.has(name)) throw new Error(`docs/format.md has no table for the view ${name}.`);
}
if (process.argv.includes("--check")) {
  if (after !== before) {
    console.error("docs/format.md differs from assembly/format. Run: node scripts/format-docs.mjs");
    process.exit(1);
  }
} else if (after !== before) {
  writeFileSync(DOCUMENT, after);
}
