/** HPKV's partial update, as what a stored value becomes: JSON objects are merged (RFC 7396), anything else is appended. */
import { sizeOf } from "../../../store/batch.ts";
import { mergePatch } from "../../../store/merge-patch.ts";
import { ServerFailure } from "../failure.ts";
import { textOrBytes } from "./exact.ts";

type JsonObject = Record<string, unknown>;

/** What a partial update has made. */
export interface Patched {
  /** What is stored. */
  value: string | Uint8Array;
  /** The same with the members that the patch deleted as explicit `null`; `undefined`: it deleted none. */
  shown: string | undefined;
}

const encoder = new TextEncoder();

/** A partial update that can be applied to any stored value; whether it is a JSON object is looked at once. */
export class Patch {
  private readonly piece: string | Uint8Array;
  private readonly object: JsonObject | undefined;
  private readonly deletes: boolean;
  private readonly sizeMax: number;

  /** `sizeMax`: bytes that a result may have. */
  constructor(piece: string | Uint8Array, sizeMax: number) {
    this.piece = piece;
    this.object = objectOf(piece);
    this.deletes = this.object !== undefined && hasNull(this.object);
    this.sizeMax = sizeMax;
  }

  /** What a value becomes. A `ServerFailure` of 400 when it would be too large. */
  appliedTo(before: Uint8Array | undefined): Patched {
    const { piece, object } = this;
    if (before === undefined) return { value: this.checked(piece), shown: undefined };
    const stored = object === undefined ? undefined : objectOf(textOrBytes(before));
    if (object === undefined || stored === undefined) return { value: this.appended(before), shown: undefined };
    const merged = mergePatch(stored, object) as JsonObject;
    const value = this.checked(jsonOf(merged));
    return { value, shown: this.deletes ? jsonOf(withNulls(merged, object)) : undefined };
  }

  private appended(before: Uint8Array): Uint8Array {
    const { piece } = this;
    this.checkSize(before.length + sizeOf(piece));
    const bytes = typeof piece === "string" ? encoder.encode(piece) : piece;
    const whole = new Uint8Array(before.length + bytes.length);
    whole.set(before);
    whole.set(bytes, before.length);
    return whole;
  }

  private checked(value: string | Uint8Array): string | Uint8Array {
    this.checkSize(sizeOf(value));
    return value;
  }

  private checkSize(size: number): void {
    if (size <= this.sizeMax) return;
    throw new ServerFailure(
      400,
      `The updated value would have ${size} bytes; the limit is ${this.sizeMax}. Nothing was changed.`,
    );
  }
}

/** A value as the JSON object that its text is; `undefined` for any other. */
function objectOf(value: string | Uint8Array): JsonObject | undefined {
  const text = typeof value === "string" ? value : textOrBytes(value);
  if (typeof text !== "string" || !opensObject(text)) return undefined;
  try {
    return JSON.parse(text) as JsonObject;
  } catch {
    return undefined;
  }
}

/** The text of a document. Runtimes parse what is nested more deeply than they can write. */
function jsonOf(document: JsonObject): string {
  try {
    return JSON.stringify(document);
  } catch (cause) {
    const message = "The updated value would be nested too deeply. Nothing was changed.";
    throw new ServerFailure(400, message, undefined, { cause });
  }
}

/** Whether the first character of a JSON text, behind white space, begins an object: else nothing is parsed. */
function opensObject(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return unit === 0x7b;
  }
  return false;
}

/** Whether a patch deletes a member, at whatever depth. What lies in arrays is content. */
function hasNull(patch: JsonObject): boolean {
  const open: JsonObject[] = [patch];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    for (const member of Object.values(next)) {
      if (member === null) return true;
      if (isObject(member)) open.push(member);
    }
  }
  return false;
}

/** A merged document with `null` where its patch has one. Shares parts with it. */
function withNulls(merged: JsonObject, patch: JsonObject): JsonObject {
  const root = copyOf(merged);
  const open: [target: JsonObject, patch: JsonObject][] = [[root, patch]];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [target, from] = next;
    for (const [name, member] of Object.entries(from)) {
      if (member === null) {
        put(target, name, null);
      } else if (isObject(member)) {
        const inner = copyOf(target[name] as JsonObject);
        put(target, name, inner);
        open.push([inner, member]);
      }
    }
  }
  return root;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function copyOf(value: JsonObject): JsonObject {
  const copy: JsonObject = {};
  for (const [name, member] of Object.entries(value)) put(copy, name, member);
  return copy;
}

/** A member of the object's own, also when its name is `__proto__`. */
function put(target: JsonObject, name: string, value: unknown): void {
  if (name !== "__proto__") target[name] = value;
  else Object.defineProperty(target, name, { value, writable: true, enumerable: true, configurable: true });
}
