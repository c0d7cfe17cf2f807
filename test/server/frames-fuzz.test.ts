/**
 * Streams of WebSocket frames, drawn from a seed and cut anywhere: however a stream is cut, and however often its reader is full, it brings the
 * same messages and frames of control, and ends with the same code. `CAIRN_SEED` says which streams.
 */
import { expect, test } from "vitest";
import { FrameFailure, FrameReader } from "../../adapters/server/listen/frames.ts";
import { Random } from "../simulation/random.ts";
import { frame } from "./frames.ts";
import { drawPieces } from "./http-streams.ts";

const SEED = BigInt(process.env["CAIRN_SEED"] ?? Date.now() % 1_000_000_000);
const STREAM_COUNT = Number(process.env["CAIRN_STREAMS"] ?? "800");
const SIZE_MAX = 70_000;

/** What a stream brings, in its order. */
type Event = string;

const PAYLOADS = ["", "a", "ü€😀", "x".repeat(125), "y".repeat(126), "z".repeat(300), "\u0000"];

function drawPayload(random: Random): Buffer {
  if (random.chance(0.1)) return Buffer.from(Array.from({ length: random.below(40) }, () => random.below(256)));
  return Buffer.from(random.chance(0.01) ? "w".repeat(65_536 + random.below(4000)) : random.pick(PAYLOADS));
}

/** Whole messages in one frame or several, with frames of control between; what they are. */
function drawSound(random: Random, events: Event[]): Buffer[] {
  const frames: Buffer[] = [];
  for (let n = random.between(1, 6); n > 0; n--) {
    const isText = random.chance(0.6);
    const payload = isText ? Buffer.from(random.pick(PAYLOADS)) : drawPayload(random);
    const parts = random.chance(0.3) ? random.between(2, 4) : 1;
    for (let part = 0; part < parts; part++) {
      const from = Math.floor((payload.length * part) / parts);
      const to = Math.floor((payload.length * (part + 1)) / parts);
      const first = (part === parts - 1 ? 0x80 : 0) | (part > 0 ? 0 : isText ? 1 : 2);
      frames.push(frame({ first, payload: payload.subarray(from, to) }));
      if (part < parts - 1 && random.chance(0.5)) {
        frames.push(frame({ first: 0x89, payload: "ping" }));
        events.push(`9 ${Buffer.from("ping").toString("hex")}`);
      }
    }
    events.push(`${isText ? "text" : "bytes"} ${payload.toString("hex")}`);
  }
  return frames;
}

function drawStream(random: Random): Buffer {
  const frames = drawSound(random, []);
  for (let n = random.below(3); n > 0; n--) {
    const payload = drawPayload(random);
    const hostile = frame({
      first: random.chance(0.5)
        ? random.below(256)
        : random.pick([0x80, 0x00, 0x81, 0x01, 0x82, 0x88, 0x8a, 0xc1, 0x83]),
      payload,
      ...(payload.length < 65_536 && random.chance(0.3) ? { form: random.pick([16, 64] as const) } : {}),
      ...(random.chance(0.2) ? { form: 64, says: random.pick([0, 125, 65_535, 65_536, SIZE_MAX + 1, 2 ** 40]) } : {}),
      isMasked: random.chance(0.9),
    });
    frames.splice(random.below(frames.length + 1), 0, hostile);
  }
  const stream = Buffer.concat(frames);
  for (let n = random.below(3); n > 0; n--) {
    const at = random.below(stream.length);
    stream[at] = (stream[at] as number) ^ (1 << random.below(8));
  }
  return random.chance(0.3) ? stream.subarray(0, random.below(stream.length + 1)) : stream;
}

/** What `pieces` bring. `fullness`: how often the sink takes nothing for now. */
function read(pieces: readonly Buffer[], fullness: () => boolean): Event[] {
  const events: Event[] = [];
  let kept = 0;
  let isFull = false;
  const reader = new FrameReader(SIZE_MAX, {
    message(content) {
      const kind = typeof content === "string" ? "text" : "bytes";
      events.push(`${kind} ${Buffer.from(content as string).toString("hex")}`);
      isFull = fullness();
    },
    control(opcode, payload) {
      events.push(`${opcode} ${payload.toString("hex")}`);
      isFull = fullness();
    },
    keeps(size) {
      kept += size;
      return true;
    },
    get isFull() {
      return isFull;
    },
  });
  try {
    for (const piece of pieces) {
      const lent = Buffer.from(piece);
      reader.take(lent);
      lent.fill(0x58);
      while (isFull) {
        isFull = false;
        reader.resume();
      }
      expect(kept).toBeLessThanOrEqual(2 * SIZE_MAX + piece.length);
    }
  } catch (error) {
    if (!(error instanceof FrameFailure)) throw error;
    events.push(`ends ${error.code}`);
  }
  reader.end();
  expect(kept).toBe(0);
  return events;
}

test(`frames bring the same however they are cut, seed ${SEED}`, () => {
  const codes = new Map<string, number>();
  for (let n = 0; n < STREAM_COUNT; n++) {
    const random = new Random(SEED).fork(n);
    const stream = drawStream(random);
    const whole = read([stream], () => false);
    for (let cut = 0; cut < 3; cut++) {
      const events = read(drawPieces(random, stream), () => random.chance(0.2));
      expect(events, `seed ${SEED}, stream ${n}: ${stream.toString("hex").slice(0, 2000)}`).toEqual(whole);
    }
    const last = whole.at(-1) ?? "";
    if (last.startsWith("ends")) codes.set(last, (codes.get(last) ?? 0) + 1);
  }
  console.log(`seed ${SEED}:`, Object.fromEntries(codes));
  // Streams that are all sound, or all broken, would prove little.
  const ended = [...codes.values()].reduce((sum, count) => sum + count, 0);
  expect(ended).toBeGreaterThan(STREAM_COUNT / 10);
  expect(ended).toBeLessThan((STREAM_COUNT * 9) / 10);
  for (const code of [1002, 1007, 1009]) expect(codes.get(`ends ${code}`) ?? 0, `${code}`).toBeGreaterThan(0);
});

test(`frames that are sound bring what was sent, seed ${SEED}`, () => {
  for (let n = 0; n < STREAM_COUNT / 4; n++) {
    const random = new Random(SEED).fork(1_000_000 + n);
    const events: Event[] = [];
    const stream = Buffer.concat(drawSound(random, events));
    expect(
      read(drawPieces(random, stream), () => random.chance(0.2)),
      `seed ${SEED}, stream ${n}`,
    ).toEqual(events);
  }
});
