/** Fields of the structures on a device, as people and programs read them: numbers with their unit, codes by their name. */
import { type FieldValue, SEGMENT_KINDS } from "../../store/inspect.ts";
import { BLOCK_SIZE, type LAYOUT } from "../../store/layout.ts";
import type { Painter } from "./colors.ts";
import { formatBytes, formatCount } from "./text.ts";

/** A field as it is shown. `value` is what a program gets. */
export interface ShownField {
  name: string;
  value: string | number | boolean;
  text: string;
  meaning: string;
}

type Structure = keyof typeof LAYOUT;

const ENGINES = ["", "dual", "append-log", "hybrid-log", "lsm"];
const BLOCK_FLAGS = ["ends a group", "segment header", "ends its segment"];
const NO_RECORD = 0xffffn;
const FEATURES = new Set(["incompatible", "readCompatible", "compatible"]);
const BYTES = new Set(["used", "valueSize", "keySize"]);

/** The fields of a structure, without what is reserved; two halves of one value joined. */
export function shownFields(structure: Structure, fields: readonly FieldValue[]): ShownField[] {
  const shown: ShownField[] = [];
  for (const [index, { name, value, meaning: described }] of fields.entries()) {
    // The type is of no concern here.
    const meaning = described.replace(/^u\d+[,;:]?\s*/, "");
    if ((name.startsWith("reserved") || name === "checkHigh") && value === 0n) continue;
    if (/[a-z]High$/.test(name) && name !== "checkHigh") continue;
    if (name.endsWith("Low")) {
      const text = bytesHex(value) + bytesHex(fields[index + 1]?.value ?? 0n);
      shown.push({ name: name.slice(0, -3), value: text, text, meaning });
      continue;
    }
    const plain = valueIn(structure, name, value);
    shown.push({ name, value: plain, text: textIn(name, plain), meaning });
  }
  return shown;
}

/** Fields as one object. */
export function fieldObject(structure: Structure, fields: readonly FieldValue[]): Record<string, unknown> {
  return Object.fromEntries(shownFields(structure, fields).map(({ name, value }) => [name, value]));
}

/** Fields as lines: name, value, and what it means as far as the width allows. */
export function fieldLines(
  structure: Structure,
  fields: readonly FieldValue[],
  painter: Painter,
  width: number,
): string[] {
  const shown = shownFields(structure, fields);
  const names = Math.max(0, ...shown.map(({ name }) => name.length));
  const values = Math.min(32, Math.max(0, ...shown.map(({ text }) => text.length)));
  return shown.map(({ name, text, meaning }) => {
    const left = `  ${name.padEnd(names)}  ${text.padEnd(values)}`;
    const room = width - left.length - 2;
    if (meaning === "" || room < 24) return left.trimEnd();
    const short = meaning.length > room ? `${meaning.slice(0, room - 1).trimEnd()}…` : meaning;
    return `${left}  ${painter.dim(short)}`;
  });
}

function valueIn(structure: Structure, name: string, value: bigint): string | number | boolean {
  if (name === "magic") return asciiOf(value);
  if (name === "hashSeed") return "hidden";
  if (name.startsWith("check")) return `0x${value.toString(16).padStart(16, "0")}`;
  if (FEATURES.has(name)) return value === 0n ? "none" : `0x${value.toString(16)}`;
  if (name === "closed") return value === 1n;
  if (name === "engine") return ENGINES[Number(value)] ?? String(value);
  if (name === "kind" && structure === "SegmentHeader") return SEGMENT_KINDS[Number(value)] ?? String(value);
  if (name === "flags" && structure === "BlockHeader") {
    return BLOCK_FLAGS.filter((_, bit) => (value & (1n << BigInt(bit))) !== 0n).join(", ") || "none";
  }
  if (name === "first") return value === NO_RECORD ? "none" : Number(value);
  if (/generation$/i.test(name) && !(structure === "Superblock" && name === "generation")) return pairOf(value, 32n);
  if (/group$/i.test(name)) return pairOf(value, 40n);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : String(value);
}

function textIn(name: string, value: string | number | boolean): string {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "string") return value;
  if (name === "highestTimeMs") return value === 0 ? "none" : new Date(value).toISOString();
  if (name === "segmentBlocks") return `${formatCount(value)} (${formatBytes(value * BLOCK_SIZE)})`;
  if (BYTES.has(name)) return `${formatCount(value)} bytes`;
  return formatCount(value);
}

/** A mount's epoch and a count in it. */
function pairOf(value: bigint, bits: bigint): string {
  if (value === 0n) return "none";
  return `${value >> bits}.${value & ((1n << bits) - 1n)}`;
}

/** The bytes of a word in the order in which they lie on the device. */
function bytesHex(value: bigint): string {
  return (value.toString(16).padStart(16, "0").match(/../g) ?? []).reverse().join("");
}

function asciiOf(value: bigint): string {
  const bytes = (
    value
      .toString(16)
      .padStart(value > 0xffffffffn ? 16 : 8, "0")
      .match(/../g) ?? []
  ).reverse();
  const text = bytes.map((byte) => String.fromCharCode(Number.parseInt(byte, 16))).join("");
  return /^[\x20-\x7e]+$/.test(text) ? text : `0x${value.toString(16)}`;
}
