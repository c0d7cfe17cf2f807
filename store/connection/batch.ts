/** Batches over a connection. */
import {
  BatchBuilder,
  type BatchOperation,
  type BatchOperations,
  type PreparedOperation,
  prepare,
  type SubOperation,
} from "../batch.ts";
import { optionsOf, type WriteOptions } from "../entry.ts";
import { invalid } from "../refusals.ts";
import type { Connection } from "./connection.ts";
import { type ConnectionFace, own, type Space, spaceIn } from "./face.ts";
import type { WireOperation } from "./wire.ts";

type Operation = BatchOperation<never, never> | SubOperation;

/** What a connection does with a batch. */
export interface ConnectionBatchWork extends BatchOperations {
  run(operations: readonly Operation[], durable: boolean): Promise<boolean[]>;
}

/** Collects operations; nothing happens before `commit` or `commitDurable`, and then all of it. */
export class ConnectionBatch<K, V> extends BatchBuilder<K, V, ConnectionBatchWork> {
  /**
   * The same batch for a namespace of the same store, or for the store itself: each commits what was added to either.
   * `INVALID_ARGUMENT` for any other.
   */
  in<SubK, SubV>(sub: Connection<SubK, SubV>): ConnectionBatch<SubK, SubV> {
    this.work.check(sub);
    return new ConnectionBatch<SubK, SubV>(this.work, sub);
  }

  /** Does all operations at once: visible when it resolves, durable as `set` is. What each of them returned. */
  commit(): Promise<boolean[]> {
    return this.take(false);
  }

  /** Does all operations at once: resolves when they are on stable storage. */
  commitDurable(): Promise<boolean[]> {
    return this.take(true);
  }

  private take(durable: boolean): Promise<boolean[]> {
    const { work } = this;
    const { operations } = work;
    work.operations = [];
    return work.run(operations, durable);
  }
}

/** Operations as they go over the wire, whose names of namespaces begin at the face's own. */
export function wireOperations(operations: unknown, face: ConnectionFace): WireOperation[] {
  if (!Array.isArray(operations)) throw invalid("batch", "the operations must be an array.");
  return operations.map((operation: unknown, index): WireOperation => {
    const given = typeof operation === "object" && operation !== null ? (operation as Partial<SubOperation>) : {};
    const space: Space = given.sub === undefined ? face : spaceIn(given.sub, face.conversation, "batch");
    const { key, value, words }: PreparedOperation = prepare(operation, index, space);
    const encoded = value === undefined ? undefined : own(value);
    const options = words === undefined ? undefined : optionsOf(given as WriteOptions);
    if (given.sub !== undefined) return [own(key), encoded, options, space.path];
    if (options !== undefined) return [own(key), encoded, options];
    return encoded === undefined ? [own(key)] : [own(key), encoded];
  });
}
