/**
 * What the whole API should do, over plain maps: records with version, expiry and timestamp in a store and three namespaces.
 *
 * A write within a transaction has the version 0; what has a commit gets its version from the store, once it is looked up.
 */
import { Model, type ModelRange } from "./model.ts";

/** A record. */
export interface Held {
  value: string;
  version: number;
  expiresAt?: number | undefined;
  timestamp?: number | undefined;
}

/** The store, two namespaces, and one within the first of them. */
export const FACES = 4;
/** The faces whose keys `clear()` of a face takes away. */
const WITHIN = [[0, 1, 2, 3], [1, 3], [2], [3]] as const;
export type Models = Model<Held>[];

/** One call that writes. What `ifVersion` means is found when it is done. */
export type Call = { face: number; key: string } & (
  | {
      kind: "set" | "delete";
      value: string;
      ifVersion?: "absent" | "present" | "wrong";
      timestamp?: number;
      life?: number;
    }
  | { kind: "append" | "update"; value: string }
  | { kind: "patch"; value: string; offset: number }
  | { kind: "increment"; by: bigint }
  | { kind: "merge"; patch: unknown }
  | { kind: "remove" }
);

/** What a call came to: what it returned, or the code of what it threw. */
export interface Outcome {
  returned?: unknown;
  code?: string;
}

/** A text as the model has keys: one character a byte. */
export const bytes = (text: string): string => String.fromCharCode(...new TextEncoder().encode(text));

/** A range over such keys. */
export function inBytes({ gt, gte, lt, lte, prefix, ...rest }: ModelRange): ModelRange {
  const bounds = Object.entries({ gt, gte, lt, lte, prefix }).filter(([, bound]) => bound !== undefined);
  return { ...rest, ...Object.fromEntries(bounds.map(([name, bound]) => [name, bytes(bound as string)])) };
}

/** A version that nothing has. */
const WRONG_VERSION = 2 ** 40;

/** All records, each face for itself; what has expired is not there, but for what `now` is not given. */
export class WholeModel {
  faces: Models = Array.from({ length: FACES }, () => new Model<Held>());

  /** What there is at a time. What is written to it is written to nothing else. */
  at(now: number): WholeModel {
    const copy = new WholeModel();
    for (const [at, model] of this.faces.entries()) {
      for (const { key, value } of model.range()) {
        if (value.expiresAt === undefined || value.expiresAt > now) (copy.faces[at] as Model<Held>).set(key, value);
      }
    }
    return copy;
  }

  /** A record. */
  get(face: number, key: string, now: number): Held | undefined {
    const held = (this.faces[face] as Model<Held>).get(bytes(key));
    return held?.expiresAt !== undefined && held.expiresAt <= now ? undefined : held;
  }

  /** The version that a call names. */
  versionFor(call: Call & { kind: "set" | "delete" }, now: number): number | null | undefined {
    if (call.ifVersion === undefined) return undefined;
    if (call.ifVersion === "absent") return null;
    const version = this.get(call.face, call.key, now)?.version ?? 0;
    return call.ifVersion === "wrong" || version === 0 ? WRONG_VERSION : version;
  }

  /** What a call's conditions come to: `undefined` when all hold. */
  refusal(call: Call, now: number): Outcome | undefined {
    if (call.kind !== "set" && call.kind !== "delete") return undefined;
    const held = this.get(call.face, call.key, now);
    if (call.ifVersion !== undefined) {
      const wanted = this.versionFor(call, now);
      if (wanted === null ? held !== undefined : held?.version !== wanted) return { returned: false };
    }
    if (call.timestamp !== undefined && held?.timestamp !== undefined && held.timestamp > call.timestamp) {
      return { code: "STALE_TIMESTAMP" };
    }
    return undefined;
  }

  /** Does a call: what it comes to. */
  do(call: Call, now: number): Outcome {
    const refused = this.refusal(call, now);
    return refused ?? this.write(call, now);
  }

  /** Does calls of a batch, all or none. */
  batch(calls: readonly Call[], now: number): Outcome {
    for (const call of calls) {
      const refused = this.refusal(call, now);
      if (refused?.code !== undefined) return refused;
      if (refused !== undefined) return { returned: calls.map(() => false) };
    }
    return { returned: calls.map((call) => this.write(call, now).returned) };
  }

  /** Deletes a range of a face, or everything in it: how many there were. */
  clear(face: number, range: ModelRange | undefined, now: number): number {
    if (range !== undefined) {
      const alive = this.at(now).faces[face] as Model<Held>;
      (this.faces[face] as Model<Held>).clear(inBytes(range));
      return alive.clear(inBytes(range));
    }
    const within = WITHIN[face as 0 | 1 | 2 | 3];
    return within.reduce((sum: number, at) => sum + this.clear(at, {}, now), 0);
  }

  private write(call: Call, now: number): Outcome {
    const { face, key } = call;
    const model = this.faces[face] as Model<Held>;
    const held = this.get(face, key, now);
    const put = (value: string, words: Partial<Held> = held ?? {}): void => {
      const { expiresAt, timestamp } = words;
      model.set(bytes(key), { value, version: 0, expiresAt, timestamp });
    };
    switch (call.kind) {
      case "set":
        put(call.value, {
          ...(call.life === undefined ? {} : { expiresAt: now + call.life }),
          ...(call.timestamp === undefined ? {} : { timestamp: call.timestamp }),
        });
        return { returned: true };
      case "delete":
      case "remove":
        model.delete(bytes(key));
        return { returned: call.kind === "remove" ? undefined : held !== undefined };
      case "append":
        put(`${held?.value ?? ""}${call.value}`);
        return { returned: true };
      case "update":
        put(`<${held?.value ?? "none"}${call.value}`);
        return { returned: `<${held?.value ?? "none"}${call.value}` };
      case "patch": {
        const before = held?.value ?? "";
        if (call.offset > before.length) return { code: "OUT_OF_RANGE" };
        put(before.slice(0, call.offset) + call.value + before.slice(call.offset + call.value.length));
        return { returned: true };
      }
      case "increment": {
        const before = held === undefined ? "0" : held.value;
        if (!/^(0|-?[1-9][0-9]{0,17})$/.test(before)) return { code: "NOT_A_NUMBER" };
        put(`${BigInt(before) + call.by}`);
        return { returned: BigInt(before) + call.by };
      }
      case "merge": {
        let before: unknown;
        try {
          before = held === undefined ? undefined : JSON.parse(held.value);
        } catch {
          return { code: "INVALID_ARGUMENT" };
        }
        put(JSON.stringify(merged(before, call.patch)));
        return { returned: true };
      }
    }
  }
}

/** RFC 7396, as its text has it. */
function merged(target: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const isObject = typeof target === "object" && target !== null && !Array.isArray(target);
  const result: Record<string, unknown> = isObject ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = merged(result[name], value);
  }
  return result;
}
