/** One record: read, written, patched, counted up, deleted. */
import { ServerFailure } from "../failure.ts";
import type { ServedEntry, ServedWriteOptions } from "../operations.ts";
import { type ReplyHeaders, reply } from "../reply.ts";
import { hasOtherCharset, mediaType, preferred } from "./accept.ts";
import { JSON_TYPE, jsonAnswer, taggedAnswer, tagOf } from "./answers.ts";
import { bodyOf, objectOfBody, parsedJson, textOf } from "./body.ts";
import { type Call, notFound } from "./call.ts";
import { conditionFailed, isUnchanged, writeCondition } from "./conditions.ts";
import {
  flagMember,
  HPKV_KEY_SIZE_MAX,
  hpkvValueMember,
  incrementMember,
  keyMember,
  type Members,
  recordMembers,
  writeOptionsOf,
} from "./members.ts";

type Key = string | Uint8Array;

export const TEXT_TYPE = "text/plain";
export const BYTES_TYPE = "application/octet-stream";
const FORMS = [
  [JSON_TYPE, "json"],
  [TEXT_TYPE, "text"],
  [BYTES_TYPE, "bytes"],
] as const;

/** Where a record that expires says when. */
export const EXPIRES_HEADER = "x-expires-at";

/** `GET /record/{key}` */
export function getRecord(call: Call): Response | Promise<Response> {
  const key = call.key();
  call.allow("read", key);
  const snapshot = call.hasQuery ? call.query.text("snapshot") : undefined;
  const found = snapshot === undefined ? call.operations.getEntrySoon(key) : entryAt(call, key, snapshot);
  if (!(found instanceof Promise)) return found === undefined ? missing(call) : recordAnswer(call, key, found);
  return found.then((entry) => (entry === undefined ? missing(call) : recordAnswer(call, key, entry)));
}

function entryAt(call: Call, key: Key, snapshot: string): Promise<ServedEntry | undefined> {
  const { operations } = call;
  return call.rest.snapshots.use(snapshot, call.principal.tenant, (view) => operations.getEntryAt(key, view));
}

function missing(call: Call): never {
  // A condition that names a version does not hold for what is not there.
  if (call.header("if-match") !== undefined) throw conditionFailed();
  throw notFound();
}

function recordAnswer(call: Call, key: Key, { value, version, expiresAt }: ServedEntry): Response {
  if (isUnchanged(call, version)) return reply(304, null, { etag: tagOf(version) });
  const form = preferred(call.header("accept"), FORMS);
  if (form === "json") {
    const expiry = expiresAt === undefined ? "" : `,"expiresAt":${expiresAt}`;
    return taggedAnswer(`{${recordMembers(key, value)}${expiry}}`, version);
  }
  const headers: ReplyHeaders = { "content-type": JSON_TYPE, etag: tagOf(version) };
  if (expiresAt !== undefined) headers[EXPIRES_HEADER] = String(expiresAt);
  headers["x-content-type-options"] = "nosniff";
  if (form === "bytes") return reply(200, value, { ...headers, "content-type": BYTES_TYPE });
  if (typeof value === "string")
    return reply(200, value, { ...headers, "content-type": `${TEXT_TYPE}; charset=utf-8` });
  throw new ServerFailure(406, `The value is no UTF-8 text. Accept ${BYTES_TYPE} or ${JSON_TYPE}.`);
}

/** `POST /record` */
export function postRecord(call: Call): Response | Promise<Response> {
  const body = objectOfBody(call);
  // Each step less between a request and its write counts: no await where nothing is waited for.
  return body instanceof Promise ? body.then((members) => posted(call, members)) : posted(call, body);
}

function posted(call: Call, body: Members): Promise<Response> {
  const key = keyMember(body, HPKV_KEY_SIZE_MAX);
  call.allow("write", key);
  const { valueSizeLimit } = call.rest.settings;
  const value = hpkvValueMember(body, valueSizeLimit);
  const isPartial = flagMember(body, "partialUpdate");
  const options = writeOptionsOf(call, body);
  if (!isPartial) return written(call, key, value, options, "Record stored");
  return patched(call, key, value, options);
}

