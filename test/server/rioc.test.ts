/** RIOC, byte for byte: each row of the protocol's examples, in pieces of any size, all sizes of batches, and hostile headers. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { batch, hex, hexOf, integer, joined, operation, RiocClient } from "./rioc-client.ts";
import { type RiocServer, riocServer } from "./rioc-server.ts";

const [GET, INSERT, DELETE, PARTIAL_UPDATE, RANGE, ATOMIC] = [1, 2, 3, 4, 6, 7] as const;
const ONE = "43 49 4F 52 02 00 01 00 06 00 00 00";
const PIECE_SIZES = [Number.POSITIVE_INFINITY, 1, 3];
const VALUE = "v".repeat(102_400);

let server: RiocServer;
let client: RiocClient;

beforeEach(async () => {
  server = await riocServer();
  client = await RiocClient.open(server.listener.port);
});
afterEach(async () => {
  client.socket.destroy();
  await client.closed;
  await server.close();
});

/** Each call in turn: what is sent behind the header of a batch of one, and what comes back. */
const ROWS: [name: string, request: string, reply: string][] = [
  ["INSERT k1=v1", "02 00 02 00 02 00 00 00 08 07 06 05 04 03 02 01 6B 31 76 31", "00 00 00 00 00 00 00 00"],
  ["GET k1", "01 00 02 00 00 00 00 00 00 00 00 00 00 00 00 00 6B 31", "00 00 00 00 02 00 00 00 76 31"],
  ["GET nope", "01 00 04 00 00 00 00 00 00 00 00 00 00 00 00 00 6E 6F 70 65", "FA FF FF FF 00 00 00 00"],
  ["INSERT k2=two", "02 00 02 00 03 00 00 00 09 07 06 05 04 03 02 01 6B 32 74 77 6F", "00 00 00 00 00 00 00 00"],
  [
    "RANGE k1..k2",
    "06 00 02 00 02 00 00 00 00 00 00 00 00 00 00 00 6B 31 6B 32",
    "00 00 00 00 02 00 00 00 02 00 6B 31 02 00 00 00 00 00 00 00 76 31 02 00 6B 32 03 00 00 00 00 00 00 00 74 77 6F",
  ],
  ["RANGE x..y", "06 00 01 00 01 00 00 00 00 00 00 00 00 00 00 00 78 79", "00 00 00 00 00 00 00 00"],
  [
    "ATOMIC ctr +5",
    "07 00 03 00 08 00 00 00 08 07 06 05 04 03 02 01 63 74 72 05 00 00 00 00 00 00 00",
    "00 00 00 00 08 00 00 00 05 00 00 00 00 00 00 00",
  ],
  [
    "ATOMIC ctr -7",
    "07 00 03 00 08 00 00 00 09 07 06 05 04 03 02 01 63 74 72 F9 FF FF FF FF FF FF FF",
    "00 00 00 00 08 00 00 00 FE FF FF FF FF FF FF FF",
  ],
  [
    "ATOMIC on text",
    "07 00 02 00 08 00 00 00 09 07 06 05 04 03 02 01 6B 31 01 00 00 00 00 00 00 00",
    "FF FF FF FF 00 00 00 00",
  ],
  ["INSERT e, empty", "02 00 01 00 00 00 00 00 05 00 00 00 00 00 00 00 65", "FF FF FF FF 00 00 00 00"],
  ["PARTIAL_UPDATE k1", "04 00 02 00 02 00 00 00 08 07 06 05 04 03 02 01 6B 31 76 31", "00 00 00 00 00 00 00 00"],
  [
    "GET k1, appended to",
    "01 00 02 00 00 00 00 00 00 00 00 00 00 00 00 00 6B 31",
    "00 00 00 00 04 00 00 00 76 31 76 31",
  ],
  ["DELETE k1", "03 00 02 00 00 00 00 00 0A 07 06 05 04 03 02 01 6B 31", "00 00 00 00 00 00 00 00"],
  ["DELETE k1, gone", "03 00 02 00 00 00 00 00 0B 07 06 05 04 03 02 01 6B 31", "FA FF FF FF 00 00 00 00"],
];

