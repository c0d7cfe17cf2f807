/** Lists of entries: what a selector and a cursor name, read a batch at a time. */

import { CairnError } from "cairn-kv";
import { behind, compareKeys, startsWith } from "../key-bytes.ts";
import { decodeKey, encodeKey } from "./keys.ts";
import type { KvEntry, KvListIterator, KvListOptions, KvListSelector } from "./types.ts";

/** Keys from `lower` to before `upper`; cursors leave out the bytes that all of them have in common. */
interface Selection {
  lower: Uint8Array;
  upper: Uint8Array;
  commonSize: number;
}

/** Reads up to `count` entries of a span, in its direction, all of one moment. */
export type ReadBatch = (
  span: { gte: Uint8Array; lt: Uint8Array; reverse: boolean },
  count: number,
) => Promise<{ bytes: Uint8Array; value: unknown; versionstamp: string }[]>;

const BATCH_SIZE_DEFAULT = 100;

/** A list that has not read anything yet. */
export function listOf<T>(selector: KvListSelector, options: KvListOptions, read: ReadBatch): KvListIterator<T> {
  const selection = selectionOf(selector);
  const { reverse = false, limit, cursor, batchSize = BATCH_SIZE_DEFAULT, consistency } = options;
  if (limit !== undefined && !isCount(limit)) throw invalid(`limit must be a positive integer, not ${limit}.`);
  if (!isCount(batchSize)) throw invalid(`batchSize must be a positive integer, not ${batchSize}.`);
  if (consistency !== undefined && consistency !== "strong" && consistency !== "eventual") {
    throw invalid(`consistency must be "strong" or "eventual", not ${consistency}.`);
  }
  if (cursor !== undefined && cursor !== "") {
    const last = keyOfCursor(cursor, selection);
    if (reverse) selection.upper = last;
    else selection.lower = behind(last);
  }
  return new List<T>(selection, reverse, limit ?? Number.POSITIVE_INFINITY, batchSize, read);
}

class List<T> implements KvListIterator<T> {
  private readonly selection: Selection;
  private readonly reverse: boolean;
  private readonly batchSize: number;
  private readonly read: ReadBatch;
  private left: number;
  private batch: Awaited<ReturnType<ReadBatch>> = [];
  private position = 0;
  private last: Uint8Array | undefined;
  private isOver = false;

  constructor(selection: Selection, reverse: boolean, limit: number, batchSize: number, read: ReadBatch) {
    this.selection = selection;
    this.reverse = reverse;
    this.left = limit;
    this.batchSize = batchSize;
    this.read = read;
  }

  get cursor(): string {
    if (this.last === undefined && this.isOver) return "";
    if (this.last === undefined) throw invalid("there is no cursor before the first entry. Call next first.");
    return toBase64(this.last.subarray(this.selection.commonSize));
  }

  async next(): Promise<IteratorResult<KvEntry<T>, undefined>> {
    if (this.left === 0 || this.isOver) return { done: true, value: undefined };
    if (this.position === this.batch.length) {
      const { lower: gte, upper: lt } = this.selection;
      this.position = 0;
      this.batch = await this.read({ gte, lt, reverse: this.reverse }, Math.min(this.batchSize, this.left));
      const end = this.batch.at(-1);
      this.isOver = end === undefined;
      if (end === undefined) return { done: true, value: undefined };
      if (this.reverse) this.selection.upper = end.bytes;
      else this.selection.lower = behind(end.bytes);
    }
    const { bytes, value, versionstamp } = this.batch[this.position++] as (typeof this.batch)[number];
    this.left -= 1;
    this.last = bytes;
    return { done: false, value: { key: decodeKey(bytes), value: value as T, versionstamp } };
  }

  async return(): Promise<IteratorResult<KvEntry<T>, undefined>> {
    this.isOver = true;
    this.batch = [];
    this.position = 0;
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

function selectionOf(selector: KvListSelector): Selection {
  const { prefix, start, end } = selector as {
    prefix?: readonly never[];
    start?: readonly never[];
    end?: readonly never[];
  };
  if (prefix !== undefined) {
    if (start !== undefined && end !== undefined)
      throw invalid("a selector has a prefix, or start and end, not all three.");
    const common = encodeKey(prefix, "list");
    const lower = start === undefined ? withByte(common, 0) : encodeKey(start, "list");
    const upper = end === undefined ? withByte(common, 0xff) : encodeKey(end, "list");
    if (start !== undefined && !startsWith(lower, common))
      throw invalid("the start of a selector lies outside of its prefix.");
    if (end !== undefined && !startsWith(upper, common))
      throw invalid("the end of a selector lies outside of its prefix.");
    return { lower, upper, commonSize: common.length };
  }
  if (start === undefined || end === undefined) throw invalid("a selector has a prefix, or both start and end.");
  const lower = encodeKey(start, "list");
  const upper = encodeKey(end, "list");
  if (compareKeys(lower, upper) > 0) throw invalid("the start of a selector lies behind its end.");
  let commonSize = 0;
  while (commonSize < lower.length && lower[commonSize] === upper[commonSize]) commonSize++;
  return { lower, upper, commonSize };
}

function keyOfCursor(cursor: string, { lower, upper, commonSize }: Selection): Uint8Array {
  let rest: Uint8Array;
  try {
    rest = Uint8Array.from(atob(cursor.replaceAll("-", "+").replaceAll("_", "/")), (character) =>
      character.charCodeAt(0),
    );
  } catch (cause) {
    throw invalid("the cursor is none that a list gave.", cause);
  }
  const key = new Uint8Array(commonSize + rest.length);
  key.set(lower.subarray(0, commonSize));
  key.set(rest, commonSize);
  if (compareKeys(key, lower) < 0 || compareKeys(key, upper) >= 0)
    throw invalid("the cursor lies outside of the selector.");
  return key;
}

/** Base 64 with the characters of URLs, as Deno's cursors have it. */
function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_");
}

function isCount(value: unknown): boolean {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0;
}

function withByte(bytes: Uint8Array, byte: number): Uint8Array {
  const longer = new Uint8Array(bytes.length + 1);
  longer.set(bytes);
  longer[bytes.length] = byte;
  return longer;
}

function invalid(message: string, cause?: unknown): CairnError {
  return new CairnError("INVALID_ARGUMENT", "list", `list: ${message}`, { cause });
}
