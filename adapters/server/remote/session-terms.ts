/** What a connection is told when it begins. */
import type { WireStore } from "../../../store/connection/faces.ts";
import type { Meter } from "../context.ts";
import type { Principal } from "../principal.ts";
import type { RemoteLimits } from "./context.ts";
import type { RightsTold } from "./rights.ts";
import type { RemoteSession } from "./session.ts";

/** See above; but for the principal and its store, what the sessions of a server share. */
export interface SessionTerms {
  principal: Principal;
  /** The tenant's keys, as bytes. */
  store: WireStore;
  namespace: string;
  isReadOnly: boolean;
  /** The opening of the store. */
  life: string;
  limits: RemoteLimits;
  /** Told of each call. */
  meter: Pick<Meter, "took"> | undefined;
  /** Takes one call from the rates: 0, or the seconds to wait. */
  admit(): number;
  /** Told of what was refused for want of a right, and of what is done to the store as a whole. */
  told: RightsTold;
  /** It has written what is not durable yet, or watches: it is to be told of what becomes durable. */
  isBehind(session: RemoteSession): void;
  ended(session: RemoteSession): void;
}