describe.each(PIECE_SIZES)("in pieces of %d bytes", (pieceSize) => {
  test("each call is answered byte for byte", async () => {
    for (const [name, request, reply] of ROWS) {
      await client.send(hex(ONE + request), pieceSize);
      const expected = hex(reply);
      expect(hexOf(await client.read(expected.length)), name).toBe(hexOf(expected));
    }
    expect(client.unread).toBe(0);
  });

  test("a batch of six is answered in order, each operation seeing those before it", async () => {
    const requests = [
      "43 49 4F 52 02 00 06 00 06 00 00 00",
      "02 00 01 00 01 00 00 00 09 00 00 00 00 00 00 00 61 41",
      "01 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00 61",
      "01 00 02 00 00 00 00 00 00 00 00 00 00 00 00 00 7A 7A",
      "07 00 01 00 08 00 00 00 09 00 00 00 00 00 00 00 63 01 00 00 00 00 00 00 00",
      "06 00 01 00 01 00 00 00 00 00 00 00 00 00 00 00 61 61",
      "03 00 01 00 00 00 00 00 0A 00 00 00 00 00 00 00 61",
    ];
    const replies = [
      "00 00 00 00 00 00 00 00",
      "00 00 00 00 01 00 00 00 41",
      "FA FF FF FF 00 00 00 00",
      "00 00 00 00 08 00 00 00 01 00 00 00 00 00 00 00",
      "00 00 00 00 01 00 00 00 01 00 61 01 00 00 00 00 00 00 00 41",
      "00 00 00 00 00 00 00 00",
    ];
    await client.send(hex(requests.join("")), pieceSize);
    const expected = hex(replies.join(""));
    expect(hexOf(await client.read(expected.length))).toBe(hexOf(expected));
  });

  test("an addition that fails in a batch of two has eight bytes with its status", async () => {
    const failing = operation(ATOMIC, "text", integer(1n));
    await client.send(joined(batch(3), operation(INSERT, "text", "a"), failing, operation(GET, "text")), pieceSize);
    const expected = "0000000000000000 FFFFFFFF08000000 0000000000000000 0000000001000000 61".replaceAll(" ", "");
    expect(hexOf(await client.read(expected.length / 2))).toBe(expected.toLowerCase());
  });
});

test("strict timestamps refuse a write that is older than the record, and an equal one not", async () => {
  const strict = await riocServer({ riocTimestamps: "strict" });
  const other = await RiocClient.open(strict.listener.port);
  try {
    const writes: [bigint, string, string][] = [
      [0x0102030405060708n, "v1", "00 00 00 00 00 00 00 00"],
      [1n, "old", "EF FF FF FF 00 00 00 00"],
      [0x0102030405060708n, "v2", "00 00 00 00 00 00 00 00"],
      [0xffffffffffffffffn, "v3", "00 00 00 00 00 00 00 00"],
      [0xfffffffffff00000n, "v4", "EF FF FF FF 00 00 00 00"],
    ];
    for (const [timestamp, value, reply] of writes) {
      await other.send(joined(batch(1), operation(INSERT, "k1", value, { timestamp })));
      expect(hexOf(await other.read(8)), value).toBe(hexOf(hex(reply)));
    }
    await other.send(joined(batch(2), operation(DELETE, "k1", "", { timestamp: 5n }), operation(GET, "k1")));
    expect(await other.reply()).toMatchObject({ status: -17 });
    expect(Buffer.from((await other.reply()).body).toString()).toBe("v3");
  } finally {
    other.socket.destroy();
    await strict.close();
  }
});

