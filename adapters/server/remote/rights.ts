/**
 * What a connection may do: each call held against its principal's rights, before it is done.
 *
 * 1. Keys in a namespace within the tenant's are beyond what a role names by prefix or pattern: whoever uses them needs the verb for all keys.
 * 2. What is about the store as a whole needs `admin` of the whole: of a tenant that operates the store.
 * 3. In the store itself lie other tenants' namespaces, behind the byte 0xff: whoever is no admin reaches none of it, by no key, range
 *    or name.
 */
import type { WireCall, WireFace, WireOperation, WireRange, WireWatch } from "../../../store/connection/wire.ts";
import { CairnError } from "../../../store/error.ts";
import { KEY_SIZE_MAX } from "../../../store/refusals.ts";
import { type Principal, VERBS, type Verb } from "../principal.ts";

/** The first byte of all keys of namespaces. */
const NAMESPACE = 0xff;
const NAMESPACES = Uint8Array.of(NAMESPACE);

const decoder = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

/** Who is told, for the audit log. */
export interface RightsTold {
  /** `call` was refused. */
  denied(verb: Verb, key: string | Uint8Array | undefined, call: WireCall): void;
  /** `call` is done to the store as a whole. */
  acts(call: WireCall): void;
}

/** See above. */
export class Rights {
  private readonly told: RightsTold;
  private readonly principal: Principal;
  private readonly isReadOnly: boolean;
  /** Verbs that are allowed for all keys. */
  private readonly all: Record<Verb, boolean>;
  /** Whether it may do what concerns the store as a whole. */
  private readonly ownsStore: boolean;
  /** Whether keys from 0xff on are others'. */
  private readonly isFenced: boolean;

  /** `namespace` is the tenant's; `isReadOnly`: nobody writes. */
  constructor(principal: Principal, namespace: string, isReadOnly: boolean, told: RightsTold) {
    this.told = told;
    this.principal = principal;
    this.isReadOnly = isReadOnly;
    this.all = Object.fromEntries(VERBS.map((verb) => [verb, principal.mayAll(verb)])) as Record<Verb, boolean>;
    this.ownsStore = this.all.admin;
    this.isFenced = namespace === "" && !this.ownsStore;
  }

  /** Throws `FORBIDDEN`, or `READ_ONLY`, for a call that is not allowed; else its ranges end where the tenant's keys end. */
  admit(call: WireCall, face: WireFace, args: unknown[]): void {
    switch (call) {
      case "get":
      case "getEntry":
      case "has":
        this.key("read", args[0] as Uint8Array, face, call);
        return;
      case "getMany":
        for (const key of args[0] as Uint8Array[]) this.key("read", key, face, call);
        return;
      case "set":
      case "put":
      case "append":
      case "patch":
        this.write("write", args[0] as Uint8Array, face, call);
        return;
      case "increment":
        // It tells what was there.
        this.write("write", args[0] as Uint8Array, face, call);
        this.key("read", args[0] as Uint8Array, face, call);
        return;
      case "delete":
      case "del":
        this.write("delete", args[0] as Uint8Array, face, call);
        return;
      case "batch":
      case "batchDurable":
        this.batch(args[0] as WireOperation[], face);
        return;
      case "count":
        this.range("range", args[0] as WireRange, face, call);
        return;
      case "walk":
        this.range("range", args[1] as WireRange, face, call);
        if (args[0] !== "keys") this.range("read", args[1] as WireRange, face, call);
        return;
      case "clear":
        this.writable(call);
        this.range("delete", args[0] as WireRange, face, call);
        return;
      case "watch":
        this.watch((args[0] as WireWatch).what, face);
        return;
      case "stats":
      case "compact":
      case "verify":
      case "backup":
        if (!this.ownsStore) {
          this.told.denied("admin", undefined, call);
          throw forbidden(call, "it is about the whole store, and so for an admin of a tenant that operates it");
        }
        if (call === "compact") this.writable(call);
        // Figures are read again and again.
        if (call !== "stats") this.told.acts(call);
        return;
      case "commit":
      case "next":
      case "end":
      case "snapshot":
      case "release":
      case "begin":
      case "rollback":
      case "changes":
      case "unwatch":
      case "backupPart":
      case "backupEnd":
      case "flush":
        // Of what is this connection's own.
        return;
      case "serve":
        throw forbidden(call, "it is between the processes of a server");
      default:
        throw forbidden(call satisfies never, "nobody may");
    }
  }

  private batch(operations: readonly WireOperation[], face: WireFace): void {
    this.writable("batch");
    for (const [key, value, , path] of operations) {
      const verb = value === undefined ? "delete" : "write";
      this.key(verb, key as Uint8Array, path === undefined ? face : { ...face, path }, "batch");
    }
  }

  private watch(what: WireWatch["what"], face: WireFace): void {
    if (!Array.isArray(what)) this.range("watch", what, face, "watch");
    else for (const key of what) this.key("watch", key as Uint8Array, face, "watch");
  }

  private write(verb: Verb, key: Uint8Array, face: WireFace, call: WireCall): void {
    this.writable(call);
    this.key(verb, key, face, call);
  }

  private writable(call: WireCall): void {
    if (!this.isReadOnly) return;
    throw new CairnError("READ_ONLY", call, `${call}: the server only reads.`);
  }

  private key(verb: Verb, key: Uint8Array, { path }: WireFace, call: WireCall): void {
    const isNested = path.length > 0;
    if (this.isFenced && (isNested || key[0] === NAMESPACE)) {
      this.told.denied(verb, key, call);
      throw fenced(call);
    }
    if (this.all[verb]) return;
    if (!isNested && this.principal.may(verb, textOf(key))) return;
    this.told.denied(verb, key, call);
    throw forbidden(call, `the key's role does not allow to ${verb} this`);
  }

  private range(verb: Verb, range: Pick<WireRange, "gte" | "lt">, { path }: WireFace, call: WireCall): void {
    const isNested = path.length > 0;
    if (this.isFenced) {
      if (isNested) {
        this.told.denied(verb, range.gte, call);
        throw fenced(call);
      }
      if (range.lt === undefined || range.lt[0] === NAMESPACE) range.lt = NAMESPACES;
    }
    if (this.all[verb]) return;
    const { gte, lt } = range;
    const start = gte === undefined ? undefined : textOf(gte);
    if (!isNested && this.principal.mayRange(verb, start, lt === undefined ? undefined : textOf(lastBelow(lt)))) return;
    this.told.denied(verb, gte, call);
    throw forbidden(call, `the key's role does not allow to ${verb} all of this range`);
  }
}

/** The last key that there can be below another one. */
export function lastBelow(end: Uint8Array): Uint8Array {
  const last = end.at(-1);
  if (last === undefined || last === 0) return end.slice(0, -1);
  const below = new Uint8Array(KEY_SIZE_MAX).fill(0xff);
  below.set(end.subarray(0, KEY_SIZE_MAX));
  if (end.length <= KEY_SIZE_MAX) below[end.length - 1] = last - 1;
  return below;
}

/** A key as principals judge it: text where it is. */
function textOf(key: Uint8Array): string | Uint8Array {
  try {
    return decoder.decode(key);
  } catch {
    return key;
  }
}

function fenced(call: WireCall): CairnError {
  return forbidden(call, "keys from the byte 0xff on are namespaces of the store, which an admin alone may use");
}

function forbidden(call: WireCall, reason: string): CairnError {
  return new CairnError("FORBIDDEN", call, `${call}: not allowed: ${reason}. Nothing was done.`);
}
