/**
 * Frames of every kind, from a seed: each has one reply, which is an object in a text frame; the conversation goes on, and nothing of
 * another tenant is ever seen. `CAIRN_SEED` and `CAIRN_FRAMES` say which frames, and how many.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Random } from "../simulation/random.ts";
import { startServer, type TestServer } from "./hpkv-server.ts";
import { clientFrame, type RawSocket, rawSocket } from "./raw-socket.ts";

const SEED = BigInt(process.env["CAIRN_SEED"] ?? "20261130");
const FRAME_COUNT = Number(process.env["CAIRN_FRAMES"] ?? "3000");
const SECRET = "SECRET-OF-THE-OTHER";

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
  const other = server.store.sub("other");
  for (const key of ["a", "b", "k:1", "\u0000", "zz"]) await other.put(key, SECRET);
  await other.put(SECRET, "1");
});
afterAll(() => server.close());

/** Frames from random numbers. */
class Frames {
  private readonly random: Random;

  constructor(seed: bigint) {
    this.random = new Random(seed);
  }

  next(): string | Uint8Array {
    switch (this.random.word() % 8) {
      case 0:
        return this.bytes(this.random.word() % 64);
      case 1:
        return this.text(this.random.word() % 64);
      case 2:
        return Buffer.from(JSON.stringify(this.request()));
      case 3:
      case 4:
        return this.mutated(JSON.stringify(this.request()));
      case 5:
        return this.nested();
      default:
        return JSON.stringify(this.request());
    }
  }

  private pick<T>(of: readonly T[]): T {
    return of[this.random.word() % of.length] as T;
  }

  private bytes(size: number): Uint8Array {
    return Uint8Array.from({ length: size }, () => this.random.word() & 255);
  }

  private text(length: number): string {
    const alphabet = '{}[]":,\\u0dn1e-+.tfl ü\u0000\ud83d\ude00op key';
    return Array.from({ length }, () => alphabet[this.random.word() % alphabet.length]).join("");
  }

  private key(): unknown {
    if (this.random.word() % 2 === 0) return this.pick(["a", "b", "zz", `missing:${this.random.word() % 10_000}`]);
    return this.pick<() => unknown>([
      () => this.pick(["a", "b", "k:1", "\u0000", "zz", "__proto__", "constructor", SECRET]),
      () => this.text(1 + (this.random.word() % 20)),
      () => "x".repeat(this.random.word() % 2000),
      () => this.any(),
    ])();
  }

  private any(): unknown {
    return this.pick<unknown>([0, -1, 1.5, 1e300, "", "1", null, true, [], {}, [[1]], { op: 1 }, 2 ** 60, "\ud800"]);
  }

  private request(): object {
    const request: Record<string, unknown> = { op: this.pick<unknown>([1, 2, 3, 4, 5, 6, 1, 2, 3, 5, 6, this.any()]) };
    request["key"] = this.key();
    if (this.random.word() % 4 > 0) {
      request["value"] = this.pick([this.any(), "12", '{"a":{"b":null}}', '{"__proto__":{"x":1}}', this.text(30), 5]);
    }
    if (this.random.word() % 2 > 0) request["endKey"] = this.pick([this.key(), "\uffff", "zzz"]);
    if (this.random.word() % 3 > 0) request["limit"] = this.pick([this.any(), 1, 1000, 5]);
    if (this.random.word() % 3 > 0) request["messageId"] = this.pick([this.any(), 1, 77]);
    for (const name of ["timestamp", "encoding", "keyEncoding", "__proto__", "constructor", "code", "error"]) {
      if (this.random.word() % 8 === 0) {
        Object.defineProperty(request, name, {
          value: this.pick([this.any(), "base64", "utf8"]),
          enumerable: true,
          configurable: true,
        });
      }
    }
    return request;
  }