test("batches of each size from 1 to 128 are answered in order", async () => {
  for (let count = 1; count <= 128; count++) {
    const operations = Array.from({ length: count }, (_, i) =>
      i % 2 === 0 ? operation(INSERT, `key ${i}`, `${count}.${i}`) : operation(GET, `key ${i - 1}`),
    );
    await client.send(joined(batch(count), ...operations));
    for (let i = 0; i < count; i++) {
      const { status, body } = await client.reply();
      expect(status).toBe(0);
      expect(Buffer.from(body).toString()).toBe(i % 2 === 0 ? "" : `${count}.${i - 1}`);
    }
  }
});

test("reads before a write of the same batch do not see it, however cold their values are", async () => {
  const count = 60;
  await client.send(
    joined(
      batch(count),
      ...Array.from({ length: count }, (_, i) => operation(INSERT, `k${i}`, `old ${"x".repeat(3000)}`)),
    ),
  );
  for (let i = 0; i < count; i++) await client.reply();
  const pairs = Array.from({ length: count }, (_, i) => [operation(GET, `k${i}`), operation(INSERT, `k${i}`, "new")]);
  await client.send(joined(batch(count * 2), ...pairs.flat()));
  for (let i = 0; i < count; i++) {
    expect(Buffer.from((await client.reply()).body.subarray(0, 4)).toString()).toBe("old ");
    expect((await client.reply()).status).toBe(0);
  }
});

test("a write that was answered is on stable storage", async () => {
  await client.send(joined(batch(1), operation(INSERT, "durable", "1")));
  await client.reply();
  expect(server.store.durableVersion).toBe(server.store.version);
});

test("keys and values are any bytes, which other protocols see as well", async () => {
  const key = Uint8Array.of(0, 255, 254, 1);
  await client.send(joined(batch(2), operation(INSERT, key, Uint8Array.of(0, 128)), operation(GET, key)));
  await client.reply();
  expect([...(await client.reply()).body]).toEqual([0, 128]);
  expect([...((await server.operations.getBytes(key)) as Uint8Array)]).toEqual([0, 128]);
  await server.operations.put("text", "übung");
  await client.send(joined(batch(1), operation(GET, "text")));
  expect(Buffer.from((await client.reply()).body).toString()).toBe("übung");
});

test("a whole batch of the largest operations is read before its replies are fetched", async () => {
  const inserts = Array.from({ length: 64 }, (_, i) => operation(INSERT, `large ${i}`, VALUE));
  await client.send(joined(batch(64), ...inserts));
  for (let i = 0; i < 64; i++) expect((await client.reply()).status).toBe(0);
  client.socket.pause();
  const gets = Array.from({ length: 64 }, (_, i) => operation(GET, `large ${i}`));
  // Resolves only when the server has taken it all, while nobody reads what it answers.
  await client.send(joined(batch(128), ...gets, ...inserts));
  client.socket.resume();
  for (let i = 0; i < 64; i++) expect((await client.reply()).size).toBe(102_400);
  for (let i = 0; i < 64; i++) expect((await client.reply()).status).toBe(0);
  expect(server.inFlight.bytes).toBe(0);
});

describe("a range", () => {
  test("is cut before the records take more than the client has room for", async () => {
    // Each record takes 10 + 2 + 102,388 bytes: ten of them make 1,024,000.
    for (let i = 0; i < 12; i++) await server.operations.put(`r${String.fromCharCode(97 + i)}`, "v".repeat(102_388));
    await client.send(joined(batch(1), operation(RANGE, "r", "s")));
    const ten = await client.range();
    expect(ten.records.map(([key]) => key)).toEqual([..."abcdefghij"].map((letter) => `r${letter}`));
    expect(ten.size).toBe(1_024_000);
    await server.operations.put("ra", "v".repeat(102_389));
    await client.send(joined(batch(1), operation(RANGE, "r", "s")));
    expect((await client.range()).records.length).toBe(9);
  });

  test("leaves out what another protocol has made too large, as GET refuses it", async () => {
    await server.operations.put("ra", "v".repeat(2_000_000));
    await server.operations.put("rb", "v");
    await client.send(joined(batch(2), operation(GET, "ra"), operation(RANGE, "rb", "rc")));
    expect(await client.reply()).toMatchObject({ status: -8, size: 0 });
    expect((await client.range()).records).toEqual([["rb", "v"]]);
    await client.send(joined(batch(1), operation(RANGE, "ra", "ra")));
    expect((await client.range()).records).toEqual([]);
  });

  test("has both ends, which may be any bytes", async () => {
    for (const key of ["range:a", "range:b", "range:ÿ"]) await server.operations.put(key, "1");
    await client.send(
      joined(batch(1), operation(RANGE, "range:", joined(new TextEncoder().encode("range:"), hex("ff")))),
    );
    expect((await client.range()).records.length).toBe(3);
    await client.send(joined(batch(1), operation(RANGE, "range:a", "range:b")));
    expect((await client.range()).records.length).toBe(2);
    await client.send(joined(batch(1), operation(RANGE, "range:b", "range:a")));
    expect((await client.range()).records.length).toBe(0);
  });
});

