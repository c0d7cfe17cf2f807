/** NDJSON: one JSON object a line. */
import { type FieldNames, kindOf, type Row, rowOf, withoutByteOrderMark } from "./rows.ts";
import { bytesOf, textOf } from "./text.ts";

/** A longer line is a fault: it bounds the memory of a file that has no line breaks. */
const LINE_SIZE_MAX = 128 * 1024 * 1024;

const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;

/** Reads the rows of `chunks`. Blank lines count as lines and give no row. */
export async function* readNdjson(chunks: AsyncIterable<Uint8Array>, fields: FieldNames): AsyncGenerator<Row[]> {
  for await (const lines of readLines(chunks)) {
    const rows: Row[] = [];
    for (const { line, bytes } of lines) {
      const row = bytes === undefined ? { line, fault: "the line is over 128 MiB" } : rowOfLine(line, bytes, fields);
      if (row) rows.push(row);
    }
    yield rows;
  }
}

function rowOfLine(line: number, bytes: Uint8Array, fields: FieldNames): Row | undefined {
  const text = textOf(bytes);
  if (text === undefined) return { line, fault: "it is not UTF-8" };
  if (text.trim() === "") return undefined;
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    const hint =
      /^\s*\[/.test(text) && line === 1 ? "; a file that is one JSON array must be split into lines first" : "";
    return { line, fault: `it is not JSON: ${(error as Error).message}${hint}` };
  }
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    return { line, fault: `it is ${kindOf(document)}, not an object` };
  }

  const key = fieldOf(document, fields.key);
  if (fields.value === undefined) return rowOf(line, fields.key, key, bytes);
  const value = fieldOf(document, fields.value);
  if (value === undefined) return { line, fault: `the value field ${JSON.stringify(fields.value)} is missing` };
  return rowOf(line, fields.key, key, bytesOf(typeof value === "string" ? value : JSON.stringify(value)));
}

/** The member `name`, or else the one at the dotted path `name`. */
function fieldOf(document: object, name: string): unknown {
  if (Object.hasOwn(document, name)) return (document as Record<string, unknown>)[name];
  let at: unknown = document;
  for (const step of name.split(".")) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, step)) return undefined;
    at = (at as Record<string, unknown>)[step];
  }
  return at;
}

/** Splits into lines without their ends; `bytes` is `undefined` for one that is too long. */
async function* readLines(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ line: number; bytes: Uint8Array | undefined }[]> {
  let line = 0;
  let pieces: Uint8Array[] = [];
  let size = 0;

  const endLine = (last: Uint8Array): { line: number; bytes: Uint8Array | undefined } => {
    line += 1;
    let bytes: Uint8Array | undefined;
    if (size + last.length <= LINE_SIZE_MAX) bytes = pieces.length === 0 ? last : Buffer.concat([...pieces, last]);
    pieces = [];
    size = 0;
    if (bytes?.at(-1) === CARRIAGE_RETURN) bytes = bytes.subarray(0, -1);
    return { line, bytes };
  };

  for await (const chunk of withoutByteOrderMark(chunks)) {
    const lines = [];
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      lines.push(endLine(chunk.subarray(start, end)));
      start = end + 1;
    }
    const rest = chunk.subarray(start);
    size += rest.length;
    if (size <= LINE_SIZE_MAX) pieces.push(rest);
    else pieces = [];
    yield lines;
  }
  if (size > 0) yield [endLine(new Uint8Array(0))];
}
