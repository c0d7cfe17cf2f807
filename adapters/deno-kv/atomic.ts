/** Atomic operations: checks and mutations that are collected, and then done all at once or not at all. */
import { type BatchOperation, CairnError } from "cairn-kv";
import { encodeKey } from "./keys.ts";
import type { AtomicCheck, KvCommitError, KvCommitResult, KvKey, KvMutation } from "./types.ts";
import { decodeU64, encodeU64, encodeValue, u64Of } from "./values.ts";

/** Operations of a store under binary encodings. */
export type KvOperation = BatchOperation<Uint8Array, Uint8Array>;

/** What an atomic operation needs of its store. All of a commit happens in one turn. */
export interface AtomicGround {
  /** The versionstamp of a key, or `null`. */
  versionstampOf(key: Uint8Array): string | null;
  get(key: Uint8Array): Uint8Array | undefined;
  /** Does the operations at once, and resolves to their versionstamp when they are durable. */
  write(operations: KvOperation[]): Promise<string>;
}

const U64_MASK = 0xffff_ffff_ffff_ffffn;
const VERSIONSTAMP = /^[0-9a-f]{20}$/;

type Arithmetic = "sum" | "min" | "max";
type Mutation = { key: Uint8Array } & (
  | { type: "set"; value: Uint8Array; expireIn: number | undefined }
  | { type: "delete" }
  | { type: Arithmetic; operand: bigint }
);

/** What `atomic` gives. Nothing happens before `commit`. */
export class AtomicOperation {
  private readonly ground: AtomicGround;
  private readonly checks: { key: Uint8Array; versionstamp: string | null }[] = [];
  private readonly mutations: Mutation[] = [];

  /** Made by `atomic`. */
  constructor(ground: AtomicGround) {
    this.ground = ground;
  }

  /** Does nothing at all at `commit` unless each entry still has its versionstamp, or, with `null`, is not there. */
  check(...checks: AtomicCheck[]): this {
    for (const { key, versionstamp } of checks) {
      if (versionstamp !== null && !VERSIONSTAMP.test(versionstamp)) {
        throw invalid(`a versionstamp is null or 20 hexadecimal digits, not ${versionstamp}.`);
      }
      this.checks.push({ key: keyOf(key), versionstamp });
    }
    return this;
  }

  /** Adds mutations. */
  mutate(...mutations: KvMutation[]): this {
    for (const mutation of mutations) {
      if (mutation.type === "set") {
        this.set(mutation.key, mutation.value, mutation.expireIn === undefined ? {} : { expireIn: mutation.expireIn });
      } else if (mutation.type === "delete") this.delete(mutation.key);
      else if (mutation.type === "sum" || mutation.type === "min" || mutation.type === "max") {
        const operand = u64Of(mutation.value);
        if (operand === undefined) throw invalid(`the value of a ${mutation.type} must be a KvU64.`);
        this.mutations.push({ type: mutation.type, key: keyOf(mutation.key), operand });
      } else {
        const { type } = mutation as { type: string };
        throw invalid(`there is no mutation ${type}. There are set, delete, sum, min and max.`);
      }
    }
    return this;
  }

  /** Adds to a number of 64 bits, going round at its end; one that is absent counts as 0. */
  sum(key: KvKey, n: bigint): this {
    return this.arithmetic("sum", key, n);
  }

  /** Keeps the smaller number; one that is absent becomes `n`. */
  min(key: KvKey, n: bigint): this {
    return this.arithmetic("min", key, n);
  }

  /** Keeps the larger number; one that is absent becomes `n`. */
  max(key: KvKey, n: bigint): this {
    return this.arithmetic("max", key, n);
  }

  /** Stores a value, for ever or for `expireIn` milliseconds. */
  set(key: KvKey, value: unknown, { expireIn }: { expireIn?: number } = {}): this {
    checkExpiry(expireIn, "commit");
    this.mutations.push({ type: "set", key: keyOf(key), value: encodeValue(value, "commit"), expireIn });
    return this;
  }

  /** Deletes an entry. */
  delete(key: KvKey): this {
    this.mutations.push({ type: "delete", key: keyOf(key) });
    return this;
  }

  /** Queues are not there: throws `UNSUPPORTED`. */
  enqueue(): this {
    throw noQueues("enqueue");
  }

  /**
   * Does it: resolves, when it is on stable storage, to its versionstamp, or to `{ ok: false }` when a check failed. Rejects
   * before anything changes when a `sum`, `min` or `max` meets a value that is no `KvU64`.
   */
  async commit(): Promise<KvCommitResult | KvCommitError> {
    const { ground } = this;
    if (this.checks.some(({ key, versionstamp }) => ground.versionstampOf(key) !== versionstamp)) return { ok: false };
    return { ok: true, versionstamp: await ground.write(this.operations()) };
  }

  private arithmetic(type: Arithmetic, key: KvKey, n: bigint): this {
    if (typeof n !== "bigint" || n < 0n || n > U64_MASK)
      throw invalid(`the ${type} takes a bigint of 64 bits, unsigned.`);
    this.mutations.push({ type, key: keyOf(key), operand: n });
    return this;
  }

  /** The mutations as operations of a batch; a number depends on the mutations before it. */
  private operations(): KvOperation[] {
    const written = new Map<string, Uint8Array | undefined>();
    return this.mutations.map((mutation): KvOperation => {
      const { key, type } = mutation;
      const name = key.join();
      if (type === "delete") {
        written.set(name, undefined);
        return { type, key };
      }
      if (type === "set") {
        written.set(name, mutation.value);
        return { type, key, value: mutation.value, ...expiryOf(mutation.expireIn) };
      }
      const former = written.has(name) ? written.get(name) : this.ground.get(key);
      const value = encodeU64(combined(type, former, mutation.operand));
      written.set(name, value);
      return { type: "set", key, value };
    });
  }
}

/** What `expireIn` means to a store. An entry that expires at once may still be seen for a moment, as in Deno. */
export function expiryOf(expireIn: number | undefined): { expiresIn?: number } {
  return expireIn === undefined ? {} : { expiresIn: Math.max(1, expireIn) };
}

/** `INVALID_ARGUMENT` unless `expireIn` is a number of milliseconds. */
export function checkExpiry(expireIn: unknown, operation: string): void {
  if (expireIn === undefined || (typeof expireIn === "number" && expireIn >= 0 && Number.isFinite(expireIn))) return;
  const message = `${operation}: expireIn must be a number of milliseconds, 0 or more, not ${expireIn}.`;
  throw new CairnError("INVALID_ARGUMENT", operation, message);
}

/** The error of every call of queues. */
export function noQueues(operation: string): CairnError {
  const message = `${operation}: queues are not supported. Keep jobs as entries, and take them with atomic().`;
  return new CairnError("UNSUPPORTED", operation, message);
}

function combined(type: Arithmetic, former: Uint8Array | undefined, operand: bigint): bigint {
  if (former === undefined) return operand;
  const number = decodeU64(former);
  if (number === undefined)
    throw invalid(`a ${type} needs a KvU64, and the entry holds another value. Nothing was changed.`);
  if (type === "sum") return (number + operand) & U64_MASK;
  return (type === "min") === number < operand ? number : operand;
}

function keyOf(key: KvKey): Uint8Array {
  const bytes = encodeKey(key, "commit");
  if (bytes.length === 0) throw invalid("a key that is written is not empty.");
  return bytes;
}

function invalid(message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", "commit", `commit: ${message}`);
}
