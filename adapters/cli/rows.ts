/**
 * Rows to load: what NDJSON and CSV have in common.
 *
 * A reader yields groups of rows, so that a row costs no turn of the event loop. A row holds a record, or says what is wrong
 * with its line; the lines after it are good to read all the same. What ends the reading itself is thrown.
 */
import { KEY_SIZE_MAX, VALUE_SIZE_MAX } from "../../store/store.ts";
import { bytesOf, formatCount } from "./text.ts";

const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

/** What one line, or one CSV row, gives. `line` counts from 1. */
export type Row = { line: number; key: Uint8Array; value: Uint8Array } | { line: number; fault: string };

/** Which fields make the record. */
export interface FieldNames {
  key: string;
  /** Absent: the whole line, or the whole CSV row as a JSON object, is the value. */
  value?: string;
}

/**
 * A row of `key` and `value`, or of what is wrong with them. `keyField` is named in faults. The store's limits are checked
 * here, so that one bad row does not refuse its whole batch.
 */
export function rowOf(line: number, keyField: string, key: unknown, value: Uint8Array | undefined): Row {
  const field = JSON.stringify(keyField);
  if (typeof key === "number" && Number.isInteger(key) && !Number.isSafeInteger(key)) {
    return { line, fault: `the key field ${field} is a number too large to be exact; write it as a string` };
  }
  if (typeof key !== "string" && typeof key !== "number") {
    return { line, fault: `the key field ${field} is ${kindOf(key)}, not a string or a number` };
  }
  const bytes = bytesOf(String(key));
  if (!bytes || !value) return { line, fault: `the ${bytes ? "value" : "key"} is not well-formed Unicode` };
  if (bytes.length === 0) return { line, fault: `the key field ${field} is empty` };
  if (bytes.length > KEY_SIZE_MAX) {
    return { line, fault: `the key is ${formatCount(bytes.length)} bytes long; at most ${formatCount(KEY_SIZE_MAX)}` };
  }
  if (value.length > VALUE_SIZE_MAX) {
    return { line, fault: `the value is ${formatCount(value.length)} bytes long; at most 64 MiB` };
  }
  return { line, key: bytes, value };
}

/** What `value` is, in the words of JSON. */
export function kindOf(value: unknown): string {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** `chunks` without the byte order mark that they may begin with. */
export async function* withoutByteOrderMark(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let start: Uint8Array | undefined = new Uint8Array(0);
  for await (const chunk of chunks) {
    if (!start) {
      yield chunk;
      continue;
    }
    start = Buffer.concat([start, chunk]);
    if (start.length < BYTE_ORDER_MARK.length) continue;
    yield withoutMark(start);
    start = undefined;
  }
  if (start) yield start;
}

function withoutMark(bytes: Uint8Array): Uint8Array {
  const hasMark = BYTE_ORDER_MARK.every((byte, index) => bytes[index] === byte);
  return hasMark ? bytes.subarray(BYTE_ORDER_MARK.length) : bytes;
}
