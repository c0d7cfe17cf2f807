/**
 * The arguments of calls as they came over the network, checked before anything looks at them: each is what the call takes, or the call is
 * refused with `INVALID_ARGUMENT`. What the store checks itself, in its own words, is left to it: options, offsets, sizes, numbers to add.
 */
import type { CborReader } from "../../../store/connection/cbor.ts";
import { MalformedError } from "../../../store/connection/cbor.ts";
import {
  ARGUMENT_COUNTS,
  type WireCall,
  type WireFace,
  type WireOperation,
  type WireRange,
  type WireWatch,
} from "../../../store/connection/wire.ts";
import { invalid } from "../../../store/refusals.ts";

/** Entries that one answer of a walk has at most. */
const BLOCK_COUNT_MAX = 4096;
/** Names of nested namespaces that a face may have: more do not fit a key. */
const PATH_LENGTH_MAX = 512;
const WALK_KINDS = ["entries", "keys", "values"];

const decoder = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

/** Reads the arguments of a call. Keys, values and all other text are bytes, which are views on the frame. */
export function readArguments(reader: CborReader, call: WireCall, args: unknown[]): void {
  const count = ARGUMENT_COUNTS[call];
  args.length = count;
  for (let i = 0; i < count; i++) args[i] = reader.bytesOrValue();
}

/** Reads a face. One that is malformed is `MalformedError`: no call behind it would be done where it was meant to be. */
export function readFace(reader: CborReader, owner: string): WireFace | undefined {
  const value = reader.value();
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || value.length > PATH_LENGTH_MAX) throw new MalformedError("a face is no array of names");
  const last: unknown = value.at(-1);
  const view = typeof last === "number" ? last : undefined;
  const path = view === undefined ? value : value.slice(0, -1);
  if (!path.every((name) => typeof name === "string")) throw new MalformedError("a name of a namespace is no text");
  const face = { path: path as string[], keysAreText: false, valuesAreText: false };
  return view === undefined ? face : { ...face, view, owner };
}

/** Checks arguments, and puts what the call takes in their places. `INVALID_ARGUMENT`. */
export function checkArguments(call: WireCall, args: unknown[], keysMax: number): void {
  switch (call) {
    case "get":
    case "getEntry":
    case "has":
    case "delete":
    case "del":
    case "increment":
      bytes(args[0], call);
      return;
    case "set":
    case "put":
    case "append":
      bytes(args[0], call);
      bytes(args[1], call);
      return;
    case "patch":
      bytes(args[0], call);
      bytes(args[2], call);
      return;
    case "getMany":
      list(args[0], keysMax, call).forEach((key) => void bytes(key, call));
      return;
    case "batch":
    case "batchDurable":
      args[0] = list(args[0], keysMax, call).map(operation);
      return;
    case "count":
    case "clear":
      args[0] = range(args[0], call);
      return;
    case "walk":
      args[0] = text(args[0], call);
      if (!WALK_KINDS.includes(args[0] as string)) throw invalid(call, "there is no walk of this kind.");
      args[1] = range(args[1], call);
      args[2] = blockCount(args[2], call);
      return;
    case "next":
      id(args[0], call);
      args[1] = blockCount(args[1], call);
      if (args[2] !== undefined) bytes(args[2], call);
      return;
    case "watch":
      args[0] = watch(args[0]);
      return;
    case "verify":
      args[0] = args[0] === true;
      return;
    case "backup":
      if (args[0] !== undefined) id(args[0], call);
      return;
    case "end":
    case "release":
    case "changes":
    case "unwatch":
    case "backupPart":
    case "backupEnd":
      id(args[0], call);
      return;
  }
}

function operation(given: unknown): WireOperation {
  if (!Array.isArray(given) || given.length === 0 || given.length > 4) {
    throw invalid("batch", "an operation must have a key, and may have a value, options and a namespace.");
  }
  const [key, value, options, path] = given as unknown[];
  bytes(key, "batch");
  if (value !== undefined) bytes(value, "batch");
  const done: unknown[] = [key, value, options];
  if (path !== undefined) done.push(list(path, PATH_LENGTH_MAX, "batch").map((name) => text(name, "batch")));
  return done as unknown as WireOperation;
}

/** A range of its four members alone: whatever else it has is nobody's bound. */
function range(given: unknown, call: WireCall): WireRange {
  const { gte, lt, reverse = false, limit } = members(given, call);
  if (gte !== undefined) bytes(gte, call);
  if (lt !== undefined) bytes(lt, call);
  if (typeof reverse !== "boolean") throw invalid(call, "reverse must be true or false.");
  if (limit !== undefined && typeof limit !== "number") throw invalid(call, "limit must be a number.");
  return { gte: gte as Uint8Array | undefined, lt: lt as Uint8Array | undefined, reverse, limit };
}

function watch(given: unknown): WireWatch {
  const { what, since, owner, bufferBytes } = members(given, "watch");
  if (since !== undefined) id(since, "watch");
  if (bufferBytes !== undefined) id(bufferBytes, "watch");
  const { gte, lt } = Array.isArray(what) ? {} : range(what, "watch");
  return {
    what: Array.isArray(what) ? what.map((key) => bytes(key, "watch")) : { gte, lt },
    since: since as number | undefined,
    owner: owner === undefined ? undefined : text(owner, "watch"),
    bufferBytes: bufferBytes as number | undefined,
  };
}

function members(given: unknown, call: WireCall): Record<string, unknown> {
  if (typeof given === "object" && given !== null && !Array.isArray(given) && !(given instanceof Uint8Array)) {
    return given as Record<string, unknown>;
  }
  throw invalid(call, "an object is missing.");
}

function list(given: unknown, countMax: number, call: WireCall): unknown[] {
  if (!Array.isArray(given)) throw invalid(call, "an array is missing.");
  if (given.length > countMax) throw invalid(call, `the server takes ${countMax} at once, not ${given.length}.`);
  return given;
}

function bytes(given: unknown, call: WireCall): Uint8Array {
  if (given instanceof Uint8Array) return given;
  throw invalid(call, "a key or a value must be text or bytes.");
}

function text(given: unknown, call: WireCall): string {
  try {
    return decoder.decode(bytes(given, call));
  } catch {
    throw invalid(call, "a name must be text.");
  }
}

function id(given: unknown, call: WireCall): number {
  if (Number.isSafeInteger(given) && (given as number) >= 0) return given as number;
  throw invalid(call, "a number, an integer from 0 on, is missing.");
}

function blockCount(given: unknown, call: WireCall): number {
  const count = id(given, call);
  if (count === 0) throw invalid(call, "a block has an entry at least.");
  return Math.min(count, BLOCK_COUNT_MAX);
}
