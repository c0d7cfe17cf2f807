/**
 * Streams of HTTP that nobody's client sends: drawn from a seed, cut anywhere. However a stream is cut, its answers are the same bytes, one
 * for each request that a strict reading finds in it and one for what is none, and a handler sees just those requests. `CAIRN_SEED` and
 * `CAIRN_STREAMS` say which streams, and how many.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { failureReply } from "../../adapters/server/handler.ts";
import { HttpConnection } from "../../adapters/server/listen/http-connection.ts";
import { HEAD_SIZE_MAX } from "../../adapters/server/listen/http-head.ts";
import type { Connection, ConnectionHandler } from "../../adapters/server/listen/sockets.ts";
import { reply } from "../../adapters/server/reply.ts";
import { Random } from "../simulation/random.ts";
import { type ReadRequest, readStrictly } from "./http-reference.ts";
import { drawPieces, drawStream } from "./http-streams.ts";
import { delay, get, Raw } from "./raw.ts";
import { startWeb } from "./web.ts";

const SEED = BigInt(process.env["CAIRN_SEED"] ?? Date.now() % 1_000_000_000);
const STREAM_COUNT = Number(process.env["CAIRN_STREAMS"] ?? "1500");
const BODY_SIZE_MAX = 1_000_000;

const unhandled: unknown[] = [];
const note = (reason: unknown): void => {
  unhandled.push(reason);
};
beforeAll(() => void process.on("unhandledRejection", note));
afterAll(() => void process.off("unhandledRejection", note));

/** What a handler that reads all of its request makes of it. */
async function seenBy(request: Request): Promise<ReadRequest> {
  const body = Buffer.from(await request.bytes()).toString("latin1");
  // Every handler may take the URL apart.
  new URL(request.url);
  const target = request.url.slice(request.url.indexOf("/", request.url.indexOf("://") + 3));
  return { method: request.method, target, fields: [...headersOf(request)], body };
}

/** As they came. */
function headersOf(request: Request): [string, string][] {
  const { fields } = request.headers as unknown as { fields: string[] };
  return fields.flatMap((name, at): [string, string][] => (at % 2 === 0 ? [[name, fields[at + 1] as string]] : []));
}

function answerTo({ method, target, body }: ReadRequest): string {
  return JSON.stringify({ method, target, size: body.length });
}

/** Reads a request whole, notes it, and answers. */
async function answered(request: Request, seen?: ReadRequest[] | object): Promise<Response> {
  try {
    const read = await seenBy(request);
    if (Array.isArray(seen)) seen.push(read);
    return reply(200, answerTo(read), { "content-type": "application/json" });
  } catch (error) {
    return failureReply(error);
  }
}

/** One end of a connection in memory: keeps to what is said of `Connection`, and counts. */
class Line implements Connection {
  readonly address = "127.0.0.1";
  readonly secure = false;
  readonly buffered = 0;
  handler: ConnectionHandler;
  output = "";
  seen: ReadRequest[] = [];
  begun = 0;
  taken = 0;
  isPaused = false;
  isEnded = false;
  isDestroyed = false;

  constructor(handle?: (request: Request) => Promise<Response>) {
    const answer = async (request: Request): Promise<Response> => {
      this.begun++;
      if (handle !== undefined) return handle(request);
      return answered(request, this.seen);
    };
    this.handler = new HttpConnection(this, {
      headerMs: 60_000,
      bodyMs: 60_000,
      idleMs: 60_000,
      requestMs: 60_000,
      bodyBytes: BODY_SIZE_MAX,
      clock: { now: 0, date: "now" },
      isClosing: false,
      handle: answer,
      upgrade: answer,
      waits: () => true,
      gone: () => {},
    });
  }

  write(chunk: Uint8Array | string): void {
    if (this.isDestroyed) return;
    this.output +=
      typeof chunk === "string" ? Buffer.from(chunk).toString("latin1") : Buffer.from(chunk).toString("latin1");
  }
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
  end(): void {
    this.isEnded = true;
  }
  destroy(): void {
    if (this.isDestroyed) return;
    this.isDestroyed = true;
    this.handler.closed();
  }

