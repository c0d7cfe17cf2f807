/**
 * The workers of one owner: started, told what to do, started again when they end.
 *
 * 1. All can listen before the first one does: what is wrong with the configuration, or the port, is told once, and nothing is left behind.
 * 2. A worker that ends is started again, after a pause that doubles as long as workers end young.
 * 3. Workers end with the pipe: an owner that is killed leaves no process behind.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CairnError, type CairnErrorCode } from "../../../store/error.ts";
import type { Log } from "../context.ts";
import type { ToOwner, ToWorker } from "./messages.ts";
import { KIND, Pipe } from "./pipe.ts";
import { type Ending, type PortSharing, portSharing, startWorker, type WorkerProcess } from "./spawn.ts";

/** How long a worker may take until it can listen, and until it does. */
const START_MS = 60_000;
/** A worker that has listened so long has not ended young. */
const YOUNG_MS = 10_000;
const PAUSE_MS = 250;
const PAUSE_MS_MAX = 30_000;
/** How long a worker may take beyond the time of grace to end. */
const END_MS = 5_000;

/** What happens to workers. */
export interface PoolHandler {
  /** One is there: what it is told first. */
  joined(worker: number, pipe: Pipe): Extract<ToWorker, { type: "settings" }>;
  /** A frame of calls, or of a tunnel. */
  frame(worker: number, kind: number, bytes: Buffer): void;
  /** A worker has read what waited for it when its pipe was full. */
  drained(worker: number): void;
  /** A message that is no matter of the pool's. */
  message(worker: number, message: ToOwner): void;
  /** One is gone, with all that it had begun. */
  left(worker: number): void;
}

/** Where workers listen. */
export interface Place {
  host: string;
  port: number;
  riocPort: number | undefined;
}

interface Worker {
  readonly number: number;
  process: WorkerProcess | undefined;
  pipe: Pipe | undefined;
  token: string;
  listenedAt: number | undefined;
  /** Times in a row that it has ended young. */
  youngEnds: number;
  /** Waits for what it says next of its start. */
  waiting: { resolve(message: ToOwner): void; reject(error: Error): void } | undefined;
  /** Why it could not start, in its own words. */
  failure: Error | undefined;
  restart: ReturnType<typeof setTimeout> | undefined;
}

/** See above. */
export class WorkerPool {
  private readonly handler: PoolHandler;
  private readonly log: Log;
  private readonly workers: Worker[];
  private server: Server | undefined;
  private folder = "";
  private sharing: PortSharing = "reusePort";
  private place: Place | undefined;
  private isClosing = false;
  /** Times that a worker was started again. */
  restarts = 0;

  constructor(count: number, log: Log, handler: PoolHandler) {
    this.handler = handler;
    this.log = log;
    this.workers = Array.from({ length: count }, (_, at) => ({
      number: at + 1,
      process: undefined,
      pipe: undefined,
      token: "",
      listenedAt: undefined,
      youngEnds: 0,
      waiting: undefined,
      failure: undefined,
      restart: undefined,
    }));
  }

  get isSharingByOption(): boolean {
    return this.sharing === "reusePort";
  }

  /** Workers that listen. */
  get listening(): { worker: number; pipe: Pipe; pid: number | undefined }[] {
    return this.workers.flatMap(({ number, pipe, process, listenedAt }) =>
      pipe === undefined || listenedAt === undefined ? [] : [{ worker: number, pipe, pid: process?.pid }],
    );
  }

  /** Starts all, and has them listen. Rejects with what the first one that cannot has to say; then none is left. */
  async start(host: string, port: number, riocPort: number | undefined): Promise<Place> {
    this.sharing = portSharing();
    // For this user alone: whoever may connect is taken for a worker.
    this.folder = await mkdtemp(join(tmpdir(), "cairn-"));
    try {
      await this.listenForWorkers();
      await Promise.all(this.workers.map((worker) => this.begin(worker)));
      const web = await this.freePort(host, port);
      const rioc = riocPort === undefined ? undefined : await this.freePort(host, riocPort);
      const [first, ...others] = this.workers as [Worker, ...Worker[]];
      const place = await this.listen(first, web, rioc);
      await Promise.all(others.map((worker) => this.listen(worker, place.port, place.riocPort)));
      this.place = place;
      return place;
    } catch (error) {
      await this.close(0);
      throw error;
    }
  }

