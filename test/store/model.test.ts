/** Random operations against an ordered map, under several configurations, with reopening in between. */
import { describe, test } from "vitest";
import type { Codec } from "../../store/encoding.ts";
import type { OpenOptions } from "../../store/options.ts";
import type { Store } from "../../store/store.ts";
import { open, openTiny, runSeed, scratchPaths } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { Random } from "./random.ts";
import { type WalkOptions, walk } from "./walk.ts";

const seed = runSeed();
const newPath = scratchPaths();
const MIB = 1_048_576;
/** Payloads of the blocks behind a segment's header. */
const SEGMENT_PAYLOAD = 255 * 4040;
const TINY_SEGMENT_PAYLOAD = 15 * 4040;

/** JSON behind a byte of its own. */
const PREFIXED: Codec = {
  name: "prefixed",
  encode: (value) => `~${JSON.stringify(value)}`,
  decode: (bytes) => JSON.parse(new TextDecoder().decode(bytes.subarray(1))),
};

type AnyOptions = OpenOptions<"binary", "binary">;

interface Configuration {
  name: string;
  options: object;
  walk: Partial<WalkOptions>;
  target(): { open(options: object): Promise<unknown>; keeps: boolean };
}

function file(): ReturnType<Configuration["target"]> {
  const path = newPath();
  return { keeps: true, open: (options) => open(path, options as AnyOptions) };
}

function memory(): ReturnType<Configuration["target"]> {
  return { keeps: false, open: (options) => open(":memory:", options as AnyOptions) };
}

function device(make: () => ImageDevice, tiny: boolean): ReturnType<Configuration["target"]> {
  const kept = make();
  return {
    keeps: true,
    open: (options) =>
      tiny ? openTiny(kept.reopen(), options as AnyOptions) : open(kept.reopen(), options as AnyOptions),
  };
}

const SMALL_BUFFER = { writeBufferBytes: 262_144, cacheBytes: 262_144 };

const CONFIGURATIONS: Configuration[] = [
  {
    name: "a file, text, everything by default",
    options: {},
    walk: {},
    target: file,
  },
  {
    name: "a file, bytes, a small write buffer and cache",
    options: { ...SMALL_BUFFER, keyEncoding: "binary", valueEncoding: "binary" },
    walk: { keys: "binary", values: "binary" },
    target: file,
  },
  {
    name: "memory, text, a small write buffer and cache, flushed every millisecond",
    options: { ...SMALL_BUFFER, flushIntervalMs: 1 },
    walk: {},
    target: memory,
  },
  {
    name: "tiny segments, bytes, a small write buffer and cache",
    options: { ...SMALL_BUFFER, keyEncoding: "binary", valueEncoding: "binary", flushIntervalMs: 5 },
    walk: { keys: "binary", values: "binary", segmentPayload: TINY_SEGMENT_PAYLOAD },
    target: () => device(() => new ImageDevice(), true),
  },
  {
    name: "tiny segments on a device of fixed size, text, manual",
    options: { ...SMALL_BUFFER, durability: "manual" },
    walk: { segmentPayload: TINY_SEGMENT_PAYLOAD, bytesMax: 24 * MIB },
    target: () => device(() => new ImageDevice(96 * MIB, false), true),
  },
  {
    name: "the smallest memory, JSON",
    options: { ...SMALL_BUFFER, memoryBytes: 16 * MIB, valueEncoding: "json" },
    walk: { values: "json" },
    target: () => device(() => new ImageDevice(), false),
  },
  {
    name: "a file, a codec, synchronous",
    options: { durability: "sync", valueEncoding: PREFIXED, keyEncoding: "binary" },
    walk: { keys: "binary", values: "codec", operationCount: 600, bytesMax: 12 * MIB },
    target: file,
  },
  {
    name: "a file, text, compressed",
    options: { compression: "lz4" },
    walk: { operationCount: 1000 },
    target: file,
  },
  {
    name: "tiny segments, JSON, a small write buffer and cache, compressed",
    options: { ...SMALL_BUFFER, valueEncoding: "json", flushIntervalMs: 5, compression: "lz4" },
    walk: { values: "json", segmentPayload: TINY_SEGMENT_PAYLOAD, operationCount: 1500 },
    target: () => device(() => new ImageDevice(), true),
  },
];

describe(`against an ordered map, CAIRN_SEED=${seed}`, () => {
  test.for(CONFIGURATIONS)("$name", async (configuration) => {
    const target = configuration.target();
    await walk({
      random: new Random(seed),
      open: () => target.open(configuration.options) as Promise<Store<unknown, unknown>>,
      keeps: target.keeps,
      keys: "utf8",
      values: "utf8",
      operationCount: 2500,
      segmentPayload: SEGMENT_PAYLOAD,
      bytesMax: 48 * MIB,
      ...configuration.walk,
    });
  });
});
