/**
 * WebSockets of `cairn-kv/client` that a worker holds and its owner serves: the worker has TLS and frames, the owner the calls, whose order
 * and rights are so those of a server without workers.
 *
 *   id (4 bytes, little-endian) | what (1 byte) | bytes
 *
 * The owner looks twice at who asks, for it keeps nothing in between: before the upgrade is answered, and when the socket is there. What a
 * worker has not sent yet counts as buffered at the owner, which stops doing calls for whoever does not read.
 */
import { Buffer } from "node:buffer";
import { setImmediate } from "node:timers";
import { failureReply } from "../handler.ts";
import { responseOf } from "../reply.ts";
import type { RequestInfo, Socket, SocketSession, UpgradeAccepted, UpgradeHandler } from "../wire.ts";

/** What a frame of a tunnel is. */
const WHAT = {
  // To the owner.
  ask: 0,
  begin: 1,
  message: 2,
  text: 3,
  /** So many bytes have left. */
  left: 4,
  closed: 5,
  // To the worker.
  accepted: 6,
  refused: 7,
  send: 8,
  close: 9,
  terminate: 10,
  pause: 11,
  resume: 12,
} as const;

const HEAD = 5;
/** Headers that say who asks. */
const HEADERS = ["x-api-key", "authorization", "sec-websocket-protocol"];

/** Sends a frame of a tunnel: its head, and what it says. */
export type SendTunnel = (...parts: Uint8Array[]) => void;

interface Asked {
  headers: Record<string, string>;
  info: RequestInfo;
}
interface Refused {
  status: number;
  headers: Record<string, string>;
  body: string;
}
type Accepted = Pick<UpgradeAccepted, "protocol"> & { id: string; tenant: string };

