/**
 * RIOC on a port of its own: TLS 1.3, where the client's certificate says which tenant it is for, or plain, for one tenant.
 *
 * 1. Nothing is read from a connection whose replies are not fetched, but never within a request: its client reads only afterwards.
 * 2. A request that stands still in its midst ends its connection. One between requests may stay for ever.
 * 3. When the other side is done, what was begun is answered, then this side closes: clients wait for that.
 */
import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type PeerCertificate, type TLSSocket } from "node:tls";
import { CairnError } from "../../../store/error.ts";
import type { ServerContext } from "../context.ts";
import { ServerFailure } from "../failure.ts";
import { failedAttempt } from "../limits/attempts.ts";
import type { Principal } from "../principal.ts";
import { RiocSession } from "./session.ts";

/** The certificate's PEM texts, read already. */
export interface RiocTls {
  cert: string;
  key: string;
  ca?: string | undefined;
}

/** What is needed of the server around it. */
export type RiocContext = Pick<ServerContext, "access" | "config" | "limits" | "log" | "operationsOf" | "meter">;

export interface RiocListener {
  /** The port that it listens on. */
  readonly port: number;
  /** Bytes of all connections so far. With TLS those within it. */
  readonly traffic: { received: number; sent: number };
  /** Stops taking connections, lets requests that were begun come to their end for at most `graceMs`, then ends what is left. */
  close(graceMs: number): Promise<void>;
}

const CHECK_MS = 1000;
const HANDSHAKE_MS_MAX = 10_000;

/** Listens. Rejects with the system's error, and with `INVALID_ARGUMENT` where neither certificates nor a tenant say whose keys are served. */
export async function listenRioc(
  context: RiocContext,
  tls: RiocTls | undefined,
  /** Whether other processes listen on the same port. */
  reusePort = false,
): Promise<RiocListener> {
  const { config } = context;
  if (tls === undefined && config.riocTenant === undefined) {
    throw new CairnError(
      "INVALID_ARGUMENT",
      "listen",
      "RIOC has no way to say who asks: without TLS, where certificates do, riocTenant must name the tenant that is served. Set one of them.",
    );
  }
  const listener = new Listener(context, tls);
  await listener.listen(config.riocPort ?? 0, config.host, reusePort);
  return listener;
}

class Connection {
  readonly socket: Socket;
  readonly session: RiocSession;
  readonly principal: Principal;
  /** Whether reading is paused until replies have gone. */
  isPaused = false;
  /** Whether nothing more comes from the other side, or is taken. */
  isEnding = false;
  /** When reading began, or went on; the session knows when something came. */
  lastReadMs = performance.now();
  readonly revoke: () => void;

  constructor(socket: Socket, session: RiocSession, principal: Principal, revoke: () => void) {
    this.socket = socket;
    this.session = session;
    this.principal = principal;
    this.revoke = revoke;
  }
}

class Listener implements RiocListener {
  private readonly context: RiocContext;
  private readonly server: Server;
  private readonly isSecure: boolean;
  private readonly connections = new Set<Connection>();
  private readonly sockets = new Set<Socket>();
  private readonly timer: NodeJS.Timeout;
  private isClosing = false;
  /** Bytes of connections that are over. */
  private readonly past = { received: 0, sent: 0 };

  constructor(context: RiocContext, tls: RiocTls | undefined) {
    this.context = context;
    this.isSecure = tls !== undefined;
    const options = { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 };
    if (tls === undefined) {
      this.server = createServer(options, (socket) => this.accept(socket, undefined, true));
    } else {
      const { cert, key, ca } = tls;
      this.server = createTlsServer(
        {
          ...options,
          cert,
          key,
          ...(ca === undefined ? {} : { ca }),
          minVersion: "TLSv1.3",
          handshakeTimeout: HANDSHAKE_MS_MAX,
          requestCert: true,
          // Who has signed a certificate is looked at below: a handshake that fails tells nothing of whose it was.
          rejectUnauthorized: false,
        },
        (socket) => {
          socket.setNoDelay(true);
          // Without an authority of its own a client is known by its certificate's fingerprint alone.
          const isVouchedFor =
            ca === undefined || context.config.tls?.requestClient !== true || socket.authorized === true;
          this.accept(socket, fingerprintOf(socket), isVouchedFor);
        },
      );
      this.server.on("tlsClientError", (error, socket) => {
        context.log.debug("a TLS connection failed", {
          protocol: "rioc",
          address: socket.remoteAddress,
          reason: error.message,
        });
        socket.destroy();
      });
    }
    this.server.on("connection", (socket: Socket) => {
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
    });
    this.timer = setInterval(() => this.check(), CHECK_MS);
    this.timer.unref();
  }

