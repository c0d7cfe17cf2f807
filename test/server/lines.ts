/** Connections over HTTP that are kept, so that a test knows which worker answers: one request after the other on each. */
import { Raw } from "./raw.ts";

/** An answer. */
export interface Answer {
  status: number;
  headers: Record<string, string>;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: answers are looked at member by member.
  readonly json: any;
}

export interface Asking {
  method?: string;
  body?: string | Uint8Array | object;
  headers?: Record<string, string>;
}

/** One connection. */
export class HttpLine {
  readonly raw: Raw;
  private readonly key: string | undefined;
  private taken = 0;
  private turns: Promise<unknown> = Promise.resolve();

  private constructor(raw: Raw, key: string | undefined) {
    this.raw = raw;
    this.key = key;
  }

  static async to(url: string, key?: string): Promise<HttpLine> {
    return new HttpLine(await Raw.to(Number(new URL(url).port)), key);
  }

  /** A request as bytes. */
  request(path: string, { method, body, headers = {} }: Asking = {}): Buffer {
    const isWhole = body === undefined || typeof body === "string" || body instanceof Uint8Array;
    const bytes = Buffer.from((isWhole ? (body ?? "") : JSON.stringify(body)) as string);
    const fields: Record<string, string> = {
      host: "localhost",
      ...(this.key === undefined ? {} : { "x-api-key": this.key }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(body === undefined ? {} : { "content-length": String(bytes.length) }),
      ...headers,
    };
    const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
    const head = `${method ?? (body === undefined ? "GET" : "POST")} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`;
    return Buffer.concat([Buffer.from(head), bytes]);
  }

  /** Sends a request: its answer. Rejects when the connection ends before. */
  ask(path: string, asking?: Asking): Promise<Answer> {
    const answer = this.turns.then(() => {
      this.raw.write(this.request(path, asking));
      return this.next();
    });
    this.turns = answer.catch(() => undefined);
    return answer;
  }

  /** The next answer that comes. */
  async next(): Promise<Answer> {
    const { raw, taken } = this;
    const isThere = (text: string): boolean => endOf(text, taken) !== undefined;
    const text = await raw.until(isThere);
    const end = endOf(text, taken);
    if (end === undefined) throw new Error(`the connection ended: ${text.slice(taken)}`);
    const [head = "", body = ""] = [text.slice(taken, end.head), text.slice(end.head, end.whole)];
    this.taken = end.whole;
    const headers: Record<string, string> = {};
    for (const line of head.split("\r\n").slice(1)) {
      const [name = "", ...rest] = line.split(":");
      if (name !== "") headers[name.toLowerCase()] = rest.join(":").trim();
    }
    const bytes = Buffer.from(body, "latin1").toString("utf8");
    return {
      status: Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]),
      headers,
      text: bytes,
      get json() {
        return JSON.parse(bytes);
      },
    };
  }

  /** Which worker has this connection. */
  async worker(): Promise<number> {
    return (await this.ask("/healthz")).json.worker;
  }

  close(): void {
    this.raw.destroy();
  }
}

function endOf(text: string, from: number): { head: number; whole: number } | undefined {
  const at = text.indexOf("\r\n\r\n", from);
  if (at < 0) return undefined;
  const size = Number(/content-length: (\d+)/i.exec(text.slice(from, at))?.[1] ?? 0);
  return text.length < at + 4 + size ? undefined : { head: at + 4, whole: at + 4 + size };
}

/** A connection to each of `count` workers, by their numbers from 1 on; [0] is none. */
export async function linesToAll(url: string, count: number, key?: string): Promise<HttpLine[]> {
  const lines: HttpLine[] = [];
  const spare: HttpLine[] = [];
  for (let tries = 0; tries < 400 && lines.filter(Boolean).length < count; tries++) {
    const line = await HttpLine.to(url, key);
    const worker = await line.worker();
    if (worker === undefined) throw new Error("it has no workers");
    if (lines[worker] !== undefined) spare.push(line);
    else lines[worker] = line;
    // While spare ones are open the next connection goes elsewhere sooner.
    if (spare.length > 20) spare.shift()?.close();
  }
  for (const line of spare) line.close();
  if (lines.filter(Boolean).length < count) throw new Error(`not all of ${count} workers answered`);
  return lines;
}