async function patched(
  call: Call,
  key: Key,
  value: string | Uint8Array,
  options: ServedWriteOptions | undefined,
): Promise<Response> {
  const asked = await conditional(call, key, options);
  const { operations } = call;
  const done = operations.patchIf(key, value, call.rest.settings.valueSizeLimit - 1, asked);
  const version = operations.versionOf(done);
  if (!(await done)) throw conditionFailed();
  return doneAnswer("Record updated", await version, options?.expiresAt);
}

/** `PUT /record/{key}` */
export async function putRecord(call: Call): Promise<Response> {
  const key = call.key();
  call.allow("write", key);
  const options = writeOptionsOf(call, {});
  const contentType = call.header("content-type");
  const type = mediaType(contentType);
  const isText = type.startsWith("text/") || type === JSON_TYPE;
  if (isText && hasOtherCharset(contentType)) throw new ServerFailure(415, "Text must be UTF-8.");
  const bytes = await bodyOf(call, call.rest.settings.bodyBytes);
  if (isText) {
    const text = textOf(bytes);
    if (type === JSON_TYPE) parsedJson(text);
  }
  return written(call, key, bytes, options, "Record stored");
}

function written(
  call: Call,
  key: Key,
  value: string | Uint8Array,
  options: ServedWriteOptions | undefined,
  message: string,
): Promise<Response> {
  const write = (asked: ServedWriteOptions | undefined): Promise<Response> => {
    const { operations } = call;
    const done = operations.put(key, value, asked);
    const made = operations.versionOf(done);
    return done.then((isDone) => {
      if (!isDone) throw conditionFailed();
      // Another turn only where it is not here yet.
      if (made instanceof Promise) return made.then((version) => doneAnswer(message, version, options?.expiresAt));
      return doneAnswer(message, made, options?.expiresAt);
    });
  };
  const asked = conditional(call, key, options);
  return asked instanceof Promise ? asked.then(write) : write(asked);
}

/** `DELETE /record/{key}` */
export async function deleteRecord(call: Call): Promise<Response> {
  const key = call.key();
  call.allow("delete", key);
  const options = writeOptionsOf(call, {});
  if (options?.expiresAt !== undefined) throw new ServerFailure(400, "A deletion has no time to live.");
  const asked = await conditional(call, key, options);
  if (await call.operations.delete(key, asked)) return doneAnswer("Record deleted");
  if (asked?.ifVersion !== undefined) throw conditionFailed();
  throw notFound();
}

/** `POST /record/atomic` */
export async function postAtomic(call: Call): Promise<Response> {
  const body = await objectOfBody(call);
  const key = keyMember(body, HPKV_KEY_SIZE_MAX);
  call.allow("write", key);
  // It tells what was there.
  call.allow("read", key);
  const by = incrementMember(body);
  if (writeOptionsOf(call, body) !== undefined) {
    throw new ServerFailure(400, "An increment takes no expiry and no timestamp: the record keeps those that it has.");
  }
  const condition = await writeCondition(call, key);
  const { operations } = call;
  const counted = condition === undefined ? operations.increment(key, by) : operations.incrementIf(key, by, condition);
  const made = operations.versionOf(counted);
  const sum = await counted;
  if (sum === undefined) throw conditionFailed();
  const text = `{"success":true,"result":${sum},"newValue":${sum},${recordMembers(key, undefined)},"message":"Counter updated"}`;
  const version = await made;
  return version === undefined ? jsonAnswer(200, text) : taggedAnswer(text, version);
}

/** Options with the condition that the request's headers make; `undefined` where there are none. */
function conditional(
  call: Call,
  key: Key,
  options: ServedWriteOptions | undefined,
): ServedWriteOptions | undefined | Promise<ServedWriteOptions | undefined> {
  const condition = writeCondition(call, key);
  if (condition === undefined) return options;
  if (condition instanceof Promise) return condition.then((ifVersion) => ({ ...options, ifVersion }));
  return { ...options, ifVersion: condition };
}

function doneAnswer(message: string, version?: number, expiresAt?: number): Response {
  const expiry = expiresAt === undefined ? "" : `,"expiresAt":${expiresAt}`;
  const text = `{"success":true,"message":"${message}"${expiry}}`;
  return version === undefined ? jsonAnswer(200, text) : taggedAnswer(text, version);
}
