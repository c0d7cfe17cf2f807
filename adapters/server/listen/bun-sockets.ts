/** Stream sockets through `Bun.listen`, which takes less of a core than `node:net` does there. */
import type { Connection, ConnectionHandler, SocketListener, SocketOptions } from "./sockets.ts";

interface BunSocket {
  data: BunConnection;
  readonly remoteAddress: string;
  /** How many bytes the operating system took; the rest is the caller's to write again after `drain`. -1: it is closed. */
  write(chunk: Uint8Array | string, start?: number, length?: number): number;
  end(): void;
  shutdown(halfClose?: boolean): void;
  terminate(): void;
  pause(): void;
  resume(): void;
  setNoDelay(value: boolean): boolean;
}
interface BunListener {
  readonly port: number;
  readonly hostname: string;
  stop(closeConnections?: boolean): void;
}
declare const Bun: {
  listen(options: {
    hostname: string;
    port: number;
    reusePort: boolean;
    allowHalfOpen: boolean;
    tls?: object;
    socket: {
      open(socket: BunSocket): void;
      data(socket: BunSocket, chunk: Buffer): void;
      drain(socket: BunSocket): void;
      end(socket: BunSocket): void;
      close(socket: BunSocket): void;
      error(socket: BunSocket, error: Error): void;
    };
  }): BunListener;
};

class BunConnection implements Connection {
  readonly address: string;
  readonly secure: boolean;
  handler!: ConnectionHandler;
  buffered = 0;
  private readonly socket: BunSocket;
  private readonly traffic: { received: number; sent: number };
  private queue: Uint8Array[] = [];
  private isEnding = false;
  private isInputEnded = false;
  private isClosed = false;

  constructor(socket: BunSocket, secure: boolean, traffic: { received: number; sent: number }) {
    this.socket = socket;
    this.traffic = traffic;
    this.secure = secure;
    this.address = socket.remoteAddress;
    socket.setNoDelay(true);
  }

  write(chunk: Uint8Array | string): void {
    if (this.isClosed || this.isEnding || chunk.length === 0) return;
    if (this.buffered > 0) {
      this.hold(typeof chunk === "string" ? Buffer.from(chunk) : chunk);
      return;
    }
    const taken = this.socket.write(chunk);
    if (taken < 0) return;
    this.traffic.sent += taken;
    // A text has at least as many bytes as units: only when fewer were taken need its bytes be counted.
    const size = typeof chunk === "string" ? (taken < chunk.length ? -1 : Buffer.byteLength(chunk)) : chunk.length;
    if (taken === size) return;
    const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    this.hold(bytes.subarray(taken));
  }

  private hold(bytes: Uint8Array): void {
    this.queue.push(bytes);
    this.buffered += bytes.length;
  }

  onDrain(): void {
    let [first] = this.queue;
    while (first !== undefined) {
      const taken = Math.max(0, this.socket.write(first));
      this.buffered -= taken;
      this.traffic.sent += taken;
      if (taken < first.length) {
        this.queue[0] = first.subarray(taken);
        return;
      }
      this.queue.shift();
      first = this.queue[0];
    }
    if (this.isEnding) this.finish();
    else this.handler.drained();
  }

  onClose(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.queue = [];
    this.buffered = 0;
    this.handler.closed();
  }

  pause(): void {
    if (!this.isClosed) this.socket.pause();
  }
  resume(): void {
    if (!this.isClosed) this.socket.resume();
  }
  end(): void {
    if (this.isClosed || this.isEnding) return;
    this.isEnding = true;
    if (this.buffered === 0) this.finish();
  }

  /** Ends this side alone while the other one may send: Bun's `end` would close both, and what then comes takes the last answer along. */
  private finish(): void {
    if (this.isInputEnded) this.socket.end();
    else this.socket.shutdown();
  }

  onEnd(): void {
    this.isInputEnded = true;
    this.handler.ended();
    if (this.isEnding && this.buffered === 0) this.socket.end();
  }
  destroy(): void {
    if (!this.isClosed) this.socket.terminate();
  }
}

export async function listenOnBun(options: SocketOptions): Promise<SocketListener> {
  const { tls, host, port, reusePort = false, onConnection } = options;
  const traffic = { received: 0, sent: 0 };
  const listener = Bun.listen({
    hostname: host,
    port,
    reusePort,
    allowHalfOpen: true,
    ...(tls === undefined ? {} : { tls: { cert: tls.cert, key: tls.key, ALPNProtocols: "http/1.1" } }),
    socket: {
      open(socket) {
        const connection = new BunConnection(socket, tls !== undefined, traffic);
        socket.data = connection;
        connection.handler = onConnection(connection);
      },
      data(socket, chunk) {
        traffic.received += chunk.length;
        socket.data.handler.data(chunk);
      },
      drain: (socket) => socket.data.onDrain(),
      end: (socket) => socket.data.onEnd(),
      close: (socket) => socket.data?.onClose(),
      // "close" follows.
      error: () => {},
    },
  });
  return { host: listener.hostname, port: listener.port, traffic, close: () => listener.stop(false) };
}