describe("an operation that is refused", () => {
  test.each<[string, Uint8Array, number]>([
    ["a value of a byte too many", operation(INSERT, "k", `${VALUE}v`), -8],
    ["a key of a byte too many", operation(INSERT, "k".repeat(513), "v"), -8],
    ["no key", operation(INSERT, "", "v"), -1],
    ["GET without a key", operation(GET, ""), -1],
    ["GET with a value", operation(GET, "k", "v"), -1],
    ["DELETE with a value", operation(DELETE, "k", "v"), -1],
    ["an addition of four bytes", operation(ATOMIC, "k", "1234"), -1],
    ["a range without an end", operation(RANGE, "k", ""), -1],
    ["an unknown command", operation(99, "key", "value"), -4],
    ["the command of batches", operation(5, "key", "value"), -4],
    ["a sum beyond 64 bits", operation(ATOMIC, "most", integer(1n)), -8],
    ["a partial update to more than fits", operation(PARTIAL_UPDATE, "full", "v"), -8],
  ])("is consumed whole, and what follows is served: %s", async (_, refused, status) => {
    await server.operations.put("most", String(2n ** 63n - 1n));
    await server.operations.put("full", VALUE);
    await client.send(joined(batch(1), refused, batch(1), operation(INSERT, "next", "1")));
    expect(hexOf(await client.read(8))).toBe(hexOf(joined(hex(statusBytes(status)), new Uint8Array(4))));
    expect(hexOf(await client.read(8))).toBe("00".repeat(8));
    expect(await server.operations.get("next")).toBe("1");
  });

  test("over the rate, or over the bytes in flight, is BUSY, and its payload is passed over", async () => {
    server.answers.request = 1;
    await client.send(joined(batch(2), operation(INSERT, "k", "v"), operation(ATOMIC, "n", integer(1n))));
    expect(await client.reply()).toMatchObject({ status: -7, size: 0 });
    expect(await client.reply()).toMatchObject({ status: -7, size: 8 });
    server.answers.request = 0;
    server.answers.take = false;
    await client.send(joined(batch(2), operation(INSERT, "k", VALUE), operation(INSERT, "small", "v")));
    expect(await client.reply()).toMatchObject({ status: -7, size: 0 });
    expect(await client.reply()).toMatchObject({ status: 0 });
    expect(await server.operations.get("k")).toBeUndefined();
    expect(await server.operations.get("small")).toBe("v");
  });
});

function statusBytes(status: number): string {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, status, true);
  return hexOf(bytes);
}

describe("a header that is none", () => {
  test.each<[string, Uint8Array]>([
    ["another magic", batch(1, 2, 0x434f4952)],
    ["version 1", batch(1, 1)],
    ["version 3", batch(1, 3)],
    ["no operation", batch(0)],
    ["129 operations", batch(129)],
    ["HTTP", new TextEncoder().encode("GET /record/k HTTP/1.1\r\nhost: localhost\r\n\r\n")],
  ])("ends the connection, after what came before it was answered: %s", async (_, header) => {
    const other = await RiocClient.open(server.listener.port);
    await client.send(joined(batch(1), operation(INSERT, "before", "1"), header));
    expect(await client.reply()).toMatchObject({ status: 0 });
    await client.closed;
    expect(client.unread).toBe(0);
    expect(server.warnings.join()).toContain("was ended");
    await other.send(joined(batch(1), operation(GET, "before")));
    expect(await other.reply()).toMatchObject({ status: 0, size: 1 });
    await other.close();
  });
});