function headOf(id: number, what: number): Buffer {
  const head = Buffer.allocUnsafe(HEAD);
  head.writeUInt32LE(id, 0);
  head[4] = what;
  return head;
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

const NEVER = new AbortController().signal;

/** The worker's ends. */
export class WorkerTunnels {
  private readonly send: SendTunnel;
  private readonly isFull: () => boolean;
  private readonly asked = new Map<number, (answer: Accepted | Response) => void>();
  private readonly open = new Map<number, WorkerTunnel>();
  private next = 1;
  private isChoked = false;

  /** `isFull`: whether so much waits for the owner that clients are to wait; `drained` is called when it does not any more. */
  constructor(send: SendTunnel, isFull: () => boolean) {
    this.send = send;
    this.isFull = isFull;
  }

  /** The owner has taken what waited. */
  drained(): void {
    if (!this.isChoked) return;
    this.isChoked = false;
    for (const tunnel of [...this.open.values()]) tunnel.choke(false);
  }

  /** Has the owner decide about upgrades, and serve those that it accepts. */
  readonly handler: UpgradeHandler = async (request, info) => {
    const headers: Record<string, string> = {};
    for (const name of HEADERS) {
      const value = request.headers.get(name);
      if (value !== null) headers[name] = value;
    }
    const id = this.next++;
    const asked = json({ headers, info } satisfies Asked);
    const answer = await new Promise<Accepted | Response>((resolve) => {
      this.asked.set(id, resolve);
      this.send(headOf(id, WHAT.ask), asked);
    });
    if (answer instanceof Response) return answer;
    const { id: keyId, tenant, protocol } = answer;
    return {
      // The owner ends what is revoked.
      principal: { id: keyId, tenant, revoked: NEVER },
      protocol,
      begin: (socket) => {
        this.send(headOf(id, WHAT.begin), asked);
        const tunnel = new WorkerTunnel(socket, (what, ...parts) => {
          if (what === WHAT.closed) this.open.delete(id);
          this.send(headOf(id, what), ...parts);
          // An owner that is busy has not said yet who is to pause.
          if (what === WHAT.message && this.isFull()) {
            this.isChoked = true;
            tunnel.choke(true);
          }
        });
        this.open.set(id, tunnel);
        return tunnel;
      },
    };
  };

  /** A frame of the owner's. */
  frame(bytes: Buffer): void {
    const id = bytes.readUInt32LE(0);
    const what = bytes[4] as number;
    const said = bytes.subarray(HEAD);
    if (what === WHAT.accepted || what === WHAT.refused) {
      const resolve = this.asked.get(id);
      this.asked.delete(id);
      const answer: unknown = JSON.parse(said.toString());
      if (what === WHAT.accepted) resolve?.(answer as Accepted);
      else {
        const { status, headers, body } = answer as Refused;
        resolve?.(new Response(body, { status, headers }));
      }
      return;
    }
    this.open.get(id)?.hear(what, said);
  }
}

/** One socket at a worker. */
class WorkerTunnel implements SocketSession {
  private readonly socket: Socket;
  private readonly say: (what: number, ...parts: Uint8Array[]) => void;
  /** Bytes that the owner takes for buffered. */
  private waiting = 0;
  private isLookDue = false;
  /** By the owner; and since too much waits for that. */
  private isPaused = false;
  private isChoked = false;

  constructor(socket: Socket, say: (what: number, ...parts: Uint8Array[]) => void) {
    this.socket = socket;
    this.say = say;
  }

  message(frame: string | Uint8Array): void {
    // What a listener gives is its own.
    if (typeof frame === "string") this.say(WHAT.text);
    else this.say(WHAT.message, frame.slice());
  }

  drained(): void {
    this.tellLeft();
  }

  closed(): void {
    this.say(WHAT.closed);
  }

  hear(what: number, said: Buffer): void {
    const { socket } = this;
    switch (what) {
      case WHAT.send:
        this.waiting += said.length;
        socket.send(said);
        this.look();
        return;
      case WHAT.close: {
        const { code, reason } = JSON.parse(said.toString()) as { code: number; reason: string };
        socket.close(code, reason);
        return;
      }
      case WHAT.terminate:
        socket.terminate();
        return;
      case WHAT.pause:
        this.isPaused = true;
        socket.pause();
        return;
      case WHAT.resume:
        this.isPaused = false;
        if (!this.isChoked) socket.resume();
        return;
    }
  }

  /** Whether its client is to wait until the owner has taken what waits. */
  choke(isChoked: boolean): void {
    this.isChoked = isChoked;
    if (isChoked) this.socket.pause();
    else if (!this.isPaused) this.socket.resume();
  }

  /** What the system takes at once, no listener tells of. */
  private look(): void {
    if (this.isLookDue) return;
    this.isLookDue = true;
    setImmediate(() => {
      this.isLookDue = false;
      this.tellLeft();
    });
  }

  private tellLeft(): void {
    const left = this.waiting - this.socket.bufferedBytes;
    if (left <= 0) return;
    this.waiting -= left;
    const count = Buffer.allocUnsafe(8);
    count.writeDoubleLE(left, 0);
    this.say(WHAT.left, count);
  }
}

/** The owner's ends, of one worker. */
export class OwnerTunnels {
  private readonly send: SendTunnel;
  private readonly handler: () => UpgradeHandler | undefined;
  private readonly open = new Map<number, OwnerTunnel>();

  /** `handler` is what a server without workers would have decide. */
  constructor(handler: () => UpgradeHandler | undefined, send: SendTunnel) {
    this.send = send;
    this.handler = handler;
  }

  /** A frame of the worker's. */
  frame(bytes: Buffer): void {
    const id = bytes.readUInt32LE(0);
    const what = bytes[4] as number;
    const said = bytes.subarray(HEAD);
    if (what === WHAT.ask) void this.ask(id, JSON.parse(said.toString()) as Asked);
    else if (what === WHAT.begin) this.begin(id, JSON.parse(said.toString()) as Asked);
    else {
      const tunnel = this.open.get(id);
      if (what === WHAT.closed) this.open.delete(id);
      tunnel?.hear(what, said);
    }
  }

  /** The worker is gone. */
  end(): void {
    const { open } = this;
    for (const tunnel of [...open.values()]) tunnel.hear(WHAT.closed, Buffer.alloc(0));
    open.clear();
  }

  /** Never throws: what a handler throws is a refusal, as it is where a request is handled. */
  private async decided({ headers, info }: Asked): Promise<Response | UpgradeAccepted> {
    const shown = { headers: { get: (name: string) => headers[name.toLowerCase()] ?? null } };
    try {
      const handler = this.handler();
      if (handler === undefined) return new Response("", { status: 503, headers: { "retry-after": "1" } });
      return await handler(shown as unknown as Request, info);
    } catch (error) {
      return responseOf(failureReply(error));
    }
  }

  private async ask(id: number, asked: Asked): Promise<void> {
    const decided = await this.decided(asked);
    if (decided instanceof Response) {
      const refused: Refused = {
        status: decided.status,
        headers: Object.fromEntries(decided.headers),
        body: await decided.text(),
      };
      this.send(headOf(id, WHAT.refused), json(refused));
      return;
    }
    const { principal, protocol } = decided;
    const accepted: Accepted = { id: principal.id, tenant: principal.tenant, protocol };
    this.send(headOf(id, WHAT.accepted), json(accepted));
  }

  private begin(id: number, asked: Asked): void {
    const tunnel = new OwnerTunnel((what, ...parts) => this.send(headOf(id, what), ...parts));
    this.open.set(id, tunnel);
    void this.decided(asked).then((answer) => tunnel.begin(answer));
  }
}

/** One socket as the owner sees it. */
class OwnerTunnel implements Socket {
  bufferedBytes = 0;
  private readonly say: (what: number, ...parts: Uint8Array[]) => void;
  private session: SocketSession | undefined;
  /** Frames that came before the session had begun. */
  private early: (string | Uint8Array)[] = [];
  private isRefused = false;
  private isOver = false;

  constructor(say: (what: number, ...parts: Uint8Array[]) => void) {
    this.say = say;
  }

  begin(decided: Response | UpgradeAccepted): void {
    if (this.isOver) return;
    const { early } = this;
    this.early = [];
    if (decided instanceof Response) {
      // It counted a moment ago.
      if (decided.status < 500) this.refuse(1008, "the key or token does not count any more");
      else this.refuse(1011, "server error");
      return;
    }
    try {
      this.session = decided.begin(this);
    } catch {
      this.refuse(1011, "server error");
      return;
    }
    for (const frame of early) this.session.message(frame);
  }

  hear(what: number, said: Buffer): void {
    switch (what) {
      case WHAT.message:
        this.message(said);
        return;
      case WHAT.text:
        this.message("");
        return;
      case WHAT.left:
        this.bufferedBytes = Math.max(0, this.bufferedBytes - said.readDoubleLE(0));
        this.session?.drained();
        return;
      case WHAT.closed:
        if (this.isOver) return;
        this.isOver = true;
        this.session?.closed();
        return;
    }
  }

  private message(frame: string | Uint8Array): void {
    if (this.session !== undefined) this.session.message(frame);
    else if (!this.isRefused) this.early.push(frame);
  }

  private refuse(code: number, reason: string): void {
    this.isRefused = true;
    this.close(code, reason);
  }

  send(frame: string | Uint8Array): void {
    if (this.isOver) return;
    const bytes = typeof frame === "string" ? Buffer.from(frame) : frame;
    this.bufferedBytes += bytes.length;
    this.say(WHAT.send, bytes);
  }

  close(code: number, reason: string): void {
    this.say(WHAT.close, json({ code, reason }));
  }
  terminate(): void {
    this.say(WHAT.terminate);
  }
  pause(): void {
    this.say(WHAT.pause);
  }
  resume(): void {
    this.say(WHAT.resume);
  }
}
