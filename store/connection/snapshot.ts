/** Snapshots over a connection: the store as it was at one moment, held by the worker that owns it. */
import { CairnError } from "../error.ts";
import { invalid } from "../refusals.ts";
import type { SnapshotRange } from "../snapshot.ts";
import type { Connection } from "./connection.ts";
import type { Conversation } from "./conversation.ts";
import { ConnectionFace, spaceIn } from "./face.ts";
import { ConnectionReads } from "./reads.ts";
import type { WireView } from "./wire.ts";

/** A snapshot that an owner holds, shared by its faces for namespaces. It must not hold those. */
interface Held {
  conversation: Conversation;
  owner: string;
  id: number;
  isClosed: boolean;
}

const dropped = new FinalizationRegistry<Held>((held) => {
  release(held).catch(() => undefined);
});

/**
 * A read-only view of what a store held at one moment. Close it, or use `await using`; one that is dropped is released when
 * it is collected. After `close` its calls reject with `CLOSED`; walks that it gave go on. It ends with the worker that owns
 * the store: then its calls reject with `SNAPSHOT_EXPIRED`, and a new one is taken.
 */
export class ConnectionSnapshot<K = string, V = string> extends ConnectionReads<K, V, SnapshotRange<K>> {
  /** The version that it shows: what is newer was written after it. */
  readonly version: number;
  private readonly held: Held;
  /** What keeps the one that the program took from being collected. */
  private readonly origin: object | undefined;

  /** Connections make these: `await connection.snapshot()`. */
  constructor(face: ConnectionFace, version: number, held: Held, origin?: object) {
    super(face);
    this.version = version;
    this.held = held;
    this.origin = origin;
    if (origin === undefined) dropped.register(this, held, held);
  }

  /** Takes one. */
  static async take<K, V>(of: ConnectionFace): Promise<ConnectionSnapshot<K, V>> {
    return ConnectionSnapshot.over(of, (await of.ask("snapshot", [])) as WireView & { version: number });
  }

  /** One that the owner holds already. @internal */
  static over<K, V>(
    of: ConnectionFace,
    { view, owner, version }: WireView & { version: number },
  ): ConnectionSnapshot<K, V> {
    const { conversation } = of;
    const face = new ConnectionFace(conversation, of, { view, owner });
    return new ConnectionSnapshot<K, V>(face, version, { conversation, owner, id: view, isClosed: false });
  }

  /** The same moment of a namespace of the same store, or of the store itself. Closing one closes both. */
  in<SubK, SubV>(sub: Connection<SubK, SubV>): ConnectionSnapshot<SubK, SubV> {
    const { held, version } = this;
    this.reading(undefined, "in");
    const face = new ConnectionFace(held.conversation, spaceIn(sub, held.conversation, "in"), viewOf(held));
    return new ConnectionSnapshot<SubK, SubV>(face, version, held, this.origin ?? this);
  }

  /** How calls of a connection's face read through this snapshot. `INVALID_ARGUMENT` for another connection's. */
  static faceFor(snapshot: unknown, face: ConnectionFace, operation: string): ConnectionFace {
    if (!(snapshot instanceof ConnectionSnapshot) || snapshot.held.conversation !== face.conversation) {
      throw invalid(operation, "snapshot must be a snapshot of this connection.");
    }
    snapshot.reading(undefined, operation);
    return new ConnectionFace(face.conversation, face, viewOf(snapshot.held));
  }

  /** Releases what is kept for it. A second call does nothing. */
  async close(): Promise<void> {
    const { held } = this;
    if (held.isClosed) return;
    dropped.unregister(held);
    await release(held);
  }

  /** `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  protected reading(range: SnapshotRange<K> | undefined, operation: string): ConnectionFace {
    if ((range as { snapshot?: unknown } | null | undefined)?.snapshot !== undefined) {
      throw invalid(operation, "a range of a snapshot names no other snapshot.");
    }
    if (!this.held.isClosed) return this.face;
    throw new CairnError("CLOSED", operation, `${operation}: the snapshot is closed. Take a new one.`);
  }
}

function viewOf({ id, owner }: Held): { view: number; owner: string } {
  return { view: id, owner };
}

/** Where the owner has ended, the snapshot has, too. */
async function release(held: Held): Promise<void> {
  held.isClosed = true;
  if (held.conversation.ownerNow !== held.owner) return;
  await held.conversation.ask("release", [held.id]).catch(() => undefined);
}