describe("a client", () => {
  test("that vanishes in the midst of a batch harms nobody, and what it was told stays", async () => {
    const other = await RiocClient.open(server.listener.port);
    for (let round = 0; round < 20; round++) {
      const vanishing = await RiocClient.open(server.listener.port);
      await vanishing.send(joined(batch(1), operation(INSERT, `told ${round}`, "1")));
      await vanishing.reply();
      const rest = joined(batch(3), operation(INSERT, "untold", "1"), operation(INSERT, "large", VALUE));
      await vanishing.send(rest.subarray(0, 12 + round * 40));
      vanishing.socket.resetAndDestroy();
      await other.send(joined(batch(1), operation(GET, `told ${round}`)));
      expect(await other.reply()).toMatchObject({ status: 0, size: 1 });
    }
    await other.close();
    await expect.poll(() => server.inFlight.connections).toBe(1);
    expect(server.inFlight.bytes).toBe(0);
  });

  test("whose sizes promise more than it sends is ended when it stands still, and has changed nothing", async () => {
    const impatient = await riocServer({ timeouts: { bodyMs: 300 } });
    const liar = await RiocClient.open(impatient.listener.port);
    const idle = await RiocClient.open(impatient.listener.port);
    await liar.send(joined(batch(1), operation(INSERT, "k", "v", { valueSize: 100_000 })));
    await liar.closed;
    expect(await impatient.operations.get("k")).toBeUndefined();
    expect(impatient.warnings.join()).toContain("stood still");
    // One that is between requests may stay.
    await idle.send(joined(batch(1), operation(GET, "k")));
    expect(await idle.reply()).toMatchObject({ status: -6 });
    await idle.close();
    await impatient.close();
  });

  test("that closes its side gets what it was owed, then the end", async () => {
    await client.send(joined(batch(2), operation(INSERT, "k", "v"), operation(GET, "k")));
    client.socket.end();
    expect(await client.reply()).toMatchObject({ status: 0, size: 0 });
    expect(await client.reply()).toMatchObject({ status: 0, size: 1 });
    await client.closed;
  });

  test("that does not fetch its replies is not read from, and the memory it takes is bounded", async () => {
    await server.close();
    server = await riocServer({ limits: { sendQueueBytes: 1_048_576 } });
    client = await RiocClient.open(server.listener.port);
    await server.operations.put("large", VALUE);
    client.socket.pause();
    const request = joined(batch(16), ...Array.from({ length: 16 }, () => operation(GET, "large")));
    // Sockets hold some megabytes on the way; more than a hundred of replies are asked for.
    const sent = client.send(joined(...Array.from({ length: 64 }, () => request)));
    const before = process.memoryUsage().rss;
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1_048_576);
    client.socket.resume();
    for (let i = 0; i < 64 * 16; i++) expect((await client.reply()).size).toBe(102_400);
    await sent;
  });
});

test("without a tenant and without certificates the port does not open, and the message says what to set", async () => {
  await expect(riocServer({ riocTenant: undefined })).rejects.toThrow(/riocTenant must name the tenant/);
});

test("closing answers what was begun, and ends connections that are idle", async () => {
  const idle = await RiocClient.open(server.listener.port);
  await client.send(joined(batch(1), operation(INSERT, "k", "v".repeat(50_000))));
  await expect.poll(() => server.operations.get("k")).toBeDefined();
  const closing = server.listener.close(2000);
  expect(await client.reply()).toMatchObject({ status: 0 });
  await Promise.all([closing, idle.closed, client.closed]);
});
