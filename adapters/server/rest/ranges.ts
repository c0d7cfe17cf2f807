/** Ranges of records: pages, streams, counts, deletion. */
import { ServerFailure } from "../failure.ts";
import type { WalkRange } from "../operations/walk.ts";
import { reply } from "../reply.ts";
import type { View } from "../tenants.ts";
import { preferred } from "./accept.ts";
import { JSON_TYPE, jsonAnswer } from "./answers.ts";
import { isWellFormed } from "./base64.ts";
import { bytesOfKey, type Call } from "./call.ts";
import { recordMembers } from "./members.ts";
import { type PieceSource, streamOf } from "./streams.ts";

type Key = string | Uint8Array;

export const NDJSON_TYPE = "application/x-ndjson";
const FORMS = [
  [JSON_TYPE, "json"],
  [NDJSON_TYPE, "ndjson"],
] as const;
const LIMIT = 100;
const LIMIT_MAX = 1000;
/** Bytes of keys and values of a page, about. */
const PAGE_SIZE_MAX = 4 * 1024 * 1024;
/** Characters of what goes out at once of a stream. */
const PIECE_LENGTH = 65_536;
/** The longest key. */
const KEY_SIZE_MAX = 2048;

const encoder = new TextEncoder();

/** Which records a request is about, and which of them it may see. */
interface Asked {
  range: WalkRange;
  /** Records that are left out; `undefined`: none. */
  shows: ((key: Key) => boolean) | undefined;
}

/** `GET /records` */
export function getRecords(call: Call): Promise<Response> {
  const form = preferred(call.header("accept"), FORMS);
  const asked = askedOf(call, "range");
  const snapshot = call.query.text("snapshot");
  const body = (view?: WalkRange["view"]): Promise<Response> => {
    const range = { ...asked.range, view };
    return form === "json" ? page(call, range, asked.shows) : stream(call, range, asked.shows);
  };
  if (snapshot === undefined) return body();
  const { snapshots } = call.rest;
  if (form === "json") return snapshots.use(snapshot, call.principal.tenant, body);
  // In use until the stream ends.
  const held = snapshots.hold(snapshot, call.principal.tenant);
  const streamed = (view: View): Promise<Response> =>
    stream(call, { ...asked.range, view }, asked.shows, () => snapshots.letGo(snapshot, view));
  return held instanceof Promise ? held.then(streamed) : streamed(held);
}

async function page(call: Call, range: WalkRange, shows: Asked["shows"]): Promise<Response> {
  const limit = Math.min(call.query.integer("limit", 1) ?? LIMIT, LIMIT_MAX);
  const walk = call.operations.walk(shows === undefined ? { ...range, limit: limit + 1 } : range);
  let text = '{"records":[';
  let count = 0;
  let truncated = false;
  try {
    for (let record = await walk.next(); record !== undefined; record = await walk.next()) {
      if (shows !== undefined && !shows(record.key)) continue;
      const members = recordMembers(record.key, range.keysOnly === true ? undefined : record.value);
      truncated = count >= limit || (count > 0 && text.length + members.length > PAGE_SIZE_MAX);
      if (truncated) break;
      text += `${count === 0 ? "" : ","}{${members}}`;
      count++;
    }
  } finally {
    walk.end();
  }
  return jsonAnswer(200, `${text}],"count":${count},"truncated":${truncated}}`);
}

async function stream(call: Call, range: WalkRange, shows: Asked["shows"], letGo = (): void => {}): Promise<Response> {
  let walk: ReturnType<typeof call.operations.walk>;
  const limit = call.query.integer("limit", 1) ?? Number.POSITIVE_INFINITY;
  try {
    walk = call.operations.walk(shows === undefined && Number.isFinite(limit) ? { ...range, limit } : range);
  } catch (error) {
    letGo();
    throw error;
  }
  let left = limit;
  let isDone = false;
  const source: PieceSource = {
    async next() {
      let lines = "";
      while (!isDone && lines.length < PIECE_LENGTH) {
        const record = left > 0 ? await walk.next() : undefined;
        if (record === undefined) {
          isDone = true;
        } else if (shows === undefined || shows(record.key)) {
          left--;
          lines += `{${recordMembers(record.key, range.keysOnly === true ? undefined : record.value)}}\n`;
        }
      }
      return lines === "" ? undefined : encoder.encode(lines);
    },
    end() {
      walk.end();
      letGo();
    },
  };
  return reply(200, streamOf(call, source), { "content-type": NDJSON_TYPE });
}

