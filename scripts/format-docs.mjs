/**
 * Writes the tables of `docs/format.md`, and `store/layout.ts` for programs that show what lies on a device, from
 * `assembly/format/*.ts`: offsets and sizes from the views, meanings from the diagram at each file's head. With
 * `--check` nothing is written; it fails when one of the two differs.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = new URL("..", import.meta.url).pathname;
const FORMATS = join(ROOT, "assembly/format");
const DOCUMENT = join(ROOT, "docs/format.md");
const LAYOUT = join(ROOT, "store/layout.ts");
const LINE_WIDTH = 120;
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
      // A second diagram is not of the view's fields.
      current = undefined;
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
 * @param {Field} field
 * @param {Map<number, string>} meanings
 * @param {boolean} describe whether the diagram is of this field's view
 * @returns {string}
 */
function meaningOf(field, meanings, describe) {
  return (describe ? meanings.get(field.offset) : field.remark) ?? "";
}

/**
 * A view's fields in TypeScript, formatted as biome does.
 * @param {View} view
 * @param {Map<number, string>} meanings
 * @param {boolean} describe whether the diagram is of this view
 */
function layoutOf(view, meanings, describe) {
  const lines = view.fields.flatMap((field) => {
    const text = literalOf(meaningOf(field, meanings, describe));
    const meaning = `      meaning: ${text},`;
    return [
      "    {",
      `      name: "${field.name}",`,
      `      offset: ${field.offset},`,
      `      size: ${field.size},`,
      ...(meaning.length > LINE_WIDTH ? ["      meaning:", `        ${text},`] : [meaning]),
      "    },",
    ];
  });
  return `  ${view.name}: [\n${lines.join("\n")}\n  ],`;
}

/** @param {string} text */
function literalOf(text) {
  return text.includes('"') && !text.includes("'") ? `'${text}'` : JSON.stringify(text);
}

/**
 * @param {View} view
 * @param {Map<number, string>} meanings
 * @param {boolean} describe whether the diagram is of this view
 */
function tableOf(view, meanings, describe) {
  const rows = ["| offset | bytes | field | meaning |", "|---:|---:|---|---|"];
  for (const field of view.fields) {
    const meaning = meaningOf(field, meanings, describe);
    if (describe && meaning === "" && !field.name.startsWith("reserved") && !/High$/.test(field.name)) {
      throw new Error(`${view.name}.${field.name} at ${field.offset} is missing in the diagram of its file.`);
    }
    rows.push(`| ${field.offset} | ${field.size} | \`${field.name}\` | ${meaning.replaceAll("|", "\\|")} |`);
  }
  return `${rows.join("\n")}\n\n${view.size} bytes.`;
}

const files = readdirSync(FORMATS).filter((name) => name.endsWith(".ts"));
const tables = new Map();
/** @type {string[]} */
const layouts = [];
for (const file of files) {
  const source = readFileSync(join(FORMATS, file), "utf8");
  const views = viewsOf(source);
  views.forEach((view, index) => {
    tables.set(view.name, tableOf(view, meaningsOf(source), index === 0));
    layouts.push(layoutOf(view, meaningsOf(source), index === 0));
  });
}

/** Numbers of the format that programs go by, with the file of `assembly/` that each stands in. */
const NUMBERS = {
  "limits.ts": ["BLOCK_SIZE", "SEGMENTS_OFFSET", "SUPERBLOCK_STRIDE", "SUPERBLOCK_COPIES"],
  "format/superblock.ts": [
    "FORMAT_VERSION",
    "INCOMPATIBLE_KNOWN",
    "ROOTS_OFFSET",
    "POINT_COUNT",
    "POINTS_OFFSET",
    "POINT_SIZE",
  ],
};
/** Sets of bits, which are read as words of 64 bits. */
const BITS = ["INCOMPATIBLE_KNOWN"];

/**
 * A constant of a source file, as one in TypeScript.
 * @param {string} source
 * @param {string} name
 */
function numberOf(source, name) {
  const [, value, shift] = source.match(new RegExp(`^export const ${name}: \\w+ = (\\d+)(?: << (\\d+))?;`, "m")) ?? [];
  if (value === undefined) throw new Error(`${name} is no number that this script knows.`);
  return `export const ${name} = ${Number(value) * 2 ** Number(shift ?? 0)}${BITS.includes(name) ? "n" : ""};`;
}

const numbers = Object.entries(NUMBERS).flatMap(([file, names]) => {
  const source = readFileSync(join(ROOT, "assembly", file), "utf8");
  return names.map((name) => numberOf(source, name));
});

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
const layout = `/**
 * Where the fields of the structures on the device lie, for programs that show them. Written from assembly/format by
 * scripts/format-docs.mjs; not to be changed by hand.
 */

/** A field: bytes from its structure's start, bytes of it (a little-endian number), and what it says. */
export interface LayoutField {
  name: string;
  offset: number;
  size: number;
  meaning: string;
}

${numbers.join("\n")}

export const LAYOUT = {
${layouts.join("\n")}
} as const satisfies Record<string, readonly LayoutField[]>;
`;

/** @type {[string, string, string][]} */
const outputs = [
  [DOCUMENT, before, after],
  [LAYOUT, existsSync(LAYOUT) ? readFileSync(LAYOUT, "utf8") : "", layout],
];
for (const [path, found, wanted] of outputs) {
  if (found === wanted) continue;
  if (process.argv.includes("--check")) {
    console.error(`${path.slice(ROOT.length)} differs from assembly/format. Run: node scripts/format-docs.mjs`);
    process.exitCode = 1;
  } else {
    writeFileSync(path, wanted);
  }
}
