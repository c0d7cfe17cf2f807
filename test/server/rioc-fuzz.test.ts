/**
 * Streams of RIOC that nobody's client sends: drawn from a seed, cut anywhere. However a stream is cut, its replies are the same bytes; a
 * server that got it serves the next connection, and counts nothing as in flight any more.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { RiocParser } from "../../adapters/server/rioc/parser.ts";
import { Random } from "../simulation/random.ts";
import { batch, hexOf, integer, joined, operation, RiocClient } from "./rioc-client.ts";
import { type RiocServer, riocServer } from "./rioc-server.ts";

const { CAIRN_SEED } = process.env;
const SEED = Number(CAIRN_SEED ?? Date.now() % 1_000_000_000);
const COMMANDS = [0, 1, 1, 2, 2, 2, 3, 4, 5, 6, 7, 7, 8, 65_535];
let server: RiocServer;

beforeAll(async () => {
  server = await riocServer({ timeouts: { bodyMs: 400 } });
});
afterAll(() => server.close());

function textOf(random: Random, sizeMax: number): string {
  return Array.from({ length: random.below(sizeMax) }, () => String.fromCharCode(97 + random.below(4))).join("");
}

function drawOperation(random: Random): Uint8Array {
  const command = random.pick(COMMANDS);
  const key = random.chance(0.03) ? "k".repeat(random.between(500, 600)) : textOf(random, 4);
  if (command === 7 && random.chance(0.9)) return operation(command, key, integer(BigInt(random.between(-9, 9))));
  const value = random.chance(0.02) ? "v".repeat(random.between(102_300, 102_500)) : textOf(random, 12);
  return operation(command, key, command === 1 && random.chance(0.95) ? "" : value);
}

/** Requests, most of them whole; now and then bytes are changed, or the end is missing. */
function drawStream(random: Random): Uint8Array {
  const requests = Array.from({ length: random.between(1, 6) }, () => {
    const count = random.chance(0.1) ? 128 : random.between(1, 8);
    return joined(batch(count), ...Array.from({ length: count }, () => drawOperation(random)));
  });
  const stream = joined(...requests);
  if (random.chance(0.4)) {
    for (let n = random.between(1, 4); n > 0; n--) stream[random.below(stream.length)] = random.below(256);
  }
  return random.chance(0.3) ? stream.subarray(0, random.below(stream.length)) : stream;
}

test(`a parser gives the same operations however a stream is cut, seed ${SEED}`, () => {
  for (let n = 0; n < 400; n++) {
    const random = new Random(BigInt(SEED)).fork(n);
    const stream = drawStream(random);
    const takes = (pieceOf: () => number): string => {
      const seen: string[] = [];
      let turn = 0;
      const parser: RiocParser = new RiocParser({
        ready: () => turn++ % 3 !== 1,
        begin: (count) => seen.push(`${count}`),
        admit: (size) => size % 7 !== 3,
        operation: ({ command, key, value, refused, isOneOfSeveral }) => {
          expect(key.length).toBeLessThanOrEqual(512);
          expect(value.length).toBeLessThanOrEqual(102_400);
          seen.push(
            `${command} ${hexOf(key)} ${hexOf(value.subarray(0, 40))} ${value.length} ${refused} ${isOneOfSeveral}`,
          );
        },
      });
      for (let at = 0; at < stream.length; ) {
        const size = pieceOf();
        const piece = stream.subarray(at, at + size);
        let taken = 0;
        do taken = parser.take(piece, taken);
        while (taken < piece.length);
        at += size;
      }
      return `${seen.join("\n")}\n${parser.broken} ${parser.isWithinRequest}`;
    };
    const whole = takes(() => stream.length);
    if (stream.length < 4000)
      expect(
        takes(() => 1),
        `stream ${n}`,
      ).toBe(whole);
    expect(
      takes(() => random.between(1, 40)),
      `stream ${n}`,
    ).toBe(whole);
    expect(
      takes(() => random.between(1, 5000)),
      `stream ${n}`,
    ).toBe(whole);
  }
});

test(`a server answers a stream in the same way however it comes, and goes on, seed ${SEED}`, async () => {
  const answersTo = async (stream: Uint8Array, pieceSize: number): Promise<string> => {
    server.store.clear();
    const client = await RiocClient.open(server.listener.port);
    const parts: Uint8Array[] = [];
    client.socket.on("data", (data) => parts.push(new Uint8Array(data as Uint8Array)));
    await client.send(stream, pieceSize).catch(() => undefined);
    client.socket.end();
    await client.closed;
    return hexOf(joined(...parts));
  };
  for (let n = 0; n < 60; n++) {
    const random = new Random(BigInt(SEED)).fork(1000 + n);
    const stream = drawStream(random);
    const whole = await answersTo(stream, stream.length);
    expect(await answersTo(stream, Math.max(1, Math.ceil(stream.length / 20))), `stream ${n}`).toBe(whole);
  }
  await expect.poll(() => server.inFlight).toEqual({ bytes: 0, connections: 0 });
  const client = await RiocClient.open(server.listener.port);
  await client.send(joined(batch(2), operation(2, "after", "all"), operation(1, "after")));
  expect(await client.reply()).toMatchObject({ status: 0 });
  expect(await client.reply()).toMatchObject({ status: 0, size: 3 });
  await client.close();
});
