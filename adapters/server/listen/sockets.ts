/**
 * Stream sockets as the protocols see them, the same on Node, Bun and Deno: each runtime's fastest way of its own lies behind it.
 *
 * 1. The bytes that `data` gets are the handler's until it returns; what it keeps it copies.
 * 2. `write` takes everything. Whoever writes looks at `buffered` and waits for `drained`.
 * 3. `closed` is called once, whatever ends a connection; after it no other call comes, and writes are ignored.
 * 4. Both sides may end on their own: a client that has sent all and says so still gets its answers.
 */

/** One connection. */
export interface Connection {
  /** The other side's address, without port. */
  readonly address: string;
  readonly secure: boolean;
  /** Who is told what happens; may be replaced by another one, which takes over. */
  handler: ConnectionHandler;
  /** Queues bytes, or text as UTF-8. The bytes must not change afterwards. */
  write(chunk: Uint8Array | string): void;
  /** Bytes that are queued and not yet with the operating system. */
  readonly buffered: number;
  /** Stops and resumes reading. */
  pause(): void;
  resume(): void;
  /** Ends this side once all is written. */
  end(): void;
  /** Ends both sides at once. */
  destroy(): void;
}

/** What serves a connection. */
export interface ConnectionHandler {
  data(chunk: Buffer): void;
  /** The other side sends no more. */
  ended(): void;
  /** All that was queued is with the operating system. */
  drained(): void;
  closed(): void;
}

/** PEM texts. TLS 1.2 and later is spoken. */
export interface SocketTls {
  cert: string;
  key: string;
}

export interface SocketOptions {
  host: string;
  /** 0: any that is free. */
  port: number;
  tls?: SocketTls | undefined;
  /** Whether other processes listen on the same port, and the system shares connections out. */
  reusePort?: boolean | undefined;
  /** How long the handshake of TLS may take, where the runtime has it apart from the first bytes. */
  handshakeMs: number;
  /** A connection was made: what serves it. */
  onConnection(connection: Connection): ConnectionHandler;
}

/** Something that listens. */
export interface SocketListener {
  readonly host: string;
  readonly port: number;
  /** Bytes of all connections so far. With TLS those within it. */
  readonly traffic: { received: number; sent: number };
  /** Stops accepting; connections stay. */
  close(): void | Promise<void>;
}

/** Listens on stream sockets, in this runtime's way. Rejects with the system's error where the address is taken or may not be used. */
export async function listenOnSockets(options: SocketOptions): Promise<SocketListener> {
  if ("Deno" in globalThis) {
    return (await import("./deno-sockets.ts")).listenOnDeno(options);
  }
  if ("Bun" in globalThis) {
    return (await import("./bun-sockets.ts")).listenOnBun(options);
  }
  return (await import("./node-sockets.ts")).listenOnNode(options);
}