  /** Gives it a piece, in a buffer that is somebody else's afterwards; false: it takes no more. */
  async give(piece: Buffer): Promise<boolean> {
    for (let turn = 0; this.isPaused; turn++) {
      if (turn > 50) return false;
      await turnOfLoop();
    }
    if (this.isDestroyed) return false;
    const lent = Buffer.from(piece);
    this.taken += lent.length;
    this.handler.data(lent);
    lent.fill(0x58);
    return true;
  }

  async settle(): Promise<void> {
    for (let turn = 0; turn < 4; turn++) await turnOfLoop();
  }
}

function turnOfLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

interface Answer {
  status: number;
  body: string;
  closes: boolean;
}

/** The answers in a server's output. Throws for what is no HTTP. `methods`: of the requests, in their order. */
function answersIn(output: string, methods: readonly string[]): Answer[] {
  const answers: Answer[] = [];
  let rest = output;
  while (rest !== "") {
    const [head, status] = /^HTTP\/1\.1 (\d{3}) [A-Za-z ]*\r\n(?:[a-z0-9-]+: [\t\x20-\x7e]*\r\n)*\r\n/.exec(rest) ?? [];
    if (head === undefined) throw new Error(`no answer: ${JSON.stringify(rest.slice(0, 200))}`);
    rest = rest.slice(head.length);
    if (status === "100") continue;
    const size = methods[answers.length] === "HEAD" ? 0 : Number(/\r\ncontent-length: (\d+)\r\n/.exec(head)?.[1]);
    if (!(rest.length >= size)) throw new Error(`an answer is not whole: ${JSON.stringify(head)}`);
    answers.push({
      status: Number(status),
      body: rest.slice(0, size),
      closes: head.includes("\r\nconnection: close\r\n"),
    });
    rest = rest.slice(size);
  }
  return answers;
}

/** How many answers have come whole. */
function countOf(output: string, methods: readonly string[]): number {
  try {
    return answersIn(output, methods).length;
  } catch {
    return -1;
  }
}

/** Answers but for `100 Continue`, which only comes to those who wait. */
function withoutInterim(output: string): string {
  return output.replaceAll("HTTP/1.1 100 Continue\r\n\r\n", "");
}

function readingOf(stream: Buffer) {
  return readStrictly(stream, HEAD_SIZE_MAX, BODY_SIZE_MAX);
}

describe(`random streams, seed ${SEED}`, () => {
  test("are answered alike however they are cut, request by request as a strict reading finds them", async () => {
    const ends = { open: 0, refused: 0, closed: 0 };
    let requests = 0;
    for (let n = 0; n < STREAM_COUNT; n++) {
      const random = new Random(SEED).fork(n);
      const stream = drawStream(random);
      const reading = readingOf(stream);
      const place = `seed ${SEED}, stream ${n}: ${JSON.stringify(stream.toString("latin1")).slice(0, 2000)}`;
      let whole: string | undefined;
      for (let cut = 0; cut < 3; cut++) {
        const line = new Line();
        const pieces = cut === 0 ? [stream] : drawPieces(random, stream);
        for (const piece of pieces) {
          if (!(await line.give(piece))) break;
          if (random.chance(0.2)) await turnOfLoop();
        }
        await line.settle();
        expect(line.seen, place).toEqual(reading.requests);
        expect(line.begun - line.seen.length, place).toBeLessThanOrEqual(1);
        const answers = answersIn(line.output, [...reading.requests.map(({ method }) => method), ""]);
        const wanted = reading.requests.map((request) => [200, request.method === "HEAD" ? "" : answerTo(request)]);
        expect(
          answers.slice(0, wanted.length).map(({ status, body }) => [status, body]),
          place,
        ).toEqual(wanted);
        expect(answers.length - wanted.length, place).toBe(reading.end === "refused" ? 1 : 0);
        const last = answers.at(-1);
        if (reading.end === "refused") expect(last?.status, place).toBeGreaterThanOrEqual(400);
        if (reading.end === "refused") expect(last?.status, place).not.toBe(500);
        // Whoever is told that it ends is not left hanging, and nobody else is ended.
        expect([last?.closes ?? false, line.isEnded || line.isDestroyed], place).toEqual(
          reading.end === "open" ? [false, false] : [true, true],
        );
        whole ??= withoutInterim(line.output);
        expect(withoutInterim(line.output), place).toBe(whole);
        line.destroy();
      }
      ends[reading.end]++;
      requests += reading.requests.length;
    }
    await delay(10);
    expect(unhandled).toEqual([]);
    console.log(`seed ${SEED}: ${requests} requests in ${STREAM_COUNT} streams, which end`, ends);
    // Streams that are all refused, or none, would prove little.
    for (const count of Object.values(ends)) expect(count).toBeGreaterThan(STREAM_COUNT / 100);
    expect(requests).toBeGreaterThan(STREAM_COUNT / 2);
  });

  test("over real sockets, in packets of any size, and others are served all the while", async () => {
    const server = await startWeb({
      handle: answered,
      upgrade: answered,
      limits: { bodyBytes: BODY_SIZE_MAX },
    });
    const other = await Raw.to(server.port);
    let served = 0;
    for (let n = 0; n < Math.min(STREAM_COUNT, 80); n++) {
      const random = new Random(SEED).fork(1_000_000 + n);
      const stream = drawStream(random);
      const reading = readingOf(stream);
      const place = `seed ${SEED}, stream ${1_000_000 + n}: ${JSON.stringify(stream.toString("latin1")).slice(0, 2000)}`;
      const methods = [...reading.requests.map(({ method }) => method), ""];
      const wanted = reading.requests.length + (reading.end === "refused" ? 1 : 0);
      const raw = await Raw.to(server.port);
      for (const piece of drawPieces(random, stream)) {
        raw.write(piece);
        if (random.chance(0.3)) await turnOfLoop();
      }
      if (reading.end === "open") await raw.until((text) => countOf(text, methods) >= wanted);
      else await raw.end();
      const answers = answersIn(raw.text, methods);
      expect(
        answers.map(({ status }) => status < 400 || status === 426),
        place,
      ).toEqual([...reading.requests.map(() => true), ...(reading.end === "refused" ? [false] : [])]);
      raw.destroy();
      other.write(get("/other"));
      served++;
      await other.until((text) => countOf(text, []) >= served);
    }
    expect(other.isClosed).toBe(false);
    other.destroy();
    await expect.poll(() => server.connections.http).toBe(0);
    expect(unhandled).toEqual([]);
  });
});

