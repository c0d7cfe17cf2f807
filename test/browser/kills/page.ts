/** What a page does in the tests of kills: begins with a connection, or with a worker that opens the store, and writes. */
import type { Connection, OpenOptions } from "../../../hosts/browser.ts";
import { type Found, look, type Order, type Progress, Writer } from "./writer.ts";

/** What a page tells of the session that it is asked for. */
export type Report = { session: number } & ({ found: Found } | { progress: Progress } | { error: string });

/** How a session begins. */
export interface Beginning {
  session: number;
  /** Who holds the store: a worker of the page's own, or whichever worker connections share. */
  holder: "worker" | "connection";
  name: string;
  options: object;
  order: Order;
}

/** What is called on a page. */
export interface PageCalls {
  /** Opens, looks, and reports what is there; not waited for. */
  begin(beginning: Beginning): void;
  /** Begins to write. */
  go(from: number): void;
  /** Stops writing, and looks, through the connection; `toldCount`: how often it has reported its progress. */
  stop(): Promise<{ found: Found; toldCount: number }>;
  /** Waits until the page's own worker holds the store, and all that was done again there is durable. */
  own(): Promise<void>;
  /** Stops, and closes the connection in order. */
  leave(): Promise<void>;
  /** Ends the worker that holds the store: the page's own. */
  terminate(): void;
  /** Ends the worker of the page's connection. */
  killWorker(): void;
}

const PACKAGE = "/build/hosts/browser.js";

let worker: Worker | undefined;
let connection: Connection | undefined;
let writer: Writer | undefined;
let seed = 0;

function report(what: Report): void {
  (globalThis as unknown as { cairnReport(report: string): void }).cairnReport(JSON.stringify(what));
}

async function begin({ session, holder, name, options, order }: Beginning): Promise<void> {
  seed = order.seed;
  writer = undefined;
  connection = undefined;
  worker = undefined;
  if (holder === "worker") {
    const started = new Worker("/kills-worker.js", { type: "module" });
    worker = started;
    started.onmessage = ({ data }) => report({ session, ...data });
    started.onerror = ({ message }) => report({ session, error: message });
    started.postMessage({ name, options, order });
    return;
  }
  try {
    const cairn = (await import(PACKAGE)) as typeof import("../../../hosts/browser.ts");
    const store: Connection = await cairn.connect(name, options as OpenOptions);
    connection = store;
    writer = new Writer(store, order, (progress) => report({ session, progress }));
    report({ session, found: await look(store, seed) });
  } catch (error) {
    report({ session, error: `${(error as { code?: string }).code}: ${(error as Error).message}` });
  }
}

const calls: PageCalls = {
  begin: (beginning) => void begin(beginning),
  go(from) {
    writer?.start(from);
    worker?.postMessage({ from });
  },
  async stop() {
    const toldCount = (await writer?.stop()) ?? 0;
    return { found: await look(connection as Connection, seed), toldCount };
  },
  async own() {
    while ((await (connection as Connection).stats()).isOwner === false) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await (connection as Connection).flush();
  },
  async leave() {
    await writer?.stop();
    await connection?.close();
  },
  terminate: () => worker?.terminate(),
  killWorker: () => connection?.killWorker(),
};

Object.assign(globalThis, { kills: calls });