/** `GET /records/count` */
export async function countRecords(call: Call): Promise<Response> {
  const { range, shows } = askedOf(call, "range");
  if (shows !== undefined) call.deny("range", range.gte ?? range.prefix, "count");
  const snapshot = call.query.text("snapshot");
  const { operations } = call;
  const count =
    snapshot === undefined
      ? await operations.count(range)
      : await call.rest.snapshots.use(snapshot, call.principal.tenant, (view) => operations.count({ ...range, view }));
  return jsonAnswer(200, `{"count":${count}}`);
}

/** `DELETE /records` */
export async function deleteRecords(call: Call): Promise<Response> {
  const { range, shows } = askedOf(call, "delete");
  if (shows !== undefined) call.deny("delete", range.gte ?? range.prefix, "clear");
  const { gte, gt, lte, prefix } = range;
  const bounds = { gte, gt, lte, prefix };
  const hasBound = Object.values(bounds).some((bound) => bound !== undefined && bound.length > 0);
  if (!hasBound && !call.query.flag("all")) {
    throw new ServerFailure(400, "Give a bound (start, end, after or prefix), or all=true for every record.");
  }
  const deleted = await call.operations.deleteRange(bounds);
  return jsonAnswer(200, `{"success":true,"deleted":${deleted}}`);
}

/** The range of a request's address. 403 where `verb` is not allowed for all of it. */
export function askedOf(call: Call, verb: "range" | "delete" | "watch"): Asked {
  const { query } = call;
  const start = boundOf(call, "start", query.textTwice("startKey") ?? query.text("start"));
  const end = boundOf(call, "end", query.textTwice("endKey") ?? query.text("end"));
  const after = boundOf(call, "after");
  const prefix = boundOf(call, "prefix");
  const range: WalkRange = { gte: start, lte: end, gt: after, prefix };
  if (query.flag("reverse")) range.reverse = true;
  if (query.flag("keysOnly")) range.keysOnly = true;
  return { range, shows: shownOf(call, verb, range) };
}

function shownOf(call: Call, verb: "range" | "delete" | "watch", range: WalkRange): Asked["shows"] {
  const { principal } = call;
  const { gte, gt, lte, prefix } = range;
  const start = gte ?? gt;
  if (!call.isToken) {
    const isAllowed =
      (prefix !== undefined && principal.mayRange(verb, prefix, lastWith(prefix))) ||
      principal.mayRange(verb, start, lte);
    if (!isAllowed) call.deny(verb, start ?? prefix);
    return undefined;
  }
  if (verb === "watch") return (key) => typeof key === "string" && principal.subscribes?.(key) === true;
  // A token's pattern says nothing of ranges: where it begins and ends must match, and so must each record.
  const ends = prefix === undefined ? [start, lte] : [prefix];
  if (!ends.every((key) => key !== undefined && principal.may(verb, key))) call.deny(verb, start ?? prefix);
  return (key) => principal.may(verb, key);
}

/** A key, or what keys begin with, of a request's address; `undefined`: it is not there. */
export function boundOf(call: Call, name: string, text = call.query.text(name)): Key | undefined {
  if (text === undefined) return undefined;
  return call.keysAreBase64 ? bytesOfKey(text, name) : wellFormed(text, name);
}

/** The last key that can start with a prefix. */
export function lastWith(prefix: Key): Uint8Array {
  const bytes = typeof prefix === "string" ? encoder.encode(prefix) : prefix;
  const last = new Uint8Array(Math.max(KEY_SIZE_MAX, bytes.length)).fill(0xff);
  last.set(bytes);
  return last;
}

function wellFormed(text: string, name: string): string {
  if (isWellFormed(text)) return text;
  throw new ServerFailure(400, `${name} is no Unicode text.`);
}