describe("what one connection may take stays bounded, however long it sends", () => {
  const head = "POST / HTTP/1.1\r\nHost: x\r\n";
  const endless: [string, string, string, number][] = [
    ["a head without an end", "GET / HTTP/1.1\r\nHost: x\r\n", "X: y\r\n", HEAD_SIZE_MAX],
    ["a header without an end", "GET / HTTP/1.1\r\nX: ", "yyyyyyyy", HEAD_SIZE_MAX],
    ["a request line without an end", "GET /", "yyyyyyyy", HEAD_SIZE_MAX],
    ["empty lines", "", "\r\n", HEAD_SIZE_MAX],
    ["the line of a chunk", `${head}Transfer-Encoding: chunked\r\n\r\n1;`, "eeeeeeee", 1024],
    ["trailers", `${head}Transfer-Encoding: chunked\r\n\r\n0\r\n`, "T: u\r\n", 8192],
    ["a body that nobody reads", `${head}Content-Length: 999999999\r\n\r\n`, "b".repeat(999), 262_144],
    ["chunks that nobody reads", `${head}Transfer-Encoding: chunked\r\n\r\n`, "8\r\ncccccccc\r\n", 1_048_576],
    ["requests behind one that is not answered", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", get("/"), 131_072],
    ["what comes behind the last answer", "GET / HTTP/1.1\r\n\r\n", "z".repeat(999), 2_097_152],
  ];
  test.each(endless)("%s", async (_what, first, more, sizeMax) => {
    const line = new Line(() => new Promise(() => {}));
    expect(await line.give(Buffer.from(first))).toBe(true);
    const piece = Buffer.from(more.repeat(Math.ceil(512 / more.length)));
    while (line.taken < 8_388_608 && !line.isEnded && (await line.give(piece)));
    // It has ended, or is paused for good.
    expect(line.isEnded || line.isPaused).toBe(true);
    while (line.taken < 8_388_608 && (await line.give(piece)));
    expect(line.isDestroyed || line.isPaused || line.isEnded).toBe(true);
    if (!line.isEnded) expect(line.taken).toBeLessThanOrEqual(sizeMax);
    else expect(line.isDestroyed ? line.taken : 0).toBeLessThanOrEqual(2_097_152);
    line.destroy();
  });
});
