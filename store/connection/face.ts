/** What calls of a connection have in common: where they go, and how keys and values become bytes and come back. */
import type { Format } from "../encoding.ts";
import { CairnError } from "../error.ts";
import { encodeOf, named } from "../key-errors.ts";
import { checkBounded, type Range, type Span, spanOf, WHOLE, wholeOf } from "../range.ts";
import { invalid, refuseDetached } from "../refusals.ts";
import { NO_PREFIX } from "../scope.ts";
import type { Conversation, OnProgress } from "./conversation.ts";
import {
  decodeWire,
  isText,
  type WireBytes,
  type WireCall,
  type WireFace,
  type WireRange,
  type WireView,
} from "./wire.ts";

/** Bytes from this size on are handed over to the worker, not copied a second time. */
const TRANSFER_SIZE_MIN = 4096;

/** Keys of a store or of a namespace in it: the names that lead there, and its encodings. */
export interface Space {
  path: readonly string[];
  keys: Format;
  values: Format;
}

/** A space of a connection, as it is now, through a snapshot, or within a transaction. */
export class ConnectionFace implements Space {
  readonly conversation: Conversation;
  readonly path: readonly string[];
  readonly keys: Format;
  readonly values: Format;
  /** What goes over the wire. The store itself, as it is now, is what the owner takes where nothing is said. */
  private readonly wire: WireFace | undefined;

  /** `isPlain`: its encodings are those that the client was announced with. */
  constructor(conversation: Conversation, { path, keys, values }: Space, view?: WireView, isPlain = false) {
    this.conversation = conversation;
    this.path = path;
    this.keys = keys;
    this.values = values;
    if (isPlain && view === undefined && path.length === 0) return;
    this.wire = { path: [...path], keysAreText: isText(keys), valuesAreText: isText(values), ...view };
  }

  /** Calls the owner. */
  ask(call: WireCall, args: unknown[], transfer?: ArrayBuffer[], onProgress?: OnProgress): Promise<unknown> {
    return this.conversation.ask(call, args, { face: this.wire, transfer, onProgress });
  }

  /** A key in encoded form, of our own. */
  key(key: unknown, operation: string): WireBytes {
    return own(this.keys.encode(key, "key", operation));
  }

  /** The value of a key as the program gets it. */
  value(wire: unknown, key: unknown, operation: string): unknown {
    try {
      return wire === undefined ? undefined : decodeWire(this.values, wire, "value", operation);
    } catch (error) {
      throw named(error, key, this.values.name);
    }
  }

  /** The value for a key in encoded form, of our own. */
  encoded(value: unknown, key: unknown, operation: string): WireBytes {
    return own(encodeOf(this.values, value, key, operation));
  }

  /** A range in encoded form. What it names as its snapshot is not looked at. */
  range(range: unknown, operation: string): WireRange {
    const { keys } = this;
    const space = { keys, prefix: NO_PREFIX, whole: wholeOf(keys, NO_PREFIX) };
    const isWhole = range === undefined && operation === "clear";
    const span: Span = isWhole ? WHOLE : spanOf(range, space, operation);
    const limit = span.limit === Number.POSITIVE_INFINITY ? undefined : span.limit;
    return { gte: span.lower, lt: span.upper, reverse: span.reverse, limit };
  }

  /** A range to clear. */
  rangeToClear(range: unknown): WireRange {
    if ((range as Range | undefined)?.snapshot !== undefined) {
      throw invalid("clear", "a range to clear has no snapshot.");
    }
    const wire = this.range(range, "clear");
    if (wire.reverse || wire.limit !== undefined) {
      throw invalid("clear", "a range to clear has no reverse and no limit.");
    }
    checkBounded(range);
    return wire;
  }
}

/** The space of a connection's namespace, or of the connection itself. `INVALID_ARGUMENT` for another store's. */
export function spaceIn(sub: unknown, conversation: Conversation, operation: string): Space {
  const { face } = Object(sub) as { face?: unknown };
  if (face instanceof ConnectionFace && face.conversation === conversation) return face;
  throw invalid(operation, "a namespace must be what sub() of this connection has returned.");
}

/** What is appended, or written over, in a form of our own. */
export function pieceOf(bytes: unknown, operation: string): WireBytes {
  if (bytes instanceof Uint8Array) refuseDetached(bytes, "piece", operation);
  if (typeof bytes === "string" || bytes instanceof Uint8Array) return own(bytes);
  throw invalid(operation, "the bytes must be a string or a Uint8Array.");
}

/** Bytes of our own: the program may change its buffer once the call has returned, and a view would bring all of it. */
export function own(encoded: WireBytes): WireBytes {
  return typeof encoded === "string" ? encoded : new Uint8Array(encoded);
}

/** The buffers that need no copy. */
export function transferOf(encoded: WireBytes): ArrayBuffer[] | undefined {
  if (typeof encoded === "string" || encoded.length < TRANSFER_SIZE_MIN) return undefined;
  return [encoded.buffer as ArrayBuffer];
}

/** What writes of a connection that only reads are refused with. */
export function checkWritable(isReadOnly: boolean, operation: string): void {
  if (!isReadOnly) return;
  throw new CairnError("READ_ONLY", operation, `${operation}: the connection was opened with readOnly: true.`);
}