  private mutated(text: string): string | Uint8Array {
    const bytes = Buffer.from(text);
    const times = 1 + (this.random.word() % 4);
    for (let i = 0; i < times; i++) {
      const at = this.random.word() % Math.max(1, bytes.length);
      if (this.random.word() % 3 === 0) return bytes.subarray(0, at).toString("latin1");
      bytes[at] = this.random.word() & 255;
    }
    // As text it has to be UTF-8: a listener ends what is none.
    return this.random.word() % 2 === 0 ? bytes.toString("utf8") : bytes;
  }

  private nested(): string {
    const depth = 1 + (this.random.word() % 3000);
    const [open, close] = this.pick([
      ["[", "]"],
      ['{"a":', "}"],
    ]) as [string, string];
    const inner = `${open.repeat(depth)}1${close.repeat(depth)}`;
    return this.pick([
      inner,
      `{"op":1,"key":${inner},"messageId":1}`,
      `{"op":3,"key":"deep","value":${JSON.stringify(inner)},"messageId":1}`,
      `{"op":1,"key":"a","messageId":${inner}}`,
    ]);
  }
}

/** Sends frames and holds each reply against what every reply is. */
async function run(socket: RawSocket, frames: Frames, count: number): Promise<Map<number, number>> {
  const codes = new Map<number, number>();
  for (let done = 0; done < count; ) {
    const packet = Array.from({ length: Math.min(50, count - done) }, () => frames.next());
    socket.sendBytes(Buffer.concat(packet.map((frame) => clientFrame(frame))));
    for (let i = 0; i < packet.length; i++) {
      const text = await socket.next();
      const reply = JSON.parse(text);
      const isObject = typeof reply === "object" && reply !== null && !Array.isArray(reply);
      if (!isObject || typeof reply.code !== "number") throw new Error(`seed ${SEED}: a reply is no object: ${text}`);
      const isSuccess = reply.code === 200;
      if (isSuccess === "error" in reply) throw new Error(`seed ${SEED}: a reply says both or neither: ${text}`);
      // A key of its own that is called so may be shown; what the other tenant holds may not.
      if (reply.value === SECRET || JSON.stringify(reply.records ?? []).includes(`"value":"${SECRET}"`)) {
        throw new Error(`seed ${SEED}: another tenant's record was shown: ${text}`);
      }
      if (reply.code >= 500) throw new Error(`seed ${SEED}: the server failed: ${text}`);
      codes.set(reply.code, (codes.get(reply.code) ?? 0) + 1);
    }
    done += packet.length;
  }
  return codes;
}

test(`every frame has one reply, an object that tells nothing of others (seed ${SEED})`, async () => {
  const token = await server.token({ subscribePatterns: ["none"], accessPattern: "^[a-m]" });
  for (const [label, query] of [`apiKey=${server.apiKey}`, `token=${token}`].entries()) {
    const socket = await rawSocket(`${server.url}/ws?${query}`);
    const codes = await run(socket, new Frames(SEED + BigInt(label)), FRAME_COUNT);
    expect(socket.sawBinary).toBe(false);
    expect(socket.closeCode).toBeUndefined();
    expect(await socket.ask({ op: 2, key: "after", value: "1", messageId: 1 })).toMatchObject({ code: 200 });
    console.log(`codes of ${query.slice(0, query.indexOf("="))}:`, Object.fromEntries(codes));
    // Frames that are all refused would prove little.
    for (const code of label === 0 ? [200, 400, 404] : [200, 400, 403, 404]) {
      expect(codes.get(code) ?? 0, `replies with ${code}`).toBeGreaterThan(FRAME_COUNT / 100);
    }
    socket.destroy();
  }
  const other = server.store.sub("other");
  expect([...other.entries()]).toEqual([
    ["\u0000", SECRET],
    ["SECRET-OF-THE-OTHER", "1"],
    ["a", SECRET],
    ["b", SECRET],
    ["k:1", SECRET],
    ["zz", SECRET],
  ]);
});