  /** Ends all: each answers what is in flight for `graceMs` at most. */
  async close(graceMs: number): Promise<void> {
    this.isClosing = true;
    const ended = this.workers.map(async (worker) => {
      clearTimeout(worker.restart);
      const { process, pipe } = worker;
      if (process === undefined) return;
      if (pipe === undefined) process.kill();
      else pipe.control({ type: "close", graceMs } satisfies ToWorker);
      const late = setTimeout(() => process.kill(), graceMs + END_MS);
      await process.ended;
      clearTimeout(late);
    });
    await Promise.all(ended);
    const { server } = this;
    if (server !== undefined) await new Promise<void>((resolve) => server.close(() => resolve()));
    if (this.folder !== "") await rm(this.folder, { recursive: true, force: true });
  }

  /**
   * A port that nobody listens on. Listening together is no way to find out whether somebody does. Any port (0) is the first worker's to find;
   * with `node:cluster` they would all find another one.
   */
  private async freePort(host: string, port: number): Promise<number> {
    return port === 0 && this.isSharingByOption ? 0 : probed(host, port);
  }

  private async listenForWorkers(): Promise<void> {
    const server = createServer((socket) => this.greet(socket));
    this.server = server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(join(this.folder, "s"), () => {
        server.off("error", reject);
        server.on("error", (error) => this.log.error("workers cannot connect", { reason: error.message }));
        resolve();
      });
    });
  }

  /** Whoever connects says which worker it is. */
  private greet(socket: Socket): void {
    let worker: Worker | undefined;
    const pipe = new Pipe(socket, {
      frame: (kind, bytes) => {
        if (worker !== undefined) {
          if (kind === KIND.control) this.hear(worker, JSON.parse(bytes.toString()) as ToOwner);
          else this.handler.frame(worker.number, kind, bytes);
          return;
        }
        const hello = JSON.parse(bytes.toString()) as ToOwner;
        worker =
          hello.type === "hello"
            ? this.workers.find(({ number, token }) => number === hello.worker && token === hello.token)
            : undefined;
        if (worker === undefined) {
          pipe.destroy();
          return;
        }
        worker.pipe = pipe;
        pipe.control(this.handler.joined(worker.number, pipe));
      },
      drained: () => {
        if (worker?.pipe === pipe) this.handler.drained(worker.number);
      },
      closed: () => {
        if (worker?.pipe !== pipe) return;
        worker.pipe = undefined;
        this.handler.left(worker.number);
        // One whose pipe is broken serves nobody.
        if (!this.isClosing) worker.process?.kill();
      },
    });
  }

  private hear(worker: Worker, message: ToOwner): void {
    const { waiting } = worker;
    if (message.type === "ready" || message.type === "listening") {
      worker.waiting = undefined;
      waiting?.resolve(message);
    } else if (message.type === "failed") {
      worker.failure = failureOf(message);
      worker.waiting = undefined;
      waiting?.reject(worker.failure);
    } else this.handler.message(worker.number, message);
  }

  /** Starts a worker: resolves when it can listen. */
  private async begin(worker: Worker): Promise<void> {
    worker.token = crypto.randomUUID();
    worker.failure = undefined;
    worker.listenedAt = undefined;
    const { number, token } = worker;
    let process: WorkerProcess;
    try {
      process = startWorker({ path: join(this.folder, "s"), worker: number, token }, this.sharing);
    } catch (error) {
      // The system has no room for a process at present, and says so at once.
      worker.failure = error as Error;
      this.startAgain(worker, { pid: undefined, status: null, signal: null, reason: worker.failure.message }, 0);
      throw error;
    }
    worker.process = process;
    void process.ended.then((ending) => this.ended(worker, process, ending));
    await this.said(worker, "ready");
  }

  private async listen(worker: Worker, port: number, riocPort: number | undefined): Promise<Place> {
    worker.pipe?.control({ type: "listen", port, riocPort } satisfies ToWorker);
    const place = await this.said(worker, "listening");
    worker.listenedAt = performance.now();
    const { number, process } = worker;
    this.log.debug("a worker listens", { worker: number, pid: process?.pid });
    return place;
  }

  /** What a worker says next of its start. */
  private async said<T extends "ready" | "listening">(worker: Worker, type: T): Promise<Extract<ToOwner, { type: T }>> {
    let late: ReturnType<typeof setTimeout> | undefined;
    const message = await new Promise<ToOwner>((resolve, reject) => {
      if (worker.process === undefined) {
        const reason = worker.failure?.message ?? `worker ${worker.number} ended before it listened.`;
        reject(new CairnError("CLOSED", "listen", `listen: ${reason}`));
        return;
      }
      worker.waiting = { resolve, reject };
      late = setTimeout(() => {
        worker.process?.kill();
        reject(
          new CairnError("CLOSED", "listen", `listen: worker ${worker.number} did not start in ${START_MS / 1000} s.`),
        );
      }, START_MS);
    }).finally(() => clearTimeout(late));
    if (message.type !== type) throw new Error(`worker ${worker.number} said ${message.type} instead of ${type}`);
    return message as Extract<ToOwner, { type: T }>;
  }

  private ended(worker: Worker, process: WorkerProcess, { status, signal, error }: Ending): void {
    if (worker.process !== process) return;
    worker.failure ??= error;
    worker.process = undefined;
    worker.pipe?.destroy();
    const { number, listenedAt, waiting } = worker;
    worker.listenedAt = undefined;
    worker.waiting = undefined;
    const reason = worker.failure?.message;
    waiting?.reject(
      worker.failure ??
        new CairnError(
          "CLOSED",
          "listen",
          `listen: worker ${number} ended with ${signal ?? status} before it listened.`,
        ),
    );
    const livedMs = listenedAt === undefined ? 0 : performance.now() - listenedAt;
    this.startAgain(worker, { pid: process.pid, status, signal, reason }, livedMs);
  }

  private startAgain(worker: Worker, told: Record<string, unknown>, livedMs: number): void {
    if (this.isClosing || this.place === undefined) return;
    const { pauseMs, youngEnds } = pauseAfter(livedMs, worker.youngEnds);
    worker.youngEnds = youngEnds;
    const fields = { worker: worker.number, ...told, restartInMs: pauseMs };
    this.log.error("a worker ended, and is started again", fields);
    worker.restart = setTimeout(() => void this.again(worker), pauseMs);
  }

  private async again(worker: Worker): Promise<void> {
    const { place } = this;
    if (this.isClosing || place === undefined) return;
    this.restarts++;
    try {
      await this.begin(worker);
      await this.listen(worker, place.port, place.riocPort);
      this.log.info("a worker was started again", { worker: worker.number, pid: worker.process?.pid });
    } catch {
      // It has ended, or is being ended: that is what it is started again after.
    }
  }
}

