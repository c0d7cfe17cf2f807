/** Stream sockets through `node:net` and `node:tls`. */
import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import type { Connection, ConnectionHandler, SocketListener, SocketOptions } from "./sockets.ts";

const BACKLOG = 4096;

class NodeConnection implements Connection {
  readonly address: string;
  readonly secure: boolean;
  handler!: ConnectionHandler;
  private readonly socket: Socket;

  constructor(socket: Socket, secure: boolean) {
    this.socket = socket;
    this.secure = secure;
    this.address = socket.remoteAddress ?? "";
    socket.setNoDelay(true);
  }

  start(): void {
    const { socket } = this;
    socket.on("data", (chunk: Buffer) => this.handler.data(chunk));
    socket.on("end", () => this.handler.ended());
    socket.on("drain", () => this.handler.drained());
    socket.on("close", () => this.handler.closed());
    // "close" follows.
    socket.on("error", () => {});
  }

  write(chunk: Uint8Array | string): void {
    if (!this.socket.destroyed && this.socket.writable) this.socket.write(chunk);
  }
  get buffered(): number {
    return this.socket.writableLength;
  }
  pause(): void {
    this.socket.pause();
  }
  resume(): void {
    this.socket.resume();
  }
  end(): void {
    if (!this.socket.destroyed) this.socket.end();
  }
  destroy(): void {
    this.socket.destroy();
  }
}

export async function listenOnNode(options: SocketOptions): Promise<SocketListener> {
  const { tls, host, port, reusePort = false, onConnection, handshakeMs } = options;
  const sockets = new Set<Socket>();
  const past = { received: 0, sent: 0 };
  const begin = (socket: Socket): void => {
    sockets.add(socket);
    socket.on("close", () => {
      sockets.delete(socket);
      past.received += socket.bytesRead;
      past.sent += socket.bytesWritten;
    });
    const connection = new NodeConnection(socket, tls !== undefined);
    connection.handler = onConnection(connection);
    connection.start();
  };
  const server: Server =
    tls === undefined
      ? createServer({ allowHalfOpen: true, noDelay: true }, begin)
      : createTlsServer(
          {
            cert: tls.cert,
            key: tls.key,
            minVersion: "TLSv1.2",
            handshakeTimeout: handshakeMs,
            ALPNProtocols: ["http/1.1"],
            allowHalfOpen: true,
          },
          begin,
        );
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog: BACKLOG, ...(reusePort ? { reusePort } : {}) }, () => {
      server.off("error", reject);
      // A failed accept (no descriptor left) concerns the one connection; the server goes on.
      server.on("error", () => {});
      resolve();
    });
  });
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new Error(`the server listens at ${bound}, which is no port`);
  return {
    host: bound.address,
    port: bound.port,
    get traffic() {
      const sum = { ...past };
      for (const { bytesRead, bytesWritten } of sockets) {
        sum.received += bytesRead;
        sum.sent += bytesWritten;
      }
      return sum;
    },
    close: () => void server.close(),
  };
}