  get port(): number {
    const address = this.server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  get traffic(): { received: number; sent: number } {
    const sum = { ...this.past };
    for (const { socket } of this.connections) {
      sum.received += socket.bytesRead;
      sum.sent += socket.bytesWritten;
    }
    return sum;
  }

  listen(port: number, host: string, reusePort: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen({ port, host, backlog: 1024, ...(reusePort ? { reusePort } : {}) }, () => {
        this.server.off("error", reject);
        this.server.on("error", (error) =>
          this.context.log.error("the RIOC listener failed", { reason: error.message }),
        );
        resolve();
      });
    });
  }

  async close(graceMs: number): Promise<void> {
    this.isClosing = true;
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    const end = performance.now() + graceMs;
    for (const connection of this.connections) this.endWhenDone(connection);
    while (this.connections.size > 0 && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    clearInterval(this.timer);
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  /** `isVouchedFor`: whether the authority that clients' certificates must come from has signed this one. */
  private accept(socket: Socket, fingerprint: string | undefined, isVouchedFor: boolean): void {
    const { context } = this;
    const address = socket.remoteAddress ?? "";
    socket.on("error", (error) =>
      context.log.debug("a connection failed", { protocol: "rioc", address, reason: error.message }),
    );
    let principal: Principal | undefined;
    try {
      principal = this.principalOf(fingerprint, isVouchedFor, address);
    } catch (error) {
      context.log.error("a RIOC connection was refused", { address, reason: (error as Error).message });
    }
    if (principal === undefined) {
      this.refused(address);
      context.log.warn("a RIOC connection was refused: no certificate of the keys file was shown", {
        address,
        fingerprint,
      });
      socket.destroy();
      return;
    }
    if (this.isClosing || !context.limits.connected(principal.tenant)) {
      context.log.warn("a RIOC connection was refused: there are too many", { address, tenant: principal.tenant });
      socket.destroy();
      return;
    }
    const { meter, limits, config, access } = context;
    const session = new RiocSession({
      principal,
      operations: context.operationsOf(principal.tenant),
      limits,
      isStrict: config.riocTimestamps === "strict",
      queueBytesMax: config.limits.sendQueueBytes,
      unsentBytes: () => socket.writableLength,
      send: (bytes) => {
        if (!socket.destroyed) socket.write(bytes);
      },
      fail: (why) => {
        context.log.warn("a RIOC connection was ended", { address, reason: why });
        socket.pause();
        connection.isEnding = true;
        this.endWhenDone(connection);
      },
      idle: () => {
        this.resume(connection);
        if (connection.isEnding || this.isClosing) this.endWhenDone(connection);
      },
      denied: (verb, key) => access.denied(principal, verb, key, { address, protocol: "rioc" }),
      meter,
    });
    const connection = new Connection(socket, session, principal, () => socket.destroy());
    this.connections.add(connection);
    meter.connected("rioc");
    principal.revoked.addEventListener("abort", connection.revoke);
    socket.on("data", (piece) => {
      session.receive(piece as Uint8Array);
      if (!session.isFull) return;
      connection.isPaused = true;
      socket.pause();
    });
    socket.on("drain", () => this.resume(connection));
    socket.on("end", () => {
      connection.isEnding = true;
      this.endWhenDone(connection);
    });
    socket.on("close", () => {
      this.connections.delete(connection);
      this.past.received += socket.bytesRead;
      this.past.sent += socket.bytesWritten;
      principal.revoked.removeEventListener("abort", connection.revoke);
      session.end();
      limits.disconnected(principal.tenant);
      meter.disconnected("rioc");
    });
    if (principal.revoked.aborted) socket.destroy();
  }

  /** Counts a certificate that does not count. Nobody is told to wait: the connection ends in either case. */
  private refused(address: string): void {
    failedAttempt(this.context.limits, address, new ServerFailure(401, ""));
  }

  private principalOf(fingerprint: string | undefined, isVouchedFor: boolean, address: string): Principal | undefined {
    const { access, config } = this.context;
    const from = { address, protocol: "rioc" };
    if (fingerprint === undefined && this.isSecure && config.tls?.requestClient === true) {
      access.audit.failed({ kind: "certificate", reason: "none", ...from });
      return undefined;
    }
    if (fingerprint !== undefined && !isVouchedFor) {
      access.audit.failed({ kind: "certificate", reason: "authority", ...from });
      return undefined;
    }
    // Whoever shows one that does not count, or not any more, is not let in by another way.
    if (fingerprint !== undefined) return access.certificate(fingerprint, from);
    return config.riocTenant === undefined ? undefined : access.unauthenticated(config.riocTenant);
  }

  private resume(connection: Connection): void {
    const { socket, session } = connection;
    if (connection.isPaused) session.resume();
    if (connection.isPaused && !session.isFull && !connection.isEnding) {
      connection.isPaused = false;
      connection.lastReadMs = performance.now();
      socket.resume();
    }
    if (connection.isEnding) this.endWhenDone(connection);
  }

  /** Closes a connection when all that was begun on it is answered. */
  private endWhenDone(connection: Connection): void {
    const { session, socket } = connection;
    if (session.isBusy || (session.isWithinRequest && !connection.isEnding) || socket.writableEnded) return;
    // A client that waits for this side's end, and one that does not, are both let go when all has left.
    socket.destroySoon();
  }

  private check(): void {
    const now = performance.now();
    const { bodyMs } = this.context.config.timeouts;
    for (const connection of this.connections) {
      this.resume(connection);
      const lastReadMs = Math.max(connection.lastReadMs, connection.session.startMs);
      if (connection.isPaused || !connection.session.isWithinRequest || now - lastReadMs < bodyMs) continue;
      this.context.log.warn("a RIOC connection was ended: a request stood still", {
        address: connection.socket.remoteAddress,
      });
      connection.socket.destroy();
    }
  }
}

/** The SHA-256 of the certificate that a client has shown, in hexadecimal digits. */
function fingerprintOf(socket: TLSSocket): string | undefined {
  const certificate: Partial<PeerCertificate> | null = socket.getPeerCertificate();
  return certificate?.fingerprint256?.replaceAll(":", "").toLowerCase();
}