/**
 * How long a worker that has listened for `livedMs` is not started again, where it had ended young `youngEnds` times in a row before; and how
 * often it has now.
 */
export function pauseAfter(livedMs: number, youngEnds: number): { pauseMs: number; youngEnds: number } {
  if (livedMs >= YOUNG_MS) return { pauseMs: 0, youngEnds: 0 };
  const pauseMs = youngEnds === 0 ? 0 : Math.min(PAUSE_MS_MAX, PAUSE_MS * 2 ** (youngEnds - 1));
  return { pauseMs, youngEnds: youngEnds + 1 };
}

/** A port that can be listened on. Rejects with the system's error where somebody does already. */
async function probed(host: string, port: number): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve, reject) => {
    probe.once("error", reject);
    probe.listen({ host, port }, () => resolve());
  });
  const { port: found } = probe.address() as AddressInfo;
  await new Promise<void>((resolve) => probe.close(() => resolve()));
  return found;
}

/** A worker's error, as the same server without workers throws it. */
function failureOf({ message, code, operation, syscall }: Extract<ToOwner, { type: "failed" }>): Error {
  if (operation !== undefined) return new CairnError(code as CairnErrorCode, operation, message);
  return Object.assign(
    new Error(message),
    code === undefined ? {} : { code },
    syscall === undefined ? {} : { syscall },
  );
}
