/**
 * What the listeners of the runtimes and the protocols behind them share: one handler for requests, and a socket that is the same
 * everywhere.
 */
import type { Principal } from "./principal.ts";

/** What is known of a request beside itself. */
export interface RequestInfo {
  /** The other side's address, without port; "" where the host of the handler does not say. */
  readonly address: string;
  /** Whether the connection is encrypted. */
  readonly secure: boolean;
}

/** Takes a request and answers it. It never throws, and never takes longer than the configuration's limits allow. */
export type FetchHandler = (request: Request, info?: Partial<RequestInfo>) => Response | Promise<Response>;

/** One end of a WebSocket, whatever library or runtime it comes from. Frames of text are strings. */
export interface Socket {
  /** Queues a frame. */
  send(frame: string | Uint8Array): void;
  /** Bytes that are queued and not yet with the operating system. */
  readonly bufferedBytes: number;
  /** Ends the conversation; a second call does nothing. */
  close(code: number, reason: string): void;
  /** Ends it without waiting for the other side. */
  terminate(): void;
  /** Stops and resumes reading from the other side, where the runtime can. */
  pause(): void;
  resume(): void;
}

/** What serves one socket. Frames come in order. */
export interface SocketSession {
  /** A frame came. Over `frameBytesMax` of the configuration none does: the listener closes with 1009. */
  message(frame: string | Uint8Array): void;
  /** More of what was queued has left. */
  drained(): void;
  /** The conversation is over, from whichever side. Called once. */
  closed(): void;
}

/**
 * Decides about an upgrade before it is completed: a response refuses it, a function begins the session once the socket is open.
 */
export type UpgradeHandler = (
  request: Request,
  info: RequestInfo,
) => Promise<Response | UpgradeAccepted> | Response | UpgradeAccepted;

export interface UpgradeAccepted {
  readonly principal: Pick<Principal, "id" | "tenant" | "revoked">;
  /** The subprotocol that was chosen of those asked for; `undefined`: none. */
  readonly protocol?: string | undefined;
  begin(socket: Socket): SocketSession;
}
